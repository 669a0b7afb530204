/* schema_format.c - the formats that are enforced, as patterns. See schema.h.
 *
 * Sources: RFC 3339 (dates, times, durations), 5321 (mail), 1123 (hosts), 2673 and 4291 (addresses), 3986, 3987, 6570, 6901, 4122. Where a format has
 * rare forms that parsers disagree on (leap seconds, quoted mail names, addresses in brackets) they are left out: what is
 * written is valid everywhere. Thread: the Build's. */
#include "grammar/schema.h"

#define MONTH_DAY                                                                                                      \
    "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
#define LEAP   "([0-9]{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)"
#define YEAR   "([0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
#define DATE   "(" YEAR "-" MONTH_DAY "|" LEAP "-02-29)"
#define ZONE   "([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
#define TIME   "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]+)?" ZONE
#define HMS    "T([0-9]+H([0-9]+M([0-9]+S)?)?|[0-9]+M([0-9]+S)?|[0-9]+S)"
#define YMD    "([0-9]+Y([0-9]+M([0-9]+D)?)?|[0-9]+M([0-9]+D)?|[0-9]+D)"
#define LABEL  "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#define HOST   LABEL "(\\." LABEL ")*"
#define ATOM   "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
#define BYTE   "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define IPV4   BYTE "(\\." BYTE "){3}"
#define H16    "[0-9A-Fa-f]{1,4}"
#define LS32   "(" H16 ":" H16 "|" IPV4 ")"
#define HEX2   "%[0-9A-Fa-f]{2}"
#define WIDE   "\\u00A0-\\uD7FF\\uF900-\\uFDCF\\uFDF0-\\uFFEF\\U00010000-\\U0001FFFD"
#define PLAINC "A-Za-z0-9._~!$&'()*+,;=\\-"

#define IPV6                                                                                                           \
    "((" H16 ":){6}" LS32 "|::(" H16 ":){5}" LS32 "|(" H16 ")?::(" H16 ":){4}" LS32 "|((" H16 ":){0,1}" H16            \
    ")?::(" H16 ":){3}" LS32 "|((" H16 ":){0,2}" H16 ")?::(" H16 ":){2}" LS32 "|((" H16 ":){0,3}" H16 ")?::" H16       \
    ":" LS32 "|((" H16 ":){0,4}" H16 ")?::" LS32 "|((" H16 ":){0,5}" H16 ")?::" H16 "|((" H16 ":){0,6}" H16 ")?::)"

/* w: "" or the characters beyond ASCII; h: addresses in brackets */
#define PCHAR(w)        "([" PLAINC w ":@]|" HEX2 ")"
#define AUTHORITY(w, h) "(([" PLAINC w ":]|" HEX2 ")*@)?(" h "([" PLAINC w "]|" HEX2 ")*)(:[0-9]*)?"
#define TAIL(w)         "(\\?(" PCHAR(w) "|[/?])*)?(#(" PCHAR(w) "|[/?])*)?"
#define SLASHES(w)      "(/" PCHAR(w) "*)*"
#define BRACKETS        "\\[" IPV6 "\\]|"
#define ABSOLUTE(w, h)                                                                                                 \
    "[A-Za-z][A-Za-z0-9+.-]*:(//" AUTHORITY(w, h)                                                                      \
        SLASHES(w) "|/(" PCHAR(w) "+" SLASHES(w) ")?|(" PCHAR(w) "+" SLASHES(w) ")?)" TAIL(w)
#define RELATIVE(w, h)                                                                                                 \
    "(//" AUTHORITY(w, h) SLASHES(w) "|/(" PCHAR(w) "+" SLASHES(w) ")?|(([" PLAINC w "@]|" HEX2                        \
                                                                   ")+" SLASHES(w) ")?)" TAIL(w)

#define VARNAME  "([A-Za-z0-9_]|" HEX2 ")(\\.?([A-Za-z0-9_]|" HEX2 "))*"
#define VARSPEC  VARNAME "(\\*|:[1-9][0-9]{0,3})?"
#define TEMPLATE "([!#$&(-;=?-Z_a-z~\\[\\]" WIDE "]|" HEX2 "|\\{[+#./;?&=,!@|]?" VARSPEC "(," VARSPEC ")*\\})*"
#define POINTER  "(/([^/~]|~[01])*)*"

static const struct {
    const char *name, *pattern;
    uint32_t max; /* characters; 0: any number */
} formats[] = {
    { "date", DATE, 0 },
    { "time", TIME, 0 },
    { "date-time", DATE "[Tt]" TIME, 0 },
    { "duration", "P([0-9]+W|" YMD "(" HMS ")?|" HMS ")", 0 },
    { "email", ATOM "(\\." ATOM ")*@" HOST, 254 },
    { "idn-email", ATOM "(\\." ATOM ")*@" HOST, 254 },
    { "hostname", HOST, 253 },
    { "idn-hostname", HOST, 253 },
    { "ipv4", IPV4, 0 },
    { "ipv6", IPV6, 0 },
    { "uuid", "[0-9A-Fa-f]{8}-([0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}", 0 },
    { "uri", ABSOLUTE("", BRACKETS), 0 },
    { "uri-reference", ABSOLUTE("", BRACKETS) "|" RELATIVE("", ""), 0 },
    { "iri", ABSOLUTE(WIDE, ""), 0 },
    { "iri-reference", ABSOLUTE(WIDE, "") "|" RELATIVE(WIDE, ""), 0 },
    { "uri-template", TEMPLATE, 0 },
    { "json-pointer", POINTER, 0 },
    { "relative-json-pointer", "(0|[1-9][0-9]*)(#|" POINTER ")", 0 },
};

bool schema_format(Schema *s, Str name, Expr *out)
{
    for (size_t i = 0; i < COUNT(formats); i++) {
        if (!str_is(name, formats[i].name)) continue;
        Expr e = pattern_build(s->b, str_of(formats[i].pattern), PATTERN_DOT_ALL, s->style->spell);
        if (formats[i].max)
            e = expr_and(s->b, e, expr_repeat(s->b, expr_any_char(s->b, s->style->spell), 1, formats[i].max));
        *out = e;
        return true;
    }
    return false;
}
