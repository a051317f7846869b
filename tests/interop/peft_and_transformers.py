#!/usr/bin/env python3
"""Do transformers and peft open what Ocellus writes, and compute the same?

    tests/interop/peft_and_transformers.py build/cpu/ocellus [WORK_FOLDER]

Run by hand; needs torch, transformers and peft, and says that it skips without them. Trains small models,
exports, merges and adapts with the program, opens the results in Python and compares numbers that both
sides print. Last line: N passed, N failed, N skipped.
"""
import json
import os
import subprocess
import sys
import tempfile
import warnings

try:
    import peft
    import torch
    import transformers
    from safetensors.torch import load_file, save_file
except ImportError as missing:
    print(f"skipped: {missing}")
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(0)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.abspath(sys.argv[1])
passed = failed = 0


def check(name, holds, note=""):
    global passed, failed
    passed, failed = passed + bool(holds), failed + (not holds)
    print(f"{'ok    ' if holds else 'FAILED'} {name} {note}", flush=True)


def ocellus(*arguments):
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"ocellus {' '.join(arguments)}: {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def difference(a, b):
    return (a - b).abs().max().item() / max(b.abs().max().item(), 1e-30)


def tiny(work, name, config_class, model_class, **settings):
    torch.manual_seed(7)
    model = model_class(config_class(**settings)).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0, 0.2)
    folder = os.path.join(work, name)
    model.save_pretrained(folder)
    return folder, model


def text_models(work):
    llama = dict(vocab_size=96, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
                 num_key_value_heads=2, max_position_embeddings=64, pad_token_id=0, eos_token_id=1, bos_token_id=2)
    yield tiny(work, "llama", transformers.LlamaConfig, transformers.LlamaForCausalLM, **llama)
    yield tiny(work, "llama_bias", transformers.LlamaConfig, transformers.LlamaForCausalLM, attention_bias=True,
               mlp_bias=True, **llama)
    yield tiny(work, "gpt2", transformers.GPT2Config, transformers.GPT2LMHeadModel, vocab_size=96, n_embd=24,
               n_layer=2, n_head=4, n_positions=64, pad_token_id=0, eos_token_id=1, bos_token_id=2)


def vision_models(work):
    yield tiny(work, "vit", transformers.ViTConfig, transformers.ViTModel, hidden_size=24, intermediate_size=40,
               num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8)


def adapters_for(name):
    c = lambda **k: peft.LoraConfig(task_type=None if name == "vit" else "CAUSAL_LM", r=4, lora_alpha=6,
                                    init_lora_weights=False, **k)
    if name == "vit":
        return {"list": c(target_modules=["q_proj", "v_proj"]), "all_linear": c(target_modules="all-linear"),
                "dora": c(target_modules=["o_proj", "fc1"], use_dora=True, modules_to_save=["layernorm"])}
    if name == "gpt2":
        return {"conv1d": c(target_modules=["c_attn", "c_proj"], fan_in_fan_out=True),
                "conv1d_dora": c(target_modules=["c_attn"], fan_in_fan_out=True, use_dora=True),
                "all_linear": c(target_modules="all-linear", fan_in_fan_out=True)}
    if name == "llama_bias":
        return {"bias_all": c(target_modules=["q_proj"], bias="all"),
                "bias_lora_only": c(target_modules=["q_proj", "up_proj"], bias="lora_only"),
                "lora_bias": c(target_modules=["q_proj", "down_proj"], lora_bias=True),
                "dora": c(target_modules=["q_proj", "v_proj"], use_dora=True)}
    return {"list": c(target_modules=["q_proj", "v_proj"]),
            "regex": c(target_modules=r".*layers\.1\..*(gate|up)_proj"),
            "all_linear_rslora": c(target_modules="all-linear", use_rslora=True),
            "layers": c(target_modules=["k_proj", "o_proj"], layers_to_transform=[1], layers_pattern="layers"),
            "exclude": c(target_modules=["q_proj"], exclude_modules=["layers.0.self_attn.q_proj"]),
            "patterns": c(target_modules=["q_proj", "v_proj", "down_proj"], rank_pattern={"down_proj": 3},
                          alpha_pattern={r"layers\.0\..*": 11}),
            "embedding": c(target_modules=["embed_tokens", "q_proj"]),
            "embedding_dora": c(target_modules=["embed_tokens", "q_proj"], use_dora=True),
            "head": c(target_modules=["lm_head", "q_proj"]),
            "head_dora": c(target_modules=["lm_head"], use_dora=True),
            "modules_to_save": c(target_modules=["q_proj"], modules_to_save=["lm_head", "norm", "embed_tokens"])}


def disturb(model):
    """Everything that trains moves away from its start, so that nothing is the base by chance."""
    with torch.no_grad():
        for n, p in model.named_parameters():
            if p.requires_grad:
                p.add_(torch.randn_like(p) * 0.1)


