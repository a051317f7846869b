#!/usr/bin/env python3
"""Do transformers and peft open what Ocellus writes, and compute the same?

    tests/interop/peft_and_transformers.py build/cpu/ocellus [WORK_FOLDER [PART…]]

Run by hand; needs torch, transformers and peft, and says that it skips without them. Trains small models,
exports, merges and adapts with the program, opens the results in Python and compares numbers that both
sides print. Last line: N passed, N failed, N skipped.
"""
import json
import os
import shutil
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
passed = failed = skipped = 0


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


def all_families():
    """name: (config, class) — one small random model of every class that Ocellus has."""
    t = transformers
    common = dict(vocab_size=96, hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4,
                  max_position_embeddings=64, pad_token_id=0, bos_token_id=2, eos_token_id=1)
    grouped = dict(common, num_key_value_heads=2)
    causal = {
        "llama": (t.LlamaConfig, grouped), "mistral": (t.MistralConfig, dict(grouped, sliding_window=5)),
        "qwen2": (t.Qwen2Config, grouped),
        "qwen2_sliding": (t.Qwen2Config, dict(grouped, use_sliding_window=True, sliding_window=4, max_window_layers=1)),
        "qwen3": (t.Qwen3Config, dict(grouped, head_dim=8)), "gemma": (t.GemmaConfig, dict(grouped, head_dim=8)),
        "gemma2": (t.Gemma2Config, dict(grouped, head_dim=8, query_pre_attn_scalar=7, sliding_window=4)),
        "gemma3_text": (t.Gemma3TextConfig, dict(grouped, head_dim=8, query_pre_attn_scalar=9, sliding_window=4)),
        "gpt2": (t.GPT2Config, dict(vocab_size=96, n_embd=24, n_layer=3, n_head=4, n_positions=64, n_inner=36,
                                    bos_token_id=2, eos_token_id=1, pad_token_id=0)),
        "gpt_neox": (t.GPTNeoXConfig, dict(common, num_attention_heads=2, rotary_pct=0.5, use_parallel_residual=False)),
        "opt": (t.OPTConfig, dict(vocab_size=96, hidden_size=24, ffn_dim=40, num_hidden_layers=3, num_attention_heads=4,
                                  max_position_embeddings=64, pad_token_id=0, bos_token_id=2, eos_token_id=1)),
        "opt_350m": (t.OPTConfig, dict(vocab_size=96, hidden_size=24, ffn_dim=40, num_hidden_layers=3,
                                       num_attention_heads=4, max_position_embeddings=64, word_embed_proj_dim=16,
                                       do_layer_norm_before=False, pad_token_id=0, bos_token_id=2, eos_token_id=1)),
        "mpt": (t.MptConfig, dict(vocab_size=96, d_model=24, n_layers=3, n_heads=4, max_seq_len=64)),
    }
    table = {k: (c(**a), t.AutoModelForCausalLM) for k, (c, a) in causal.items()}
    t5 = dict(vocab_size=96, d_model=24, d_kv=6, d_ff=40, num_layers=2, num_heads=4, decoder_start_token_id=0)
    bert = t.BertConfig(**{k: v for k, v in common.items() if not k.endswith("_id")})
    eye = dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8)
    dino = {k: v for k, v in eye.items() if k != "intermediate_size"}
    text = dict(vocab_size=96, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
                max_position_embeddings=16)
    stages = dict(depths=[1, 2, 1], num_stages=3)
    table.update({
        "t5": (t.T5Config(**t5), t.T5ForConditionalGeneration),
        "t5_1_1": (t.T5Config(feed_forward_proj="gated-gelu", tie_word_embeddings=False, **t5), t.T5ForConditionalGeneration),
        "mt5": (t.MT5Config(**t5), t.MT5ForConditionalGeneration),
        "bert": (bert, t.BertModel), "bert_mlm": (bert, t.BertForMaskedLM),
        "vit": (t.ViTConfig(**eye), t.ViTModel),
        "clip": (t.CLIPConfig(text_config=dict(text, eos_token_id=95), vision_config=eye, projection_dim=12), t.CLIPModel),
        "clip_vision": (t.CLIPVisionConfig(**eye), t.CLIPVisionModel),
        "clip_text": (t.CLIPTextConfig(eos_token_id=95, **text), t.CLIPTextModel),
        "siglip": (t.SiglipConfig(text_config=text, vision_config=eye), t.SiglipModel),
        "siglip_vision": (t.SiglipVisionConfig(**eye), t.SiglipVisionModel),
        "dinov2": (t.Dinov2Config(drop_path_rate=0.1, **dino), t.Dinov2Model),
        "dinov2_swiglu": (t.Dinov2Config(use_swiglu_ffn=True, mlp_ratio=3, **dino), t.Dinov2Model),
        "dinov2_registers": (t.Dinov2WithRegistersConfig(num_register_tokens=3, **dino), t.Dinov2WithRegistersModel),
        "convnextv2": (t.ConvNextV2Config(hidden_sizes=[8, 12, 16], drop_path_rate=0.2, **stages), t.ConvNextV2Model),
        "resnet": (t.ResNetConfig(embedding_size=8, hidden_sizes=[8, 12, 16], depths=[1, 2, 1], layer_type="basic"), t.ResNetModel),
        "resnet_bottleneck": (t.ResNetConfig(embedding_size=8, hidden_sizes=[16, 24, 32], depths=[1, 1, 2]), t.ResNetModel),
        "llava": (t.LlavaConfig(vision_config=t.CLIPVisionConfig(**eye), text_config=t.LlamaConfig(**grouped),
                                image_token_index=5), t.LlavaForConditionalGeneration),
    })
    return table


