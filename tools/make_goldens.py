#!/usr/bin/env python3
"""Makes golden folders of small random language models, and what `transformers` computes from them.

    tools/make_goldens.py OUT [NAME...]      for example: tools/make_goldens.py tests/golden

Needs torch and transformers; the project itself needs neither, not for building and not for testing. Folders
hold config.json, model.safetensors, golden.json and golden.safetensors (see tests/README.md);
token_scores.json holds scores before and after each of transformers' logits processors.
"""
import copy
import json
import pathlib
import shutil
import sys
import types

import torch
import transformers
from safetensors.torch import save_file
from transformers.generation import logits_process as lp

VOCAB = 48

# The masks of transformers add the lowest double to scores; in rows that see nothing the sum is -inf, and
# softmax NaN. A lesser number leaves such rows finite, as they are in float32.
_finfo = torch.finfo


def _finite_finfo(dtype):
    info = _finfo(dtype)
    return types.SimpleNamespace(min=-1e30, max=info.max, eps=info.eps, tiny=info.tiny) \
        if dtype == torch.float64 else info


torch.finfo = _finite_finfo

LLAMA = dict(vocab_size=VOCAB, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=2, head_dim=8, max_position_embeddings=64,
             rms_norm_eps=1e-5, pad_token_id=0, bos_token_id=1, eos_token_id=2)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=16)

# name: (class, config, sequence length, padded side or None, what config.json is rewritten to, notes)
MODELS = {
    "llama_rope_linear": ("LlamaForCausalLM", LLAMA | dict(
        rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=3.0)), 9, "left", None,
        "Frequencies divided by a factor."),
    "llama_rope_dynamic_old_keys": ("LlamaForCausalLM", LLAMA | dict(
        max_position_embeddings=8,
        rope_parameters=dict(rope_type="dynamic", rope_theta=5000.0, factor=2.0)), 13, None,
        dict(rope_theta=5000.0, rope_scaling=dict(type="dynamic", factor=2.0)),
        "A sequence longer than max_position_embeddings, whose length decides the base; every generated token "
        "changes it. config.json has the keys of transformers 4: rope_theta, rope_scaling with type."),
    "llama_rope_yarn": ("LlamaForCausalLM", LLAMA | dict(rope_parameters=YARN), 9, "left", None,
        "Ramp between pairs, temperature from the factor."),
    "llama_rope_yarn_mscale": ("LlamaForCausalLM", LLAMA | dict(
        head_dim=16, rope_parameters=YARN | dict(beta_fast=4.0, beta_slow=0.5, mscale=0.7,
                                                 mscale_all_dim=0.3, truncate=False)), 9, None, None,
        "Own ramp bounds, not truncated; temperature from mscale and mscale_all_dim."),
    "gemma3": ("Gemma3ForCausalLM", dict(
        vocab_size=VOCAB, hidden_size=20, intermediate_size=28, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, max_position_embeddings=64,
        query_pre_attn_scalar=6, sliding_window=4, sliding_window_pattern=2,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters=dict(full_attention=dict(rope_type="linear", rope_theta=20000.0, factor=8.0),
                             sliding_attention=dict(rope_type="default", rope_theta=10000.0)),
        final_logit_softcapping=2.5, pad_token_id=0, bos_token_id=1, eos_token_id=2), 11, "left", None,
        "Norms over heads of q and k, four norms a layer, two rope tables, sliding layers, capped logits."),
    "gemma3_old_keys": ("Gemma3ForCausalLM", dict(
        vocab_size=VOCAB, hidden_size=20, intermediate_size=28, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=1, head_dim=8, max_position_embeddings=64,
        query_pre_attn_scalar=8, sliding_window=5,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters=dict(full_attention=dict(rope_type="linear", rope_theta=20000.0, factor=8.0),
                             sliding_attention=dict(rope_type="default", rope_theta=10000.0)),
        pad_token_id=0, bos_token_id=1, eos_token_id=2), 11, "right",
        dict(rope_theta=20000.0, rope_local_base_freq=10000.0, sliding_window_pattern=2,
             rope_scaling=dict(rope_type="linear", factor=8.0), layer_types=None),
        "config.json with the keys of transformers 4: rope_local_base_freq, sliding_window_pattern."),
    "qwen2_sliding": ("Qwen2ForCausalLM", {k: v for k, v in LLAMA.items() if k != "head_dim"} | dict(
        num_hidden_layers=3, use_sliding_window=True, sliding_window=3, max_window_layers=1), 9, "left", None,
        "Sliding layers from max_window_layers on."),
    "gpt_neox_sequential": ("GPTNeoXForCausalLM", dict(
        vocab_size=VOCAB, hidden_size=16, intermediate_size=40, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=64, use_parallel_residual=False,
        attention_bias=False, hidden_act="gelu_new", rope_parameters=dict(
            rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.25),
        pad_token_id=0, bos_token_id=1, eos_token_id=2), 9, "right",
        dict(rotary_pct=0.25, rotary_emb_base=10000),
        "One branch after the other, no bias in attention; rotary_pct and rotary_emb_base as in public files."),
    "gpt2_scaled_scores": ("GPT2LMHeadModel", dict(
        vocab_size=VOCAB, n_embd=16, n_inner=40, n_layer=3, n_head=2, n_positions=32,
        scale_attn_by_inverse_layer_idx=True, pad_token_id=0, bos_token_id=1, eos_token_id=2), 9, "left",
        None, "Scores divided by the layer's number; feed-forward of its own width."),
    "mpt_power_of_two": ("MptForCausalLM", dict(
        vocab_size=VOCAB, d_model=16, n_heads=4, n_layers=2, max_seq_len=32,
        attn_config=dict(softmax_scale=0.3, alibi_bias_max=6),
        pad_token_id=0, bos_token_id=1, eos_token_id=2), 9, "left", None,
        "Slopes of a power of two of heads, own softmax_scale; alibi_bias_max is not read."),
    "mt5": ("MT5ForConditionalGeneration", dict(
        vocab_size=VOCAB, d_model=16, d_kv=6, d_ff=20, num_layers=2, num_heads=2,
        relative_attention_num_buckets=8, relative_attention_max_distance=12,
        feed_forward_proj="gated-silu"), 15, "right", dict(tie_word_embeddings=False),
        "Own head as in public files, gate by another activation."),
}

