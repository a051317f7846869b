#!/usr/bin/env python3
"""The PyTorch side of tools/gpu_check, with nothing but torch: the models of `ocellus bench step`.

  torch_vlm.py step --model smolvlm256 --batch 8 --dtype bf16 --device cuda [--compile] [--steps 20]
      a training step as tools/bench/torch_step.py times it: forward, backward, clipping to norm 1, fused AdamW
  torch_vlm.py parity DUMP [--device cuda]
      DUMP of `ocellus bench step --dump`: the same step in f64 and in bf16 autocast, and the error of all
      gradients against f64, ours beside PyTorch's; exit 1 where ours is more than twice PyTorch's
  torch_vlm.py attention [--device cuda]
      scaled_dot_product_attention at the shapes of `ocellus bench attention`

Prints one JSON document. Matrix-product FLOPs are counted as in torch_step.py.
"""
import argparse
import json
import statistics
import struct
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

MODELS = {  # image, patch, vision (width, layers, heads, mlp), vocabulary, language (width, layers, heads, kv, mlp), shuffle
    "quickstart": (64, 8, (128, 4, 4, 512), 512, (128, 4, 4, 2, 384), 2),
    "nanovlm222": (224, 16, (768, 12, 12, 3072), 49152, (576, 30, 9, 3, 1536), 2),
    "smolvlm256": (512, 16, (768, 12, 12, 3072), 49152, (576, 30, 9, 3, 1536), 4),
}
BATCHES = {"quickstart": (32, 24), "nanovlm222": (4, 79), "smolvlm256": (1, 192)}


class Attention(nn.Module):
    def __init__(self, width, heads, kv, bias, out):
        super().__init__()
        self.heads, self.kv, self.dim = heads, kv, width // heads
        self.q_proj = nn.Linear(width, width, bias=bias)
        self.k_proj = nn.Linear(width, kv * self.dim, bias=bias)
        self.v_proj = nn.Linear(width, kv * self.dim, bias=bias)
        setattr(self, out, nn.Linear(width, width, bias=bias))
        self.out = out

    def forward(self, x, rope=None):
        b, t, _ = x.shape
        q = self.q_proj(x).view(b, t, self.heads, self.dim).transpose(1, 2)
        k = self.k_proj(x).view(b, t, self.kv, self.dim).transpose(1, 2)
        v = self.v_proj(x).view(b, t, self.kv, self.dim).transpose(1, 2)
        if rope is not None:
            cos, sin = rope
            turn = lambda z: z * cos.to(z.dtype) + torch.cat([-z[..., self.dim // 2 :], z[..., : self.dim // 2]], -1) * sin.to(z.dtype)
            q, k = turn(q), turn(k)
        if self.kv != self.heads:
            k, v = (z.repeat_interleave(self.heads // self.kv, 1) for z in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=rope is not None)
        return getattr(self, self.out)(y.transpose(1, 2).reshape(b, t, -1))


class VisionLayer(nn.Module):
    def __init__(self, width, heads, mlp, eps):
        super().__init__()
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)
        self.self_attn = Attention(width, heads, heads, True, "out_proj")
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, mlp), "fc2": nn.Linear(mlp, width)})

    def forward(self, x):
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.layer_norm2(x)), approximate="tanh"))


class RmsNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        wide = x if x.dtype == torch.float64 else x.float()
        return ((wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype)) * self.weight.to(x.dtype)


class LanguageLayer(nn.Module):
    def __init__(self, width, heads, kv, mlp, eps):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = RmsNorm(width, eps), RmsNorm(width, eps)
        self.self_attn = Attention(width, heads, kv, False, "o_proj")
        self.mlp = nn.ModuleDict({"gate_proj": nn.Linear(width, mlp, bias=False), "up_proj": nn.Linear(width, mlp, bias=False),
                                  "down_proj": nn.Linear(mlp, width, bias=False)})

    def forward(self, x, rope):
        x = x + self.self_attn(self.input_layernorm(x), rope)
        h = self.post_attention_layernorm(x)
        return x + self.mlp["down_proj"](F.silu(self.mlp["gate_proj"](h)) * self.mlp["up_proj"](h))


