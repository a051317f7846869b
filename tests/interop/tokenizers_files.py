#!/usr/bin/env python3
"""Folders, tiktoken files and trained tokenizers: the same ids as by transformers, tiktoken and tokenizers?

    tests/interop/tokenizers_files.py build/cpu/ocellus [--shared DIR] [--texts N]

Run by hand; needs `tokenizers`, `transformers` and `tiktoken`, and says which part it skips without them. Last line:
N passed, N failed, N skipped.
"""
import argparse
import base64
import json
import os
import random
import subprocess
import tempfile

import tokenizers_fuzz as fuzz  # says that it skips without tokenizers
import tokenizers

golden = fuzz.golden
passed = failed = skipped = 0


def ocellus(program, path, texts, *options):
    run = subprocess.run([program, "tokenize", "--tokenizer", path, "--details", *options],
                         input="".join(json.dumps({"text": s}) + "\n" for s in texts), capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(run.stderr.strip())
    return [json.loads(line) for line in run.stdout.split("\n") if line]


def compare(name, texts, got, encode, decode):
    global passed, failed
    differ = 0
    for s, ours in zip(texts, got):
        want = encode(s)
        same = ours["ids"] == want and ours["decoded_with_special"] == decode(want) == "".join(ours["streamed"])
        differ += not same
        if not same and differ <= 2:
            print(f"  {ascii(s[:150])}\n    want {want[:40]} {ascii(decode(want)[:80])}\n    got  {ours['ids'][:40]} {ascii(ours['decoded_with_special'][:80])}")
    passed, failed = passed + len(texts) - differ, failed + differ
    print(f"{'FAILED' if differ else 'ok    '} {name}: {len(texts)} texts, {differ} differ", flush=True)


def folders(program, shared, texts):
    """vocab.json and merges.txt as GPT-2 and RoBERTa, against the classes of transformers."""
    from transformers import GPT2Tokenizer, RobertaTokenizer
    source = os.path.join(shared, "data/tokenizers/gpt2")
    with tempfile.TemporaryDirectory() as work:
        vocab = json.load(open(os.path.join(source, "vocab.json"), encoding="utf-8"))
        os.symlink(os.path.abspath(os.path.join(source, "merges.txt")), os.path.join(work, "merges.txt"))

        def write(vocab, **config):
            json.dump(vocab, open(os.path.join(work, "vocab.json"), "w"))
            json.dump(config, open(os.path.join(work, "tokenizer_config.json"), "w"))
        for prefix in (False, True):
            write(vocab, tokenizer_class="GPT2Tokenizer", add_prefix_space=prefix)
            t = GPT2Tokenizer.from_pretrained(work)
            compare(f"GPT2Tokenizer add_prefix_space={prefix}", texts, ocellus(program, work, texts), lambda s: t(s)["input_ids"],
                    lambda ids: t.decode(ids, clean_up_tokenization_spaces=False))
        roberta = {w: i for i, w in enumerate(["<s>", "<pad>", "</s>", "<unk>"] + [w for w in vocab if w != "<|endoftext|>"] + ["<mask>"])}
        for prefix in (False, True):
            write(roberta, tokenizer_class="RobertaTokenizer", add_prefix_space=prefix)
            t = RobertaTokenizer.from_pretrained(work)
            compare(f"RobertaTokenizer add_prefix_space={prefix}", texts, ocellus(program, work, texts), lambda s: t(s)["input_ids"],
                    lambda ids: t.decode(ids, clean_up_tokenization_spaces=False))


def tiktoken_files(program, shared, texts):
    """cl100k's own file, and GPT-2's vocabulary as a file of the names whose patterns are built in."""
    import tiktoken
    from tiktoken.load import load_tiktoken_bpe
    cl100k = os.path.join(shared, "data/tokenizers/cl100k_base/cl100k_base.tiktoken")
    bytes_of = {s: b for b, s in golden.SYMBOLS.items()}
    vocab = json.load(open(os.path.join(shared, "data/tokenizers/gpt2/vocab.json"), encoding="utf-8"))
    with tempfile.TemporaryDirectory() as work:
        lines = [base64.b64encode(bytes(bytes_of[c] for c in w)).decode() + f" {i}\n" for w, i in vocab.items() if w != "<|endoftext|>"]
        patterns = {"r50k_base": golden.GPT2, "cl100k_base": golden.CL100K, "o200k_base": golden.O200K}
        specials = {"r50k_base": {"<|endoftext|>": 50256},
                    "cl100k_base": {"<|endoftext|>": 100257, "<|fim_prefix|>": 100258, "<|fim_middle|>": 100259, "<|fim_suffix|>": 100260,
                                    "<|endofprompt|>": 100276},
                    "o200k_base": {"<|endoftext|>": 199999, "<|endofprompt|>": 200018}}
        jobs = [("cl100k_base, its own file", cl100k, "cl100k_base")]
        for name in patterns:
            path = os.path.join(work, name + ".tiktoken")
            open(path, "w").writelines(lines)
            jobs.append((f"{name}, GPT-2's vocabulary", path, name))
        for title, path, name in jobs:
            t = tiktoken.Encoding(name=name, pat_str=patterns[name], mergeable_ranks=load_tiktoken_bpe(path), special_tokens=specials[name])
            compare(f"tiktoken {title}", texts, ocellus(program, path, texts), lambda s: t.encode(s, allowed_special="all"), t.decode)


def trained(program, texts):
    """What `ocellus tokenizer train` writes, read by tokenizers."""
    with tempfile.TemporaryDirectory() as work:
        with open(os.path.join(work, "text.txt"), "w", encoding="utf-8") as out:
            out.write(open(__file__, encoding="utf-8").read() * 2 + "\n".join(texts))
        subprocess.run([program, "tokenizer", "train", os.path.join(work, "text.txt"), "--vocab", "900", "--out", work], check=True,
                       capture_output=True)
        t = tokenizers.Tokenizer.from_file(os.path.join(work, "tokenizer.json"))
        compare(f"trained, {t.get_vocab_size()} tokens", texts, ocellus(program, work, texts), lambda s: t.encode(s).ids,
                lambda ids: t.decode(ids, skip_special_tokens=False))


def main():
    global skipped
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--shared", default=os.environ.get("OCELLUS_SHARED", os.path.join(fuzz.ROOT, "../shared")))
    parser.add_argument("--texts", type=int, default=2000)
    a = parser.parse_args()
    rng = random.Random(5)
    texts = [fuzz.text(rng, ["<|endoftext|>", "<mask>", "</s>"]) for _ in range(a.texts)]
    for part in (lambda: trained(a.program, texts), lambda: folders(a.program, a.shared, texts),
                 lambda: tiktoken_files(a.program, a.shared, texts)):
        try:
            part()
        except (ImportError, FileNotFoundError) as missing:
            skipped += 1
            print(f"skipped: {missing}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed > 0


if __name__ == "__main__":
    raise SystemExit(main())