T5_KEYS = dict(decoder_start_token_id=0, pad_token_id=0, eos_token_id=[1, 6, 11])
GENERATE = {
    "generate_llama": ("LlamaForCausalLM", LLAMA | dict(eos_token_id=[2, 5]), [
        ("greedy", {}),
        ("penalty", dict(repetition_penalty=1.7)),
        ("ngrams", dict(no_repeat_ngram_size=2)),
        ("bad_words", dict(bad_words_ids=[[7], [11, 3], [2]])),
        ("longer", dict(min_new_tokens=9)),
        ("beams", dict(num_beams=3)),
        ("beams_short", dict(num_beams=4, length_penalty=-1.5)),
        ("beams_long", dict(num_beams=4, length_penalty=2.0, early_stopping="never")),
        ("beams_early", dict(num_beams=3, early_stopping=True, num_return_sequences=2)),
        ("beams_changed", dict(num_beams=2, repetition_penalty=1.3, no_repeat_ngram_size=3,
                               bad_words_ids=[[9, 4]], num_return_sequences=2)),
    ]),
    "generate_sliding": ("MistralForCausalLM", LLAMA | dict(sliding_window=4), [
        ("greedy", dict(max_new_tokens=20)),
        ("beams", dict(num_beams=3, max_new_tokens=20)),
    ]),
    "generate_t5": ("T5ForConditionalGeneration", dict(
        vocab_size=VOCAB, d_model=16, d_kv=6, d_ff=20, num_layers=1, num_heads=2,
        relative_attention_num_buckets=8, relative_attention_max_distance=12) | T5_KEYS, [
        ("greedy", {}),
        ("beams", dict(num_beams=3)),
        ("beams_early", dict(num_beams=4, early_stopping=True, length_penalty=0.5, num_return_sequences=3)),
    ]),
}


def random_model(name, kind, config):
    """A model whose parameters, norms and biases included, are far from where training starts."""
    torch.manual_seed(sum(map(ord, name)))
    cls = getattr(transformers, kind)
    model = cls(cls.config_class(**config)).eval()
    model.config._attn_implementation = "eager"
    for key, p in model.named_parameters():
        scale = 0.25
        shift = 1.0 if p.dim() == 1 and key.endswith("weight") and "gemma" not in model.config.model_type else 0
        p.data = shift + scale * torch.randn_like(p)
    return model


def separate_head(model):
    """Gives an mT5 its own head, as its public files have."""
    if model.config.model_type == "mt5":
        model.lm_head.weight = torch.nn.Parameter(0.3 * torch.randn_like(model.lm_head.weight))
        model.config.tie_word_embeddings = False
    return model


def batch(length, side, rows=2):
    ids = torch.randint(3, VOCAB, (rows, length))
    mask = torch.ones_like(ids)
    if side:
        hidden = slice(0, 3) if side == "left" else slice(length - 3, length)
        mask[1, hidden] = 0
        ids[1, hidden] = 0
    return ids, mask


def greedy(model, inputs, new_tokens):
    out = model.generate(**inputs, max_new_tokens=new_tokens, do_sample=False, output_logits=True,
                         return_dict_in_generate=True)
    return out.sequences, min(float(torch.diff(l.topk(2).values).abs().min()) for l in out.logits)


