// ReportData from the files of a run folder.
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/check.h"
#include "engine/file.h"
#include "engine/json.h"
#include "vlm/progress.h"
#include "vlm/report.h"
#include "vlm/run_log.h"

namespace ocellus {
namespace {

using nlohmann::json;

/// A member of a record if it is a number, else NaN: null stands for what was not finite.
double number_of(const json& record, const char* name) {
  const auto at = record.find(name);
  return at != record.end() && at->is_number() ? at->get<double>() : std::nan("");
}

std::string text_of(const json& record, const char* name) {
  const auto at = record.find(name);
  return at != record.end() && at->is_string() ? at->get<std::string>() : "";
}

const json& member(const json& record, const char* name) {
  static const json kNothing = json::object();
  const auto at = record.find(name);
  return at != record.end() ? *at : kNothing;
}

/// Curves by name, in the order of first appearance.
class CurveSet {
 public:
  void add(const std::string& name, double step, double value) {
    const auto [at, fresh] = index_.try_emplace(name, curves_.size());
    if (fresh) curves_.push_back({name, {}});
    curves_[at->second].points.emplace_back(step, value);
  }
  std::vector<ReportCurve> take() { return std::move(curves_); }

 private:
  std::map<std::string, size_t> index_;
  std::vector<ReportCurve> curves_;
};

std::vector<ReportScore> scores_of(const json& result) {
  std::vector<ReportScore> scores;
  if (!std::isfinite(number_of(result, "accuracy"))) return scores;
  const auto add = [&](const std::string& name, const json& record) {
    const double n = number_of(record, "n");
    scores.push_back(
        {name, number_of(record, "accuracy"), std::isfinite(n) ? static_cast<int64_t>(n) : 0});
  };
  add("all", result);
  const json& by_source = member(result, "by_source");
  if (by_source.is_object())
    for (const auto& [name, record] : by_source.items())
      if (record.is_object()) add(name, record);
  return scores;
}

/// Stages from the "stage" of the records: where the name changes, a new one begins.
void extend_stage(std::vector<ReportStage>& stages, const std::string& name, double step) {
  if (name.empty()) return;
  if (stages.empty() || stages.back().name != name) stages.push_back({name, step - 1, step});
  stages.back().end = step;
}

void read_log(const std::string& path, ReportData& data) {
  CurveSet rates, norms;
  for (const json& record : read_run_log(path)) {
    const double step = number_of(record, "step");
    if (const json& eval = member(record, "eval"); eval.contains("accuracy"))
      data.accuracy.points.emplace_back(step, number_of(eval, "accuracy"));
    if (!record.contains("loss")) continue;
    data.loss.points.emplace_back(step, number_of(record, "loss"));
    extend_stage(data.stages, text_of(record, "stage"), step);
    if (const json& lr = member(record, "lr"); lr.is_number())
      rates.add("lr", step, lr.get<double>());
    else if (lr.is_object())
      for (const auto& [pattern, value] : lr.items())
        rates.add(pattern, step, number_of(lr, pattern.c_str()));
    const json& groups = member(record, "grad_norms");
    if (groups.is_object())
      for (const auto& [group, value] : groups.items())
        norms.add(group, step, number_of(groups, group.c_str()));
    if (!groups.is_object() || groups.empty())
      if (record.contains("grad_norm")) norms.add("all", step, number_of(record, "grad_norm"));
  }
  data.learning_rates = rates.take();
  data.gradient_norms = norms.take();
}

std::string count_text(double value) {
  if (value >= 1e6) return fmt::format("{:.2f} M", value / 1e6);
  if (value >= 1e3) return fmt::format("{:.1f} k", value / 1e3);
  return fmt::format("{:.0f}", value);
}

void add_figures(const json& run, ReportData& data) {
  const auto figure = [&](const char* name, const char* label, auto&& text,
                          const std::string& note = "") {
    const double value = number_of(run, name);
    if (std::isfinite(value)) data.figures.push_back({label, text(value), note});
  };
  const auto percent = [](double v) {
    return fmt::format("{:.1f} %", std::floor(v * 1000 + 1e-9) / 10);
  };
  const double n = number_of(run, "n"), steps = number_of(run, "steps"),
               images = number_of(run, "images_per_s");
  figure("accuracy", "Accuracy", percent,
         std::isfinite(n) ? fmt::format("{:.0f} held-out questions", n) : "");
  figure("train_seconds", "Training time", format_duration,
         std::isfinite(steps) ? fmt::format("{:.0f} steps", steps) : "");
  figure("parameters", "Parameters", count_text);
  figure("tokens_per_s", "Tokens per second", count_text,
         std::isfinite(images) ? fmt::format("{} images per second", count_text(images)) : "");
  figure("data_wait", "Waiting for data", percent, "share of the training time");
  figure("peak_bytes", "Peak memory",
         [](double v) { return fmt::format("{:.0f} MiB", v / 1048576.0); });
}

void read_pictures(const std::string& folder, const json& run, ReportData& data) {
  const json& list = member(run, "pictures");
  if (!list.is_array()) return;
  for (const json& entry : list) {
    const std::filesystem::path file = text_of(entry, "file");
    check<FormatError>(
        !file.empty() && file.is_relative() && *file.lexically_normal().begin() != "..",
        "{}/run.json: a picture's file must lie in the run folder, got \"{}\"", folder,
        file.string());
    data.pictures.push_back({read_file(folder + "/" + file.string(), uint64_t{1} << 24),
                             text_of(entry, "question"), text_of(entry, "expected"),
                             text_of(entry, "given")});
  }
}

}  // namespace

ReportData load_report(const std::string& run_folder, const std::string& other_run,
                       const std::string& other_name) {
  ReportData data;
  const json run = load_json(run_folder + "/run.json", size_t{1} << 26);
  check<FormatError>(run.is_object(), "{}/run.json: need a JSON object", run_folder);
  read_log(run_folder + "/log.jsonl", data);
  data.recipe = read_file(run_folder + "/recipe.toml", uint64_t{1} << 20);

  data.title = text_of(run, "title");
  if (data.title.empty()) data.title = text_of(run, "name");
  for (const char* name : {"finished", "hardware", "version"})
    if (const std::string text = text_of(run, name); !text.empty())
      data.subtitle += (data.subtitle.empty() ? "" : "  ·  ") + text;
  add_figures(run, data);
  data.scores = scores_of(run);
  if (const json& memory = member(run, "memory"); memory.is_object())
    for (const auto& [category, bytes] : memory.items())
      if (bytes.is_number_unsigned()) data.memory.push_back({category, bytes.get<uint64_t>()});
  if (const json& stages = member(run, "stages"); stages.is_array() && !stages.empty()) {
    data.stages.clear();
    for (const json& stage : stages)
      data.stages.push_back(
          {text_of(stage, "name"), number_of(stage, "begin"), number_of(stage, "end")});
  }
  if (const json& notes = member(run, "notes"); notes.is_array())
    for (const json& note : notes)
      if (note.is_string()) data.notes.push_back(note.get<std::string>());
  read_pictures(run_folder, run, data);

  if (!other_run.empty()) {
    const ReportData other = load_report(other_run);
    data.comparisons.push_back({other_name.empty() ? other.title : other_name, "", other.loss,
                                other.accuracy, other.scores});
  }
  return data;
}

}  // namespace ocellus
