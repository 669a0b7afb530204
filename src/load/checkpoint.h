/* checkpoint.h - what the readers of this folder fill and load.c answers from. Internal to src/load.
 *
 * A Checkpoint owns its arena, its mapped files and nothing else; every Str, Meta and TensorInfo points into those.
 * It is filled by one reader during load_open and then only read, except for side files, which are mapped when first
 * asked for. */
#ifndef LOAD_CHECKPOINT_H
#define LOAD_CHECKPOINT_H

#include "base/file.h"
#include "load/load.h"

/* Limits on what a file may ask for. All are far above real checkpoints. */
enum {
    LOAD_NAME_MAX = 256,           /* bytes of a tensor's name */
    LOAD_KEY_MAX = 65535,          /* bytes of a metadata key */
    LOAD_TENSORS_MAX = 1 << 20,    /* in the whole checkpoint */
    LOAD_METAS_MAX = 1 << 16,      /* metadata keys of one file */
    LOAD_FILES_MAX = 4096,         /* parts of a split checkpoint */
    LOAD_STRING_MAX = 64 << 20,    /* bytes of one metadata string */
    LOAD_ALIGN_MAX = 1 << 20,      /* general.alignment */
    LOAD_HEADER_MAX = 100000000,   /* bytes of a safetensors header */
    LOAD_SIDE_FILE_MAX = 256 << 20 /* bytes of tokenizer.json and the like */
};

/* What a file that is no checkpoint looks like, as a sentence with advice; NULL: nothing known. */
const char *load_recognise(const uint8_t *p, size_t n);

/* Name -> index, open addressing. Names are borrowed. */
typedef struct {
    Str name;
    uint32_t index;
} NameSlot;

typedef struct {
    NameSlot *slots; /* a power of two of them, at most half full; name.p == NULL: free */
    size_t n_slots, n;
    uint64_t seed;
} NameTable;

typedef struct SideFile SideFile;
struct SideFile {
    SideFile *next;
    Str name;
    FileMap map;
};

struct Checkpoint {
    Arena *arena;
    char *path;         /* as the caller gave it */
    const char *dir;    /* LOAD_HF: the folder */
    const char *config; /* LOAD_HF: the file that stands for config.json, if it is not in dir under that name */
    LoadKind kind;
    bool dummy;
    FileMap *files;
    size_t n_files;
    TensorInfo *tensors;
    size_t n_tensors;
    NameTable tensor_names;
    Meta *metas;
    size_t n_metas;
    NameTable meta_names;
    SideFile *sides;
};

void load_names_init(NameTable *t, Arena *a, size_t n_max);
bool load_names_put(NameTable *t, Str name, size_t index); /* false: the name is already there */
bool load_names_find(const NameTable *t, Str name, size_t *index);

/* A name from a file made fit for a line of text: control and non-ASCII bytes become '?', long ones are cut. */
typedef struct {
    char text[84];
} ShownName;
ShownName load_shown(Str name);

size_t load_meta_size(MetaType t); /* bytes of one value; 0 for strings and arrays */

/* The readers. Each fills c; on failure the caller closes c, however far it was filled. Errors name the file. */
Status gguf_open(Checkpoint *c, const char *path, Err *err);
Status safetensors_open(Checkpoint *c, Err *err); /* the weights in c->dir: a single file or a sharded index */
Status hf_open(Checkpoint *c, const char *dir, Err *err);

/* The name of the only file in dir that ends in suffix (NULL: none, or several). *n counts them. */
const char *load_only_file(Arena *a, const char *dir, const char *suffix, int *n);

#endif
