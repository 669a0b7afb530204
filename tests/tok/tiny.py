"""Small tokenizers of every kind, trained on a few lines, and hard texts for them. Used by make_golden.py and test_hf.py."""
import json
import random
import struct
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

C = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"
OTHERS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = C + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + OTHERS + "|" + TAIL
QWEN = C + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + OTHERS + "|" + TAIL
QWEN35 = C + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" + TAIL
UP, LOW, LEAD = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", r"[^\r\n\p{L}\p{N}]?"
O200K = f"{LEAD}{UP}*{LOW}+{C}?|{LEAD}{UP}+{LOW}*{C}?" + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + TAIL
YOUTU = f"{LEAD}{UP}*{LOW}+{C}?|{LEAD}{UP}+{LOW}*{C}?" + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + TAIL
TEKKEN = f"{LEAD}{UP}*{LOW}+|{LEAD}{UP}+{LOW}*" + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + TAIL
UPH, LOWH = UP[:-1] + r"&&[^\p{Han}]]", LOW[:-1] + r"&&[^\p{Han}]]"
KIMI = r"[\p{Han}]+|" + f"{LEAD}{UPH}*{LOWH}+{C}?|{LEAD}{UPH}+{LOWH}*{C}?" + r"|\p{N}{1,3}|" + OTHERS + "|" + TAIL
DEEPSEEK = [r"\p{N}{1,3}", "[一-龥\u3040-\u309f\u30a0-\u30ff]+",
            r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|" + TAIL]

CORPUS = ["The quick brown fox jumps over the lazy dog. It's 2024, isn't it? They're here; we've 1,234.56 reasons.",
          "    def main():\n        return [x * 2 for x in range(10)]\n\n", "#include <stdio.h>\nint main(void) { return 0; }\n",
          "naïve café résumé Straße ἄνθρωπος Привет, мир! Ёлка", "今天天气很好。我们去公园吧？ 吾輩は猫である。名前はまだ無い。", "안녕하세요 세계 नमस्ते दुनिया مرحبا بالعالم",
          "HELLO World HTMLParser camelCase snake_case https://example.com/a/b?c=1 <|im_start|>user", "😀👍🏽 👩‍💻 αβγ ½ ² ①", "Hello hello the the of of and and to to in in is is"]


def strings():
    """Hard texts, the same every time."""
    yield from ["", " ", "  ", "   a", "a   ", "a  b", "\n", "\n\n", " \n", "\n ", "\r\n\r\n", "a\n\n\nb", "x \n y", "\t\tx", "a\u00a0b \u3000 c", "a\u2028b", "\u180e x\u180e"]
    yield from CORPUS
    yield from ["1", "12", "123", "1234", "12345678", "a1b22c333", "١٢٣٤", "½¼", "x²y³", "1st 2nd", "3.14", "12 34", " 1", "  12"]
    yield from ["it's IT'S It'S it'ſ we'll WE'LL don't DON'T y'all'd've", "'s", "'", "''", "' s", "'S'T'RE", "’s can’t", "a'b'c", "o'clock 'tis"]
    yield from ["!", "!!!", "...", ". . .", "a.b,c;d", "/*x*/\n//\n", "end.\n\n", "end!\r\n", " ?", " ?? ", "$x$", "a//b/", "«q»", "—", "!a", "#tag", "<b>", "~~", "x^2"]
    yield from ["AaBbCc", "ABCdef", "ABC", "ǅa", "ªº", "ʰa", "A\u0301b", "a\u0301", "\u0301", " \u0301x", "é e\u0301 É", "İI ıi", "ﬁ ﬀ ㊿", "ẛ̣", "q\u0307\u0323", "\u1100\u1161\u11a8", "가", "が か\u3099"]
    yield from ["中文English混合", "日本語テキスト123", "漢字かな交じり文", "々〆〇", "\u2e80\u3007x", "สวัสดี", "क्षि", "བཀྲ་ཤིས", "ﷺ", "𝒳𝔜", "🇯🇵🇺🇸", "1️⃣", "👨‍👩‍👧"]
    yield from ["\x00", "a\x00b", "\x01\x02", "\x7f", "\x85x", "\ufeffx", "\ufffd", "\U000e0001", "\u200b\u200d", "\ue000", "\U0010ffff", "\u0378"]
    yield from ["<s>", "</s>a", "a<s>b</s> c", "<|end|>", "x<|end|> y", " <|end|> ", "<mask>", "a <mask> b", "a<mask>b", "word", "words word sword", "word.", "Yesterday yesterday", "<think>\nhm\n</think>\n"]
    yield from ["<0x0A>", "\u2581", "\u2581a \u2581", "a\u2581b", "Ġ", "##a", "[UNK] [CLS]", "a</w>b", "Ċ"]
    yield from ["a" * 50, " " * 30 + "x", "\n" * 20, "ab" * 24, "!" * 20, "中" * 14, "0" * 20, "é" * 9, "e\u0301" * 9, "aA" * 20, "the" * 20]
    r = random.Random(7)
    for i in range(10):
        yield random_text(r, (0x110000, 0x20000, 0x800, 0x180, 0x80)[i % 5], 20)


def random_text(r, top, n):
    return "".join(chr(c) for c in (r.randrange(top) for _ in range(n)) if not 0xD800 <= c < 0xE000)


SPECIALS = [AddedToken("<s>", special=True, normalized=False), AddedToken("</s>", special=True, normalized=False),
            AddedToken("<|end|>", special=True, normalized=False, rstrip=True),
            AddedToken("<mask>", special=True, normalized=False, lstrip=True),
            AddedToken("word", special=False, normalized=False, single_word=True),
            AddedToken("Yesterday", special=False, normalized=True),
            AddedToken("<think>", special=False, normalized=False)]


def trained(model, trainer, normalizer=None, pre=None, decoder=None, post=None, added=SPECIALS):
    t = Tokenizer(model)
    if normalizer:
        t.normalizer = normalizer
    if pre:
        t.pre_tokenizer = pre
    if decoder:
        t.decoder = decoder
    t.train_from_iterator([line for line in CORPUS for _ in range(3)] + [s for s in strings() if "\x00" not in s][:120], trainer)
    t.add_tokens([a for a in added if not a.special])
    t.add_special_tokens([a for a in added if a.special])
    if post:
        t.post_processor = post(t)
    return t


def template(t):
    return processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", t.token_to_id("<s>")), ("</s>", t.token_to_id("</s>"))])


def byte_bpe(pre, normalizer=None, post=None, size=420, **options):
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    t = trained(models.BPE(**options), trainer, normalizer, pre, decoders.ByteLevel(), post)
    return t


def split_bytes(*patterns, behavior="isolated", invert=False):
    splits = [pre_tokenizers.Split(Regex(p), behavior, invert) for p in patterns]
    return pre_tokenizers.Sequence(splits + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


BYTE_PIECES = [f"<0x{b:02X}>" for b in range(256)]


def spm_bpe(normalizer, pre=None, decoder=None, post=None, byte_fallback=True):
    """A BPE over characters with byte fallback, as SentencePiece's models are written in a tokenizer.json."""
    train = trained(models.BPE(unk_token="<unk>"), trainers.BpeTrainer(vocab_size=330, special_tokens=["<unk>"], limit_alphabet=90, show_progress=False),
                    normalizer, pre or pre_tokenizers.Split(" ", "merged_with_next"), added=[])
    data = json.loads(train.to_str())
    vocab = data["model"]["vocab"]
    for piece in BYTE_PIECES if byte_fallback else []:
        vocab.setdefault(piece, len(vocab))
    merges = [tuple(m) for m in data["model"]["merges"]]
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=byte_fallback))
    if normalizer:
        t.normalizer = normalizer
    if pre:
        t.pre_tokenizer = pre
    t.decoder = decoder
    t.add_tokens([a for a in SPECIALS if not a.special])
    t.add_special_tokens([a for a in SPECIALS if a.special])
    if post:
        t.post_processor = post(t)
    return t


