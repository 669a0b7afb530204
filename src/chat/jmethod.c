/* jmethod.c - Python's methods of strings, dicts and lists that templates call. What would change a value is refused, as the
 * sandbox does. Case mapping covers the letters that map one to one in ASCII, Latin, Greek and Cyrillic. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "chat/jinja.h"

enum { PARTS_MAX = 1 << 20, SEPARATOR_MAX = 1000 };

/* ---- letters ---- */

static int32_t lower_of(int32_t c)
{
    if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
    if ((c >= 0xC0 && c <= 0xDE && c != 0xD7) || (c >= 0x391 && c <= 0x3A9 && c != 0x3A2) || (c >= 0x410 && c <= 0x42F))
        return c + 32;
    if (c >= 0x400 && c <= 0x40F) return c + 80;
    if ((c >= 0x100 && c <= 0x137 && c != 0x130) || (c >= 0x14A && c <= 0x177) || (c >= 0x460 && c <= 0x481) ||
        (c >= 0x48A && c <= 0x4BF) || (c >= 0x1E00 && c <= 0x1E95) || (c >= 0x1EA0 && c <= 0x1EFF))
        return c | 1;
    if ((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17E)) return c + (c & 1);
    switch (c) {
    case 0x178: return 0xFF;
    case 0x386: return 0x3AC;
    case 0x388:
    case 0x389:
    case 0x38A: return c + 37;
    case 0x38C: return 0x3CC;
    case 0x38E:
    case 0x38F: return c + 63;
    default: return c;
    }
}

static int32_t upper_of(int32_t c)
{
    if (c < 0x80) return c >= 'a' && c <= 'z' ? c - 32 : c;
    if (c == 0xFF) return 0x178;
    if (c == 0xB5) return 0x39C;
    if (c == 0x3C2) return 0x3A3; /* final sigma */
    static const int16_t steps[] = { 1, 32, 80, 37, 38, 63, 64 };
    for (size_t i = 0; i < COUNT(steps); i++) { /* the letter whose lower case this is */
        int32_t up = c - steps[i];
        if (up >= 0x80 && up != c && lower_of(up) == c) return up;
    }
    return c;
}

static bool is_letter(int32_t c)
{
    return lower_of(c) != c || upper_of(c) != c || c > 0x2FF || c == 0xDF;
}

typedef enum { CASE_LOWER, CASE_UPPER, CASE_CAPITALIZE, CASE_TITLE } Case;

static JValue *change_case(JRun *r, Str s, Case how)
{
    Buf b = { 0 };
    bool in_word = false;
    for (size_t i = 0; i < s.n;) {
        int len;
        char bytes[4];
        int32_t c = utf8_next(s.p, s.n, i, &len);
        bool raise = how == CASE_UPPER || (how == CASE_CAPITALIZE && i == 0) || (how == CASE_TITLE && !in_word);
        if (c == 0xDF && raise)
            buf_str(&b, how == CASE_UPPER ? STR("SS") : STR("Ss"));
        else if (c >= 0)
            buf_add(&b, bytes, (size_t)utf8_put(bytes, (uint32_t)(raise ? upper_of(c) : lower_of(c))));
        in_word = c >= 0 && is_letter(c);
        i += (size_t)len;
    }
    return jvalue_take(r, &b);
}

static bool all_case(Str s, bool upper)
{
    bool some = false;
    for (size_t i = 0; i < s.n;) {
        int len;
        int32_t c = utf8_next(s.p, s.n, i, &len);
        bool is_upper = c >= 0 && lower_of(c) != c, is_lower = c >= 0 && upper_of(c) != c;
        if (upper ? is_lower : is_upper) return false;
        some = some || is_upper || is_lower;
        i += (size_t)len;
    }
    return some;
}

/* ---- strip and split ---- */

static bool is_space(int32_t c) /* str.isspace of Python */
{
    return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x1F) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

