#!/usr/bin/env python3
"""Random texts through Hugging Face `tokenizers` and through Ocellus: the same ids, offsets and texts?

    tests/interop/tokenizers_fuzz.py build/cpu/ocellus [--files N] [--texts N] [--seed S] [--shared DIR]
                                     [--only PART_OF_NAME] [--keep DIR] [--show N]

Run by hand; needs `tokenizers` and a Python whose unicodedata is that of Unicode 14 (3.11), and says that it skips
without them. Compares every tokenizer.json below DIR (default ../shared) and --files random ones, each with --texts
random texts of code points assigned in Unicode 14 (without U+180E and private use). A text that makes `tokenizers` fail must be an
error here or have an answer; a file that `tokenizers` reads must be read or refused by name. Prints the first
differences; --keep writes files that differ to a folder. Last line: N passed, N failed, N skipped.
"""
import argparse
import collections
import glob
import json
import os
import random
import subprocess
import sys
import tempfile
import traceback
import unicodedata

try:
    import tokenizers
except ImportError as missing:
    print(f"skipped: {missing}\n0 passed, 0 failed, 1 skipped")
    sys.exit(0)
if unicodedata.unidata_version != "14.0.0":
    print(f"skipped: this Python has Unicode {unicodedata.unidata_version}, not 14\n0 passed, 0 failed, 1 skipped")
    sys.exit(0)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/data"))
import make_tokenizer_golden as golden  # noqa: E402  the fixed files, and helpers

BY_CATEGORY = collections.defaultdict(list)
for code in range(0x110000):
    if unicodedata.category(chr(code)) not in ("Cn", "Cs", "Co") and code != 0x180E:
        BY_CATEGORY[unicodedata.category(chr(code))].append(chr(code))
BLOCKS = [(0x20, 0x7F), (0xA0, 0x250), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700), (0x900, 0xA00), (0xE00, 0xF00),
          (0x1100, 0x1200), (0x1E00, 0x2000), (0x2000, 0x2070), (0x2460, 0x2500), (0x3040, 0x3100), (0x3130, 0x3190),
          (0x3300, 0x3400), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFB00), (0xFB00, 0xFE00), (0xFF00, 0xFFF0),
          (0x1D100, 0x1D200), (0x1D400, 0x1D800), (0x1F1E6, 0x1F200), (0x1F300, 0x1F700), (0x20000, 0x2A000)]
PARTS = golden.PARTS + [
    "\0", "\x7f", "\x85", "\u2028", "\ufeff", "\u200d", "\u200b", "\ufffd", "\r", "\v", "\f", "\x1c", "        ", "\n\n\n",
    " \r\n \t", "שלום", "مرحبا بالعالم", "नमस्ते", "ไทย", "ᄀ", "ᅡ", "ᆨ", "각", "ſ", "K", "Å", "Ω", "ǅ", "ΑΣ", "Ⅷ", "①", "㍿", "ﷺ", "豈", "🇩🇪",
    "🏳️‍🌈", "1️⃣", "a\u0323\u0307", "q\u0307\u0323", "e\u0301\u0301", "\u0301", "\u0344", "½", "२३", "<|endoftext|>",
    "<|startoftext|>", "<pad>", "<extra_id_0>", "<0x41>", "<0xE4>", "##d", "##", "</w>", "Ġthe", "don't do not can't",
    " .", " ?", "'re", "[CLS]", "[SEP]", "[UNK]", "I'm", "http://a.b/c?d=e&f#g", "3.14159", "1,000,000", "snake_case",
    "camelCase", "->", "==", "/*", "\\n", "ab", "abc", " ab", "  ab", "x" * 40, "ab" * 30]


def character(rng):
    if rng.random() < .5:
        return rng.choice(BY_CATEGORY[rng.choice(sorted(BY_CATEGORY))])
    first, last = rng.choice(BLOCKS)
    c = chr(rng.randrange(first, last))
    return c if unicodedata.category(c) not in ("Cn", "Cs", "Co") else " "