class Vlm(nn.Module):
    """Vision tower, pixel shuffle and a linear map, causal language model with tied head."""

    def __init__(self, image, patch, vision, vocab, language, factor, vision_eps=1e-6, language_eps=1e-5, theta=10000.0):
        super().__init__()
        width, layers, heads, mlp = vision
        self.factor, self.side, self.theta = factor, image // patch, theta
        self.patch = nn.Conv2d(3, width, patch, patch)
        self.position = nn.Parameter(torch.randn(self.side**2, width) * 0.02)
        self.vision = nn.ModuleList(VisionLayer(width, heads, mlp, vision_eps) for _ in range(layers))
        self.vision_norm = nn.LayerNorm(width, vision_eps)
        dim, depth, q_heads, kv, hidden = language
        self.connector = nn.Linear(width * factor**2, dim, bias=False)
        self.embed = nn.Embedding(vocab, dim)
        nn.init.normal_(self.embed.weight, std=0.02)
        self.language = nn.ModuleList(LanguageLayer(dim, q_heads, kv, hidden, language_eps) for _ in range(depth))
        self.norm = RmsNorm(dim, language_eps)
        self.head_dim = dim // q_heads

    def names(self):
        """Our name of each parameter."""
        for name, p in self.named_parameters():
            for ours, theirs in (("patch.", "vision.embeddings.patch_embedding."), ("vision_norm.", "vision.post_layernorm."),
                                 ("vision.", "vision.encoder.layers."), ("connector.", "connector.modality_projection.proj."),
                                 ("embed.", "language.model.embed_tokens."), ("language.", "language.model.layers."),
                                 ("norm.", "language.model.norm."), ("position", "vision.embeddings.position_embedding.weight")):
                if name.startswith(ours):
                    yield theirs + name[len(ours):], p
                    break

    def forward(self, pixels, ids, labels):
        """ids [B, image tokens + text]; the image tokens stand first."""
        x = self.patch(pixels).flatten(2).transpose(1, 2)
        x = x + self.position.to(x.dtype)
        for layer in self.vision:
            x = layer(x)
        x = self.vision_norm(x)
        b, s, f = x.shape[0], self.side, self.factor
        x = x.view(b, s // f, f, s // f, f, -1).permute(0, 1, 3, 2, 4, 5).reshape(b, (s // f) ** 2, -1)
        image = self.connector(x)
        text = self.embed(ids[:, image.shape[1]:])
        x = torch.cat([image.to(text.dtype), text], 1)
        wide = torch.float64 if self.embed.weight.dtype == torch.float64 else torch.float32
        angle = torch.arange(x.shape[1], device=x.device, dtype=torch.float64)[:, None] * \
            self.theta ** (-torch.arange(0, self.head_dim, 2, device=x.device, dtype=torch.float64) / self.head_dim)
        angle = torch.cat([angle, angle], -1)
        rope = (angle.cos().to(wide), angle.sin().to(wide))
        for layer in self.language:
            x = layer(x, rope)
        logits = F.linear(self.norm(x)[:, :-1], self.embed.weight)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        return F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten())


