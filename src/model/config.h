/* config.h - private to model/: from a checkpoint's description to a ModelConfig.
 *
 * Everything read here comes from outside: each number has limits, each failure names its key. */
#ifndef MODEL_CONFIG_H
#define MODEL_CONFIG_H

#include <jansson.h>

#include "load/load.h"
#include "model/arch.h"

/* The description of the model, in one of its two languages. */
typedef struct {
    const json_t *json;     /* config.json, or its text_config; NULL for GGUF */
    const Checkpoint *gguf; /* NULL for config.json */
    const char *prefix;     /* of GGUF's keys: "llama" */
} ConfigSource;

typedef enum { KEY_ABSENT, KEY_NULL, KEY_OK, KEY_BAD } KeyFound;

Status config_read(Checkpoint *c, const Arch **arch, ModelConfig *out, Err *err);
/* From the text of a config.json alone. */
Status config_from_json(Str text, const Arch **arch, ModelConfig *out, Err *err);

/* A number or boolean, as a double; GGUF arrays of equal numbers are one number. Either key may be NULL. */
KeyFound config_number(const ConfigSource *s, const char *hf, const char *gguf, double *out);

/* rope.c: fills rot_dim and rope[] of a config whose other numbers are known. */
Status rope_read(const ConfigSource *s, ModelConfig *c, Err *err);
/* The context that a scaled rope was made for; at least c->n_ctx. */
int rope_context_max(const ModelConfig *c);
/* inv_freq[rot_dim / 2] and the factor of cos and sin for a server of this context length. */
void rope_compute(const RopeSpec *r, int rot_dim, int n_ctx, int context_length, float *inv_freq, float *mscale);

#endif
