// ocellus merge: folds an adapter into the weights of its base model.
#include <nlohmann/json.hpp>

#include "tools/ocellus/command.h"
#include "vlm/open_model.h"

namespace ocellus {
namespace {

struct MergeArguments {
  std::string model, adapter, out;
  int64_t threads = 0, shard_mb = 5000;
  bool json = false;
};

// Above this share of the largest output, folding has changed what the model computes.
constexpr double kTolerance = 1e-3;

nlohmann::json to_json(const OutputDifference& d) {
  return {{"max_abs", d.largest}, {"relative", d.relative}, {"output", d.where}};
}

int run(const MergeArguments& a) {
  use_threads(a.threads);
  const std::string folder = model_folder_of(a.model);
  OutputFolder out(a.out);
  auto model = open_model(folder);
  const ModelOutputs base = model->sample_outputs(DType::kF32);
  Adapters adapters = model->load_adapters(a.adapter);
  const auto layers = adapters.modules().size(), tensors = adapters.parameters().size();
  const ModelOutputs before = model->sample_outputs(DType::kF32),
                     before_bf16 = model->sample_outputs(DType::kBF16);
  adapters.merge();
  const OutputDifference f32 = compare_outputs(model->sample_outputs(DType::kF32), before);
  const OutputDifference bf16 = compare_outputs(model->sample_outputs(DType::kBF16), before_bf16);
  const OutputDifference effect = compare_outputs(before, base);
  out.copy_settings(folder);
  save_model_tensors(out.path(), stored_like(model->file_tensors(), folder),
                     static_cast<uint64_t>(a.shard_mb) * 1'000'000);
  // What was written, read again: equal but for weights that are stored as bf16.
  const OutputDifference stored =
      compare_outputs(open_model(out.path())->sample_outputs(DType::kF32), before);
  const bool holds = f32.relative <= kTolerance;
  out.commit();
  if (a.json) {
    fmt::print(
        "{}\n",
        nlohmann::json({{"out", a.out},
                        {"layers", layers},
                        {"tensors", tensors},
                        {"adapter_effect", to_json(effect)},
                        {"merged_vs_unmerged", {{"f32", to_json(f32)}, {"bf16", to_json(bf16)}}},
                        {"stored_vs_unmerged", to_json(stored)},
                        {"ok", holds}})
            .dump());
  } else {
    auto row = [](const char* what, const OutputDifference& d) {
      fmt::print("{:<44} max|diff| {:.2e}  relative {:.1e}  ({})\n", what, d.largest, d.relative,
                 d.where);
    };
    fmt::print("{} layers of {} adapted ({} tensors)\n", layers, folder, tensors);
    row("adapter against base, f32", effect);
    row("merged against unmerged, f32", f32);
    row("merged against unmerged, bf16", bf16);
    row("as stored against unmerged, f32", stored);
    fmt::print("wrote {}\n", a.out);
  }
  if (!holds)
    fmt::print(
        stderr,
        "merge: the merged model computes something else (relative {:.1e}, allowed {:.0e}); an "
        "adapter on an embedding whose table is also the output layer cannot be folded in\n",
        f32.relative, kTolerance);
  return holds ? 0 : 1;
}

const RegisterCommand kMerge(
    {"merge", "fold LoRA or DoRA into the weights",
     "ocellus merge --model base --adapter runs/sft/adapter --out merged",
     [](Options& options) -> std::function<int()> {
       auto a = std::make_shared<MergeArguments>();
       options.option("--model", a->model, "model folder the adapter belongs on", true);
       options.option("--adapter", a->adapter, "adapter folder in PEFT's layout", true);
       options.option("--out", a->out, "model folder to write; must not exist", true);
       options.option("--shard-mb", a->shard_mb, "largest file of weights, MB");
       options.threads(a->threads);
       options.json(a->json);
       return [a] {
         check<UsageError>(a->shard_mb > 0, "merge: --shard-mb must be positive, got {}",
                           a->shard_mb);
         return run(*a);
       };
     }});

}  // namespace
}  // namespace ocellus
