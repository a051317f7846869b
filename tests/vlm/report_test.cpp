#include "vlm/report.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "engine/check.h"
#include "engine/file.h"
#include "vlm/report_chart.h"

namespace fs = std::filesystem;
using namespace ocellus;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

ReportCurve line(const std::string& name, int points, double scale) {
  ReportCurve curve{name, {}};
  for (int i = 1; i <= points; ++i) curve.points.emplace_back(i, scale / i);
  return curve;
}

ReportData full() {
  ReportData data;
  data.title = "Run <1> & \"more\"";
  data.subtitle = "two cores";
  data.figures = {{"Accuracy", "98.4 %", "4847 questions"}};
  data.loss = line("loss", 5000, 3);
  data.accuracy = {"accuracy", {{100, 0.5}, {200, 0.984}}};
  data.learning_rates = {line("*", 100, 1e-3)};
  data.gradient_norms = {line("vision", 100, 1), line("language", 100, 2)};
  data.stages = {{"naming", 0, 100}, {"a<b", 100, 200}};
  data.scores = {{"all", 0.9996, 4847}, {"shape", 1, 10}};
  data.pictures = {{"\x89PNG", "what <is> it?", "red", "red"},
                   {"Ma", "which?", "circle", "triangle"}};
  data.memory = {{"weights", 1 << 20}, {"activations", 3 << 20}};
  data.comparisons = {{"without the first stage",
                       "It guesses.",
                       line("", 50, 3),
                       {"", {{100, 0.3}}},
                       {{"all", 0.862, 4847}}}};
  data.notes = {"a note"};
  data.recipe = "name = \"x\"\n";
  return data;
}

}  // namespace

TEST_CASE("report: everything is shown, escaped, and nothing refers to the outside") {
  const std::string html = render_report(full());
  CHECK(contains(html, "<h1>Run &lt;1&gt; &amp; &quot;more&quot;</h1>"));
  CHECK(contains(html, "what &lt;is&gt; it?"));
  CHECK(contains(html, ">a&lt;b</text>"));
  CHECK(contains(html, "name = &quot;x&quot;"));
  CHECK(contains(html,
                 "src=\"data:image/png;base64,iVBORw==\""));  // RFC 4648, no outside tool needed
  CHECK(contains(html, "src=\"data:image/png;base64,TWE=\""));
  CHECK(contains(html, "✓ red"));
  CHECK(contains(html, "✗ triangle"));
  CHECK(contains(html, "expected: circle"));
  CHECK(contains(html, "4.0 MiB"));  // the sum
  CHECK(contains(html, "99.9 %"));   // 0.9996 is not all
  CHECK(contains(html, "86.2 %"));
  CHECK(contains(html, "It guesses."));
  CHECK(count(html, "<svg") == 4);
  for (const char* outside : {"http", "src=\"/", "<script", "<link", "@import", "nan", "inf\""})
    CHECK_FALSE(contains(html, outside));
  for (const char* tag : {"section", "svg", "table", "div", "p", "span", "details"})
    CHECK(count(html, std::string("<") + tag + ">") + count(html, std::string("<") + tag + " ") ==
          count(html, std::string("</") + tag + ">"));
}

TEST_CASE("report: sections without data are left out") {
  const std::string html = render_report(ReportData{});
  CHECK(contains(html, "<h1>Training run</h1>"));
  CHECK_FALSE(contains(html, "<section"));
  CHECK_FALSE(contains(html, "<svg"));
}

TEST_CASE("report: text in HTML") {
  CHECK(escape_html("<a href='x'>&\"\n\t\x01\x1f é") ==
        "&lt;a href=&#39;x&#39;&gt;&amp;&quot;\n\t é");
}

TEST_CASE("report: ticks are round, inside the range, and not too many") {
  CHECK(axis_ticks(0, 1500, 8) == std::vector<double>{0, 200, 400, 600, 800, 1000, 1200, 1400});
  CHECK(axis_ticks(0, 1, 5).size() == 6);
  CHECK(axis_ticks(0, 0, 5) == std::vector<double>{0});
  CHECK(axis_ticks(0, std::numeric_limits<double>::infinity(), 5).size() == 1);
  for (double high = 1e-6; high < 1e9; high *= 1.7) {
    const std::vector<double> ticks = axis_ticks(0, high, 6);
    CHECK(ticks.size() >= 3);
    CHECK(ticks.size() <= 7);
    CHECK(ticks.back() <= high * (1 + 1e-9));
  }
}

