// The report of a run: one HTML file without outside references, light or dark as the reader's
// system.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace ocellus {

/// A curve: points (step, value) in ascending order of step. Values that are not finite are left
/// out.
struct ReportCurve {
  std::string name;
  std::vector<std::pair<double, double>> points;
};

/// A stage covers the steps after `begin` up to and including `end`.
struct ReportStage {
  std::string name;
  double begin = 0, end = 0;
};

/// Share of right answers among `n` questions of one kind.
struct ReportScore {
  std::string name;
  double accuracy = 0;
  int64_t n = 0;
};

/// A figure of the headline: {"Accuracy", "98.4 %", "4 847 held-out questions"}.
struct ReportFigure {
  std::string label, value, note;
};

struct ReportPicture {
  std::string png;  // the bytes of the file
  std::string question, expected, given;
};

struct ReportMemory {
  std::string category;
  uint64_t bytes = 0;
};

/// What a second run adds for comparison.
struct ReportComparison {
  std::string name;  // "without the first stage"
  std::string text;  // what the reader should see in it; may be empty
  ReportCurve loss, accuracy;
  std::vector<ReportScore> scores;  // by kind; "all" first
};

struct ReportData {
  std::string title, subtitle;
  std::vector<ReportFigure> figures;
  ReportCurve loss, accuracy;
  std::vector<ReportCurve> learning_rates;  // one, or one a pattern
  std::vector<ReportCurve> gradient_norms;  // by group
  std::vector<ReportStage> stages;
  std::vector<ReportScore> scores;  // "all" first, then by kind
  std::vector<ReportPicture> pictures;
  std::vector<ReportMemory> memory;
  std::vector<ReportComparison> comparisons;
  std::vector<std::string> notes;
  std::string recipe;  // resolved, TOML
};

/// render_report — the HTML. Every text is escaped; sections without data are left out. Long curves
/// are thinned to what the picture can show.
std::string render_report(const ReportData& data);

/// load_report — ReportData from a run folder: log.jsonl (see run_log.h), recipe.toml, and
/// run.json, whose members are all optional:
///   name, title, version, hardware, finished (text)
///   parameters, steps, train_seconds, tokens_per_s, images_per_s, data_wait (share), peak_bytes
///   accuracy, n, by_source: {name → {accuracy, n}}      the evaluation after the last stage
///   memory: {category → bytes}     stages: [{name, begin, end}]     notes: [text]
///   pictures: [{file (PNG, relative to the run folder), question, expected, given}]
/// `other_run`, if not empty, is the folder of a run to compare with, named `other_name`.
/// Throws FormatError naming the file if one is missing or damaged.
ReportData load_report(const std::string& run_folder, const std::string& other_run = "",
                       const std::string& other_name = "");

}  // namespace ocellus
