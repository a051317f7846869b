#!/usr/bin/env python3
"""Writes tests/golden/resize.jsonl: what Pillow's Image.resize gives for generated pictures.

    python3 tests/data/make_resize_golden.py > tests/golden/resize.jsonl      (needs Pillow; the first line names its version)

A line holds filter, mode, sizes, a seed and the SHA-256 of the resized bytes; `pixels` too where they are few.
The picture of a seed is a byte stream, the high bytes of x <- x * 6364136223846793005 + 1442695040888963407
(mod 2^64, starting at the seed); with "hard" every byte is 0 or 255, where ringing filters clip.
"""
import hashlib
import json
import random

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


main()
