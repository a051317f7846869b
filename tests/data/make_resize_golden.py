#!/usr/bin/env python3
"""Writes tests/golden/resize.jsonl and reduce.jsonl: what Pillow's Image.resize and Image.reduce give for generated
pictures.

    python3 tests/data/make_resize_golden.py > tests/golden/resize.jsonl      (needs Pillow; the first line names its version)
    python3 tests/data/make_resize_golden.py --reduce > tests/golden/reduce.jsonl

A line holds filter, mode, sizes, a seed and the SHA-256 of the resized bytes; `pixels` too where they are few.
The picture of a seed is a byte stream, the high bytes of x <- x * 6364136223846793005 + 1442695040888963407
(mod 2^64, starting at the seed); with "hard" every byte is 0 or 255, where ringing filters clip.
"""
import hashlib
import json
import random
import sys

import PIL
from PIL import Image

MODES = {"L": 1, "RGB": 3, "RGBA": 4}
FILTERS = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]


def picture(seed, mode, size, hard):
    x, out = seed, bytearray()
    for _ in range(size[0] * size[1] * MODES[mode]):
        x = (x * 6364136223846793005 + 1442695040888963407) % 2**64
        byte = x >> 56
        out.append(255 * (byte >> 7) if hard else byte)
    return Image.frombytes(mode, size, bytes(out))


def main():
    random.seed(7)
    print(json.dumps({"pillow": PIL.__version__}))
    shapes = [((1, 1), (1, 1)), ((1, 1), (5, 3)), ((64, 64), (32, 32)), ((64, 64), (64, 30)), ((64, 64), (30, 64)),
              ((3000, 1), (7, 1)), ((1, 3000), (1, 7)), ((1, 3000), (2, 9)), ((2, 500), (1, 40)), ((500, 2), (40, 1)),
              ((40, 40), (80, 80)), ((60, 60), (30, 30)), ((60, 60), (46, 30)), ((30, 60), (16, 30)),
              ((224, 168), (37, 41)), ((33, 47), (100, 7)), ((47, 33), (7, 100))]
    cases = [(f, m, *s) for s in shapes for f in FILTERS for m in ("RGB",)]
    while len(cases) < 240:
        top = random.choice([6, 20, 90])
        sizes = [random.randint(1, top) for _ in range(4)]
        cases.append((random.choice(FILTERS), random.choice(list(MODES)), tuple(sizes[:2]), tuple(sizes[2:])))
    for seed, (name, mode, size, out) in enumerate(cases, 1):
        hard = seed % 3 == 0
        resized = picture(seed, mode, size, hard).resize(out, Image.Resampling[name.upper()]).tobytes()
        row = {"filter": name, "mode": mode, "in": size, "out": out, "seed": seed, "hard": hard,
               "sha256": hashlib.sha256(resized).hexdigest()}
        if len(resized) <= 12:
            row["pixels"] = list(resized)
        print(json.dumps(row))


def reduce():
    """Rows with "factors" are Image.reduce; rows with "gap" are Image.resize with reducing_gap."""
    random.seed(11)
    print(json.dumps({"pillow": PIL.__version__}))
    for seed in range(1, 121):
        mode, hard = random.choice(list(MODES)), seed % 3 == 0
        size = (random.randint(1, 90), random.randint(1, 90)) if seed % 10 else (510, 300)
        image = picture(seed, mode, size, hard)
        row = {"mode": mode, "in": size, "seed": seed, "hard": hard}
        if seed % 2:
            top = 255 if seed % 5 == 0 else 9
            row["factors"] = random.randint(1, top), random.randint(1, top)
            made = image.reduce(row["factors"])
        else:
            row |= {"filter": random.choice(FILTERS), "gap": random.choice([1.0, 1.5, 2.0, 3.0]),
                    "out": (random.randint(1, 30), random.randint(1, 30))}
            made = image.resize(row["out"], Image.Resampling[row["filter"].upper()], reducing_gap=row["gap"])
        row["sha256"] = hashlib.sha256(made.tobytes()).hexdigest()
        print(json.dumps(row))


reduce() if sys.argv[1:] == ["--reduce"] else main()