def llama2_decoder():
    return decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])


def unigram(normalizer, pre, unk="<unk>", decoder=None):
    trainer = trainers.UnigramTrainer(vocab_size=260, unk_token=unk, special_tokens=[unk], show_progress=False)
    return trained(models.Unigram(), trainer, normalizer, pre, decoder or decoders.Metaspace(), template)


def wordpiece(**bert):
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=["[UNK]", "[CLS]", "[SEP]"], limit_alphabet=120, show_progress=False)
    return trained(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20), trainer, normalizers.BertNormalizer(**bert),
                   pre_tokenizers.BertPreTokenizer(), decoders.WordPiece(),
                   lambda t: processors.BertProcessing(("[SEP]", t.token_to_id("[SEP]")), ("[CLS]", t.token_to_id("[CLS]"))))


def plain_bpe(pre, normalizer=None, decoder=None, **options):
    special = ["<unk>"] if "unk_token" in options else []
    keep = {k: v for k, v in options.items() if k in ("continuing_subword_prefix", "end_of_word_suffix")}
    trainer = trainers.BpeTrainer(vocab_size=360, special_tokens=special, limit_alphabet=150, show_progress=False, **keep)
    return trained(models.BPE(**options), trainer, normalizer, pre, decoder)


def word_level(pre, normalizer=None):
    trainer = trainers.WordLevelTrainer(vocab_size=200, special_tokens=["<unk>"], show_progress=False)
    return trained(models.WordLevel(unk_token="<unk>"), trainer, normalizer, pre)