TEST_CASE("report: a chart of any numbers stays inside its frame") {
  const double inf = std::numeric_limits<double>::infinity();
  CHECK(render_chart({.label = "x", .curves = {}}) == "");
  CHECK(render_chart({.label = "x", .curves = {{"a", {{1, std::nan("")}, {2, inf}}}}}) == "");
  for (const std::vector<std::pair<double, double>>& points :
       std::vector<std::vector<std::pair<double, double>>>{{{1, 5}},
                                                           {{0, 0}},
                                                           {{1, -3}, {2, 3}},
                                                           {{1, 1e-30}, {2, 1e30}},
                                                           {{1, 2}, {2, std::nan("")}, {3, 1e5}},
                                                           {{5, 7}, {6, 7}}}) {
    const std::string svg =
        render_chart({.label = "x", .curves = {{"a", points}}, .smooth = true, .dots = true});
    CHECK(contains(svg, "<polyline"));
    CHECK_FALSE(contains(svg, "nan"));
    CHECK_FALSE(contains(svg, "inf"));
  }
  // Known places: 0 to 100 % fill the height between 26 and 236, steps 0 to 10 the width 58 to 986.
  const std::string svg =
      render_chart({.label = "x", .curves = {{"a", {{0, 0}, {5, 0.5}, {10, 1}}}}, .percent = true});
  CHECK(contains(svg, "points=\"58.0,236.0 522.0,131.0 986.0,26.0\""));
}

TEST_CASE("report: long curves are thinned, means are kept, and smoothing does not cross stages") {
  const std::string svg = render_chart({.label = "x", .curves = {line("a", 100000, 1)}});
  CHECK(count(svg, ",") < 400);
  ReportCurve step{"a", {}};
  for (int i = 1; i <= 200; ++i) step.points.emplace_back(i, i <= 100 ? 1 : 2);
  const std::string smooth = render_chart(
      {.label = "x", .curves = {step}, .stages = {{"p", 0, 100}, {"q", 100, 200}}, .smooth = true});
  // Only two heights occur: the values 1 and 2, on an axis to 2.1.
  CHECK(count(smooth, ",136.0") == 200);
  CHECK(count(smooth, ",36.0") == 200);
}

TEST_CASE("report: a run folder becomes a report; a missing or damaged file is named") {
  const std::string folder =
      (fs::temp_directory_path() / ("ocellus_report_" + std::to_string(::getpid()))).string();
  make_folders(folder + "/report");
  CHECK_THROWS_WITH_AS(load_report(folder), doctest::Contains("run.json: cannot open the file"),
                       FormatError);
  write_file_atomic(
      folder + "/run.json",
      R"({"name": "q", "version": "1", "hardware": "2 cores", "parameters": 507000, "steps": 3,
    "train_seconds": 131, "accuracy": 0.5, "n": 4, "by_source": {"shape": {"accuracy": 1.0, "n": 2}}, "data_wait": 0.01,
    "memory": {"weights": 1000}, "notes": ["n"], "pictures": [{"file": "report/0.png", "question": "q", "expected": "a", "given": "b"}]})");
  write_file_atomic(folder + "/recipe.toml", "seed = 1\n");
  write_file_atomic(folder + "/report/0.png", "png");
  write_file_atomic(folder + "/log.jsonl",
                    R"({"step": 1, "stage": "one", "loss": 3.0, "lr": 0.001, "grad_norm": 2.0}
{"step": 2, "stage": "one", "loss": null, "lr": 0.002, "grad_norm": 1.0}
{"step": 2, "eval": {"accuracy": 0.25, "n": 4}}
{"step": 3, "stage": "two", "loss": 1.0, "lr": {"a.*": 0.003, "b.*": 0.1}, "grad_norms": {"vision": 0.5}}
{"step": 4, "st)");
  const ReportData data = load_report(folder, folder, "again");
  CHECK(data.title == "q");
  CHECK(data.subtitle == "2 cores  ·  1");
  REQUIRE(data.figures.size() == 4);
  CHECK(data.figures[0].value == "50.0 %");
  CHECK(data.figures[1].value == "2:11");
  CHECK(data.figures[2].value == "507.0 k");
  CHECK(data.loss.points.size() == 3);
  CHECK(std::isnan(data.loss.points[1].second));
  CHECK(data.accuracy.points == std::vector<std::pair<double, double>>{{2, 0.25}});
  REQUIRE(data.learning_rates.size() == 3);
  CHECK(data.learning_rates[2].name == "b.*");
  REQUIRE(data.gradient_norms.size() == 2);
  CHECK(data.gradient_norms[1].name == "vision");
  REQUIRE(data.stages.size() == 2);
  CHECK(data.stages[0].end == 2);
  CHECK(data.stages[1].begin == 2);
  REQUIRE(data.scores.size() == 2);
  CHECK(data.scores[1].name == "shape");
  CHECK(data.pictures[0].png == "png");
  CHECK(data.comparisons[0].name == "again");
  CHECK(contains(render_report(data), "2 cores"));

  write_file_atomic(folder + "/run.json", R"({"pictures": [{"file": "../x.png"}]})");
  CHECK_THROWS_WITH_AS(load_report(folder),
                       doctest::Contains("must lie in the run folder, got \"../x.png\""),
                       FormatError);
  write_file_atomic(folder + "/run.json", "[]");
  CHECK_THROWS_WITH_AS(load_report(folder), doctest::Contains("run.json: need a JSON object"),
                       FormatError);
  fs::remove_all(folder);
}
