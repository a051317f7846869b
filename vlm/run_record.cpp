#include "vlm/run_record.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "engine/cpu/gemm/gemm.h"
#include "engine/file.h"
#include "engine/parallel.h"
#include "nn/optim/optimizer.h"
#include "vlm/report.h"
#include "vlm/vlm.h"

#ifndef OCELLUS_VERSION
#define OCELLUS_VERSION "0.1.0"
#endif

namespace ocellus {

std::string program_version() { return OCELLUS_VERSION; }

namespace {

std::string cpu_name() {
  const std::string info = read_file("/proc/cpuinfo");
  const size_t at = info.find("model name");
  if (at == std::string::npos) return "unknown processor";
  const size_t begin = info.find(": ", at) + 2;
  return info.substr(begin, info.find('\n', begin) - begin);
}

// "runs/without_naming" is shown as "without_naming".
std::string compare_name(const std::string& folder) {
  return folder.empty() ? "" : folder.substr(folder.find_last_not_of('/') == std::string::npos ? 0 : folder.rfind('/', folder.find_last_not_of('/')) + 1);
}

// What the stages teach, for the report.
nlohmann::json stage_notes(const Recipe& recipe) {
  nlohmann::json notes = nlohmann::json::array();
  if (recipe.stage.size() < 2) return notes;
  const StageRecipe& first = recipe.stage.front();
  if (first.skip)
    notes.push_back(fmt::format("This run left out the stage \"{}\" and began with all questions mixed.", first.name));
  else
    notes.push_back(fmt::format(
        "The stage \"{0}\" comes first on purpose: a small model learns the shapes from questions that name them, and "
        "only then from yes/no questions. Train again with --set stage.{0}.skip=true --out OTHER, then this recipe with "
        "--compare OTHER, to see both curves here.",
        first.name));
  return notes;
}

nlohmann::json scores(const EvaluationResult& evaluation) {
  nlohmann::json by_source = nlohmann::json::object();
  for (const auto& [name, tally] : evaluation.by_source)
    by_source[name] = {{"accuracy", tally.accuracy()}, {"n", tally.n}};
  return by_source;
}

}  // namespace

void RunRecord::note_step(Vlm& model, const Optimizer& optimizer, uint64_t saved_bytes, uint64_t batch_bytes) {
  uint64_t weights = 0, gradients = 0, state = 0;
  for (auto& [name, parameter] : model.parameters()) {
    weights += static_cast<uint64_t>(parameter->value().bytes());
    if (parameter->trainable()) gradients += static_cast<uint64_t>(parameter->value().bytes());
  }
  for (const auto& [name, tensor] : optimizer.state()) state += static_cast<uint64_t>(tensor.bytes());
  weights_ = std::max(weights_, weights);
  gradients_ = std::max(gradients_, gradients);
  optimizer_ = std::max(optimizer_, state);
  activations_ = std::max(activations_, saved_bytes);
  batches_ = std::max(batches_, batch_bytes);
  peak_ = std::max(peak_, allocator_of(ParameterDevice::current())->stats().peak);
}

void RunRecord::write(const std::string& folder, const Recipe& recipe, const TrainResult& result,
                      int64_t samples, int64_t tokens, double train_seconds, double wait_seconds,
                      uint64_t refused, const std::string& compare) const {
  using nlohmann::json;
  const uint64_t named = weights_ + gradients_ + optimizer_ + activations_ + batches_;
  json memory = {{"weights", weights_},         {"gradients", gradients_}, {"optimizer", optimizer_},
                 {"saved activations", activations_}, {"batches", batches_}};
  if (peak_ > named) memory["workspace and rest"] = peak_ - named;
  json stages = json::array();
  int64_t begin = 0;
  for (const StageRecipe& stage : recipe.stage) {
    if (stage.skip) continue;
    stages.push_back({{"name", stage.name}, {"begin", begin}, {"end", begin + stage.steps}});
    begin += stage.steps;
  }
  json pictures = json::array();
  if (!result.final_evaluation.answered.empty()) make_folders(folder + "/pictures");
  for (size_t i = 0; i < result.final_evaluation.answered.size(); ++i) {
    const Answered& a = result.final_evaluation.answered[i];
    if (a.images.empty()) continue;
    const std::string file = fmt::format("pictures/{}.png", i);
    write_file_atomic(folder + "/" + file, encode_png(a.images[0]));
    pictures.push_back({{"file", file}, {"question", a.question}, {"expected", a.expected}, {"given", a.answer}});
  }
  json hashes = json::object();
  for (const DataRecipe& data : recipe.data)
    if (data.kind == "webdataset" || data.kind == "messages")
      for (const std::string& path : data.kind == "webdataset" ? expand_pattern(data.path)
                                                               : std::vector<std::string>{data.path})
        hashes[path] = file_hash(path);
  json run = {{"name", recipe.name},
              {"version", program_version()},
              {"hardware", fmt::format("{}, {} threads, {} kernels", cpu_name(), num_threads(), gemm_kernel_name())},
              {"finished", result.signal == 0 ? "yes" : "interrupted"},
              {"recipe_hash", recipe_hash(recipe)},
              {"data_hashes", hashes},
              {"steps", result.steps},
              {"samples", samples},
              {"tokens", tokens},
              {"refused_samples", refused},
              {"train_seconds", train_seconds},
              {"tokens_per_s", train_seconds > 0 ? static_cast<double>(tokens) / train_seconds : 0},
              {"images_per_s", train_seconds > 0 ? static_cast<double>(samples) / train_seconds : 0},
              {"data_wait", train_seconds > 0 ? wait_seconds / train_seconds : 0},
              {"peak_bytes", peak_},
              {"memory", memory},
              {"stages", stages},
              {"notes", stage_notes(recipe)},
              {"pictures", pictures}};
  if (result.final_evaluation.all.n > 0) {
    run["accuracy"] = result.final_evaluation.all.accuracy();
    run["n"] = result.final_evaluation.all.n;
    run["by_source"] = scores(result.final_evaluation);
  }
  write_file_atomic(folder + "/run.json", run.dump(2) + "\n");
  if (result.signal == 0) write_file_atomic(folder + "/report.html", render_report(load_report(folder, compare, compare_name(compare))));
}

}  // namespace ocellus
