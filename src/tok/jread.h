/* jread.h - small questions to a parsed JSON value; a wrong type counts as absent. */
#ifndef TOK_JREAD_H
#define TOK_JREAD_H

#include <jansson.h>

#include "base/base.h"

static inline Str jread_text(const json_t *v) /* p NULL: no string */
{
    return json_is_string(v) ? (Str){ json_string_value(v), json_string_length(v) } : (Str){ 0 };
}

static inline Str jread_str(const json_t *object, const char *key)
{
    return jread_text(json_object_get(object, key));
}

static inline bool jread_bool(const json_t *object, const char *key, bool otherwise)
{
    const json_t *v = json_object_get(object, key);
    return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

static inline int64_t jread_int(const json_t *object, const char *key, int64_t otherwise)
{
    const json_t *v = json_object_get(object, key);
    return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

static inline bool jread_is(const json_t *object, const char *key, const char *value)
{
    return str_is(jread_str(object, key), value);
}

#endif