def run(model, inputs, labels):
    model.zero_grad()
    out = model(**inputs, labels=labels)
    out.loss.backward()
    values = {"out.logits": out.logits, "out.loss": out.loss}
    if "encoder_last_hidden_state" in out:
        values["out.encoder_last_hidden_state"] = out.encoder_last_hidden_state
    values |= {"grad." + k: p.grad for k, p in model.named_parameters() if p.grad is not None}
    return {k: v.detach().clone() for k, v in values.items()}


def write_model(folder, model, rewrite):
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    if rewrite:
        path = folder / "config.json"
        config = json.loads(path.read_text())
        for key in ("rope_parameters",):
            if any(k.startswith("rope") or k.startswith("rotary") for k in rewrite):
                config.pop(key, None)
        for key, value in rewrite.items():
            config.pop(key, None) if value is None else config.update({key: value})
        path.write_text(json.dumps(config, indent=2) + "\n")


def finish(folder, meta, tensors):
    meta |= {"transformers": transformers.__version__, "torch": torch.__version__.split("+")[0],
             "dtype": "float32"}
    (folder / "golden.json").write_text(json.dumps(meta, indent=1) + "\n")
    save_file({k: v.contiguous().clone() for k, v in tensors.items()}, folder / "golden.safetensors")


def make_model(out, name):
    kind, config, length, side, rewrite, notes = MODELS[name]
    model = separate_head(random_model(name, kind, config))
    write_model(out / name, model, rewrite)
    # Read back, so that the rewritten config.json is what transformers computes with.
    cls = getattr(transformers, kind)
    load = lambda dtype: cls.from_pretrained(out / name, dtype=dtype, attn_implementation="eager").eval()
    models = {d: load(d) for d in (torch.float32, torch.float64)}
    single = models[torch.float32]
    fresh = lambda dtype: copy.deepcopy(models[dtype])  # dynamic frequencies are state
    for seed in range(100):
        torch.manual_seed(seed)
        ids, mask = batch(length, side)
        t5 = single.config.is_encoder_decoder
        labels = torch.randint(2, VOCAB, (2, 7)) if t5 else ids.masked_fill(mask == 0, -100)
        labels[0, 2] = -100
        if side == "left" and not t5:
            labels[1, 3] = -100  # the first real token would be predicted by padding
        inputs = {"input_ids": ids, "attention_mask": mask}
        a = run(fresh(torch.float32), inputs, labels)
        b = run(fresh(torch.float64), inputs, labels)
        sequences, margin = greedy(fresh(torch.float32), inputs, 10)
        same = torch.equal(sequences, greedy(fresh(torch.float64), inputs, 10)[0])
        if margin > 1e-3 and same:
            break
        print(f"{name}: seed {seed}: margin {margin:.2g}, same in double precision: {same}")
    else:
        raise SystemExit(f"{name}: no seed with a clear greedy path")
    where = {} if t5 else {"where.logits": mask}
    if t5:
        where["where.encoder_last_hidden_state"] = mask
    real = {k: torch.ones(v.shape, dtype=torch.bool) for k, v in a.items()}
    for key, value in where.items():
        real["out." + key[6:]] = value.bool()[..., None].expand(a["out." + key[6:]].shape)
    errors = {k: float((a[k].double() - b[k])[real[k]].abs().max()) for k in a}
    rtol = 1e-5
    while any(e * 8 > 2e-6 + rtol * float(a[k][real[k]].abs().max()) for k, e in errors.items()):
        rtol *= 2
    tied = {k for k, _ in single.named_parameters()}
    stored = {k: v for k, v in a.items() if not k.startswith("grad.") or k[5:] in tied}
    meta = {"kind": "model", "class": kind, "attn_implementation": "eager", "mode": "eval",
            "loss": "out.loss", "loss_from": "model", "inputs": sorted(inputs) + ["labels"], "call": {},
            "atol": 2e-6, "rtol": rtol, "notes": notes,
            "generate": {"max_new_tokens": 10, "do_sample": False, "min_margin": round(margin, 5)}}
    tensors = {"in." + k: v for k, v in inputs.items()} | {"in.labels": labels} | where | stored
    if "grad.lm_head.weight" in tensors and single.config.model_type == "gpt_neox":
        tensors["grad.embed_out.weight"] = tensors.pop("grad.lm_head.weight")  # its name in files
    if side == "right" and not t5:
        del meta["generate"]  # behind padding nothing sensible follows
    else:
        tensors["gen.sequences"] = sequences
    finish(out / name, meta, tensors)
    print(f"{name}: rtol {rtol:.0e}, margin {margin:.4f}")


