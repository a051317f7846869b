"""The comparison of tools/bench/images: PROGRAM FOLDER ROUNDS."""
import json
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np
from PIL import Image

program, folder, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
paths = sorted(str(p) for p in pathlib.Path(folder).rglob("*") if p.suffix in (".jpg", ".jpeg", ".png"))
MEAN = np.asarray((0.48145466, 0.4578275, 0.40821073), np.float32)
STD = np.asarray((0.26862954, 0.26130258, 0.27577711), np.float32)


def pillow(path):
    image = Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
    x = (np.asarray(image, np.float32) / 255.0 - MEAN) / STD
    return np.ascontiguousarray(x.transpose(2, 0, 1))


ways = {"Pillow": pillow}
try:
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg, read_file
    from torchvision.transforms.v2 import functional as V

    torch.set_num_threads(1)

    def torchvision(path):
        x = decode_jpeg(read_file(path), mode=ImageReadMode.RGB)
        x = V.resize(x, [224, 224], interpolation=V.InterpolationMode.BICUBIC, antialias=True)
        return V.normalize(V.to_dtype(x, torch.float32, scale=True), MEAN.tolist(), STD.tolist())

    ways["torchvision"] = torchvision
except ImportError as error:
    print(f"skipped torchvision: {error}")

rates = {"ocellus": []} | {name: [] for name in ways}
for _ in range(rounds):
    run = subprocess.run([program, "bench", "data", "--images", folder, "--repeat", "1", "--threads", "1", "--json"],
                         capture_output=True, text=True, check=True)
    rates["ocellus"].append(json.loads(run.stdout)["images_per_s"]["median"])
    for name, way in ways.items():
        start = time.perf_counter()
        for path in paths:
            way(path)
        rates[name].append(len(paths) / (time.perf_counter() - start))
ours = statistics.median(rates["ocellus"])
print(f"{len(paths)} pictures, one thread, median of {rounds} rounds")
for name, values in rates.items():
    middle = statistics.median(values)
    print(f"{name:<12} {middle:8.1f} per second ({min(values):.1f}–{max(values):.1f})   ours is {ours / middle:.2f}x")