def text(rng, specials):
    out = []
    for _ in range(rng.choice((0, 1, 2, 3, 5, 8, 13, 40))):
        r = rng.random()
        if r < .35:
            out.append(rng.choice(PARTS))
        elif r < .45 and specials:
            out.append(rng.choice(specials))
        elif r < .6:
            out.append("".join(rng.choice("abcdelowrst ABE") for _ in range(rng.randint(1, 8))))
        elif r < .75:
            out.append(" " * rng.choice((1, 1, 1, 2, 3, 9)))
        elif r < .95:
            out.append("".join(character(rng) for _ in range(rng.randint(1, 4))))
        else:
            out.append(rng.choice((" ", "\n", "\t", "a", "\u0301", "中", "👍", "1", ".")) * rng.randint(1, 60))
    return "".join(out)


# ---- Random tokenizer.json files -------------------------------------------------------------------------------

def one_of(rng, *choices):
    return rng.choice(choices)


PATTERNS = [golden.GPT2, golden.CLIP, golden.CL100K, golden.O200K, golden.BLOOM, golden.NESTED, r"\s+", r"\w+", r"\d{1,3}",
            r"[^\s]+", r"(?<=\w)(?=\W)", r"\p{Han}|\p{Hiragana}+", r"\p{N}", r"(?=(\d{3})+(?!\d))", r"[\r\n]", r"\s?\p{L}+",
            r"\p{Ll}+|\p{Lu}+", r"\bthe\b", r"^.", r".$", r"[A-Z][a-z]*", r"[一-龥]+", r"\R", r"[[:punct:]]",
            r"[^\W\d_]+", r"\p{M}+", r"(?i)AB", r"a++b|\S", r"\p{S}|\p{P}", r"(?<!a)b", r"[\p{L}&&[^a-z]]+", r"\h+", r"\A\s|\s\z"]


def pattern(rng):
    return {"Regex": rng.choice(PATTERNS)} if rng.random() < .7 else {"String": one_of(rng, " ", "a", "ab", "\n", "▁", "é", "  ", "")}


BEHAVIORS = ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")


def normalizer(rng, depth=0):
    kind = rng.choice(("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Strip", "StripAccents", "Replace", "Prepend", "Nmt", "ByteLevel",
                       "Precompiled", "BertNormalizer", "Sequence", "Sequence"))
    if kind == "Sequence" and depth < 2:
        return golden.seq(*[normalizer(rng, depth + 1) for _ in range(rng.randint(0, 3))], key="normalizers")
    if kind == "Sequence":
        kind = "NFC"
    out = {"type": kind}
    if kind == "Strip":
        out.update(strip_left=rng.random() < .5, strip_right=rng.random() < .5)
    elif kind == "Replace":
        out.update(pattern=pattern(rng), content=one_of(rng, "", " ", "▁", "x", "é", "ab"))
    elif kind == "Prepend":
        out.update(prepend=one_of(rng, "▁", " ", "ab", "é"))
    elif kind == "Precompiled":
        out.update(precompiled_charsmap=golden.charsmap({"ﬁ": "fi", "½": "1/2", "\n": " ", "\t": " ", "é": "e", "中": "zhong", "\u00a0": " ",
                                                         "e\u0301": "E", "—": "", "Ａ": "A", "각": "gak", "\u0301": ""}))
    elif kind == "BertNormalizer":
        out.update(clean_text=rng.random() < .5, handle_chinese_chars=rng.random() < .5, strip_accents=one_of(rng, None, True, False),
                   lowercase=rng.random() < .5)
    return out