static bool in_set(const JValue *set, Str ch)
{
    int len;
    if (!set) return is_space(utf8_next(ch.p, ch.n, 0, &len));
    for (size_t at = 0; (at = str_find(set->u.s, ch, at)) != SIZE_MAX; at++) {
        if (((uint8_t)set->u.s.p[at] & 0xC0) != 0x80) return true;
    }
    return false;
}

static Str stripped(Str s, const JValue *set, bool left, bool right)
{
    while (left && s.n) {
        int len;
        utf8_next(s.p, s.n, 0, &len);
        if (!in_set(set, str_cut(s, 0, (size_t)len))) break;
        s = str_cut(s, (size_t)len, s.n);
    }
    while (right && s.n) {
        size_t i = s.n - 1;
        while (i && ((uint8_t)s.p[i] & 0xC0) == 0x80) i--;
        if (!in_set(set, str_cut(s, i, s.n))) break;
        s.n = i;
    }
    return s;
}

static JValue *strip(JRun *r, Str s, const JValue *set, bool left, bool right)
{
    if (set && set->u.s.n > SEPARATOR_MAX) return jeval_fail(r, "strip: over %d bytes to strip", SEPARATOR_MAX);
    Str rest = stripped(s, set, left, right);
    return jeval_spend(r, set ? (s.n - rest.n) * set->u.s.n / 64 : 0) ? jvalue_str(r->arena, rest) : NULL;
}

typedef struct {
    JRun *r;
    JValue **p;
    int n, cap;
} Parts;

static bool add_part(Parts *parts, Str s)
{
    if (parts->n == parts->cap) {
        if (parts->cap >= PARTS_MAX || !jeval_spend(parts->r, (size_t)parts->cap))
            return jeval_fail(parts->r, "a split has too many parts") != NULL;
        parts->cap = parts->cap ? parts->cap * 2 : 8;
        JValue **more = ARENA_NEW(parts->r->arena, JValue *, (size_t)parts->cap);
        if (parts->n) memcpy(more, parts->p, (size_t)parts->n * sizeof *more);
        parts->p = more;
    }
    parts->p[parts->n++] = jvalue_str(parts->r->arena, s);
    return true;
}

static bool split_spaces(Parts *parts, Str s, int64_t max)
{
    for (;;) {
        s = stripped(s, NULL, true, false);
        if (s.n == 0) return true;
        if (max >= 0 && parts->n >= max) return add_part(parts, stripped(s, NULL, false, true));
        size_t i = 0;
        int len;
        while (i < s.n && !is_space(utf8_next(s.p, s.n, i, &len))) i += (size_t)len;
        if (!add_part(parts, str_cut(s, 0, i))) return false;
        s = str_cut(s, i, s.n);
    }
}

static bool split_by(Parts *parts, Str s, Str by, int64_t max)
{
    size_t at = 0, hit;
    while ((max < 0 || parts->n < max) && (hit = str_find(s, by, at)) != SIZE_MAX) {
        if (!add_part(parts, str_cut(s, at, hit))) return false;
        at = hit + by.n;
    }
    return add_part(parts, str_cut(s, at, s.n));
}

/* From the right: parts are found backwards, then turned round. */
static bool rsplit_by(Parts *parts, Str s, Str by, int64_t max)
{
    while (max < 0 || parts->n < max) {
        size_t hit = SIZE_MAX;
        for (size_t i = s.n >= by.n ? s.n - by.n + 1 : 0; i-- > 0 && hit == SIZE_MAX;) {
            if (str_starts(str_cut(s, i, s.n), by)) hit = i;
        }
        if (hit == SIZE_MAX) break;
        if (!add_part(parts, str_cut(s, hit + by.n, s.n))) return false;
        s.n = hit;
    }
    if (!add_part(parts, s)) return false;
    for (int i = 0, j = parts->n - 1; i < j; i++, j--) {
        JValue *t = parts->p[i];
        parts->p[i] = parts->p[j];
        parts->p[j] = t;
    }
    return true;
}

