#!/usr/bin/env python3
"""Random models, options, adapters and pictures: what transformers and peft compute, against `ocellus parity`.

    tests/interop/random_goldens.py PROGRAM [-n N] [--seed S] [--keep FOLDER] [KIND…]

Run by hand; needs torch, transformers, peft and Pillow. KIND: models, positions, generation, adapters, pictures
(all if none is named). Each draws N cases (default 10), writes each as a golden folder (tests/README.md) and lets
the program compare. Cases where transformers itself disagrees between single and double precision are drawn again.
Last line: N passed, N failed, N skipped.
"""
import argparse
import copy
import json
import os
import random
import subprocess
import sys
import tempfile
import warnings

import numpy
import peft
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file

VOCAB = 60


def pick(*values):
    return random.choice(values)


def finish(folder, kind, name, tensors, **meta):
    with open(f"{folder}/golden.json", "w") as file:
        json.dump({"kind": kind, "class": name, "atol": 5e-6, "rtol": 3e-5, **meta}, file)
    save_file({k: v.detach().contiguous().clone() for k, v in tensors.items()}, f"{folder}/golden.safetensors")


def text_config():
    """(class, config) of a random causal language model."""
    heads, size = pick(2, 3, 4), pick(4, 6, 8)
    grouped = dict(vocab_size=VOCAB, hidden_size=heads * size, intermediate_size=pick(17, 24, 40), num_hidden_layers=pick(1, 2, 3),
                   num_attention_heads=heads, num_key_value_heads=pick(1, heads), max_position_embeddings=64,
                   rms_norm_eps=pick(1e-6, 1e-4), tie_word_embeddings=pick(True, False), pad_token_id=0, bos_token_id=1, eos_token_id=2)
    plain = {k: v for k, v in grouped.items() if k not in ("num_key_value_heads", "rms_norm_eps")}
    rope = pick({}, dict(rope_type="linear", factor=2.5), dict(rope_type="dynamic", factor=2.0),
                dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16),
                dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16))
    rope = dict(rope_parameters=dict(rope, rope_theta=pick(1e4, 5e5))) if rope else {}
    gemma = dict(grouped, head_dim=pick(4, 8), hidden_activation=pick("gelu_pytorch_tanh", "gelu"))
    t = transformers
    return pick(
        (t.LlamaForCausalLM, t.LlamaConfig(**grouped, **rope, attention_bias=pick(True, False), mlp_bias=pick(True, False), head_dim=pick(4, 6))),
        (t.MistralForCausalLM, t.MistralConfig(**grouped, sliding_window=pick(None, 3, 50), head_dim=size)),
        (t.Qwen2ForCausalLM, t.Qwen2Config(**grouped, use_sliding_window=pick(True, False), sliding_window=3, max_window_layers=1)),
        (t.Qwen3ForCausalLM, t.Qwen3Config(**grouped, head_dim=pick(4, 8), attention_bias=pick(True, False))),
        (t.GemmaForCausalLM, t.GemmaConfig(**dict(grouped, head_dim=pick(4, 8)))),
        (t.Gemma2ForCausalLM, t.Gemma2Config(**gemma, query_pre_attn_scalar=pick(4, 10), sliding_window=4,
                                             attn_logit_softcapping=pick(None, 5.0), final_logit_softcapping=pick(None, 3.0))),
        (t.Gemma3ForCausalLM, t.Gemma3TextConfig(**gemma, query_pre_attn_scalar=pick(4, 10), sliding_window=4)),
        (t.GPT2LMHeadModel, t.GPT2Config(vocab_size=VOCAB, n_embd=heads * size, n_layer=2, n_head=heads, n_positions=64, n_inner=pick(None, 20),
                                         activation_function=pick("gelu_new", "relu"), scale_attn_weights=pick(True, False),
                                         pad_token_id=0, bos_token_id=1, eos_token_id=2)),
        (t.GPTNeoXForCausalLM, t.GPTNeoXConfig(**dict(plain, hidden_size=heads * 8), rotary_pct=pick(0.25, 0.5, 1.0),
                                               use_parallel_residual=pick(True, False), attention_bias=pick(True, False))),
        (t.OPTForCausalLM, t.OPTConfig(vocab_size=VOCAB, hidden_size=heads * size, ffn_dim=24, num_hidden_layers=2, num_attention_heads=heads,
                                       max_position_embeddings=64, do_layer_norm_before=pick(True, False),
                                       word_embed_proj_dim=pick(heads * size, 10), enable_bias=pick(True, False), pad_token_id=0,
                                       bos_token_id=1, eos_token_id=2)),
        (t.MptForCausalLM, t.MptConfig(vocab_size=VOCAB, d_model=heads * size, n_layers=2, n_heads=heads, max_seq_len=64,
                                       pad_token_id=0, bos_token_id=1, eos_token_id=2)))