def builders():
    N, P = normalizers, pre_tokenizers
    legacy = N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")])
    behaviors = {b: split_bytes(r"[aeiou]+|\d", behavior=b) for b in ("removed", "merged_with_previous", "merged_with_next", "contiguous")}
    return {
        "gpt2": lambda: byte_bpe(P.ByteLevel(add_prefix_space=False)),
        "gpt2_prefix": lambda: byte_bpe(P.ByteLevel(add_prefix_space=True), post=template),
        "smollm": lambda: byte_bpe(P.Sequence([P.Digits(individual_digits=True), P.ByteLevel(add_prefix_space=False)])),
        "llama3": lambda: byte_bpe(split_bytes(LLAMA3), ignore_merges=True, post=lambda t: processors.Sequence([processors.ByteLevel(trim_offsets=False), template(t)])),
        "qwen2": lambda: byte_bpe(split_bytes(QWEN), N.NFC()),
        "qwen35": lambda: byte_bpe(split_bytes(QWEN35), N.NFC()),
        "o200k": lambda: byte_bpe(split_bytes(O200K, behavior="removed", invert=True)),
        "tekken": lambda: byte_bpe(split_bytes(TEKKEN)),
        "youtu": lambda: byte_bpe(split_bytes(YOUTU)),
        "scripts": lambda: cut_by(P.Sequence([P.UnicodeScripts(), P.ByteLevel(add_prefix_space=False, use_regex=False)])),
        "empty_cuts": lambda: cut_by(split_bytes(r"(?=(\d{3})+(?!\d))", r"x*|\b")),
        "empty_joins": lambda: cut_by(split_bytes(r"x*(?=[aeiou])", behavior="merged_with_previous")),
        "kimi": lambda: byte_bpe(split_bytes(KIMI)),
        "deepseek3": lambda: byte_bpe(split_bytes(*DEEPSEEK)),
        "deepseek_coder": lambda: byte_bpe(split_bytes(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}")),
        "falcon": lambda: byte_bpe(P.Sequence([P.Punctuation("contiguous"), P.ByteLevel(add_prefix_space=False), P.Digits(False), P.Split(Regex("[0-9][0-9][0-9]"), "isolated")])),
        "byte_norm": lambda: byte_bpe(P.Split(Regex(r"\s?\w+"), "isolated"), N.ByteLevel()),
        "regex": lambda: byte_bpe(split_bytes(r"\p{Lu}?[\p{Ll}\p{M}]+|\p{P}+(?=\s)|\s+$|\S\S?")),
        "ruby_regex": lambda: cut_by(split_bytes(r"\p{N}{1,3}+", r"[[:punct:]][[:digit:][:space:]]|(?:o|u){2}+", r"\u0054|[\u0042-\u0043]+", r"e{,2}r|\h{3}", r"[^]x]\P{L}\p{^N}|\p{Letter}{4}")),
        "regex_words": lambda: byte_bpe(split_bytes(r"\w+|\d|[^\w\s]+|[\w\d]\W")),
        **{"split_" + b: (lambda p=p: byte_bpe(p)) for b, p in behaviors.items()},
        "llama2": lambda: spm_bpe(legacy, decoder=llama2_decoder(), post=template),
        "mistral": lambda: spm_bpe(None, P.Metaspace(prepend_scheme="first", split=False), llama2_decoder()),
        "gemma": lambda: spm_bpe(N.Replace(" ", "▁"), P.Split(" ", "merged_with_previous"), decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])),
        "spm_unk": lambda: spm_bpe(legacy, decoder=llama2_decoder(), byte_fallback=False),
        "unigram": lambda: unigram(N.Sequence([N.Nmt(), N.NFKC(), N.Replace(Regex(" {2,}"), " ")]), P.Metaspace()),
        "unigram_charsmap": lambda: unigram(N.Sequence([N.Precompiled(charsmap()), N.Replace(Regex(" {2,}"), " ")]), P.Metaspace()),
        "unigram_words": lambda: unigram(N.Sequence([N.NFD(), N.StripAccents(), N.Strip(), N.Lowercase()]), P.Sequence([P.WhitespaceSplit(), P.Metaspace(prepend_scheme="always")])),
        "bert": lambda: wordpiece(),
        "bert_cased": lambda: wordpiece(lowercase=False, handle_chinese_chars=False),
        "clip": lambda: plain_bpe(P.Whitespace(), N.Lowercase(), decoders.BPEDecoder(), unk_token="<unk>", end_of_word_suffix="</w>"),
        "subword": lambda: plain_bpe(P.Punctuation("merged_with_previous"), N.NFKD(), unk_token="<unk>", fuse_unk=True, continuing_subword_prefix="@@"),
        "words": lambda: word_level(P.Sequence([P.CharDelimiterSplit(" "), P.FixedLength(4)])),
        "ctc": lambda: ctc(word_level(P.Whitespace(), N.Lowercase())),
    }