def adapters_both_ways(work):
    """An adapter of peft, merged here, opened there; and written here again, opened by peft."""
    ids, pixels = torch.randint(3, 96, (2, 9)), torch.randn(2, 3, 32, 32)
    for folder, base in [*text_models(work), *vision_models(work)]:
        name = os.path.basename(folder)
        open_one = lambda path: type(base).from_pretrained(path).eval()
        fresh = lambda: open_one(folder)
        run = lambda model: model(pixels).last_hidden_state if name == "vit" else model(ids).logits
        for kind, config in adapters_for(name).items():
            label = f"{name}/{kind}"
            try:
                torch.manual_seed(1)
                model = peft.get_peft_model(fresh(), config).eval()
                disturb(model)
                adapter, merged, again = (os.path.join(work, f"{name}-{kind}-{x}") for x in ("a", "m", "w"))
                model.save_pretrained(adapter)
                want = run(model)
                report = json.loads(ocellus("merge", "--model", folder, "--adapter", adapter, "--out", merged, "--json"))
                got = run(open_one(merged))
                check(f"{label}: merged here, opened by transformers", difference(got, want) < 1e-5,
                      f"rel {difference(got, want):.1e}, merge says {report['merged_vs_unmerged']['f32']['relative']:.1e}")
                ocellus("export", "--model", adapter, "--base", folder, "--to", "peft", "--out", again)
                reopened = peft.PeftModel.from_pretrained(fresh(), again).eval()
                check(f"{label}: written here, opened by peft", difference(run(reopened), want) < 1e-6,
                      f"rel {difference(run(reopened), want):.1e}")
                theirs = load_file(f"{adapter}/adapter_model.safetensors")
                ours = load_file(f"{again}/adapter_model.safetensors")
                odd = {k for k in theirs if ".original_module." in k or ".modules_to_save." in k}
                check(f"{label}: the same names", set(ours) == set(theirs) - odd,
                      f"{sorted(set(ours) ^ (set(theirs) - odd))}")
            except Exception as error:
                check(label, False, str(error)[:600])


RECIPE = """
seed = 1
[model]
vision = {{ kind = "siglip", preset = "tiny", image_size = 64, patch_size = 16, hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2, intermediate_size = 24 }}
connector = {{ kind = "{connector}"{factor} }}
language = {{ kind = "llama", preset = "tiny", hidden_size = 16, num_hidden_layers = 2, num_attention_heads = 2, num_key_value_heads = 1, intermediate_size = 24, max_position_embeddings = 128, tie_word_embeddings = false }}
[tokenizer]
vocab = 300
[[data]]
name = "easy_vqa"
path = "data/samples/easy_vqa/train-000.tar"
[log]
tensorboard = false
[eval]
at_end = false
[[stage]]
name = "tune"
steps = 3
batch = 2
lr = 5e-2
{stage}
"""


def trained_adapters(work):
    """A lora stage of a vision-language model: base + adapter in peft = the model folder in transformers."""
    stages = {"adapters_only": 'lora = { targets = ["language.*.{q,v}_proj"], rank = 4, alpha = 8, dora = true }',
              "with_modules": 'train = ["*"]\nlora = { targets = ["language.*.{q,v}_proj"], rank = 4, alpha = 8 }',
              "vision_too": 'lora = { targets = ["*.q_proj", "connector.*"], rank = 4, rslora = true }'}
    for connector, factor in (("pixel_shuffle", ", factor = 2"), ("mlp", "")):
        for kind, stage in stages.items():
            label = f"{connector}/{kind}"
            try:
                run = os.path.join(work, f"run-{connector}-{kind}")
                recipe = os.path.join(work, "recipe.toml")
                with open(recipe, "w") as file:
                    file.write(RECIPE.format(connector=connector, factor=factor, stage=stage))
                ocellus("train", recipe, "--out", run)
                open_one = lambda folder: transformers.AutoModelForImageTextToText.from_pretrained(folder).eval()
                final, base = open_one(f"{run}/model"), open_one(f"{run}/base")
                config = final.config
                slots = (64 // 16) ** 2 // (4 if connector == "pixel_shuffle" else 1)
                image = getattr(config, "image_token_id", None) or config.image_token_index
                torch.manual_seed(3)
                ids = torch.cat([torch.full((1, slots), image), torch.randint(10, 250, (1, 8))], 1)
                pixels = torch.randn(1, 3, 64, 64)
                inputs = dict(input_ids=ids, pixel_values=pixels[None] if connector == "pixel_shuffle" else pixels)
                want = final(**inputs).logits
                check(f"{label}: training changed the model", difference(base(**inputs).logits, want) > 1e-4)
                adapted = peft.PeftModel.from_pretrained(base, f"{run}/adapter").eval()
                got = adapted(**inputs).logits
                check(f"{label}: base and adapter in peft are the model", difference(got, want) < 1e-5,
                      f"rel {difference(got, want):.1e}")
                out = os.path.join(work, f"hf-{connector}-{kind}")
                ocellus("export", "--model", run, "--to", "hf", "--out", out, "--shard-mb", "1")
                again = open_one(out)(**inputs).logits
                check(f"{label}: exported, opened by transformers", torch.equal(again, want))
            except Exception as error:
                check(label, False, str(error)[:600])


def stored_types(work):
    """Files in other element types and shards, as transformers writes them, exported from here."""
    ids = torch.randint(3, 96, (2, 9))
    folder, model = next(text_models(work))
    want = model(ids).logits
    for kind, dtype, shard in (("f16", torch.float16, "5GB"), ("bf16", torch.bfloat16, "5GB"), ("shards", None, "10KB")):
        try:
            source, out = os.path.join(work, f"stored-{kind}"), os.path.join(work, f"stored-{kind}-out")
            (model if dtype is None else transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
             ).save_pretrained(source, max_shard_size=shard)
            ocellus("export", "--model", source, "--to", "hf", "--out", out)
            got = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()(ids).logits
            same = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()(ids).logits
            check(f"stored/{kind}: exported, opened by transformers", torch.equal(got, same),
                  f"rel {difference(got, want):.1e} to f32")
        except Exception as error:
            check(f"stored/{kind}", False, str(error)[:600])


with tempfile.TemporaryDirectory() as scratch, torch.no_grad():
    work_folder = sys.argv[2] if len(sys.argv) > 2 else scratch
    os.makedirs(work_folder, exist_ok=True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    stored_types(work_folder)
    adapters_both_ways(work_folder)
    trained_adapters(work_folder)
print(f"{passed} passed, {failed} failed, 0 skipped")
sys.exit(1 if failed else 0)