def step_flops(model, batch, text):
    image, patch, (vw, vl, _, vm), vocab, (lw, ll, lh, kv, lm), factor = MODELS[model]
    patches = (image // patch) ** 2
    tokens = patches // factor**2 + text
    forward = backward = 0.0
    for m, k, n, count, upstream in ((batch * patches, 3 * patch * patch, vw, 1, 0), (batch * patches, vw, 4 * vw + 2 * vm, vl, 1),
                                     (batch * patches // factor**2, vw * factor**2, lw, 1, 1),
                                     (batch * tokens, lw, 2 * lw + 2 * kv * (lw // lh) + 3 * lm, ll, 1), (batch * tokens, lw, vocab, 1, 1)):
        forward += 2.0 * m * k * n * count
        backward += 2.0 * m * k * n * count * (1 + upstream)
    pairs = 4.0 * (vw * batch * patches * patches * vl + lw * batch * tokens * (tokens + 1) / 2 * ll)
    return forward + pairs + backward + 2 * pairs


def run_step(a):
    device = torch.device(a.device)
    sync = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    torch.manual_seed(0)
    batch, text = a.batch or BATCHES[a.model][0], a.text or BATCHES[a.model][1]
    model = Vlm(*MODELS[a.model]).to(device)
    image, patch, _, vocab, _, factor = MODELS[a.model]
    image_tokens = (image // patch // factor) ** 2
    pixels = torch.randn(batch, 3, image, image, device=device)
    ids = torch.randint(0, vocab, (batch, image_tokens + text), device=device)
    labels = ids.clone()
    labels[:, :image_tokens] = -100
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=device.type == "cuda")
    run = torch.compile(model) if a.compile else model

    def step():
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=a.dtype == "bf16"):
            loss = run(pixels, ids, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    for _ in range(3):
        loss = step()
    sync()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(a.steps):
        begin = time.perf_counter()
        loss = step()
        sync()
        times.append(time.perf_counter() - begin)
    median = statistics.median(times)
    flops = step_flops(a.model, batch, text)
    return {"bench": "torch_vlm step", "model": a.model, "batch": batch, "dtype": a.dtype, "compile": a.compile,
            "step_ms": {"median": median * 1e3, "min": min(times) * 1e3, "max": max(times) * 1e3}, "gflop_per_step": flops / 1e9,
            "tflop_per_s": flops / median / 1e12, "params": sum(p.numel() for p in parameters), "loss": float(loss.detach()),
            "peak_allocated_mb": torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else 0}, 0


TYPES = {"F32": torch.float32, "F64": torch.float64, "BF16": torch.bfloat16, "I64": torch.int64, "I32": torch.int32}


def read_safetensors(path):
    with open(path, "rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header, data = json.loads(file.read(length)), bytearray(file.read())
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        shape = entry["shape"]
        flat = torch.frombuffer(data, dtype=torch.uint8, count=end - begin, offset=begin) if end > begin else torch.empty(0, dtype=torch.uint8)
        tensors[name] = flat.clone().view(TYPES[entry["dtype"]]).reshape(shape)
    return tensors


def run_parity(a):
    stored = read_safetensors(a.dump + "/step.safetensors")
    config = json.load(open(a.dump + "/config.json"))
    v, t = config["vision_config"], config["text_config"]
    factor = config.get("scale_factor") or config["connector_config"]["factor"]
    shapes = (v["image_size"], v["patch_size"], (v["hidden_size"], v["num_hidden_layers"], v["num_attention_heads"], v["intermediate_size"]),
              t["vocab_size"], (t["hidden_size"], t["num_hidden_layers"], t["num_attention_heads"], t["num_key_value_heads"],
                                t["intermediate_size"]), factor)
    theta = t.get("rope_theta") or t.get("rope_parameters", {}).get("rope_theta", 10000.0)
    ids, labels, pixels = stored["batch.ids"], stored["batch.labels"], stored["batch.pixels"]

    def gradients(dtype, autocast):
        model = Vlm(*shapes, v["layer_norm_eps"], t["rms_norm_eps"], theta).to(a.device)
        with torch.no_grad():
            for name, p in model.names():
                p.copy_(stored[name].reshape(p.shape))
        model = model.to(dtype)
        with torch.autocast(torch.device(a.device).type, dtype=torch.bfloat16, enabled=autocast):
            loss = model(pixels.to(a.device, dtype), ids.to(a.device), labels.to(a.device))
        loss.backward()
        return float(loss.detach()), {name: p.grad.double().cpu() for name, p in model.names()}

    true_loss, truth = gradients(torch.float64, False)
    their_loss, theirs = gradients(torch.float32, a.dtype == "bf16")
    ours = {name: stored["grad." + name].double().reshape(truth[name].shape) for name in truth}
    size = sum(g.square().sum() for g in truth.values()) ** 0.5
    error = lambda x: float(sum((x[name] - truth[name]).square().sum() for name in truth) ** 0.5 / size)
    # Parts whose gradient is rounding alone (the bias of keys) are held against the whole.
    part = lambda name: float((ours[name] - truth[name]).norm() / (truth[name].norm() + 1e-4 * size))
    worst = max(truth, key=part)
    out = {"bench": "parity", "dtype": a.dtype, "loss_f64": true_loss, "loss_torch": their_loss, "loss_ours": float(stored["loss"]),
           "gradient_error_torch": error(theirs), "gradient_error_ours": error(ours), "parameters": len(truth),
           "worst_parameter": worst, "worst_error": part(worst)}
    floor = 1e-6 if a.dtype == "f32" else 1e-3
    out["ok"] = out["gradient_error_ours"] <= 2 * out["gradient_error_torch"] + floor
    return out, 0 if out["ok"] else 1


def run_attention(a):
    sync = torch.cuda.synchronize if a.device == "cuda" else (lambda: None)
    rows = []
    for dim in (64, 128):
        for tokens in (1024, 2048, 4096):
            for causal in (False, True):
                heads, batch = 2048 // dim, 16384 // tokens
                q, k, v = (torch.randn(batch, heads, tokens, dim, device=a.device, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
                dout = torch.randn_like(q)

                def timed(call, rounds=7, calls=10):
                    times = []
                    call()
                    for _ in range(rounds):
                        sync()
                        begin = time.perf_counter()
                        for _ in range(calls):
                            call()
                        sync()
                        times.append((time.perf_counter() - begin) / calls)
                    return statistics.median(times)

                best = {}
                for backend in ("FLASH_ATTENTION", "CUDNN_ATTENTION"):
                    try:
                        from torch.nn.attention import SDPBackend, sdpa_kernel
                        with sdpa_kernel(getattr(SDPBackend, backend)):
                            forward = lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal)
                            y = forward()
                            f = timed(forward)
                            b = timed(lambda: torch.autograd.grad(y, (q, k, v), dout, retain_graph=True))
                    except (RuntimeError, ImportError, AttributeError):
                        continue
                    best[backend] = (f, b)
                if best:
                    rows.append({"dim": dim, "tokens": tokens, "causal": causal,
                                 "forward_ms": min(x[0] for x in best.values()) * 1e3, "backward_ms": min(x[1] for x in best.values()) * 1e3,
                                 "backends": sorted(best)})
    return {"bench": "torch attention", "rows": rows}, 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    step = commands.add_parser("step")
    step.add_argument("--model", default="quickstart", choices=sorted(MODELS))
    step.add_argument("--batch", type=int, default=0)
    step.add_argument("--text", type=int, default=0)
    step.add_argument("--steps", type=int, default=20)
    step.add_argument("--compile", action="store_true")
    parity = commands.add_parser("parity")
    parity.add_argument("dump")
    for one in (step, parity):
        one.add_argument("--dtype", default="bf16", choices=["f32", "bf16"])
    for one in (step, parity, commands.add_parser("attention")):
        one.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    a = parser.parse_args()
    out, status = {"step": run_step, "parity": run_parity, "attention": run_attention}[a.command](a)
    out["torch"] = torch.__version__
    print(json.dumps(out))
    return status


sys.exit(main())
