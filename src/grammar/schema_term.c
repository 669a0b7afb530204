/* schema_term.c - places of the document as nodes, conjunctions of them as terms; both made once and looked at once. See schema.h. */
#include <stdlib.h>

#include "base/jsonw.h"
#include "grammar/schema.h"

enum { FIRST_SLOTS = 256, MAX_LITERALS = 200 /* parts of one term */ };

/* ---- pointers ---- */

Str schema_term_child(Schema *s, Str pointer, const char *key)
{
    Buf out = { 0 };
    buf_str(&out, pointer);
    buf_char(&out, '/');
    for (; *key; key++) {
        if (*key == '~' || *key == '/')
            buf_str(&out, *key == '~' ? STR("~0") : STR("~1"));
        else
            buf_char(&out, *key);
    }
    Str p = arena_str(s->mem, str_cut(buf_view(&out), 0, MIN(out.n, (size_t)255)));
    buf_free(&out);
    return p;
}

Str schema_term_item(Schema *s, Str pointer, size_t i)
{
    return arena_printf(s->mem, "%.*s/%zu", STR_FMT(pointer), i);
}

Str schema_term_escaped(Schema *s, Str name)
{
    Buf out = { 0 };
    if (s->style->spell == SPELL_UTF8) return name;
    jsonw_str(&out, name);
    Str text = arena_str(s->mem, str_cut(buf_view(&out), 1, out.n - 1));
    buf_free(&out);
    return text;
}

/* ---- nodes ---- */

static uint32_t node_hash(const json_t *json, bool is_const)
{
    return (uint32_t)hash_mix((uint64_t)(uintptr_t)json * 2 + is_const);
}

static void grow_nodes(Schema *s)
{
    s->n_node_slots = s->n_node_slots ? s->n_node_slots * 2 : FIRST_SLOTS;
    s->node_slots = ARENA_NEW(s->mem, uint32_t, s->n_node_slots);
    for (uint32_t i = 0; i < s->n_nodes; i++) {
        uint32_t at = node_hash(s->node[i].json, s->node[i].is_const) & (s->n_node_slots - 1);
        while (s->node_slots[at]) at = (at + 1) & (s->n_node_slots - 1);
        s->node_slots[at] = i + 1;
    }
}

uint32_t schema_term_node(Schema *s, json_t *json, Str pointer, bool is_const)
{
    if (s->n_nodes * 2 >= s->n_node_slots) grow_nodes(s);
    uint32_t at = node_hash(json, is_const) & (s->n_node_slots - 1);
    for (; s->node_slots[at]; at = (at + 1) & (s->n_node_slots - 1)) {
        const SchemaNode *n = &s->node[s->node_slots[at] - 1];
        if (n->json == json && n->is_const == is_const) return s->node_slots[at] - 1;
    }
    s->node = schema_room(s, s->node, s->n_nodes, &s->cap_nodes, sizeof *s->node);
    build_spend(s->b, 1);
    s->node[s->n_nodes] = (SchemaNode){ .json = json, .is_const = is_const, .pointer = pointer };
    s->node_slots[at] = ++s->n_nodes;
    return s->n_nodes - 1;
}

static bool enter(Schema *s, Str pointer)
{
    if (s->depth >= build_limits(s->b)->nesting) {
        build_at(s->b, pointer);
        build_fail(s->b, E_LIMIT, "schemas that apply to one value are nested too deeply");
        return false;
    }
    s->depth++;
    return true;
}

const SchemaSet *schema_term_node_set(Schema *s, uint32_t node)
{
    SchemaNode n = s->node[node];
    if (build_failed(s->b)) return NULL;
    if (n.set) return n.set;
    if (n.busy) {
        if (!s->probing) {
            build_at(s->b, n.pointer);
            build_fail(s->b, E_UNSUPPORTED, "this schema leads back to itself without going into a value ($ref)");
        }
        return NULL;
    }
    if (!enter(s, n.pointer)) return NULL;
    s->node[node].busy = true;
    const SchemaSet *set = n.is_const ? schema_read_const(s, n.json, n.pointer) : schema_read(s, &n);
    s->node[node].busy = false;
    s->node[node].set = set;
    s->depth--;
    return set;
}

/* ---- terms ---- */

static uint32_t term_hash(const uint32_t *lit, uint32_t n)
{
    return (uint32_t)hash_bytes(lit, n * sizeof *lit, 7);
}

static void grow_terms(Schema *s)
{
    s->n_term_slots = s->n_term_slots ? s->n_term_slots * 2 : FIRST_SLOTS;
    s->term_slots = ARENA_NEW(s->mem, uint32_t, s->n_term_slots);
    for (uint32_t i = 2; i < s->n_terms; i++) {
        uint32_t at = term_hash(s->term[i].lit, s->term[i].n) & (s->n_term_slots - 1);
        while (s->term_slots[at]) at = (at + 1) & (s->n_term_slots - 1);
        s->term_slots[at] = i + 1;
    }
}

