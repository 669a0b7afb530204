/* load.c - the door of the folder: finds out what a path is, lets the right reader fill a Checkpoint, answers lookups.
 *
 * People point at the wrong thing more often than at a broken one, so each likely mistake (a folder without
 * config.json, a pointer file of Git LFS, pickled weights, a web page saved as a model) has its own sentence with what to
 * do. Thread: as load.h. */
#include <dirent.h>

#include "load/checkpoint.h"

const char *load_recognise(const uint8_t *p, size_t n)
{
    static const struct {
        Str starts;
        const char *advice;
    } known[] = {
        { { "version https://git-lfs", 23 },
          "a Git LFS pointer, not the file itself; run `git lfs pull` in its folder" },
        { { "PK\3\4", 4 }, "a PyTorch pickle or other zip file, which is not read; convert it to safetensors or GGUF" },
        { { "\x80\2\x8a", 3 }, "a Python pickle, which is not read; convert it to safetensors or GGUF" },
        { { "\x80\4\x95", 3 }, "a Python pickle, which is not read; convert it to safetensors or GGUF" },
        { { "ggjt", 4 }, "an old GGML file; convert the model again to GGUF" },
        { { "tjgg", 4 }, "an old GGML file; convert the model again to GGUF" },
        { { "lmgg", 4 }, "an old GGML file; convert the model again to GGUF" },
        { { "<!DOCTYPE", 9 }, "a web page, not a model; download the file again" },
        { { "<!doctype", 9 }, "a web page, not a model; download the file again" },
        { { "<html", 5 }, "a web page, not a model; download the file again" },
    };
    if (n == 0) return "empty; download it again";
    for (size_t i = 0; i < COUNT(known); i++) {
        if (str_starts((Str){ (const char *)p, n }, known[i].starts)) return known[i].advice;
    }
    return NULL;
}

const char *load_only_file(Arena *a, const char *dir, const char *suffix, int *n)
{
    const char *found = NULL;
    DIR *d = opendir(dir);
    *n = 0;
    if (d == NULL) return NULL;
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (!str_ends(str_of(e->d_name), str_of(suffix))) continue;
        if ((*n)++ == 0) found = arena_cstr(a, str_of(e->d_name));
    }
    closedir(d);
    return *n == 1 ? found : NULL;
}

static Status refuse_folder(Checkpoint *c, const char *path, Err *err)
{
    int n;
    const char *gguf = load_only_file(c->arena, path, ".gguf", &n);
    if (gguf != NULL)
        return fail(err, E_INVALID, "%s: a folder with a GGUF file; give the file: %s", path,
                    file_join(c->arena, path, gguf));
    if (n > 1) return fail(err, E_INVALID, "%s: a folder with %d GGUF files; give one of them", path, n);
    return fail(err, E_INVALID,
                "%s: a folder without config.json; give a .gguf file, or a folder with config.json, "
                "tokenizer.json and *.safetensors",
                path);
}

/* The folder of a file's path, "." if it names none. */
static const char *folder_of(Arena *a, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) return ".";
    return arena_cstr(a, (Str){ path, slash == path ? 1 : (size_t)(slash - path) });
}

static bool is_config(const char *path)
{
    return str_is(str_of(path), "config.json") || str_ends(str_of(path), STR("/config.json"));
}

static Status open_file(Checkpoint *c, const char *path, Err *err)
{
    FileMap map;
    if (is_config(path))
        return fail(err, E_INVALID, "%s: a model's description; give its folder: %s", path, folder_of(c->arena, path));
    if (str_ends(str_of(path), STR(".safetensors"))) {
        return fail(err, E_INVALID,
                    "%s: weights alone do not make a model; give the folder that holds them and config.json: %s", path,
                    folder_of(c->arena, path));
    }
    TRY(file_map(path, &map, err));
    const char *advice = load_recognise(map.p, map.n);
    if (advice != NULL) fail(err, E_INVALID, "%s: %s", path, advice);
    file_unmap(&map);
    return advice != NULL ? E_INVALID : gguf_open(c, path, err);
}

/* Random weights to the shapes of a config.json: path is the folder or the file, whatever its name. */
static Status open_dummy(Checkpoint *c, const char *path, Err *err)
{
    c->dummy = true;
    if (file_is_dir(path)) return hf_open(c, path, err);
    if (!str_ends(str_of(path), STR(".json"))) {
        return fail(err, E_INVALID, "%s: dummy weights are made from a config.json; give it or its folder", path);
    }
    c->config = path;
    return hf_open(c, folder_of(c->arena, path), err);
}

static Status open_path(Checkpoint *c, const char *path, Err *err)
{
    bool dir = file_is_dir(path);
    if (path[0] == 0) return fail(err, E_INVALID, "no model was named: give a .gguf file or a folder");
    if (!dir && !file_exists(path)) {
        return fail(err, E_NOT_FOUND,
                    "%s: no such file or folder; give a .gguf file, or a folder with config.json and *.safetensors",
                    path);
    }
    if (c->dummy) return open_dummy(c, path, err);
    if (!dir) return open_file(c, path, err);
    if (!file_exists(file_join(c->arena, path, "config.json"))) return refuse_folder(c, path, err);
    return hf_open(c, path, err);
}

Status load_open(const char *path, LoadOptions options, Checkpoint **out, Err *err)
{
    Arena *a = arena_new(0);
    Checkpoint *c = ARENA_NEW(a, Checkpoint, 1);
    c->arena = a;
    c->path = arena_cstr(a, str_of(path));
    c->dummy = options.dummy;
    Status s = open_path(c, c->path, err);
    if (s != OK) {
        load_close(c);
        c = NULL;
    }
    *out = c;
    return s;
}

void load_close(Checkpoint *c)
{
    if (c == NULL) return;
    for (size_t i = 0; i < c->n_files; i++) file_unmap(&c->files[i]);
    for (SideFile *f = c->sides; f != NULL; f = f->next) file_unmap(&f->map);
    arena_free(c->arena); /* c itself lies in it */
}

LoadKind load_kind(const Checkpoint *c)
{
    return c->kind;
}

bool load_is_dummy(const Checkpoint *c)
{
    return c->dummy;
}

const char *load_path(const Checkpoint *c)
{
    return c->path;
}

size_t load_n_tensors(const Checkpoint *c)
{
    return c->n_tensors;
}

const TensorInfo *load_tensor(const Checkpoint *c, size_t i)
{
    CHECK(i < c->n_tensors);
    return &c->tensors[i];
}

const TensorInfo *load_find(const Checkpoint *c, const char *name)
{
    size_t i;
    return load_names_find(&c->tensor_names, str_of(name), &i) ? &c->tensors[i] : NULL;
}

size_t load_n_meta(const Checkpoint *c)
{
    return c->n_metas;
}

const Meta *load_meta(const Checkpoint *c, size_t i)
{
    CHECK(i < c->n_metas);
    return &c->metas[i];
}

const Meta *load_meta_find(const Checkpoint *c, const char *key)
{
    size_t i;
    return load_names_find(&c->meta_names, str_of(key), &i) ? &c->metas[i] : NULL;
}
