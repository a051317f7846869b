#!/usr/bin/env python3
"""Writes tokenizer_golden.jsonl: small tokenizer.json files of every kind, texts, and what Hugging Face
`tokenizers` makes of them. Needs `pip install tokenizers` and a Python with Unicode 14; the build and
the tests need neither.

    make_tokenizer_golden.py [--texts N] [--seed S] [--out FILE]

A vocabulary of the 256 byte tokens is written as "<0x00> to <0xFF>". A line: {"name", "file": the tokenizer.json, "cases": [[text, ids, ids without special tokens, decoded,
decoded without special tokens, offsets begin, end, begin, …], ...]}; no offsets where byte tokens and affixes come
together, which `tokenizers` counts wrongly. A null stands for what `tokenizers` itself fails at.
"""
import argparse
import base64
import json
import os
import random
import struct
import unicodedata

import tokenizers
from tokenizers import Tokenizer

assert unicodedata.unidata_version == "14.0.0", unicodedata.unidata_version

BYTES = {f"<0x{i:02X}>": i for i in range(256)}
ASSIGNED = [c for c in range(0x110000)
            if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co") and c != 0x180E]
BY_CATEGORY = {}
for c in ASSIGNED:
    BY_CATEGORY.setdefault(unicodedata.category(chr(c)), []).append(c)
PARTS = ["'s", "'S", "'ll", "don't", "  ", "\n", "\r\n", "\t", " \n ", "\u00a0", "\u3000", "123", "4567", "½",
         "!!!", "...", "—", "é", "e\u0301", "ß", "İ", "ﬁ", "中文", "한국", "👩‍👩‍👧", "👍🏽", "क्षि", "[MASK]", "<s>",
         "</s>", "<unk>", "▁", "_", "the", "red", "shape", "circle", " is ", "low", "lower", "newest", "HELLO",
         "Test", "a", "b", "ab", "abc", "x", "<tok>", "<New>", "tok", "[A]", "/", "-", "--"]


def text(rng):
    out = []
    for _ in range(rng.randint(0, 9)):
        r = rng.random()
        if r < .6:
            out.append(rng.choice(PARTS))
        elif r < .75:
            out.append("".join(rng.choice("abcdelowrst AB") for _ in range(rng.randint(1, 6))))
        elif r < .9:
            out.append(" ")
        else:
            out.append(chr(rng.choice(BY_CATEGORY[rng.choice(sorted(BY_CATEGORY))])))
    return "".join(out)


def added(content, id_, **kw):
    token = {"id": id_, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True}
    token.update(kw)
    return token


def whole(model, **kw):
    file = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
            "pre_tokenizer": None, "post_processor": None, "decoder": None, "model": model}
    file.update(kw)
    return file


def bpe(vocab, merges, **kw):
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
             "vocab": vocab, "merges": merges}
    model.update(kw)
    return model


def probe(**kw):
    """Bytes as ids and a bar after each piece: shows normalized text and cuts directly."""
    return whole(bpe(BYTES, [], byte_fallback=True, end_of_word_suffix="|"), **kw)


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def seq(*steps, key="pretokenizers"):
    return {"type": "Sequence", key: list(steps)}


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
SYMBOLS = {}  # byte -> visible character, as GPT-2 has it
_next = 256
for _b in range(256):
    if 0x21 <= _b <= 0x7E or 0xA1 <= _b <= 0xAC or _b >= 0xAE:
        SYMBOLS[_b] = chr(_b)
    else:
        SYMBOLS[_b] = chr(_next)
        _next += 1


def byte_bpe(words, **kw):
    """A small byte-level BPE in which each word is built from left to right."""
    vocab = {s: i for i, s in enumerate(sorted(SYMBOLS.values()))}
    merges = []
    for word in words:
        s = "".join(SYMBOLS[b] for b in word.encode())
        for n in range(2, len(s) + 1):
            if s[:n] not in vocab:
                vocab[s[:n]] = len(vocab)
                merges.append([s[:n - 1], s[n - 1]])
    return bpe(vocab, merges, **kw)