def crossing():
    """A byte BPE whose merges go across every boundary, so that each cut of a pre-tokenizer shows in the ids."""
    return byte_bpe(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False), size=700)


def cut_by(pre):
    t = crossing()
    t.pre_tokenizer = pre
    return t


def families():
    """How the families that GGUF files name split text: the name, and the patterns of their tokenizer.json, as far as these
    are public; each splits the pieces of the one before."""
    llama3_words = r"|[^\r\n\p{L}\p{N}]?\p{L}+"
    cascade = "|".join(r"\s{%d}(?!\S)" % n for n in (512, 256, 128, 64, 32, 16, 8, 4)) + r"|\s{1,2}(?!\S)|\s{1}"
    marks = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    thai_to_hangul = ("[一-鿿㐀-䶿\u8c48-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e40-\u0e7f\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f"
                      "\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+")
    bloom = r" ?[^(\s|.,!?…。，、।۔،)]+"
    return {
        "gpt-2": [GPT2], "smollm": [r"\p{N}", GPT2], "llama-bpe": [LLAMA3], "glm4": [LLAMA3], "hunyuan": [QWEN], "gpt-4o": [O200K], "tekken": [TEKKEN],
        "kimi-k2": [KIMI], "deepseek-v3": DEEPSEEK, "hy_v4": DEEPSEEK, "bloom": [bloom], "viking": [bloom, r"\p{N}"],
        "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}"],
        "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"], "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
        "chameleon": [r"<sentinel:[0-9]+>", r"(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", r"([\t\n]|    |  )", r"\p{N}", r"[\p{P}!-/:-@\[-`{-~]", GPT2],
        "bailingmoe": [r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"],
        "tiny_aya": [r"\d{1,3}(?=(?:\d{3})*\b)", O200K], "cohere2moe": [r"\d{1,3}(?=(?:\d{3})*\b)", O200K],
        "seed-coder": [C + llama3_words + r"|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|" + TAIL],
        "exaone-moe": [C + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"],
        "jais-2": [C + llama3_words + r"|\p{N}{1,3}|" + OTHERS + r"|\s*[\r\n]+|" + cascade], "superbpe": [r"\p{N}+", r"(?=(\d{3})+(?!\d))"],
        "minicpm5": [r"\p{N}{1,3}", C + llama3_words + r"|\p{N}+|" + OTHERS + "|" + TAIL], "ufakzeka": [r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + OTHERS + "|" + TAIL],
        "laguna": [r"[^\n]+|[\n]+", QWEN], "youtu": ["[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥\u3040-\u309f\u30a0-\u30ff]+", YOUTU],
        "spark2_5": [*DEEPSEEK[:2], marks + r"| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+", r"\p{N}"],
        "afmoe": [r"\p{N}{1,3}(?=(?:\p{N}{3})*+(?!\p{N}))", thai_to_hangul, DEEPSEEK[2]],
    }


def family_files(folder):
    """For each family a tokenizer.json's object and the GGUF file with the same pieces and merges: name, tokenizer, path."""
    t = crossing()
    model = json.loads(t.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    for name, patterns in families().items():
        t = Tokenizer(models.BPE(vocab=model["vocab"], merges=[tuple(m.split(" ")) for m in merges]))
        t.pre_tokenizer, t.decoder = split_bytes(*patterns), decoders.ByteLevel()
        path = folder / f"{name}.gguf"
        write_gguf(path, {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": name, "tokenizer.ggml.tokens": tokens,
                          "tokenizer.ggml.merges": merges, "tokenizer.ggml.add_bos_token": False})
        yield name, t, path


def write_gguf(path, meta):
    """A GGUF file without tensors; values are strings, booleans, lists of strings, of ints or of floats."""
    def text(s):
        return struct.pack("<Q", len(s.encode())) + s.encode()

    def value(v):
        if isinstance(v, str):
            return struct.pack("<I", 8) + text(v)
        if isinstance(v, bool):
            return struct.pack("<IB", 7, v)
        kind, pack = {str: (8, text), int: (5, lambda x: struct.pack("<i", x)), float: (6, lambda x: struct.pack("<f", x))}[type(v[0])]
        return struct.pack("<IIQ", 9, kind, len(v)) + b"".join(map(pack, v))

    data = b"GGUF" + struct.pack("<IQQ", 3, 0, len(meta)) + b"".join(text(k) + value(v) for k, v in meta.items())
    path.write_bytes(data + bytes(-len(data) % 32))


def ctc(t):
    t.decoder = decoders.CTC("<unk>", "the", True)
    return t


def sentencepiece_options():
    common = {"hard_vocab_limit": False, "character_coverage": 0.98, "user_defined_symbols": ["<think>", "[REF]"], "control_symbols": ["<tool>"]}
    bpe = {**common, "model_type": "bpe", "byte_fallback": True, "vocab_size": 600}
    return {
        "spm_bpe": {**bpe, "normalization_rule_name": "identity", "remove_extra_whitespaces": False},
        "spm_bpe_bare": {**bpe, "normalization_rule_name": "identity", "add_dummy_prefix": False, "byte_fallback": False, "remove_extra_whitespaces": False},
        "spm_unigram": {**common, "model_type": "unigram", "vocab_size": 220, "normalization_rule_name": "identity"},
    }


def charsmap():
    """SentencePiece's own nmt_nfkc map, out of a model's normalizer_spec (field 3, then field 2)."""
    import tempfile
    import pathlib
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "m"
        train_sentencepiece(path, {"model_type": "unigram", "vocab_size": 400, "hard_vocab_limit": False})
        return field(field(path.read_bytes(), 3), 2)


def field(data, number):
    """The last length-delimited field of that number in a protocol buffer."""
    def varint(i):
        value = shift = 0
        while True:
            value, shift, i = value | (data[i] & 127) << shift, shift + 7, i + 1
            if data[i - 1] < 128:
                return value, i
    i, found = 0, b""
    while i < len(data):
        key, i = varint(i)
        if key & 7 == 2:
            n, i = varint(i)
            found = data[i:i + n] if key >> 3 == number else found
            i += n
        elif key & 7 == 0:
            _, i = varint(i)
        else:
            i += 4 if key & 7 == 5 else 8
    return found


def train_sentencepiece(path, options):
    import io
    import sentencepiece
    out = io.BytesIO()
    lines = [line for line in CORPUS for _ in range(3)] + [s for s in strings() if "\x00" not in s and s.strip()][:100]
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=out, minloglevel=2, num_threads=1, **options)
    path.write_bytes(out.getvalue())