static JValue *split(JRun *r, Str s, const JCall *c, bool from_right)
{
    const JValue *by = jeval_arg(c, 0, "sep"), *limit = jeval_arg(c, 1, "maxsplit");
    int64_t max = limit && limit->kind == JV_INT ? limit->u.i : -1;
    Parts parts = { .r = r };
    bool good;
    if (!by || by->kind == JV_NONE) {
        good = split_spaces(&parts, s, from_right ? -1 : max);
    } else {
        if (by->kind != JV_STR || by->u.s.n == 0) return jeval_fail(r, "split needs a separator that is not empty");
        if (by->u.s.n > SEPARATOR_MAX) return jeval_fail(r, "split: the separator is over %d bytes", SEPARATOR_MAX);
        good = from_right ? rsplit_by(&parts, s, by->u.s, max) : split_by(&parts, s, by->u.s, max);
    }
    return good ? jvalue_list(r->arena, JV_LIST, parts.p, parts.n) : NULL;
}

static JValue *splitlines(JRun *r, Str s, const JCall *c)
{
    const JValue *keep = jeval_arg(c, 0, "keepends");
    Parts parts = { .r = r };
    for (size_t at = 0; at < s.n;) {
        size_t end = at;
        while (end < s.n && s.p[end] != '\n' && s.p[end] != '\r') end++;
        size_t next = end < s.n ? end + 1 : end;
        if (end + 1 < s.n && s.p[end] == '\r' && s.p[end + 1] == '\n') next++;
        if (!add_part(&parts, str_cut(s, at, keep && jvalue_truth(keep) ? next : end))) return NULL;
        at = next;
    }
    return jvalue_list(r->arena, JV_LIST, parts.p, parts.n);
}

/* ---- search and replace ---- */

static JValue *ends(JRun *r, Str s, const JCall *c, bool at_start)
{
    const JValue *what = jeval_arg(c, 0, NULL);
    if (!what) return jeval_fail(r, "startswith and endswith need an argument");
    int n = what->kind == JV_TUPLE ? what->u.list.n : 1;
    for (int i = 0; i < n; i++) {
        const JValue *v = what->kind == JV_TUPLE ? what->u.list.p[i] : what;
        if (v->kind != JV_STR) return jeval_fail(r, "startswith and endswith need text, not '%s'", jvalue_type(v));
        if (at_start ? str_starts(s, v->u.s) : str_ends(s, v->u.s)) return jvalue_bool(true);
    }
    return jvalue_bool(false);
}

static JValue *replace(JRun *r, Str s, const JCall *c)
{
    const JValue *from = jeval_arg(c, 0, "old"), *to = jeval_arg(c, 1, "new"), *limit = jeval_arg(c, 2, "count");
    if (!from || !to || from->kind != JV_STR || to->kind != JV_STR) return jeval_fail(r, "replace needs two texts");
    int64_t left = limit && limit->kind == JV_INT && limit->u.i >= 0 ? limit->u.i : INT64_MAX;
    Buf b = { 0 };
    size_t at = 0;
    if (from->u.s.n == 0) { /* between all characters */
        for (int len; at < s.n && left > 0; at += (size_t)len, left--) {
            utf8_next(s.p, s.n, at, &len);
            buf_str(&b, to->u.s);
            buf_str(&b, str_cut(s, at, at + (size_t)len));
            if (!jvalue_fits(r, &b)) return NULL;
        }
        if (left > 0) buf_str(&b, to->u.s);
    } else {
        for (size_t hit; left > 0 && (hit = str_find(s, from->u.s, at)) != SIZE_MAX; left--) {
            buf_str(&b, str_cut(s, at, hit));
            buf_str(&b, to->u.s);
            at = hit + from->u.s.n;
            if (!jvalue_fits(r, &b)) return NULL;
        }
    }
    buf_str(&b, str_cut(s, at, s.n));
    return jvalue_take(r, &b);
}

static int64_t find_text(Str s, Str what, bool last)
{
    size_t hit = str_find(s, what, 0);
    if (hit == SIZE_MAX) return -1;
    for (size_t next; last && (next = str_find(s, what, hit + 1)) != SIZE_MAX;) hit = next;
    return (int64_t)utf8_count(str_cut(s, 0, hit));
}