def charsmap(pairs):
    """A precompiled character map: a double-array trie (darts-clone layout) and its texts."""
    texts, keys = b"", {}
    for key, value in pairs.items():
        keys[key.encode()] = len(texts)
        texts += value.encode() + b"\0"
    tree = {}
    for key, value in keys.items():
        node = tree
        for byte in key:
            node = node.setdefault(byte, {})
        node[None] = value
    units, used = {0: None}, {0}

    def place(node, pos, label):
        children = sorted(k for k in node if k is not None)
        leaf = None in node
        slots = ([0] if leaf else []) + children
        offset = 1
        while any((pos ^ offset ^ s) in used for s in slots):
            offset += 1
        for s in slots:
            used.add(pos ^ offset ^ s)
        units[pos] = label | (0x100 if leaf else 0) | (offset << 10)
        if leaf:
            units[pos ^ offset] = 0x80000000 | node[None]
        for s in children:
            place(node[s], pos ^ offset ^ s, s)

    place(tree, 0, 0)
    size = max(units) + 257
    trie = struct.pack(f"<{size}I", *[units.get(i, 0) or 0 for i in range(size)])
    return base64.b64encode(struct.pack("<I", len(trie)) + trie + texts).decode()


GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CLIP = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
_U, _L, _C = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = (rf"[^\r\n\p{{L}}\p{{N}}]?{_U}*{_L}+{_C}|[^\r\n\p{{L}}\p{{N}}]?{_U}+{_L}*{_C}"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
NESTED = r"[\p{Han}]+|[\p{Lu}\p{Lo}\p{M}&&[^\p{Han}]]+|[\p{Ll}\p{M}&&[^\p{Han}]]+|[^\S\n]+|[[:punct:]]"


def files():
    """Yields name and tokenizer.json."""
    for name, steps in {
            "NFC": [{"type": "NFC"}], "NFD": [{"type": "NFD"}], "NFKC": [{"type": "NFKC"}],
            "NFKD": [{"type": "NFKD"}], "Lowercase": [{"type": "Lowercase"}],
            "Strip": [{"type": "Strip", "strip_left": True, "strip_right": True}],
            "StripLeft": [{"type": "Strip", "strip_left": True, "strip_right": False}],
            "NFD StripAccents": [{"type": "NFD"}, {"type": "StripAccents"}],
            "Nmt": [{"type": "Nmt"}], "ByteLevel": [{"type": "ByteLevel"}],
            "Prepend Replace": [{"type": "Prepend", "prepend": "▁"},
                                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}],
            "Replace Regex": [{"type": "Replace", "pattern": {"Regex": "[abc]{2,}|\\s*$"}, "content": "#"}],
            "Bert": [{"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                      "strip_accents": None, "lowercase": True}],
            "Bert cased": [{"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                            "strip_accents": None, "lowercase": False}],
            "Precompiled": [{"type": "Precompiled", "precompiled_charsmap": charsmap(
                {"ﬁ": "fi", "½": "1/2", "\n": " ", "\t": " ", "é": "e", "中": "zhong", "\u00a0": " ", "e\u0301": "E",
                 "—": ""})}]}.items():
        yield f"normalizer {name}", probe(normalizer=seq(*steps, key="normalizers"))

    cuts = {"gpt2": split({"Regex": GPT2}), "cl100k": split({"Regex": CL100K}, "Removed", True),
            "o200k": split({"Regex": O200K}), "clip": split({"Regex": CLIP}, "Removed", True),
            "bloom": split({"Regex": BLOOM}), "nested classes": split({"Regex": NESTED}),
            "anchors": split({"Regex": r"^\s+|\s+$|\bthe\b|(?<=\d)\d|\h{3}"}, "MergedWithNext"),
            "empty matches": split({"Regex": "b*"}), "empty string": split({"String": ""}),
            "Digits": {"type": "Digits", "individual_digits": False},
            "Digits single": {"type": "Digits", "individual_digits": True},
            "Whitespace": {"type": "Whitespace"}, "WhitespaceSplit": {"type": "WhitespaceSplit"},
            "Bert": {"type": "BertPreTokenizer"}, "Delimiter": {"type": "CharDelimiterSplit", "delimiter": "e"},
            "FixedLength": {"type": "FixedLength", "length": 3}, "ByteLevel": BYTE_LEVEL,
            "ByteLevel prefix": dict(BYTE_LEVEL, add_prefix_space=True),
            "ByteLevel first": seq(dict(BYTE_LEVEL, add_prefix_space=True),
                                   {"type": "Digits", "individual_digits": True}),
            "falcon": seq({"type": "Punctuation", "behavior": "Contiguous"}, BYTE_LEVEL,
                          {"type": "Digits", "individual_digits": False},
                          split({"Regex": "[0-9][0-9][0-9]"})),
            "Metaspace old": {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True, "str_rep": "▁"},
            "t5": seq({"type": "WhitespaceSplit"},
                      {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True})}
    for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        cuts[f"Split {behavior}"] = split({"String": " "}, behavior)
        cuts[f"Punctuation {behavior}"] = {"type": "Punctuation", "behavior": behavior}
    cuts["Split Removed inverted"] = split({"Regex": r"\w+"}, "Removed", True)
    for scheme in ("always", "first", "never"):
        for cut in (True, False):
            cuts[f"Metaspace {scheme} {cut}"] = {"type": "Metaspace", "replacement": "▁",
                                                 "prepend_scheme": scheme, "split": cut}
    for name, cut in cuts.items():
        specials = [added("<s>", 256), added("</s>", 257, rstrip=True, special=False)]
        yield f"pre_tokenizer {name}", probe(pre_tokenizer=cut, added_tokens=specials)

    words = ["the", " the", " red", " shape", " circle", "low", "lower", "newest", "don", "'t", "é", "  "]
    vocab = {"<unk>": 0, "a": 1, "b": 2, "c": 3, "ab": 4, "abc": 5, "bc": 6, "<0x64>": 7, "<0x65>": 8, "▁": 9,
             "▁a": 10, "▁ab": 11, "x": 12, "<0xC3>": 13, "<0xA9>": 14, "<0x20>": 15}
    merges = [["b", "c"], ["a", "b"], ["a", "bc"], ["▁", "a"], ["▁", "ab"]]
    yield "BPE bytes", whole(byte_bpe(words), pre_tokenizer=BYTE_LEVEL, decoder=BYTE_LEVEL,
                             added_tokens=[added("<s>", 999), added("<tok>", 1000, special=False)])
    yield "BPE bytes ignore_merges", whole(byte_bpe(words, ignore_merges=True), pre_tokenizer=BYTE_LEVEL,
                                           decoder=BYTE_LEVEL)
    yield "BPE merges as strings", whole(bpe(vocab, [" ".join(m) for m in merges], unk_token="<unk>"))
    for fuse in (True, False):
        for fallback in (True, False):
            yield f"BPE fuse_unk {fuse} byte_fallback {fallback}", whole(
                bpe(vocab, merges, unk_token="<unk>", fuse_unk=fuse, byte_fallback=fallback),
                decoder=seq({"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                            {"type": "ByteFallback"}, {"type": "Fuse"},
                            {"type": "Strip", "content": " ", "start": 1, "stop": 0}, key="decoders"),
                normalizer=seq({"type": "Prepend", "prepend": "▁"},
                               {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}, key="normalizers"))
    yield "BPE without unk", whole(bpe(vocab, merges))
    yield "BPE without type", whole({k: v for k, v in bpe(vocab, merges, unk_token="<unk>").items() if k != "type"})
    yield "BPE prefix and suffix", whole(
        bpe({"a": 0, "##b": 1, "##c": 2, "ab": 3, "##bc": 4, "abc": 5, "##b</w>": 6, "##c</w>": 7, "ab</w>": 8,
             "a</w>": 9, "[UNK]": 10, "##bc</w>": 11}, [["##b", "##c</w>"], ["a", "##b"], ["a", "##b</w>"]],
            unk_token="[UNK]", continuing_subword_prefix="##", end_of_word_suffix="</w>"),
        pre_tokenizer={"type": "WhitespaceSplit"}, decoder={"type": "BPEDecoder", "suffix": "</w>"})
    unigram = [["<unk>", 0.0], ["<s>", 0.0], ["▁", -2.5], ["▁the", -3.0], ["the", -3.5], ["t", -6.0], ["h", -6.1],
               ["e", -5.0], ["a", -5.5], ["ab", -6.5], ["b", -6.0], ["abc", -11.0], ["c", -5.5], ["▁a", -4.0],
               ["low", -7.0], ["er", -7.1], ["lower", -14.2], ["r", -7.0], ["l", -7.0], ["o", -7.0], ["w", -7.0],
               ["é", -8.0], ["<0xE2>", -9.0], ["<0x80>", -9.0], ["<0x94>", -9.0], ["s", -6.0], ["s", -7.0]]
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    for fallback in (False, True):
        yield f"Unigram byte_fallback {fallback}", whole(
            {"type": "Unigram", "unk_id": 0, "vocab": unigram, "byte_fallback": fallback},
            pre_tokenizer=metaspace, decoder=metaspace, added_tokens=[added("<s>", 1)])
    yield "Unigram without type", whole({"unk_id": 0, "vocab": unigram}, pre_tokenizer=metaspace, decoder=metaspace)
    pieces = {w: i for i, w in enumerate(["[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "red", "##d", "low", "##er",
                                          "##est", "new", "##e", "a", "##b", "##c", "is", ".", "!", "'", "##s",
                                          "shape", "中", "don", "t", "-", "##w"])}
    bert = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
            "lowercase": True}
    specials = [added(w, i) for w, i in pieces.items() if w[0] == "["]
    for chars in (100, 5):
        yield f"WordPiece {chars}", whole(
            {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
             "max_input_chars_per_word": chars, "vocab": pieces}, normalizer=bert,
            pre_tokenizer={"type": "BertPreTokenizer"}, added_tokens=specials,
            decoder={"type": "WordPiece", "prefix": "##", "cleanup": chars == 100},
            post_processor={"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]})
    yield "WordPiece without type", whole(
        {"unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": pieces},
        pre_tokenizer={"type": "BertPreTokenizer"})
    level = {"type": "WordLevel", "vocab": pieces, "unk_token": "[UNK]"}
    yield "WordLevel", whole(level, pre_tokenizer={"type": "Whitespace"}, added_tokens=specials)

    template = {"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                           {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
                "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [1, 3], "tokens": ["[CLS]", "[MASK]"]},
                                   "[SEP]": {"id": "[SEP]", "ids": [2], "tokens": ["[SEP]"]}}}
    roberta = {"type": "RobertaProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1], "trim_offsets": True,
               "add_prefix_space": False}
    for name, post in {"Template": template, "Roberta": roberta, "ByteLevel": BYTE_LEVEL,
                       "Sequence": seq(BYTE_LEVEL, template, key="processors")}.items():
        yield f"post_processor {name}", whole(level, pre_tokenizer={"type": "Whitespace"}, post_processor=post)

    decoders = {"none": None, "Fuse": {"type": "Fuse"}, "BPEDecoder": {"type": "BPEDecoder", "suffix": "c"},
                "CTC": {"type": "CTC", "pad_token": "a", "word_delimiter_token": "▁", "cleanup": True},
                "CTC plain": {"type": "CTC", "pad_token": "a", "word_delimiter_token": "▁", "cleanup": False},
                "WordPiece": {"type": "WordPiece", "prefix": "b", "cleanup": True}, "Metaspace": metaspace,
                "Metaspace never": dict(metaspace, prepend_scheme="never"), "ByteFallback": {"type": "ByteFallback"},
                "Strip": {"type": "Strip", "content": "a", "start": 1, "stop": 0},
                "Replace": {"type": "Replace", "pattern": {"Regex": "[ab]+"}, "content": "-"}, "ByteLevel": BYTE_LEVEL}
    for name, decoder in decoders.items():
        yield f"decoder {name}", whole(bpe(vocab, merges, unk_token="<unk>", byte_fallback=True), decoder=decoder)

    for lstrip in (False, True):
        for rstrip in (False, True):
            for single in (False, True):
                tokens = [added("<tok>", 16, lstrip=lstrip, rstrip=rstrip, single_word=single),
                          added("tok", 17, lstrip=rstrip, rstrip=lstrip, single_word=single, special=False),
                          added("<New>", 18, normalized=True, lstrip=lstrip, single_word=single, special=False),
                          added("[A]", 19, normalized=True, rstrip=rstrip, special=False), added("ab", 4, special=False)]
                yield f"added {lstrip} {rstrip} {single}", whole(
                    bpe(vocab, merges, unk_token="<unk>", byte_fallback=True), added_tokens=tokens,
                    normalizer={"type": "Lowercase"}, decoder={"type": "Fuse"})
    for name, steps in {
            "NFC": [{"type": "NFC"}], "NFKD": [{"type": "NFKD"}], "Lowercase": [{"type": "Lowercase"}],
            "Prepend Replace Strip": [{"type": "Prepend", "prepend": "ab"}, {"type": "Strip", "strip_left": True, "strip_right": True},
                                      {"type": "Replace", "pattern": {"Regex": "[abc]{2,}|\\s+"}, "content": "##"}],
            "Bert": [{"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
                      "lowercase": True}],
            "Nmt NFKC": [{"type": "Nmt"}, {"type": "NFKC"}],
            "Precompiled": [{"type": "Precompiled", "precompiled_charsmap": charsmap(
                {"ﬁ": "fi", "½": "1/2", "\n": " ", "é": "e", "中": "zhong", "e\u0301": "E", "—": "", "\u0301": ""})}]}.items():
        yield f"offsets {name}", whole(
            bpe(BYTES, [], byte_fallback=True), normalizer=seq(*steps, key="normalizers"), added_tokens=[added("<s>", 256)],
            pre_tokenizer={"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True})
    for name, post in {"ByteLevel": dict(BYTE_LEVEL, add_prefix_space=True), "Roberta": roberta}.items():
        yield f"offsets trimmed {name}", whole(
            byte_bpe(words), pre_tokenizer=dict(BYTE_LEVEL, add_prefix_space=True), decoder=BYTE_LEVEL, post_processor=post,
            added_tokens=[added("<s>", 999, lstrip=True), added("[MASK]", 1000, rstrip=True)])
    yield "added ids of the file do not count", whole(
        bpe(vocab, merges, unk_token="<unk>"), added_tokens=[added("<tok>", 40), added("[A]", 30), added("x", 99)])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=int, default=7)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", default=os.path.join(os.path.dirname(__file__), "tokenizer_golden.jsonl"))
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with open(args.out, "w", encoding="utf-8") as out:
        for name, file in files():
            t = Tokenizer.from_str(json.dumps(file))

            def attempt(function):
                try:
                    return function()
                except BaseException:  # a panic of the library
                    return None
            is_probe = file["model"].get("vocab") is BYTES
            cases = []
            fixed = ["", "the red  shape is low<s> ab abc</s> x"]
            for s in fixed + [text(rng) for _ in range(args.texts)]:
                ids = attempt(lambda: t.encode(s).ids)
                plain = attempt(lambda: t.encode(s, add_special_tokens=False).ids)
                case = [s, ids, plain, None, None]
                if plain == ids:
                    case[2] = 0
                if ids is not None and not is_probe:
                    case[3] = attempt(lambda: t.decode(ids, skip_special_tokens=False))
                    short = attempt(lambda: t.decode(ids))
                    case[4] = 0 if short == case[3] else short
                affixed = file["model"].get("end_of_word_suffix") or file["model"].get("continuing_subword_prefix")
                if ids is not None and not (affixed and file["model"].get("byte_fallback")):
                    case.append([x for o in t.encode(s).offsets for x in o])
                cases.append(case)
            if is_probe:
                file["model"]["vocab"] = "<0x00> to <0xFF>"
            out.write(json.dumps({"name": name, "file": file, "cases": cases}, ensure_ascii=False,
                                 separators=(",", ":")) + "\n")
    print(args.out, os.path.getsize(args.out), "bytes, tokenizers", tokenizers.__version__)


if __name__ == "__main__":
    main()