def randomised(model):
    for name, p in [*model.named_parameters(), *model.named_buffers()]:
        if name.endswith("running_var"):
            p.data.uniform_(0.5, 2)
        elif isinstance(p, torch.nn.Parameter) or name.endswith("running_mean"):
            p.data.normal_(0, 0.3)
    model.config._attn_implementation = "eager"
    return model.eval()


def prompts(rows=2, length=None):
    length = length or random.randint(4, 12)
    ids, mask = torch.randint(3, VOCAB, (rows, length)), torch.ones(rows, length, dtype=torch.int64)
    for row in range(1, rows):
        hidden = random.randint(0, length - 2)
        mask[row, :hidden] = 0
        ids[row, :hidden] = 0
    return ids, mask


def models(folder):
    kind, config = text_config()
    model = randomised(kind(config))
    model.save_pretrained(folder)
    model = kind.from_pretrained(folder, attn_implementation="eager").eval()
    ids, mask = prompts()
    labels = ids.masked_fill(mask == 0, -100)
    for row in range(len(ids)):
        labels[row, mask[row].argmax()] = -100
    out = model(input_ids=ids, attention_mask=mask, labels=labels)
    out.loss.backward()
    tied = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    if kind is transformers.GPTNeoXForCausalLM and "lm_head.weight" in tied:
        tied["embed_out.weight"] = tied.pop("lm_head.weight")
    finish(folder, "model", kind.__name__, {"in.input_ids": ids, "in.attention_mask": mask, "in.labels": labels, "where.logits": mask,
                                            "out.logits": out.logits, "out.loss": out.loss, **{f"grad.{n}": g for n, g in tied.items()}},
           loss="out.loss", loss_from="model")
    return kind.__name__


def positions(folder):
    t, heads = transformers, pick(2, 4)
    patch, side = pick(4, 7, 8), pick(2, 3, 4, 5)
    size = dict(hidden_size=heads * 6, num_hidden_layers=1, num_attention_heads=heads, image_size=patch * side, patch_size=patch)
    wide = dict(size, intermediate_size=24)
    kind, config = pick((t.ViTModel, t.ViTConfig(**wide)), (t.CLIPVisionModel, t.CLIPVisionConfig(**wide)),
                        (t.SiglipVisionModel, t.SiglipVisionConfig(**wide)), (t.Dinov2Model, t.Dinov2Config(**size)),
                        (t.Dinov2Model, t.Dinov2Config(**size, use_swiglu_ffn=True)),
                        (t.Dinov2WithRegistersModel, t.Dinov2WithRegistersConfig(**size, num_register_tokens=pick(1, 4))))
    model = randomised(kind(config))
    model.save_pretrained(folder)
    pixels = torch.randn(2, 3, patch * random.randint(1, 9), patch * random.randint(1, 9))
    call = {} if "Dinov2" in kind.__name__ else {"interpolate_pos_encoding": True}
    out = model(pixels, **call)
    tensors = {"in.pixel_values": pixels, "out.last_hidden_state": out.last_hidden_state}
    finish(folder, "model", kind.__name__, tensors, call=call)
    return f"{kind.__name__} {patch * side} to {tuple(pixels.shape[2:])}"