static int64_t count_text(Str s, Str what)
{
    int64_t n = 0;
    if (what.n == 0) return (int64_t)utf8_count(s) + 1;
    for (size_t at = 0; (at = str_find(s, what, at)) != SIZE_MAX; at += what.n) n++;
    return n;
}

static JValue *join(JRun *r, JValue *self, const JCall *c)
{
    JValue *list = jeval_arg(c, 0, NULL);
    int n;
    JValue **items = list ? jeval_items(r, list, &n) : NULL;
    if (!items) return jeval_fail(r, "join needs a sequence");
    Buf b = { 0 };
    for (int i = 0; i < n; i++) {
        if (items[i]->kind != JV_STR) {
            buf_free(&b);
            return jeval_fail(r, "sequence item %d: expected str instance, %s found", i, jvalue_type(items[i]));
        }
        if (i) buf_str(&b, self->u.s);
        buf_str(&b, items[i]->u.s);
        if (!jvalue_fits(r, &b)) return NULL;
    }
    return jvalue_take(r, &b);
}

/* '{} and {0} {name}'.format(...): no format specifications. */
static JValue *format_braces(JRun *r, Str s, const JCall *c)
{
    Buf b = { 0 };
    int next = 0;
    for (size_t i = 0; i < s.n; i++) {
        bool twice = i + 1 < s.n && s.p[i + 1] == s.p[i];
        if ((s.p[i] != '{' && s.p[i] != '}') || twice) {
            buf_char(&b, s.p[i]);
            i += (s.p[i] == '{' || s.p[i] == '}') && twice;
            continue;
        }
        size_t end = str_find(s, STR("}"), i);
        Str field = end == SIZE_MAX ? STR("") : str_cut(s, i + 1, end);
        int64_t at = next;
        char name[64];
        snprintf(name, sizeof name, "%.*s", STR_FMT(field));
        JValue *v = field.n == 0 && end != SIZE_MAX ? jeval_arg(c, next++, NULL)
                    : str_to_i64(field, &at)        ? jeval_arg(c, (int)at, NULL)
                                                    : jeval_arg(c, -1, name);
        if (!v) {
            buf_free(&b);
            return jeval_fail(r, "format: no argument for {%s}", name);
        }
        buf_str(&b, jvalue_text(r, v));
        if (!jvalue_fits(r, &b)) return NULL;
        i = end;
    }
    return jvalue_take(r, &b);
}

static bool percent_one(JRun *r, Buf *b, char how, const JValue *v)
{
    if (how == 's') {
        buf_str(b, jvalue_text(r, v));
    } else if (how == 'r') {
        jvalue_print(r, b, v, true, 0);
    } else if (!jvalue_is_number(v)) {
        return jeval_fail(r, "%%%c format: a number is required, not %s", how, jvalue_type(v)) != NULL;
    } else if ((how == 'd' || how == 'i' || how == 'x') && !(fabs(jvalue_number(v)) < 9e18)) {
        return jeval_fail(r, "%%%c format: the number is too large", how) != NULL;
    } else if (how == 'd' || how == 'i') {
        buf_printf(b, "%lld", (long long)jvalue_number(v));
    } else if (how == 'f') {
        buf_printf(b, "%f", jvalue_number(v));
    } else if (how == 'x') {
        buf_printf(b, "%llx", (unsigned long long)(long long)jvalue_number(v));
    } else {
        return jeval_fail(r, "unsupported format character '%c'", how) != NULL;
    }
    return true;
}