def pre_tokenizer(rng, depth=0):
    kind = rng.choice(("Split", "Split", "Split", "Digits", "Metaspace", "Punctuation", "BertPreTokenizer", "Whitespace", "WhitespaceSplit",
                       "CharDelimiterSplit", "FixedLength", "UnicodeScripts", "ByteLevel", "Sequence", "Sequence"))
    if kind == "Sequence" and depth < 2:
        return golden.seq(*[pre_tokenizer(rng, depth + 1) for _ in range(rng.randint(0, 3))])
    if kind == "Sequence":
        kind = "Whitespace"
    out = {"type": kind}
    if kind == "Split":
        out.update(pattern=pattern(rng), behavior=rng.choice(BEHAVIORS), invert=rng.random() < .3)
    elif kind == "Digits":
        out.update(individual_digits=rng.random() < .5)
    elif kind == "Metaspace":
        out.update(replacement=one_of(rng, "▁", "▁", "_"), prepend_scheme=one_of(rng, "always", "first", "never"), split=rng.random() < .6)
    elif kind == "Punctuation":
        out.update(behavior=rng.choice(BEHAVIORS))
    elif kind == "CharDelimiterSplit":
        out.update(delimiter=one_of(rng, " ", "a", "é", "\n"))
    elif kind == "FixedLength":
        out.update(length=rng.randint(1, 6))
    elif kind == "ByteLevel":
        out.update(add_prefix_space=rng.random() < .5, trim_offsets=rng.random() < .5, use_regex=rng.random() < .7)
    return out


WORDS = ["the", " the", " red", "red", " shape", "low", "lower", "newest", "don", "'t", "é", "  ", "ab", "abc", " ab", "中文", "👍", "\n\n", "is", "##"]


def learned(rng, symbols_of, words, prefix="", suffix=""):
    """A vocabulary of symbols and merges of random neighbours of random words."""
    vocab, merges = {}, []

    def add(token):
        vocab.setdefault(token, len(vocab))
    for word in words:
        symbols = symbols_of(word)
        symbols = [(prefix if i else "") + s + (suffix if i + 1 == len(symbols) else "") for i, s in enumerate(symbols)]
        for s in symbols:
            add(s)
        while len(symbols) > 1 and rng.random() < .9:
            i = rng.randrange(len(symbols) - 1)
            left, right = symbols[i], symbols[i + 1]
            joined = left + right[len(prefix):] if prefix else left + right
            if [left, right] not in merges:
                merges.append([left, right])
            add(joined)
            symbols[i:i + 2] = [joined]
    return vocab, merges


def model(rng):
    kind = rng.choice(("bytes", "bytes", "chars", "chars", "Unigram", "Unigram", "WordPiece", "WordLevel"))
    words = [rng.choice(WORDS) for _ in range(rng.randint(3, 14))]
    words += ["".join(rng.choice("abcdelowrst ") for _ in range(rng.randint(1, 7))) for _ in range(rng.randint(0, 8))]
    if kind == "bytes":
        vocab, merges = learned(rng, lambda w: [golden.SYMBOLS[b] for b in w.encode()], words)
        for s in golden.SYMBOLS.values():
            vocab.setdefault(s, len(vocab))
        return golden.bpe(vocab, merges if rng.random() < .5 else [" ".join(m) for m in merges], ignore_merges=rng.random() < .4)
    if kind == "chars":
        prefix, suffix = one_of(rng, "", "", "", "##"), one_of(rng, "", "", "", "</w>")
        sign = rng.random() < .5
        vocab, merges = learned(rng, list, [w.replace(" ", "▁") if sign else w for w in words], prefix, suffix)
        unk = one_of(rng, None, "<unk>", "<unk>")
        if unk or rng.random() < .3:
            vocab.setdefault("<unk>", len(vocab))
        if rng.random() < .5:
            for b in range(256):
                if rng.random() < .97 or b < 128:
                    vocab.setdefault(f"<0x{b:02X}>", len(vocab))
        for c in "abcdefghijklmnopqrstuvwxyz .▁":
            if rng.random() < .7:
                for s in {c, prefix + c, c + suffix, prefix + c + suffix}:
                    vocab.setdefault(s, len(vocab))
        if rng.random() < .3:  # holes
            vocab = {t: 3 * i for t, i in vocab.items()}
        as_strings = rng.random() < .5 and not any(" " in t for m in merges for t in m)
        out = golden.bpe(vocab, [" ".join(m) for m in merges] if as_strings else merges, unk_token=unk, fuse_unk=rng.random() < .5,
                         byte_fallback=rng.random() < .5, ignore_merges=rng.random() < .3, continuing_subword_prefix=prefix or None,
                         end_of_word_suffix=suffix or None)
        if rng.random() < .2:
            del out["type"]
        return out
    if kind == "Unigram":
        scores = lambda: one_of(rng, round(-rng.random() * 12, 3), -float(rng.randint(1, 6)))
        vocab = [["<unk>", 0.0], ["<s>", 0.0], ["</s>", 0.0]]
        for w in dict.fromkeys(words + [w[:2] for w in words] + list("abcdelowrst▁ .é中") + ["▁the", "▁a", "▁low"]):
            if rng.random() < .9:
                vocab.append([w.replace(" ", "▁") if rng.random() < .5 else w, scores()])
        vocab = [v for i, v in enumerate(vocab) if v[0] not in [u[0] for u in vocab[:i]]]
        if rng.random() < .5:
            vocab += [[f"<0x{b:02X}>", scores()] for b in range(256) if rng.random() < .97 or b < 128]
        return {"type": "Unigram", "unk_id": one_of(rng, 0, 0, 0, 2, None), "vocab": vocab, "byte_fallback": rng.random() < .4}
    pieces = ["[UNK]", "[CLS]", "[SEP]", "[MASK]"] + words + ["##" + w for w in words] + list("abcdelowrst.!-'") + ["##" + c for c in "abcdelowrst"]
    vocab = {w: i for i, w in enumerate(dict.fromkeys(w for w in pieces if w[0] == "[" or rng.random() < .9))}
    if kind == "WordLevel":
        return {"type": "WordLevel", "vocab": vocab, "unk_token": one_of(rng, "[UNK]", "[UNK]", "none")}
    out = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": one_of(rng, "##", "##", ""), "max_input_chars_per_word":
           one_of(rng, 100, 5), "vocab": vocab}
    if rng.random() < .2:
        del out["type"]
    return out