def generation(folder):
    while True:
        if pick(*range(6)) == 0:
            kind, config = transformers.T5ForConditionalGeneration, transformers.T5Config(
                vocab_size=VOCAB, d_model=16, d_kv=6, d_ff=20, num_layers=1, num_heads=2, feed_forward_proj=pick("relu", "gated-gelu"),
                decoder_start_token_id=0, pad_token_id=0, eos_token_id=2)
        else:
            kind, config = text_config()
        model = randomised(kind(config))
        eos = pick([2], [2, 5, 9], list(range(2, 12)))
        options = dict(max_new_tokens=pick(1, 6, 14), eos_token_id=eos)
        maybe = lambda **k: options.update(k) if pick(True, False, False) else None
        maybe(repetition_penalty=pick(0.8, 1.2, 2.0))
        maybe(no_repeat_ngram_size=pick(1, 2, 3))
        maybe(bad_words_ids=[[random.randint(3, VOCAB - 1) for _ in range(pick(1, 1, 2, 3))] for _ in range(pick(1, 4))])
        maybe(min_new_tokens=pick(2, 5))
        maybe(suppress_tokens=[7, 8])
        if pick(True, False):
            options.update(num_beams=pick(2, 3, 5), early_stopping=pick(True, False, "never"), length_penalty=pick(-1.0, 0.0, 0.6, 1.0, 2.5))
            maybe(num_return_sequences=2)
        ids, mask = prompts()
        call = dict(input_ids=ids, attention_mask=mask, do_sample=False, **options)
        answer = model.generate(**call)
        again = copy.deepcopy(model).double().generate(**call)
        if answer.shape == again.shape and torch.equal(answer, again):
            break
    model.save_pretrained(folder)
    finish(folder, "generate", kind.__name__, {"in.input_ids": ids, "in.attention_mask": mask, "gen.case.sequences": answer},
           cases=[{"name": "case", "options": {"do_sample": False, **options}}])
    return f"{kind.__name__} {options}"


def adapters(folder):
    kind, config = text_config()
    base = randomised(kind(config))
    base.save_pretrained(folder)
    base = kind.from_pretrained(folder, attn_implementation="eager").eval()
    names = {n.split(".")[-1] for n, m in base.named_modules() if type(m).__name__ in ("Linear", "Conv1D") and n not in ("lm_head", "embed_out")}
    names -= {"project_in", "project_out"}
    some = random.sample(sorted(names), random.randint(1, len(names)))
    table = next(n for n, m in base.named_modules() if isinstance(m, torch.nn.Embedding) and m.weight.shape[0] == VOCAB).split(".")[-1]
    options = dict(target_modules=pick(some, some, "all-linear", ".*(" + "|".join(some) + ")"), r=pick(1, 2, 5), lora_alpha=pick(1, 7, 16),
                   use_rslora=pick(True, False), use_dora=pick(True, False, False), init_lora_weights=False)
    listed = isinstance(options["target_modules"], list)
    if listed and pick(True, False):
        options["target_modules"] = some + [table]
    if pick(True, False):
        options.update(rank_pattern={some[0]: 3}, alpha_pattern={some[-1]: 11})
    last = base.config.num_hidden_layers - 1
    if listed and table not in options["target_modules"] and pick(True, False):
        options["layers_to_transform"] = pick([last], list(range(last + 1)))
        options["layers_pattern"] = {"GPT2LMHeadModel": "h", "MptForCausalLM": "blocks"}.get(kind.__name__, "layers")
    norms = sorted({n for n, m in base.named_modules() if "norm" in type(m).__name__.lower() and n.split(".")[-1].isidentifier()})
    if norms and pick(True, False, False):
        options["modules_to_save"] = [random.choice(norms).split(".")[-1]]
    if kind is transformers.GPT2LMHeadModel:
        options["fan_in_fan_out"] = True
    model = peft.get_peft_model(base, peft.LoraConfig(task_type="CAUSAL_LM", **options)).eval()
    for name, p in model.named_parameters():
        if p.requires_grad:
            p.data.add_(torch.randn_like(p) * 0.1)
    model.save_pretrained(f"{folder}/adapter")
    ids, mask = prompts()
    labels = ids.masked_fill(mask == 0, -100)
    for row in range(len(ids)):
        labels[row, mask[row].argmax()] = -100
    out = model(input_ids=ids, attention_mask=mask, labels=labels)
    tensors = {"in.input_ids": ids, "in.attention_mask": mask, "in.labels": labels, "where.logits": mask, "where.merged_logits": mask,
               "out.logits": out.logits, "out.loss": out.loss}
    tied = base.config.tie_word_embeddings and table in options["target_modules"]
    if not tied:  # peft folds a tied table into the head, too: no model that computes the same
        merged = model.merge_and_unload()
        tensors["out.merged_logits"] = merged(input_ids=ids, attention_mask=mask).logits
    finish(folder, "peft", kind.__name__, tensors, loss="out.loss", loss_from="model")
    return f"{kind.__name__} {options}"