static JValue *format_percent(JRun *r, Str s, const JValue *args)
{
    Buf b = { 0 };
    int n = args->kind == JV_TUPLE ? args->u.list.n : 1, next = 0;
    bool good = true;
    for (size_t i = 0; i < s.n && good; i++) {
        if (s.p[i] != '%' || i + 1 == s.n) {
            buf_char(&b, s.p[i]);
        } else if (s.p[++i] == '%') {
            buf_char(&b, '%');
        } else if (next == n) {
            good = jeval_fail(r, "not enough arguments for format string") != NULL;
        } else {
            good =
                percent_one(r, &b, s.p[i], args->kind == JV_TUPLE ? args->u.list.p[next] : args) && jvalue_fits(r, &b);
            next++;
        }
    }
    if (good && next < n) good = jeval_fail(r, "not all arguments converted during string formatting") != NULL;
    if (good) return jvalue_take(r, &b);
    buf_free(&b);
    return NULL;
}

static bool all_digits(Str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return false;
    }
    return s.n > 0;
}

static bool all_letters(Str s, bool digits_too)
{
    for (size_t i = 0; i < s.n;) {
        int len;
        int32_t c = utf8_next(s.p, s.n, i, &len);
        if (!(c >= 0 && (is_letter(c) || (digits_too && c >= '0' && c <= '9')))) return false;
        i += (size_t)len;
    }
    return s.n > 0;
}

static JValue *partition(JRun *r, Str s, const JCall *c)
{
    const JValue *by = jeval_arg(c, 0, NULL);
    if (!by || by->kind != JV_STR || by->u.s.n == 0) return jeval_fail(r, "partition needs a separator");
    size_t hit = str_find(s, by->u.s, 0);
    JValue **three = ARENA_NEW(r->arena, JValue *, 3);
    three[0] = jvalue_str(r->arena, str_cut(s, 0, MIN(hit, s.n)));
    three[1] = jvalue_str(r->arena, hit == SIZE_MAX ? (Str){ "", 0 } : by->u.s);
    three[2] = jvalue_str(r->arena, hit == SIZE_MAX ? (Str){ "", 0 } : str_cut(s, hit + by->u.s.n, s.n));
    return jvalue_list(r->arena, JV_TUPLE, three, 3);
}

/* ---- which methods there are ---- */

typedef enum {
    M_SPLIT,
    M_RSPLIT,
    M_STRIP,
    M_LSTRIP,
    M_RSTRIP,
    M_STARTS,
    M_ENDS,
    M_REPLACE,
    M_TITLE,
    M_CAPITALIZE,
    M_UPPER,
    M_LOWER,
    M_JOIN,
    M_FIND,
    M_RFIND,
    M_INDEX,
    M_COUNT,
    M_FORMAT,
    M_PERCENT,
    M_SPLITLINES,
    M_ISDIGIT,
    M_ISALPHA,
    M_ISALNUM,
    M_ISSPACE,
    M_ISUPPER,
    M_ISLOWER,
    M_REMOVEPREFIX,
    M_REMOVESUFFIX,
    M_PARTITION,
    M_GET,
    M_ITEMS,
    M_KEYS,
    M_VALUES,
    M_COPY,
    M_CHANGES,
    M_CYCLE,
    M_CHANGED
} Method;

typedef struct {
    const char *name;
    Method method;
} MethodName;

