#!/usr/bin/env python3
"""Makes data/samples/easy_vqa/ from the easy-VQA data set (github.com/vzhou842/easy-VQA, MIT licence).

    tools/make_easy_vqa.py SOURCE [--out data/samples/easy_vqa]

SOURCE holds {train,test}_images.tar (N.png), {train,test}_questions.jsonl (question, answer, image), answers.txt
and LICENSE.txt. The result is the same for the same source, byte for byte: WebDataset shards of 500 pictures,
NNNNN.png and NNNNN.jsonl (the conversations about that picture), with index sidecars and checksums.
Standard library only.
"""
import argparse
import hashlib
import io
import json
import os
import tarfile

SHAPES = {"circle", "rectangle", "triangle"}
PER_SHARD = 500

README = """# easy-VQA

Drawn 64x64 pictures of one coloured shape, with questions and one-word answers: {train_images} training pictures with
{train_lines} questions, {test_images} held-out pictures with {test_lines}. From https://github.com/vzhou842/easy-VQA (MIT, see
LICENSE.txt); the held-out part has the even-numbered pictures of the original test split.

`train-000.tar` ... `test-000.tar` are WebDataset shards made by `tools/make_easy_vqa.py`: `NNNNN.png`, and `NNNNN.jsonl` with a
conversation a line, as a question and its answer; `source` is the kind of question by its answer: `shape`, `color` or `yes_no`.
`*.tar.idx` are the shards' indices (text; remade when they do not fit). `sha256sum -c SHA256SUMS` checks the files.

| part | shape | color | yes_no |
| --- | --- | --- | --- |
| train | {train_shape} | {train_color} | {train_yes_no} |
| test | {test_shape} | {test_color} | {test_yes_no} |
"""


def kind(answer):
    return "yes_no" if answer in ("yes", "no") else "shape" if answer in SHAPES else "color"


def line(question, answer):
    return json.dumps({"source": kind(answer), "messages": [{"role": "user", "content": question},
                                                            {"role": "assistant", "content": answer}]},
                      ensure_ascii=False, separators=(",", ":")) + "\n"


def write_shard(path, files):
    """A USTAR archive and its sidecar (the format is described in data/tar.h)."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(content), 0o644, 0
            tar.addfile(info, io.BytesIO(content))
    raw = open(path, "rb").read()
    with tarfile.open(path) as tar:
        members = [(m.offset_data, m.size, m.name) for m in tar]
    fingerprint = hashlib.sha256(raw[:4096] + raw[-4096:]).hexdigest()[:16]
    with open(path + ".idx", "w", newline="\n") as index:
        index.write(f"ocellus-tar-index 1 {len(raw)} {fingerprint} {len(members)}\n")
        index.writelines(f"{offset} {size} {name}\n" for offset, size, name in members)


def convert(source, out, part, numbers):
    with tarfile.open(os.path.join(source, part + "_images.tar")) as tar:
        pictures = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}
    questions = {name: [] for name in pictures}
    with open(os.path.join(source, part + "_questions.jsonl"), encoding="utf-8") as file:
        for text in file:
            row = json.loads(text)
            questions[row["image"]].append(line(row["question"], row["answer"]))
            numbers[f"{part}_{kind(row['answer'])}"] = numbers.get(f"{part}_{kind(row['answer'])}", 0) + 1
    names = sorted(pictures, key=lambda n: int(n.split(".")[0]))
    numbers[part + "_images"], numbers[part + "_lines"] = len(names), sum(map(len, questions.values()))
    for shard, begin in enumerate(range(0, len(names), PER_SHARD)):
        files = []
        for name in names[begin:begin + PER_SHARD]:
            key = f"{int(name.split('.')[0]):05d}"
            files += [(key + ".png", pictures[name]), (key + ".jsonl", "".join(questions[name]).encode())]
        write_shard(os.path.join(out, f"{part}-{shard:03d}.tar"), files)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--out", default="data/samples/easy_vqa")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    numbers = {}
    for part in ("train", "test"):
        convert(args.source, args.out, part, numbers)
    for name in ("LICENSE.txt", "answers.txt"):
        with open(os.path.join(args.source, name), "rb") as file, open(os.path.join(args.out, name), "wb") as copy:
            copy.write(file.read())
    with open(os.path.join(args.out, "README.md"), "w", newline="\n") as file:
        file.write(README.format(**numbers))
    listed = sorted(f for f in os.listdir(args.out) if f != "SHA256SUMS")
    with open(os.path.join(args.out, "SHA256SUMS"), "w", newline="\n") as sums:
        for name in listed:
            with open(os.path.join(args.out, name), "rb") as file:
                sums.write(f"{hashlib.sha256(file.read()).hexdigest()}  {name}\n")


if __name__ == "__main__":
    main()