def random_model(config, model_class):
    torch.manual_seed(7)
    make = getattr(model_class, "from_config", None) or model_class
    model = make(config).eval()
    for n, p in [*model.named_parameters(), *model.named_buffers()]:
        if n.endswith("running_var"):
            p.uniform_(0.5, 2)
        elif n.endswith("num_batches_tracked"):
            p.fill_(17)
        elif p.is_floating_point() and (isinstance(p, torch.nn.Parameter) or n.endswith("running_mean")):
            p.normal_(0, 0.2)
    return model


def answers(model):
    """What a model computes for a fixed input, all its outputs that are numbers in one row."""
    torch.manual_seed(11)
    ids, pixels, kind = torch.randint(6, 95, (2, 9)), torch.randn(2, 3, 32, 32), model.config.model_type
    if kind == "llava":
        out = model(input_ids=torch.cat([torch.full((2, 16), 5), ids], 1), pixel_values=pixels)
    elif kind in ("clip", "siglip"):
        out = model(input_ids=ids, pixel_values=pixels)
    elif kind in ("t5", "mt5"):
        out = model(input_ids=ids, decoder_input_ids=ids[:, :5])
    elif model.main_input_name == "pixel_values":
        out = model(pixels)
    else:
        out = model(ids)
    return torch.cat([v.flatten() for v in out.values() if torch.is_tensor(v) and v.is_floating_point()])


def families(work):
    """Every class: from transformers through `export --to hf` and back to transformers, the same bits."""
    for name, (config, model_class) in all_families().items():
        try:
            source, out = os.path.join(work, f"family-{name}"), os.path.join(work, f"family-{name}-out")
            model = random_model(config, model_class)
            model.save_pretrained(source)
            ocellus("export", "--model", source, "--to", "hf", "--out", out, "--shard-mb", "1")
            auto = transformers.AutoModelForCausalLM if model_class is transformers.AutoModelForCausalLM else model_class
            again, loading = auto.from_pretrained(out, output_loading_info=True)
            odd = {k: v for k, v in loading.items() if v and k in ("missing_keys", "unexpected_keys", "mismatched_keys")}
            check(f"family/{name}: exported, opened by transformers", torch.equal(answers(again.eval()), answers(model))
                  and not odd, str(odd) if odd else "")
            extra = sorted(f for f in os.listdir(source) if f.endswith(".json") and not os.path.exists(f"{out}/{f}"))
            check(f"family/{name}: settings kept", not extra, str(extra))
            mine = torch.cat([b.flatten().double() for _, b in sorted(model.named_buffers()) if b.numel()] or [torch.zeros(1)])
            theirs = torch.cat([b.flatten().double() for _, b in sorted(again.named_buffers()) if b.numel()] or [torch.zeros(1)])
            check(f"family/{name}: buffers kept", torch.equal(mine, theirs))
        except Exception as error:
            check(f"family/{name}", False, str(error)[:600])