/* clang-format off */
static const MethodName str_methods[] = {
    { "split", M_SPLIT }, { "rsplit", M_RSPLIT }, { "strip", M_STRIP }, { "lstrip", M_LSTRIP }, { "rstrip", M_RSTRIP }, { "startswith", M_STARTS },
    { "endswith", M_ENDS }, { "replace", M_REPLACE }, { "title", M_TITLE }, { "capitalize", M_CAPITALIZE }, { "upper", M_UPPER }, { "lower", M_LOWER },
    { "join", M_JOIN }, { "find", M_FIND }, { "rfind", M_RFIND }, { "index", M_INDEX }, { "count", M_COUNT }, { "format", M_FORMAT }, { "%", M_PERCENT },
    { "splitlines", M_SPLITLINES }, { "isdigit", M_ISDIGIT }, { "isnumeric", M_ISDIGIT }, { "isdecimal", M_ISDIGIT }, { "isalpha", M_ISALPHA },
    { "isalnum", M_ISALNUM }, { "isspace", M_ISSPACE }, { "isupper", M_ISUPPER }, { "islower", M_ISLOWER }, { "removeprefix", M_REMOVEPREFIX },
    { "removesuffix", M_REMOVESUFFIX }, { "partition", M_PARTITION }, { NULL },
};
static const MethodName dict_methods[] = {
    { "get", M_GET }, { "items", M_ITEMS }, { "keys", M_KEYS }, { "values", M_VALUES }, { "copy", M_COPY }, { "update", M_CHANGES },
    { "pop", M_CHANGES }, { "popitem", M_CHANGES }, { "setdefault", M_CHANGES }, { "clear", M_CHANGES }, { NULL },
};
static const MethodName list_methods[] = {
    { "index", M_INDEX }, { "count", M_COUNT }, { "copy", M_COPY }, { "append", M_CHANGES }, { "pop", M_CHANGES }, { "insert", M_CHANGES },
    { "extend", M_CHANGES }, { "remove", M_CHANGES }, { "reverse", M_CHANGES }, { "sort", M_CHANGES }, { "clear", M_CHANGES }, { NULL },
};
static const MethodName tuple_methods[] = { { "index", M_INDEX }, { "count", M_COUNT }, { NULL } };
static const MethodName loop_methods[] = { { "cycle", M_CYCLE }, { "changed", M_CHANGED }, { NULL } };
/* clang-format on */

static const MethodName *find(const JValue *self, Str name)
{
    const MethodName *m = self->kind == JV_STR     ? str_methods
                          : self->kind == JV_DICT  ? dict_methods
                          : self->kind == JV_LIST  ? list_methods
                          : self->kind == JV_TUPLE ? tuple_methods
                          : self->kind == JV_LOOP  ? loop_methods
                                                   : NULL;
    for (; m && m->name; m++) {
        if (str_is(name, m->name)) return m;
    }
    return NULL;
}

bool jmethod_known(const JValue *self, Str name)
{
    return find(self, name) != NULL;
}

static JValue *string_method(JRun *r, JValue *self, Method m, const JCall *c)
{
    Str s = self->u.s;
    const JValue *arg = jeval_arg(c, 0, NULL);
    const JValue *set = arg && arg->kind == JV_STR ? arg : NULL;
    bool needs_text =
        m == M_FIND || m == M_RFIND || m == M_INDEX || m == M_COUNT || m == M_REMOVEPREFIX || m == M_REMOVESUFFIX;
    if (needs_text && !set) return jeval_fail(r, "a string method needs a text");
    if (!jeval_spend(r, s.n / 32)) return NULL;
    if (m == M_SPLIT || m == M_RSPLIT) return split(r, s, c, m == M_RSPLIT);
    if (m == M_STRIP || m == M_LSTRIP || m == M_RSTRIP) return strip(r, s, set, m != M_RSTRIP, m != M_LSTRIP);
    if (m == M_STARTS || m == M_ENDS) return ends(r, s, c, m == M_STARTS);
    if (m == M_REPLACE) return replace(r, s, c);
    if (m >= M_TITLE && m <= M_LOWER)
        return change_case(r, s,
                           m == M_TITLE        ? CASE_TITLE
                           : m == M_CAPITALIZE ? CASE_CAPITALIZE
                           : m == M_UPPER      ? CASE_UPPER
                                               : CASE_LOWER);
    if (m == M_JOIN) return join(r, self, c);
    if (m == M_FIND || m == M_RFIND) return jvalue_int(r->arena, find_text(s, set->u.s, m == M_RFIND));
    if (m == M_INDEX) {
        int64_t at = find_text(s, set->u.s, false);
        return at < 0 ? jeval_fail(r, "substring not found") : jvalue_int(r->arena, at);
    }
    if (m == M_COUNT) return jvalue_int(r->arena, count_text(s, set->u.s));
    if (m == M_FORMAT) return format_braces(r, s, c);
    if (m == M_PERCENT) return arg ? format_percent(r, s, arg) : jeval_fail(r, "formatting needs values");
    if (m == M_SPLITLINES) return splitlines(r, s, c);
    if (m == M_ISDIGIT) return jvalue_bool(all_digits(s));
    if (m == M_ISALPHA || m == M_ISALNUM) return jvalue_bool(all_letters(s, m == M_ISALNUM));
    if (m == M_ISSPACE) return jvalue_bool(s.n && stripped(s, NULL, true, false).n == 0);
    if (m == M_ISUPPER || m == M_ISLOWER) return jvalue_bool(all_case(s, m == M_ISUPPER));
    if (m == M_REMOVEPREFIX) return jvalue_str(r->arena, str_starts(s, set->u.s) ? str_cut(s, set->u.s.n, s.n) : s);
    if (m == M_REMOVESUFFIX) return jvalue_str(r->arena, str_ends(s, set->u.s) ? str_cut(s, 0, s.n - set->u.s.n) : s);
    return partition(r, s, c);
}

