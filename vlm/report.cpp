#include "vlm/report.h"

#include <algorithm>
#include <cmath>

#include "engine/check.h"
#include "vlm/report_chart.h"

namespace ocellus {
namespace {

// Colours are variables, so that the dark scheme changes only the block at the top.
constexpr const char* kStyle = R"(
:root { color-scheme: light dark;
  --page:#f6f7f9; --card:#ffffff; --ink:#1b2230; --soft:#5b6576; --rule:#e3e7ee; --grid:#eceff4;
  --c0:#2563c9; --c1:#d9730d; --c2:#0f8a6c; --c3:#9b3fb5; --c4:#c2363f; --c5:#6b7280; --good:#0f7b55; --bad:#b3261e; }
@media (prefers-color-scheme: dark) { :root {
  --page:#12151b; --card:#1a1f28; --ink:#e6e9ef; --soft:#98a2b3; --rule:#2b323f; --grid:#262d38;
  --c0:#6ea2ff; --c1:#f5a052; --c2:#4ecfa8; --c3:#cf8be6; --c4:#f27d84; --c5:#9aa3b2; --good:#4fd19c; --bad:#ff8a80; } }
* { box-sizing:border-box }
body { margin:0; background:var(--page); color:var(--ink);
  font:15px/1.5 system-ui,-apple-system,"Segoe UI","Helvetica Neue",Arial,sans-serif }
main { max-width:1080px; margin:0 auto; padding:36px 20px 60px }
h1 { font-size:28px; line-height:1.2; margin:0 0 4px; letter-spacing:-.01em }
h2 { font-size:17px; margin:0 0 10px }
.subtitle, .hint { color:var(--soft); margin:0 0 10px }
.subtitle { margin-bottom:22px }
section { background:var(--card); border:1px solid var(--rule); border-radius:12px; padding:18px 20px; margin:16px 0 }
.figures { display:grid; grid-template-columns:repeat(auto-fit,minmax(150px,1fr)); gap:12px }
.figure { background:var(--card); border:1px solid var(--rule); border-radius:12px; padding:12px 16px }
.figure b { display:block; font-size:25px; line-height:1.25; font-weight:650; letter-spacing:-.01em }
.figure span { color:var(--soft); font-size:13px; display:block }
.two { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(440px,100%),1fr)); gap:16px; align-items:start }
.two section { margin:0 }
.stack { margin:16px 0 }
svg { width:100%; height:auto; display:block; overflow:visible }
.grid { stroke:var(--grid) } .axis { stroke:var(--soft); stroke-opacity:.6 }
.boundary { stroke:var(--soft); stroke-dasharray:3 4 }
.tick, .stage { font-size:12px; fill:var(--soft); font-variant-numeric:tabular-nums }
.stage { font-weight:600 }
.line { fill:none; stroke-width:2; stroke-linejoin:round } .faint { stroke-width:1; stroke-opacity:.28 }
.legend { display:flex; flex-wrap:wrap; gap:4px 18px; color:var(--soft); font-size:13px; padding:6px 0 0 58px }
.legend i { display:inline-block; width:18px; height:3px; border-radius:2px; vertical-align:middle; margin-right:7px }
table { border-collapse:collapse; width:100%; font-variant-numeric:tabular-nums }
th { text-align:left; font-weight:600; color:var(--soft); font-size:13px }
th, td { padding:6px 10px 6px 0; border-bottom:1px solid var(--rule) }
tr:last-child td { border-bottom:0 }
th.n, td.n { text-align:right } tr.total td { font-weight:650 }
td.bar { width:38%; padding-right:0 } td.bar div { height:9px; border-radius:5px; background:var(--c0) }
.pictures { display:grid; grid-template-columns:repeat(auto-fill,minmax(170px,1fr)); gap:14px }
.picture { border:1px solid var(--rule); border-radius:10px; overflow:hidden; display:flex; flex-direction:column }
.picture img { width:100%; aspect-ratio:1; object-fit:contain; image-rendering:pixelated; background:var(--grid) }
.picture div { padding:10px 12px 12px } .picture p { margin:0 0 6px; font-weight:600; overflow-wrap:anywhere }
.answer { color:var(--soft); overflow-wrap:anywhere } .good { color:var(--good); font-weight:600 } .bad { color:var(--bad); font-weight:600 }
pre { margin:0; overflow:auto; max-height:560px; font:12.5px/1.5 ui-monospace,"SFMono-Regular",Menlo,Consolas,monospace }
summary { cursor:pointer; font-size:17px; font-weight:650 } details[open] summary { margin-bottom:10px }
section > p:last-child { margin:0 }
ul { margin:0; padding-left:20px } li { margin:3px 0 }
@media print { body { background:#fff } section, .figure { break-inside:avoid } }
)";

std::string style_of_curves() {
  std::string css;
  for (int i = 0; i < 6; ++i)
    css += fmt::format(
        ".c{0} {{ stroke:var(--c{0}) }} .dot.c{0} {{ fill:var(--c{0}); stroke:none }} .k{0} {{ "
        "background:var(--c{0}) }}\n",
        i);
  return css;
}

std::string base64(const std::string& bytes) {
  constexpr const char* kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k)
      group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k)
      out += i + k <= bytes.size() ? kDigits[group >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

/// Accuracy with one decimal, rounded down so that 100 % means all.
std::string percent(double share) {
  return std::isfinite(share) ? fmt::format("{:.1f} %", std::floor(share * 1000 + 1e-9) / 10) : "?";
}

std::string section(const std::string& heading, const std::string& hint, const std::string& body) {
  if (body.empty()) return "";
  return fmt::format(
      "<section><h2>{}</h2>\n{}{}</section>\n", escape_html(heading),
      hint.empty() ? "" : fmt::format("<p class=\"hint\">{}</p>\n", escape_html(hint)), body);
}

std::string figures(const ReportData& data) {
  std::string html;
  for (const ReportFigure& figure : data.figures)
    html +=
        fmt::format("<div class=\"figure\"><span>{}</span><b>{}</b><span>{}</span></div>\n",
                    escape_html(figure.label), escape_html(figure.value), escape_html(figure.note));
  return html.empty() ? "" : "<div class=\"figures\">" + html + "</div>\n";
}

/// The curve of this run, then those of the comparisons.
std::vector<ReportCurve> with_comparisons(const ReportData& data, ReportCurve ReportData::*own,
                                          ReportCurve ReportComparison::*other) {
  std::vector<ReportCurve> curves = {data.*own};
  if (!data.comparisons.empty()) curves[0].name = "this run";
  for (const ReportComparison& comparison : data.comparisons) {
    curves.push_back(comparison.*other);
    curves.back().name = comparison.name;
  }
  return curves;
}

std::string curves(const ReportData& data) {
  std::string html = section(
      "Accuracy on held-out questions",
      "Share of free answers that equal the expected text, measured during training.",
      render_chart(
          {.label = "accuracy",
           .curves = with_comparisons(data, &ReportData::accuracy, &ReportComparison::accuracy),
           .stages = data.stages,
           .percent = true,
           .dots = true}));
  html += section(
      "Loss", "Cross-entropy per target token; the strong line is the running mean.",
      render_chart({.label = "loss",
                    .curves = with_comparisons(data, &ReportData::loss, &ReportComparison::loss),
                    .stages = data.stages,
                    .smooth = true}));
  std::string small = section("Learning rate", "",
                              render_chart({.label = "learning rate",
                                            .curves = data.learning_rates,
                                            .stages = data.stages,
                                            .linear = true,
                                            .width = 520}));
  small += section("Gradient norm by group", "Before clipping.",
                   render_chart({.label = "gradient norm",
                                 .curves = data.gradient_norms,
                                 .stages = data.stages,
                                 .smooth = true,
                                 .width = 520}));
  return html + (small.empty() ? "" : "<div class=\"two stack\">" + small + "</div>\n");
}

const ReportScore* find_score(const std::vector<ReportScore>& scores, const std::string& name) {
  const auto at = std::find_if(scores.begin(), scores.end(),
                               [&](const ReportScore& s) { return s.name == name; });
  return at == scores.end() ? nullptr : &*at;
}

std::string score_table(const ReportData& data) {
  if (data.scores.empty()) return "";
  std::string html =
      "<table><tr><th>kind</th><th class=\"n\">questions</th><th class=\"n\">accuracy</th>";
  for (const ReportComparison& comparison : data.comparisons)
    html += fmt::format("<th class=\"n\">{}</th>", escape_html(comparison.name));
  html += "<th></th></tr>\n";
  for (const ReportScore& score : data.scores) {
    html += fmt::format("<tr{}><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>",
                        score.name == "all" ? " class=\"total\"" : "", escape_html(score.name),
                        score.n, percent(score.accuracy));
    for (const ReportComparison& comparison : data.comparisons) {
      const ReportScore* other = find_score(comparison.scores, score.name);
      html += fmt::format("<td class=\"n\">{}</td>", other ? percent(other->accuracy) : "");
    }
    const double width =
        std::isfinite(score.accuracy) ? std::clamp(score.accuracy, 0.0, 1.0) * 100 : 0;
    html += fmt::format("<td class=\"bar\"><div style=\"width:{:.1f}%\"></div></td></tr>\n", width);
  }
  return html + "</table>\n";
}

std::string memory_table(const ReportData& data) {
  std::vector<ReportMemory> rows = data.memory;
  std::stable_sort(rows.begin(), rows.end(),
                   [](const ReportMemory& a, const ReportMemory& b) { return a.bytes > b.bytes; });
  uint64_t total = 0, most = 1;
  for (const ReportMemory& row : rows) {
    total += row.bytes;
    most = std::max(most, row.bytes);
  }
  const auto row_html = [&](const std::string& name, uint64_t bytes, const char* classes,
                            const std::string& bar) {
    return fmt::format(
        "<tr{}><td>{}</td><td class=\"n\">{:.1f} MiB</td><td class=\"bar\">{}</td></tr>\n", classes,
        escape_html(name), static_cast<double>(bytes) / 1048576.0, bar);
  };
  std::string html;
  for (const ReportMemory& row : rows)
    html +=
        row_html(row.category, row.bytes, "",
                 fmt::format("<div style=\"width:{:.1f}%\"></div>",
                             100.0 * static_cast<double>(row.bytes) / static_cast<double>(most)));
  return html.empty()
             ? ""
             : "<table>" + html + row_html("sum", total, " class=\"total\"", "") + "</table>\n";
}

std::string pictures(const ReportData& data) {
  std::string html;
  for (const ReportPicture& picture : data.pictures) {
    const bool right = picture.expected == picture.given;
    html += fmt::format(
        "<div class=\"picture\"><img alt=\"\" src=\"data:image/png;base64,{}\"><div><p>{}</p>"
        "<span class=\"{}\">{} {}</span>{}</div></div>\n",
        base64(picture.png), escape_html(picture.question), right ? "good" : "bad",
        right ? "✓" : "✗", escape_html(picture.given.empty() ? "(no answer)" : picture.given),
        right ? ""
              : fmt::format("<br><span class=\"answer\">expected: {}</span>",
                            escape_html(picture.expected)));
  }
  return html.empty() ? "" : "<div class=\"pictures\">" + html + "</div>\n";
}

std::string list_of(const std::vector<std::string>& lines) {
  std::string html;
  for (const std::string& line : lines)
    if (!line.empty()) html += fmt::format("<li>{}</li>\n", escape_html(line));
  return html.empty() ? "" : "<ul>" + html + "</ul>\n";
}

}  // namespace

std::string render_report(const ReportData& data) {
  std::string lessons;
  for (const ReportComparison& comparison : data.comparisons)
    if (!comparison.text.empty()) lessons += "<p>" + escape_html(comparison.text) + "</p>\n";
  const std::string title = escape_html(data.title.empty() ? "Training run" : data.title);
  std::string html = fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width\">\n"
      "<title>{}</title>\n<style>{}{}</style></head>\n<body><main>\n<h1>{}</h1>\n<p "
      "class=\"subtitle\">{}</p>\n",
      title, kStyle, style_of_curves(), title, escape_html(data.subtitle));
  html += figures(data);
  html += section("What the comparison shows", "", lessons);
  html += curves(data);
  html += section("Questions and answers", "Held-out pictures; the answer is what the model wrote.",
                  pictures(data));
  const std::string tables = section("Accuracy by kind of question", "", score_table(data)) +
                             section("Memory at its peak, by category", "", memory_table(data));
  if (!tables.empty()) html += "<div class=\"two stack\">" + tables + "</div>\n";
  html += section("Notes", "", list_of(data.notes));
  if (!data.recipe.empty())
    html += "<section><details><summary>Recipe with all defaults</summary><pre>" +
            escape_html(data.recipe) + "</pre></details></section>\n";
  return html + "</main></body>\n</html>\n";
}

}  // namespace ocellus