static void push_term(Schema *s, SchemaTerm t)
{
    s->term = schema_room(s, s->term, s->n_terms, &s->cap_terms, sizeof *s->term);
    s->term[s->n_terms++] = t;
}

/* Of sorted literals. */
static Term term_of(Schema *s, const uint32_t *lit, uint32_t n)
{
    while (s->n_terms < 2) push_term(s, (SchemaTerm){ .empty = s->n_terms ? 1 : 2 });
    if (n == 0) return TERM_ANY;
    if (n > MAX_LITERALS) build_fail(s->b, E_LIMIT, "too many schemas apply to one value");
    if (s->n_terms * 2 >= s->n_term_slots) grow_terms(s);
    uint32_t at = term_hash(lit, n) & (s->n_term_slots - 1);
    for (; s->term_slots[at]; at = (at + 1) & (s->n_term_slots - 1)) {
        const SchemaTerm *t = &s->term[s->term_slots[at] - 1];
        if (t->n == n && memcmp(t->lit, lit, n * sizeof *lit) == 0) return s->term_slots[at] - 1;
    }
    build_spend(s->b, 1 + n / 4);
    push_term(s, (SchemaTerm){ .lit = arena_copy(s->mem, lit, n * sizeof *lit), .n = n });
    s->term_slots[at] = s->n_terms;
    return s->n_terms - 1;
}

Term schema_term_of(Schema *s, json_t *schema, Str pointer)
{
    if (json_is_true(schema)) return TERM_ANY;
    if (json_is_false(schema)) return TERM_NONE;
    if (json_is_object(schema) && json_object_size(schema) == 0) return TERM_ANY;
    uint32_t lit = schema_term_node(s, schema, pointer, false) * 2;
    return term_of(s, &lit, 1);
}

Term schema_term_const(Schema *s, json_t *value, Str pointer)
{
    uint32_t lit = schema_term_node(s, value, pointer, true) * 2;
    return term_of(s, &lit, 1);
}

Term schema_term_and(Schema *s, Term x, Term y)
{
    if (x == y || y == TERM_ANY) return x;
    if (x == TERM_ANY) return y;
    if (x == TERM_NONE || y == TERM_NONE || build_failed(s->b)) return TERM_NONE;
    const SchemaTerm *p = &s->term[x], *q = &s->term[y];
    uint32_t *lit = ARENA_NEW(s->mem, uint32_t, p->n + q->n), n = 0, i = 0, k = 0;
    while (i < p->n || k < q->n) {
        uint32_t a = i < p->n ? p->lit[i] : UINT32_MAX, b = k < q->n ? q->lit[k] : UINT32_MAX;
        lit[n++] = MIN(a, b);
        i += a <= b;
        k += b <= a;
    }
    for (i = 1; i < n; i++)
        if (lit[i] == (lit[i - 1] | 1)) return TERM_NONE; /* a schema and its complement */
    return term_of(s, lit, n);
}

static int by_number(const void *p, const void *q)
{
    uint32_t a = *(const uint32_t *)p, b = *(const uint32_t *)q;
    return (a > b) - (a < b);
}

Term schema_term_inner(Schema *s, Term t)
{
    if (t <= TERM_NONE || build_failed(s->b)) return t;
    const SchemaTerm *from = &s->term[t];
    uint32_t *lit = ARENA_NEW(s->mem, uint32_t, from->n);
    for (uint32_t i = 0; i < from->n; i++) {
        const SchemaNode *n = &s->node[from->lit[i] / 2];
        lit[i] = schema_term_node(s->inner, n->json, n->pointer, n->is_const) * 2 | (from->lit[i] & 1);
    }
    qsort(lit, from->n, sizeof *lit, by_number);
    return term_of(s->inner, lit, from->n);
}

uint32_t schema_term_parts(const Schema *s, Term t)
{
    return t == TERM_ANY ? 0 : t == TERM_NONE ? 1 : s->term[t].n;
}

Term schema_term_without(Schema *s, Term t, Term u, uint32_t part)
{
    if (u == TERM_NONE) return t;
    uint32_t lit = s->term[u].lit[part] ^ 1;
    return schema_term_and(s, t, term_of(s, &lit, 1));
}

const SchemaSet *schema_term_set(Schema *s, Term t)
{
    if (t == TERM_ANY) return s->any;
    if (t == TERM_NONE) return &schema_set_nothing;
    SchemaTerm made = s->term[t];
    if (made.set) return made.set;
    const SchemaSet *set = s->any;
    for (int negative = 0; negative < 2; negative++) {
        for (uint32_t i = 0; i < made.n && set; i++) {
            if ((made.lit[i] & 1) != (uint32_t)negative) continue;
            const SchemaSet *x = schema_term_node_set(s, made.lit[i] / 2);
            if (!x) return NULL;
            build_at(s->b, s->node[made.lit[i] / 2].pointer);
            set = negative ? schema_set_without(s, set, x) : schema_set_and(s, set, x);
        }
    }
    s->term[t].set = set;
    return set;
}