static JValue *dict_method(JRun *r, JValue *self, Method m, const JCall *c)
{
    const JDict *d = self->u.dict;
    JValue *key = jeval_arg(c, 0, NULL), *otherwise = jeval_arg(c, 1, NULL);
    if (m == M_GET) {
        if (!key) return jeval_fail(r, "get needs a key");
        JValue *v = jvalue_dict_get(d, key);
        return v ? v : otherwise ? otherwise : (JValue *)(uintptr_t)&jvalue_none;
    }
    if (m == M_COPY) return self; /* values never change */
    if (!jeval_spend(r, (size_t)d->n)) return NULL;
    JValue **out = ARENA_NEW(r->arena, JValue *, (size_t)d->n + 1);
    for (int i = 0; i < d->n; i++) {
        JValue **two = ARENA_NEW(r->arena, JValue *, 2);
        two[0] = d->p[i].key;
        two[1] = d->p[i].value;
        out[i] = m == M_KEYS ? two[0] : m == M_VALUES ? two[1] : jvalue_list(r->arena, JV_TUPLE, two, 2);
    }
    return jvalue_list(r->arena, JV_GENERATOR, out, d->n);
}

static JValue *list_method(JRun *r, JValue *self, Method m, const JCall *c)
{
    const JValue *what = jeval_arg(c, 0, NULL);
    int64_t n = 0;
    if (m == M_COPY) return self;
    if (!what) return jeval_fail(r, "index and count need an argument");
    if (!jeval_spend(r, (size_t)self->u.list.n)) return NULL;
    for (int i = 0; i < self->u.list.n; i++) {
        if (!jvalue_equal(r, self->u.list.p[i], what)) continue;
        if (m == M_INDEX) return jvalue_int(r->arena, i);
        n++;
    }
    return m == M_INDEX ? jeval_fail(r, "the value is not in the list") : jvalue_int(r->arena, n);
}

static JValue *loop_method(JRun *r, JValue *self, Method m, const JCall *c)
{
    JLoop *l = self->u.loop;
    if (m == M_CYCLE) return c->n ? c->p[l->at % c->n] : jeval_fail(r, "no items for cycling given");
    JValue *now = jvalue_list(r->arena, JV_TUPLE, c->p, c->n);
    bool changed = !l->changed || !jvalue_equal(r, l->changed, now);
    l->changed = now;
    return jvalue_bool(changed);
}

JValue *jmethod_call(JRun *r, JValue *self, Str name, const JCall *c)
{
    const MethodName *m = find(self, name);
    if (!m) return jeval_fail(r, "'%s' has no method '%.*s'", jvalue_type(self), STR_FMT(name));
    if (m->method == M_CHANGES)
        return jeval_fail(r, "access to '%.*s' of a '%s' is unsafe: it would change the value", STR_FMT(name),
                          jvalue_type(self));
    if (self->kind == JV_STR) return string_method(r, self, m->method, c);
    if (self->kind == JV_DICT) return dict_method(r, self, m->method, c);
    if (self->kind == JV_LOOP) return loop_method(r, self, m->method, c);
    return list_method(r, self, m->method, c);
}
