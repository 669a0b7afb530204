/* test_real.c - the real default model, SmolLM2-135M-Instruct (Q4_1), against float32 on the same dequantised weights.
 *
 * Looks for the file in $RADISH_MODEL, then in ~/.cache/radish/models/; skips where neither is there. The reference is
 * tests/golden/make_smollm2.py's. Its tokens are fed back, so that one unclear choice does not spoil the rest. */
#include <jansson.h>

#include "model/rig.h"

#define MODEL_FILE "SmolLM2-135M-Instruct.Q4_1.gguf"

enum { VOCAB = 49152, PROBE_STEP = 48, TOKENS_MAX = 100 };

typedef struct {
    json_t *root;
    char path[512];
} World;

static bool find_model(char *path, size_t n)
{
    const char *set = getenv("RADISH_MODEL"), *home = getenv("HOME");
    if (set && strstr(set, MODEL_FILE) && file_exists(set)) {
        snprintf(path, n, "%s", set);
        return true;
    }
    snprintf(path, n, "%s/.cache/radish/models/" MODEL_FILE, home ? home : "");
    return file_exists(path);
}

static int setup(void **state)
{
    World *w = mem_alloc(sizeof(*w));
    *state = w;
    if (!find_model(w->path, sizeof(w->path))) return 0;
    json_error_t why;
    w->root = json_load_file(RADISH_TESTS "/data/golden/smollm2.json", 0, &why);
    return w->root ? 0 : -1;
}

static int teardown(void **state)
{
    World *w = *state;
    json_decref(w->root);
    mem_free(w);
    return 0;
}

static int read_ids(const json_t *list, int32_t *out)
{
    int n = (int)json_array_size(list);
    for (int i = 0; i < n; i++) out[i] = (int32_t)json_integer_value(json_array_get(list, (size_t)i));
    return n;
}

static int32_t best(const float *row)
{
    int32_t top = 0;
    for (int32_t i = 1; i < VOCAB; i++)
        if (row[i] > row[top]) top = i;
    return top;
}

static double probe_nmse(const json_t *c, const float *row)
{
    const json_t *list = json_object_get(c, "every_48th_logit");
    float got[VOCAB / PROBE_STEP], want[VOCAB / PROBE_STEP];
    for (int i = 0; i < VOCAB / PROBE_STEP; i++) {
        got[i] = row[i * PROBE_STEP];
        want[i] = (float)json_number_value(json_array_get(list, (size_t)i));
    }
    return rig_nmse(got, want, VOCAB / PROBE_STEP);
}

/* Prompt and n reference tokens in one pass: row n_prompt - 1 + i must choose token i. */
static void run_case(Rig *r, const json_t *c, int n_greedy, double clear, double nmse_max)
{
    static const int32_t pages[] = { 9, 4, 1, 7, 3, 8 };
    int32_t ids[TOKENS_MAX], greedy[TOKENS_MAX];
    int n = read_ids(json_object_get(c, "ids"), ids), n_clear = 0;
    n_greedy = MIN(n_greedy, read_ids(json_object_get(c, "greedy"), greedy));
    memcpy(ids + n, greedy, (size_t)(n_greedy - 1) * sizeof(int32_t));
    float *out = mem_alloc_array((size_t)(n + n_greedy) * VOCAB, sizeof(float));
    rig_forward(r, &(Part){ ids, 0, n + n_greedy - 1, pages }, 1, out);
    double nmse = probe_nmse(c, out + (size_t)(n - 1) * VOCAB);
    if (getenv("RADISH_VERBOSE")) print_message("nmse %.3g\n", nmse);
    for (int i = 0; i < n_greedy; i++) {
        double gap = json_number_value(json_array_get(json_object_get(c, "gap"), (size_t)i));
        int32_t got = best(out + (size_t)(n - 1 + i) * VOCAB);
        if (gap <= clear) continue;
        n_clear++;
        if (got != greedy[i])
            fail_msg("\"%s\": token %d is %d, the reference drew %d (%.3f ahead)",
                     json_string_value(json_object_get(c, "prompt")), i, got, greedy[i], gap);
    }
    if (!(nmse <= nmse_max))
        fail_msg("\"%s\": logits differ, nmse %.3g", json_string_value(json_object_get(c, "prompt")), nmse);
    assert_true(n_clear * 3 >= n_greedy); /* or else the test says little */
    mem_free(out);
}

static bool absent(const World *w)
{
    if (w->root) return false;
    print_message("skipped: no " MODEL_FILE " in $RADISH_MODEL or ~/.cache/radish/models\n");
    return true;
}

/* The definition: f32 throughout. Slow, so one prompt. */
static void test_plain(void **state)
{
    World *w = *state;
    if (absent(w)) skip();
    Rig r = rig_open(w->path, "plain", 0, (ModelOptions){ .kv_dtype = DT_F32, .context_length = 256 });
    run_case(&r, json_array_get(json_object_get(w->root, "cases"), 0), 6, 1e-3, 1e-8);
    rig_close(&r);
}

/* As served: integer activations and a cache of 16 bits. This model has a few huge activations, next to which int8 is
 * coarse: 0.012 is the worst of these prompts. */
static void test_fast(void **state)
{
    World *w = *state;
    if (absent(w)) skip();
    Rig r = rig_open(w->path, "auto", 0, (ModelOptions){ .kv_dtype = DT_NONE, .context_length = 256 });
    const json_t *cases = json_object_get(w->root, "cases");
    for (size_t i = 0; i < json_array_size(cases); i++) run_case(&r, json_array_get(cases, i), 16, 0.75, 3e-2);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_plain), cmocka_unit_test(test_fast) };
    return cmocka_run_group_tests(tests, setup, teardown);
}