def decoder(rng, depth=0):
    kind = rng.choice(("ByteLevel", "Metaspace", "WordPiece", "BPEDecoder", "ByteFallback", "Fuse", "Strip", "Replace", "CTC", "Sequence", "Sequence"))
    if kind == "Sequence" and depth < 2:
        return golden.seq(*[decoder(rng, depth + 1) for _ in range(rng.randint(0, 4))], key="decoders")
    if kind == "Sequence":
        kind = "Fuse"
    out = {"type": kind}
    if kind == "ByteLevel":
        out.update(add_prefix_space=False, trim_offsets=True, use_regex=True)
    elif kind == "Metaspace":
        out.update(replacement="▁", prepend_scheme=one_of(rng, "always", "first", "never"), split=rng.random() < .5)
    elif kind == "WordPiece":
        out.update(prefix=one_of(rng, "##", "b"), cleanup=rng.random() < .5)
    elif kind == "BPEDecoder":
        out.update(suffix=one_of(rng, "</w>", "c"))
    elif kind == "Strip":
        out.update(content=one_of(rng, " ", "a", "▁"), start=rng.randint(0, 2), stop=rng.randint(0, 2))
    elif kind == "Replace":
        out.update(pattern=pattern(rng), content=one_of(rng, "", " ", "x"))
    elif kind == "CTC":
        out.update(pad_token=one_of(rng, "<pad>", "a"), word_delimiter_token=one_of(rng, "|", "▁"), cleanup=rng.random() < .5)
    return out


