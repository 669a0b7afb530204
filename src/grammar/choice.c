/* choice.c - a list of strings, one of which is the output. Thread: the Build's. */
#include <jansson.h>

#include "grammar/inside.h"

Sym choice_front(Build *b, const GrammarSpec *spec)
{
    json_error_t why;
    json_t *list = json_loadb(spec->text.p, spec->text.n, JSON_ALLOW_NUL, &why);
    if (!json_is_array(list) || json_array_size(list) == 0) {
        build_fail(b, E_INVALID, "choices must be a JSON array with at least one string");
        json_decref(list);
        return SYM_NOTHING;
    }
    size_t n = json_array_size(list);
    Str *s = ARENA_NEW(build_arena(b), Str, n);
    for (size_t i = 0; i < n && !build_failed(b); i++) {
        json_t *item = json_array_get(list, i);
        build_at(b, arena_printf(build_arena(b), "/%zu", i));
        if (!json_is_string(item))
            build_fail(b, E_INVALID, "a choice must be a string");
        else if (build_count_enum(b, json_string_length(item)))
            s[i] = (Str){ json_string_value(item), json_string_length(item) };
    }
    build_at(b, STR(""));
    Expr e = build_failed(b) ? EXPR_NOTHING : expr_one_of(b, s, n);
    json_decref(list);
    return build_failed(b) ? SYM_NOTHING : rule_lexeme(b, e);
}