def make_generate(out, name):
    kind, config, cases = GENERATE[name]
    model = random_model(name, kind, config)
    write_model(out / name, model, None)
    double = copy.deepcopy(model).double()
    for seed in range(200):
        torch.manual_seed(seed)
        ids, mask = batch(7, "left")
        tensors, lengths = {"in.input_ids": ids, "in.attention_mask": mask}, set()
        for case, options in cases:
            call = dict(input_ids=ids, attention_mask=mask, do_sample=False) | {"max_new_tokens": 12} | options
            single = model.generate(**call)
            if not torch.equal(single, double.generate(**call)):
                break
            tensors[f"gen.{case}.sequences"] = single
            lengths.add(single.shape[1])
        else:
            if len(lengths) > 1 or len(cases) < 4:
                break
    else:
        raise SystemExit(f"{name}: no seed whose answers are the same in double precision")
    meta = {"kind": "generate", "class": kind, "cases": [
        {"name": case, "options": {"do_sample": False, "max_new_tokens": 12} | options}
        for case, options in cases]}
    finish(out / name, meta, tensors)
    print(f"{name}: {len(cases)} cases, seed {seed}")


def make_token_scores(out):
    torch.manual_seed(3)
    seen = torch.tensor([[4, 9, 1, 4, 9, 7, 2, 4]])
    scores = (2.5 * torch.randn(1, 24)).double()
    scores[0, 11] = scores[0, 5]  # a tie
    eos = torch.tensor([2, 3])
    cases = [
        ("repetition_penalty", {"repetition_penalty": 1.6}, lp.RepetitionPenaltyLogitsProcessor(1.6)),
        ("no_repeat_ngram_size", {"no_repeat_ngram_size": 2}, lp.NoRepeatNGramLogitsProcessor(2)),
        ("no_repeat_ngram_size 1", {"no_repeat_ngram_size": 1}, lp.NoRepeatNGramLogitsProcessor(1)),
        ("bad_words_ids", {"bad_words_ids": [[5], [2, 4, 6], [2, 8], [3], [9, 4, 1]]},
         lp.NoBadWordsLogitsProcessor([[5], [2, 4, 6], [2, 8], [3], [9, 4, 1]], eos)),
        ("min_new_tokens", {"min_new_tokens": 3}, lp.MinNewTokensLengthLogitsProcessor(6, 3, eos)),
        ("suppress_tokens", {"suppress_tokens": [0, 23]}, lp.SuppressTokensLogitsProcessor([0, 23])),
    ]
    warpers = [
        ("temperature", {"temperature": 0.6}, lp.TemperatureLogitsWarper(0.6)),
        ("top_k", {"top_k": 5}, lp.TopKLogitsWarper(5)),
        ("top_k at a tie", {"top_k": int((scores > scores[0, 5]).sum()) + 1},
         lp.TopKLogitsWarper(int((scores > scores[0, 5]).sum()) + 1)),
        ("top_p", {"top_p": 0.8}, lp.TopPLogitsWarper(0.8)),
        ("top_p small", {"top_p": 0.01}, lp.TopPLogitsWarper(0.01)),
        ("min_p", {"min_p": 0.1}, lp.MinPLogitsWarper(0.1)),
        ("min_p 1", {"min_p": 1.0}, lp.MinPLogitsWarper(1.0)),
        ("typical_p", {"typical_p": 0.6}, lp.TypicalLogitsWarper(0.6)),
        ("typical_p small", {"typical_p": 0.05}, lp.TypicalLogitsWarper(0.05)),
    ]
    chain = lp.LogitsProcessorList([c[2] for c in cases] + [warpers[0][2], lp.TopKLogitsWarper(12),
                                    lp.TopPLogitsWarper(0.9), lp.MinPLogitsWarper(0.02),
                                    lp.TypicalLogitsWarper(0.85)])
    everything = {"top_k": 12, "top_p": 0.9, "min_p": 0.02, "typical_p": 0.85}
    for case in cases + warpers[:1]:
        everything |= case[1]
    everything["no_repeat_ngram_size"] = 1
    cases += warpers + [("everything", everything, chain)]
    listed = lambda t: [None if v == float("-inf") else v for v in t[0].tolist()]
    document = {"transformers": transformers.__version__, "seen": seen[0].tolist(), "produced": 2,
                "eos_token_id": eos.tolist(), "scores": listed(scores),
                "cases": [{"name": n, "options": o, "scores": listed(p(seen, scores.clone()))}
                          for n, o, p in cases]}
    (out / "token_scores.json").write_text(json.dumps(document, indent=None) + "\n")
    print(f"token_scores.json: {len(cases)} cases")


def main():
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    out = pathlib.Path(sys.argv[1])
    wanted = sys.argv[2:]
    out.mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        if not wanted or name in wanted:
            make_model(out, name)
    for name in GENERATE:
        if not wanted or name in wanted:
            make_generate(out, name)
    if not wanted or "token_scores.json" in wanted:
        make_token_scores(out)


if __name__ == "__main__":
    main()