def post_processor(rng, depth=0):
    kind = rng.choice(("ByteLevel", "BertProcessing", "RobertaProcessing", "TemplateProcessing", "Sequence"))
    if kind == "Sequence" and depth < 1:
        return golden.seq(*[post_processor(rng, depth + 1) for _ in range(rng.randint(0, 2))], key="processors")
    if kind in ("ByteLevel", "Sequence"):
        return {"type": "ByteLevel", "add_prefix_space": rng.random() < .5, "trim_offsets": rng.random() < .6, "use_regex": True}
    if kind == "BertProcessing":
        return {"type": kind, "sep": ["</s>", 2], "cls": ["<s>", 1]}
    if kind == "RobertaProcessing":
        return {"type": kind, "sep": ["</s>", 2], "cls": ["<s>", 1], "trim_offsets": rng.random() < .5, "add_prefix_space": rng.random() < .5}
    pieces = [{"Sequence": {"id": "A", "type_id": 0}}]
    for _ in range(rng.randint(0, 3)):
        pieces.insert(rng.randint(0, len(pieces)), {"SpecialToken": {"id": one_of(rng, "<s>", "</s>"), "type_id": 0}})
    return {"type": kind, "single": pieces, "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}, "</s>": {"id": "</s>", "ids": [2, 3], "tokens": ["</s>", "<pad>"]}}}


def random_file(rng):
    file = golden.whole(model(rng))
    vocab = file["model"]["vocab"]
    tokens = {v[0]: i for i, v in enumerate(vocab)} if isinstance(vocab, list) else vocab
    content = ["<s>", "</s>", "<tok>", "tok", "[MASK]", "<New>", "ab", "the ", " x", "é", "<|endoftext|>", "  ", "\n\n", "É", "low er", "中"]
    rng.shuffle(content)
    next_id = len(tokens)
    for token in content[:rng.choice((0, 0, 1, 2, 4, 6))]:
        flags = {k: rng.random() < .3 for k in ("single_word", "lstrip", "rstrip", "normalized", "special")}
        file["added_tokens"].append(golden.added(token, tokens.get(token, next_id), **flags))
        next_id += token not in tokens
    file["normalizer"] = normalizer(rng) if rng.random() < .5 else None
    file["pre_tokenizer"] = pre_tokenizer(rng) if rng.random() < .8 else None
    if "Ġ" in tokens and rng.random() < .7:
        file["pre_tokenizer"] = one_of(rng, golden.BYTE_LEVEL, dict(golden.BYTE_LEVEL, add_prefix_space=True),
                                       golden.seq(pre_tokenizer(rng), dict(golden.BYTE_LEVEL, use_regex=rng.random() < .5)))
    file["decoder"] = decoder(rng) if rng.random() < .8 else None
    file["post_processor"] = post_processor(rng) if rng.random() < .5 else None
    return file


# ---- Comparison ------------------------------------------------------------------------------------------------

def attempt(function):
    try:
        return function()
    except BaseException as error:  # a panic of the library is no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        return None


def expected(t, s, special, suffix):
    encoding = attempt(lambda: t.encode(s, add_special_tokens=special))
    if encoding is None:
        return None
    ids = encoding.ids
    if suffix:  # as CLIPTokenizer of transformers tells it
        decode = lambda **kw: t.decode(ids, **kw).replace(suffix, " ").strip()
    else:
        decode = lambda **kw: t.decode(ids, **kw)
    return {"ids": ids, "offsets": [list(o) for o in encoding.offsets], "decoded": attempt(decode),
            "decoded_with_special": attempt(lambda: decode(skip_special_tokens=False))}


def grows(t, ids):
    """Whether decoding grows with every id, a character that is not finished aside: what streaming relies on."""
    whole = t.decode(ids, skip_special_tokens=False)
    return all(whole.startswith(t.decode(ids[:n], skip_special_tokens=False).rstrip("\ufffd")) for n in range(len(ids)))


def differences(want, got, t):
    """Names of the fields that differ."""
    if want is None:
        return []
    if "error" in got:
        return ["error"]
    out = [k for k in want if k in got and want[k] is not None and got[k] != want[k]]
    streamed = "".join(got["streamed"])
    if streamed != got["decoded_with_special"] and not out and attempt(lambda: grows(t, got["ids"])):
        out.append("streamed")
    return out


class Tally:
    def __init__(self, show):
        self.passed = self.failed = self.refused = self.unreadable = 0
        self.fields, self.refusals, self.show = collections.Counter(), collections.Counter(), show


def compare(program, path, name, rng, count, tally, keep, special=True):
    t = attempt(lambda: tokenizers.Tokenizer.from_file(path))
    if t is None:
        tally.unreadable += 1
    else:
        t.no_truncation()
        t.no_padding()
    suffix = None
    if t and isinstance(t.decoder, tokenizers.decoders.ByteLevel):
        suffix = getattr(t.model, "end_of_word_suffix", None)
    # With an affix, byte tokens count more bytes than the text has, and tokenizers gives offsets outside of it.
    m = t.model if t else None
    counted = not (getattr(m, "byte_fallback", False) and (getattr(m, "end_of_word_suffix", None) or getattr(m, "continuing_subword_prefix", None)))
    specials = [x.content for x in t.get_added_tokens_decoder().values()][:30] if t else []
    texts = [text(rng, specials) for _ in range(count)]
    lines = "".join(json.dumps({"text": s}) + "\n" for s in texts)
    run = subprocess.run([program, "tokenize", "--tokenizer", path, "--details"] + ([] if special else ["--no-special"]),
                         input=lines, capture_output=True, text=True)
    if run.returncode == 3 and not run.stdout:
        tally.refused += t is not None
        reason = run.stderr.strip().replace(path, "FILE")
        tally.refusals[reason.split(": ", 3)[-1] if len(reason) < 200 else reason[:200]] += t is not None
        return
    if run.returncode:
        tally.failed += 1
        print(f"FAILED {name}: exit status {run.returncode}: {run.stderr.strip()[:300]}")
        return
    if t is None:
        return
    shown = 0
    for s, line in zip(texts, run.stdout.split("\n")):
        want, got = expected(t, s, special, suffix), json.loads(line)
        if want and not counted:
            del want["offsets"]
        fields = differences(want, got, t)
        tally.passed, tally.failed = tally.passed + (not fields), tally.failed + bool(fields)
        tally.fields.update(fields)
        if fields and shown < 1 and tally.show > 0:
            shown, tally.show = shown + 1, tally.show - 1
            print(f"FAILED {name} {fields} {'' if special else 'without special tokens'}")
            print("  text", ascii(s[:200]))
            for field in fields:
                print(f"  {field} want {ascii(want.get(field)) if want else None}\n  {' ' * len(field)} got  {ascii(got.get(field))}", flush=True)
            if keep:
                os.makedirs(keep, exist_ok=True)
                with open(os.path.join(keep, name.replace(" ", "_").replace("/", "_") + ".json"), "w") as out:
                    json.dump({"text": s, "file": json.load(open(path)) if os.path.getsize(path) < 100000 else path}, out)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shared", default=os.environ.get("OCELLUS_SHARED", os.path.join(ROOT, "../shared")))
    parser.add_argument("--only", default="")
    parser.add_argument("--keep")
    parser.add_argument("--show", type=int, default=12)
    a = parser.parse_args()
    tally = Tally(a.show)
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # panics of the library
    with tempfile.TemporaryDirectory() as work:
        names = []
        for path in sorted(glob.glob(os.path.join(a.shared, "data/tokenizers/*/tokenizer.json")) +
                           glob.glob(os.path.join(a.shared, "goldens/*/tokenizer.json"))):
            names.append((os.path.basename(os.path.dirname(path)), path, None))
        names += [(name, None, file) for name, file in golden.files()]
        names += [(f"random {a.seed}.{i}", None, None) for i in range(a.files)]
        for name, path, file in names:
            if a.only not in name:
                continue
            rng = random.Random(name)
            if path is None:
                path = os.path.join(work, "tokenizer.json")
                with open(path, "w") as out:
                    json.dump(file or random_file(rng), out)
            many = 10 if name in ("clip", "falcon", "phi3-mini", "t5-small") else 1
            compare(a.program, path, name, rng, a.texts * many, tally, a.keep)
            compare(a.program, path, name, rng, a.texts // 4, tally, a.keep, special=False)
    print("fields that differ:", dict(tally.fields) or "none")
    print(f"files refused here though tokenizers reads them: {tally.refused}; files that tokenizers does not read: {tally.unreadable}")
    for reason, n in tally.refusals.most_common(12):
        print(f"  {n} x {reason}")
    print(f"{tally.passed} passed, {tally.failed} failed, 0 skipped")
    sys.exit(tally.failed > 0)


if __name__ == "__main__":
    try:
        main()
    except Exception:
        traceback.print_exc(file=sys.stdout)
        sys.exit(1)
