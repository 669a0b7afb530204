/* hf.c - a Hugging Face folder: config.json must be there, weights are safetensors.c's, and the other files are handed
 * out as text by name.
 *
 * A side file is mapped when first asked for and stays until load_close; what it means is its reader's affair. A dummy
 * checkpoint is such a folder whose weights are never looked for. Thread: as load.h. */
#include "load/checkpoint.h"

static SideFile *find_side(Checkpoint *c, Str name)
{
    SideFile *f = c->sides;
    while (f != NULL && !str_eq(f->name, name)) f = f->next;
    return f;
}

/* Maps dir/name; a file that cannot be read is remembered as absent, so the disk is asked once. */
static SideFile *map_side(Checkpoint *c, Str name, const char *path)
{
    SideFile *f = ARENA_NEW(c->arena, SideFile, 1);
    int64_t size = file_size(path);
    f->name = arena_str(c->arena, name);
    if (size > 0 && size <= LOAD_SIDE_FILE_MAX && file_map(path, &f->map, NULL) != OK) f->map = (FileMap){ 0 };
    f->next = c->sides;
    c->sides = f;
    return f;
}

Str load_side_file(Checkpoint *c, const char *name)
{
    Str n = str_of(name);
    if (c->kind != LOAD_HF || n.n == 0 || strchr(name, '/') != NULL || str_is(n, "..")) return (Str){ 0 };
    SideFile *f = find_side(c, n);
    if (f == NULL) {
        bool config = c->config != NULL && str_is(n, "config.json");
        f = map_side(c, n, config ? c->config : file_join(c->arena, c->dir, name));
    }
    return (Str){ (const char *)f->map.p, f->map.n };
}

/* config.json must be something: a missing download is told here, not as a JSON error later. */
static Status check_config(Checkpoint *c, Err *err)
{
    const char *path = c->config != NULL ? c->config : file_join(c->arena, c->dir, "config.json");
    if (!file_exists(path)) return fail(err, E_NOT_FOUND, "%s: not there; the model's folder needs it", path);
    if (file_size(path) > LOAD_SIDE_FILE_MAX) {
        return fail(err, E_LIMIT, "%s: over %d bytes, which is no model description", path, LOAD_SIDE_FILE_MAX);
    }
    Str text = load_side_file(c, "config.json");
    const char *advice = load_recognise((const uint8_t *)text.p, text.n);
    if (advice != NULL) return fail(err, E_CORRUPT, "%s: %s", path, advice);
    if (!str_starts(str_trim(text), STR("{"))) return fail(err, E_CORRUPT, "%s: not a JSON object", path);
    return OK;
}

Status hf_open(Checkpoint *c, const char *dir, Err *err)
{
    c->kind = LOAD_HF;
    c->dir = arena_cstr(c->arena, str_of(dir));
    TRY(check_config(c, err));
    return c->dummy ? OK : safetensors_open(c, err);
}
