/* tokenize.c - `radish tokenize`: text to ids as one JSON array, or back. Needs no weights. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/jsonw.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "tok/tok.h"

enum { INPUT_MAX = 1 << 30 };

static bool is_gap(char c)
{
    return isspace((unsigned char)c) || c == ',' || c == '[' || c == ']';
}

/* Ids between any of "[], \n". */
static bool read_ids(Str text, Ids *out)
{
    size_t i = 0;
    for (;;) {
        while (i < text.n && is_gap(text.p[i])) i++;
        if (i == text.n) return true;
        size_t begin = i;
        while (i < text.n && !is_gap(text.p[i])) i++;
        int64_t id;
        if (!str_to_i64(str_cut(text, begin, i), &id) || id < 0 || id > INT32_MAX) {
            fprintf(stderr, "radish: --decode needs a JSON array of token ids; at byte %zu it reads \"%.*s\"\n", begin,
                    (int)MIN(i - begin, 20u), text.p + begin);
            return false;
        }
        ids_push(out, (int32_t)id);
    }
}

int cli_tokenize(int argc, char **argv)
{
    Options o = { 0 };
    if (!options_read(CMD_TOKENIZE, argc, argv, &o)) return 1;
    const char *path = o.radish.tokenizer_path ? o.radish.tokenizer_path
                       : o.radish.model_path   ? o.radish.model_path
                                               : o.arg[0];
    if (!path) {
        fprintf(stderr, "radish: no model: radish tokenize -m MODEL\n");
        return 1;
    }
    Err err;
    Tokenizer *t;
    if (tok_open_path(path, &t, &err) != OK) {
        fprintf(stderr, "radish: %s\n", err.text);
        return 1;
    }
    Buf in = { 0 }, out = { 0 };
    Ids ids = { 0 };
    bool good = ask_stdin(&in, INPUT_MAX);
    if (good && o.decode) {
        good = read_ids(buf_view(&in), &ids);
        tok_decode(t, ids.p, ids.n, false, &out);
    } else if (good) {
        tok_encode(t, buf_view(&in), (o.no_specials ? 0 : TOK_SPECIALS) | (o.add_special ? TOK_ADD_BOS : 0), &ids);
        jsonw_ids(&out, ids.p, ids.n);
        buf_char(&out, '\n');
    }
    if (good) fwrite(out.p, 1, out.n, stdout);
    tok_close(t);
    buf_free(&in);
    buf_free(&out);
    ids_free(&ids);
    return good ? 0 : 1;
}
