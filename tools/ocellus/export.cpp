// ocellus export: a model or an adapter in the layout of transformers or PEFT, read back and
// compared.
#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/file.h"
#include "tools/ocellus/command.h"
#include "vlm/open_model.h"

namespace ocellus {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string model, base, to, out, dtype;
  int64_t threads = 0, shard_mb = 5000;
  bool json = false;
};

struct Outcome {
  size_t tensors = 0;
  std::string opened_by;
  OutputDifference difference;
};

// Every tensor that was written, against what it was written from.
void compare_tensors(const std::vector<std::pair<std::string, Tensor>>& written,
                     const CheckpointReader& read) {
  check<Error>(read.names().size() == written.size(),
               "export: {} tensors were written, {} are in {}", written.size(), read.names().size(),
               read.path());
  for (const auto& [name, tensor] : written) {
    const Tensor again = read.read(name);
    check<Error>(again.shape() == tensor.shape() && again.dtype() == tensor.dtype() &&
                     std::memcmp(again.raw(), tensor.contiguous().raw(),
                                 static_cast<size_t>(tensor.bytes())) == 0,
                 "export: {} of {} is not what was written", name, read.path());
  }
}

Outcome export_hf(const Arguments& a, OutputFolder& out) {
  const std::string folder = model_folder_of(a.model);
  auto model = open_model(folder);
  check<UsageError>(
      !model->transformers_class().empty(),
      "export: {} is of model_type ocellus_vlm, a composition that transformers has no class for; "
      "a SigLIP tower with a pixel_shuffle or mlp connector has one",
      folder);
  auto tensors = stored_like(model->file_tensors(), folder);
  if (!a.dtype.empty())
    for (auto& [name, tensor] : tensors)
      if (is_floating(tensor.dtype()))
        tensor = tensor.to(choose_dtype(a.dtype, {DType::kF32, DType::kBF16}));
  out.copy_settings(folder);
  if (!a.dtype.empty()) {
    const std::string path = out.path() + "/config.json";
    nlohmann::ordered_json config = nlohmann::ordered_json::parse(read_file(path));
    config.erase("torch_dtype");
    config["dtype"] = a.dtype == "bf16" ? "bfloat16" : "float32";
    write_file_atomic(path, config.dump(2) + "\n");
  }
  save_model_tensors(out.path(), tensors, static_cast<uint64_t>(a.shard_mb) * 1'000'000);
  compare_tensors(tensors, CheckpointReader(out.path()));
  Outcome outcome{tensors.size(), model->transformers_class(), {}};
  outcome.difference = compare_outputs(open_model(out.path())->sample_outputs(DType::kF32),
                                       model->sample_outputs(DType::kF32));
  return outcome;
}

Outcome export_peft(const Arguments& a, OutputFolder& out) {
  const std::string folder =
      fs::exists(a.model + "/adapter_config.json") ? a.model : a.model + "/adapter";
  check<FormatError>(
      fs::exists(folder + "/adapter_config.json"),
      "export: {} is no adapter folder and has none (adapter/adapter_config.json); a model "
      "without adapters goes by --to hf",
      a.model);
  std::string base = a.base.empty() ? load_lora_config(folder).base_model : a.base;
  if (a.base.empty() && fs::path(base).is_relative()) base = (fs::path(folder) / base).string();
  check<UsageError>(fs::exists(base + "/config.json"),
                    "export: the base model {} is not there; say where it is with --base DIR",
                    base);
  auto model = open_model(base);
  Adapters adapters = model->load_adapters(folder);
  adapters.set_base_model(fs::absolute(base).lexically_normal().string());
  adapters.save(out.path());
  auto again = open_model(base);
  Adapters reread = again->load_adapters(out.path());
  check<Error>(reread.parameters().size() == adapters.parameters().size(),
               "export: {} tensors were written, {} read", adapters.parameters().size(),
               reread.parameters().size());
  Outcome outcome{adapters.parameters().size(), "peft.PeftModel", {}};
  outcome.difference =
      compare_outputs(again->sample_outputs(DType::kF32), model->sample_outputs(DType::kF32));
  return outcome;
}

int run(const Arguments& a) {
  use_threads(a.threads);
  check<UsageError>(a.to != "gguf", "export: --to gguf is not built yet; hf and peft are");
  check<UsageError>(a.to == "hf" || a.to == "peft", "export: --to must be hf or peft, got \"{}\"",
                    a.to);
  check<UsageError>(a.dtype.empty() || a.to == "hf", "export: --dtype goes with --to hf");
  check<UsageError>(a.base.empty() || a.to == "peft", "export: --base goes with --to peft");
  check<UsageError>(a.shard_mb > 0, "export: --shard-mb must be positive, got {}", a.shard_mb);
  OutputFolder out(a.out);
  const Outcome outcome = a.to == "hf" ? export_hf(a, out) : export_peft(a, out);
  // Rounding to bf16 changes outputs; a copy does not.
  const bool rounded = a.dtype == "bf16";
  const bool holds =
      rounded ? std::isfinite(outcome.difference.largest) : outcome.difference.largest == 0;
  out.commit();
  if (a.json)
    fmt::print("{}\n", nlohmann::json({{"out", a.out},
                                       {"tensors", outcome.tensors},
                                       {"opened_by", outcome.opened_by},
                                       {"max_abs", outcome.difference.largest},
                                       {"relative", outcome.difference.relative},
                                       {"ok", holds}})
                           .dump());
  else
    fmt::print("{} tensors for {}; read back: max|diff| {:.2e}  relative {:.1e}  ({})\nwrote {}\n",
               outcome.tensors, outcome.opened_by, outcome.difference.largest,
               outcome.difference.relative, holds ? "ok" : "FAILED", a.out);
  return holds ? 0 : 1;
}

const RegisterCommand kExport(
    {"export", "write a model or adapter for transformers or peft, and compare",
     "ocellus export --model runs/quickstart --to hf --out quickstart-hf",
     [](Options& options) -> std::function<int()> {
       auto a = std::make_shared<Arguments>();
       options.option("--model", a->model, "model, adapter or run folder", true);
       options.option("--to", a->to, "hf or peft", true);
       options.option("--out", a->out, "folder to write; must not exist", true);
       options.option("--base", a->base, "peft: the model that the adapter belongs on");
       options.option("--dtype", a->dtype, "hf: f32 or bf16; as it is if not given");
       options.option("--shard-mb", a->shard_mb, "hf: largest file of weights, MB");
       options.threads(a->threads);
       options.json(a->json);
       return [a] { return run(*a); };
     }});

}  // namespace
}  // namespace ocellus
