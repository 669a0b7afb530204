/* tag.h - structural tags: a tree of formats, as JSON, into lexemes and rules. Not a door: tag.c is the front end.
 *
 * A format is built where it is read; there is no tree of our own between. `at` is always the JSON pointer of the object at hand. Text that
 * delimits (begin, end, trigger, separator, const_string) is a mark: where the text of a special token of the vocabulary stands in
 * it, the token itself is meant, for text never uses special tokens. Thread: the Build's. */
#ifndef GRAMMAR_TAG_H
#define GRAMMAR_TAG_H

#include <jansson.h>

#include "grammar/build.h"

typedef struct {
    Str *p;
    size_t n;
} TagTexts;

typedef struct {
    int32_t *p;
    size_t n;
} TagIds;

/* What ends the tag around: free text stops at the first of them. */
typedef struct {
    TagTexts texts;
    TagIds ids;
} TagEnds;

typedef struct {
    Build *b;
    Arena *mem;
    Str options;   /* of the schemas inside */
    json_t **held; /* documents that were strings in this one */
    size_t n_held, cap_held;
    uint32_t depth;
} Tags;

/* What text is watched for, and what must follow: text, or text and then a special token (id, else -1). */
typedef struct {
    Str text;
    int32_t id;
    Sym after;
} TagTrigger;

/* ---- tag.c ---- */

/* Any format. */
Sym tag_format(Tags *t, json_t *j, Str at, const TagEnds *ends);

/* ---- tag_read.c: members of a format ---- */

Str tag_child(Tags *t, Str at, const char *key);
Str tag_item(Tags *t, Str at, size_t i);
/* Fails with the place of the member (NULL: of the format itself). */
Status tag_refuse(Tags *t, Str at, const char *key, Status status, const char *why);
/* Refuses members of other names. */
bool tag_known(Tags *t, json_t *j, Str at, const char *const *keys, size_t n);
Str tag_string(Tags *t, json_t *j, Str at, const char *key); /* must be there */
bool tag_flag(Tags *t, json_t *j, Str at, const char *key, bool absent);
/* null and absent: BUILD_INF. */
uint32_t tag_count(Tags *t, json_t *j, Str at, const char *key);
/* NULL: failed, or (optional) absent. */
json_t *tag_list(Tags *t, json_t *j, Str at, const char *key, bool optional);
/* Strings, none of them empty; an absent member is an empty list if optional. */
TagTexts tag_texts(Tags *t, json_t *j, Str at, const char *key, bool optional);
TagTexts tag_texts_and(Tags *t, TagTexts x, TagTexts y);
/* A document given as a string; NULL: failed. Lives as long as the front end. */
json_t *tag_parse(Tags *t, Str text, Str at, const char *what);

/* ---- tag_text.c: marks and free text ---- */

Sym tag_mark(Build *b, Str text);
/* How far a mark goes before its first special token; text.n: it has none. *id: that token, *end: behind it. */
size_t tag_mark_text(Build *b, Str text, int32_t *id, size_t *end);
Sym tag_any_text(Tags *t, json_t *j, Str at, const TagEnds *ends);
/* Any text up to and with the first end, which the caller knows to be no special tokens. */
Sym tag_any_text_until(Tags *t, json_t *j, Str at, TagTexts ends);
/* Free text in which a trigger must be followed by what it asks for; then it ends, or (loop) goes on. */
Sym tag_free_text(Tags *t, const TagTrigger *trigger, size_t n, TagTexts excludes, bool loop);
Sym tag_dispatch(Tags *t, json_t *j, Str at, const TagEnds *ends);

/* ---- tag_pair.c: begin, content, end ---- */

typedef struct {
    bool is_token;
    Str begin; /* text, or (is_token) */
    int32_t id;
    Sym inner; /* the content and the end */
} TagParts;

/* The parts of a tag, its content built. */
bool tag_parts(Tags *t, json_t *j, Str at, const TagEnds *outer, TagParts *out);
Sym tag_pair(Tags *t, json_t *j, Str at, const TagEnds *outer);
Sym tag_separated(Tags *t, json_t *j, Str at, const TagEnds *outer);
/* The tags of a list, built; NULL: failed. */
TagParts *tag_parts_list(Tags *t, json_t *j, Str at, const TagEnds *outer, size_t *n);

/* ---- tag_triggered.c: free text with tags in it ---- */

typedef struct {
    Str at, at_tags;
    TagTexts triggers, excludes;
    const TagParts *tags;
    size_t n;
    bool must, loop; /* a tag comes first; there may be more than one */
} TagTriggered;

Sym tag_after_triggers(Tags *t, const TagTriggered *how);
Sym tag_triggered(Tags *t, json_t *j, Str at, const TagEnds *ends);

/* ---- tag_token.c: formats over token ids ---- */

/* An id, or the text of a token; -1: failed. */
int32_t tag_token_id(Tags *t, json_t *v, Str at);
Sym tag_token(Tags *t, json_t *j, Str at, const TagEnds *ends);
Sym tag_exclude_token(Tags *t, json_t *j, Str at, const TagEnds *ends);
Sym tag_any_tokens(Tags *t, json_t *j, Str at, const TagEnds *ends);
Sym tag_token_triggered(Tags *t, json_t *j, Str at, const TagEnds *ends);
Sym tag_token_dispatch(Tags *t, json_t *j, Str at, const TagEnds *ends);

#endif