def pictures(folder):
    t, s = transformers, pick(16, 24, 30)
    square = dict(height=s, width=s)
    resample = pick(0, 1, 2, 3, 4, 5)
    tiles = [[s, 2 * s], [2 * s, s], [2 * s, 2 * s], [3 * s, s], [s, 3 * s]]
    kind, options = pick(
        ("CLIP", dict(size={"shortest_edge": s}, crop_size=dict(height=pick(s, s - 5), width=pick(s, s + 6)), resample=resample)),
        ("Siglip", dict(size=square, resample=resample)), ("ViT", dict(size=dict(height=s, width=pick(s, s + 9)), resample=resample)),
        ("Blip", dict(size=square, resample=resample)),
        ("Llava", dict(size={"shortest_edge": s}, crop_size=square, do_pad=pick(True, False))),
        ("LlavaNext", dict(size={"shortest_edge": s}, crop_size=square, image_grid_pinpoints=tiles)),
        ("LlavaOnevision", dict(size=square, image_grid_pinpoints=tiles)),
        ("Idefics", dict(image_size=s)), ("Idefics2", dict(size={"shortest_edge": s, "longest_edge": 2 * s}, do_image_splitting=pick(True, False))),
        ("Idefics3", dict(size={"longest_edge": pick(2, 3) * s}, max_image_size={"longest_edge": s}, do_image_splitting=pick(True, False))),
        ("SmolVLM", dict(size={"longest_edge": pick(2, 3) * s}, max_image_size={"longest_edge": s}, do_image_splitting=pick(True, False))),
        ("Qwen2VL", dict(size={"shortest_edge": 28 * 28, "longest_edge": pick(4, 9) * 28 * 28})))
    name = f"{kind}ImageProcessorPil"
    processor = getattr(t, name)(**options)
    processor.save_pretrained(folder)
    path = f"{folder}/preprocessor_config.json"
    if os.path.exists(path):
        config = json.load(open(path))
        config["image_processor_type"] = f"{kind}ImageProcessor"
        json.dump(config, open(path, "w"))
    os.makedirs(f"{folder}/images")
    files = []
    for i in range(pick(1, 2, 3)):
        mode = pick("RGB", "RGB", "RGB", "L", "RGBA") if kind != "Idefics" else "RGB"
        width, height = random.randint(8, 130), random.randint(8, 130)
        if kind == "Qwen2VL":
            width, height = random.randint(30, 130), random.randint(30, 130)
        shape = (height, width) if mode == "L" else (height, width, len(mode))
        Image.fromarray(numpy.random.randint(0, 256, shape, dtype=numpy.uint8), mode).save(f"{folder}/images/{i}.png")
        files.append(f"{i}.png")
    nested = kind in ("Idefics2", "Idefics3", "SmolVLM")
    opened = [Image.open(f"{folder}/images/{f}") for f in files]
    call = {"return_row_col_info": True} if kind in ("Idefics3", "SmolVLM") else {}
    out = processor([opened] if nested else opened, return_tensors="pt", **call)
    tensors, lists = {}, {}
    for key, value in out.items():
        if torch.is_tensor(value):
            tensors[f"out.0.{key}"] = value.to(torch.uint8) if "mask" in key else value
        elif key in ("rows", "cols"):
            lists[key] = value
    finish(folder, "processor", name, tensors, call=call, cases=[{"images": [files] if nested else files, "outputs": lists}])
    return f"{kind} {options} {[o.size for o in opened]}"


KINDS = {f.__name__: f for f in (models, positions, generation, adapters, pictures)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("-n", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep")
    parser.add_argument("kinds", nargs="*", default=[])
    a = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory() as scratch:
        for kind in a.kinds or KINDS:
            for i in range(a.n):
                seed = a.seed * 100000 + i
                random.seed(seed), torch.manual_seed(seed), numpy.random.seed(seed)
                folder = os.path.join(a.keep or scratch, f"{kind}-{seed}")
                os.makedirs(folder)
                try:
                    what = KINDS[kind](folder)
                except Exception as error:  # what transformers or peft refuse is no case
                    skipped += 1
                    print(f"skipped {kind}-{seed}: {type(error).__name__}: {str(error)[:150]}", flush=True)
                    continue
                done = subprocess.run([a.program, "parity", folder], capture_output=True, text=True)
                good = done.returncode == 0
                passed, failed = passed + good, failed + (not good)
                wrong = [line for line in (done.stdout + done.stderr).splitlines() if "FAILED" in line or "ocellus:" in line]
                print(f"{'ok    ' if good else 'FAILED'} {kind}-{seed} {what}" + "".join(f"\n    {w}" for w in wrong[:4]), flush=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed > 0


sys.exit(main())