def vision_language_families(work):
    """A run from a model folder writes config.json anew: of every text family, it must say the same model."""
    global skipped
    recipe, run = os.path.join(work, "recipe.toml"), os.path.join(work, "run-parts")
    stage = "steps = 1"
    with open(recipe, "w") as file:
        file.write(RECIPE.format(connector="pixel_shuffle", factor=", factor = 2", stage="").replace("steps = 3", stage))
    ocellus("train", recipe, "--out", run)
    base = transformers.AutoConfig.from_pretrained(f"{run}/model")
    for name, (config, model_class) in all_families().items():
        if model_class is not transformers.AutoModelForCausalLM:
            continue
        try:
            folder, out = os.path.join(work, f"vlm-{name}"), os.path.join(work, f"vlm-{name}-run")
            shutil.copytree(f"{run}/model", folder)
            config.vocab_size, config.pad_token_id = base.text_config.vocab_size, base.text_config.pad_token_id
            whole = transformers.Idefics3Config(vision_config=base.vision_config, text_config=config,
                                                image_token_id=base.image_token_id, scale_factor=2,
                                                tie_word_embeddings=config.tie_word_embeddings)
            try:
                model = random_model(whole, transformers.Idefics3ForConditionalGeneration)
                model(input_ids=torch.tensor([[7]]))
            except AttributeError as error:  # transformers has no Idefics3 around this family
                skipped += 1
                print(f"skipped vlm/{name}: {error}")
                continue
            settings = open(f"{folder}/generation_config.json").read()
            model.save_pretrained(folder)
            settings = json.dumps(dict(json.loads(settings), temperature=0.7, top_p=0.9, do_sample=True))
            with open(f"{folder}/generation_config.json", "w") as file:
                file.write(settings)
            text = RECIPE.format(connector="pixel_shuffle", factor=", factor = 2", stage="").replace("steps = 3", stage)
            head, data = text.split("[tokenizer]")[0], text.split("[[data]]")[1]
            with open(recipe, "w") as file:
                file.write(head.split("[model]")[0] + f'[model]\nfrom = "{folder}"\n[[data]]' + data.replace("lr = 5e-2", "lr = 1e-30"))
            ocellus("train", recipe, "--out", out)
            again, loading = transformers.Idefics3ForConditionalGeneration.from_pretrained(f"{out}/model", output_loading_info=True)
            odd = {k: v for k, v in loading.items() if v and k in ("missing_keys", "unexpected_keys", "mismatched_keys")}
            ids, pixels = torch.randint(10, 250, (1, 8)), torch.randn(1, 1, 3, 64, 64)
            inputs = dict(input_ids=torch.cat([torch.full((1, 4), base.image_token_id), ids], 1), pixel_values=pixels)
            want, got = model(**inputs).logits, again.eval()(**inputs).logits
            check(f"vlm/{name}: trained at rate 0, opened by transformers", difference(got, want) < 1e-6 and not odd,
                  f"rel {difference(got, want):.1e} {odd or ''}")
            check(f"vlm/{name}: generation_config.json kept",
                  json.load(open(f"{out}/model/generation_config.json")) == json.loads(settings))
        except Exception as error:
            check(f"vlm/{name}", False, str(error)[:900])


with tempfile.TemporaryDirectory() as scratch, torch.no_grad():
    work_folder = sys.argv[2] if len(sys.argv) > 2 else scratch
    os.makedirs(work_folder, exist_ok=True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    parts = {f.__name__: f for f in (stored_types, families, vision_language_families, adapters_both_ways, trained_adapters)}
    for part in sys.argv[3:] or parts:
        parts[part](work_folder)
print(f"{passed} passed, {failed} failed, {skipped} skipped")
sys.exit(1 if failed else 0)
