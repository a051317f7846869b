#include "vlm/report_chart.h"

#include <algorithm>
#include <cmath>

#include "engine/check.h"

namespace ocellus {
namespace {

using Points = std::vector<std::pair<double, double>>;

// Sizes in the units of the SVG's view box.
constexpr double kHeight = 270;
constexpr double kLeft = 58, kRight = 14, kTop = 26, kBottom = 34;
constexpr size_t kMostPoints = 360;  // two or three units of width a point
constexpr double kLogSpan = 50;      // ratio of values from which the axis is logarithmic

/// A number as a tick shows it: 0.25, 1500, 2e-4.
std::string tick_text(double value, bool percent) {
  if (percent) return fmt::format("{:g} %", std::round(value * 1e6) / 1e4);
  if (std::abs(value) < 1e-12) return "0";
  if (std::abs(value) < 1e-3 || std::abs(value) >= 1e6) {
    const double exponent = std::floor(std::log10(std::abs(value)) + 1e-9);
    return fmt::format("{:.3g}e{:g}", value / std::pow(10.0, exponent), exponent);
  }
  return fmt::format("{:.6g}", value);
}

Points finite_points(const ReportCurve& curve, bool positive) {
  Points points;
  for (const auto& [step, value] : curve.points)
    if (std::isfinite(step) && std::isfinite(value) && (!positive || value > 0))
      points.emplace_back(step, value);
  return points;
}

/// Means over equal numbers of neighbouring points, so that at most kMostPoints remain. The first
/// and the last point stay themselves.
Points thinned(const Points& points) {
  if (points.size() <= kMostPoints) return points;
  Points out = {points.front()};
  const size_t buckets = kMostPoints - 2, inner = points.size() - 2;
  for (size_t b = 0; b < buckets; ++b) {
    const size_t begin = 1 + b * inner / buckets, end = 1 + (b + 1) * inner / buckets;
    double step = 0, value = 0;
    for (size_t i = begin; i < end; ++i) {
      step += points[i].first;
      value += points[i].second;
    }
    const auto count = static_cast<double>(end - begin);
    out.emplace_back(step / count, value / count);
  }
  out.push_back(points.back());
  return out;
}

/// Centred means over about a thirtieth of the curve; of logarithms, if the axis is. No mean
/// reaches across the end of a stage.
Points smoothed(const Points& points, const std::vector<ReportStage>& stages, bool logarithmic) {
  const auto stage_of = [&](double step) {
    return std::count_if(stages.begin(), stages.end(),
                         [&](const ReportStage& stage) { return step > stage.end; });
  };
  const size_t reach = std::max<size_t>(3, points.size() / 60);
  std::vector<double> sums = {0};  // of the first i values
  for (const auto& [step, value] : points)
    sums.push_back(sums.back() + (logarithmic ? std::log(value) : value));
  Points out;
  size_t begin = 0, end = 0;  // of the stage that point i lies in
  for (size_t i = 0; i < points.size(); ++i) {
    if (i == end) {
      begin = i;
      while (end < points.size() && stage_of(points[end].first) == stage_of(points[i].first)) ++end;
    }
    const size_t near =
        std::min({reach, i - begin, end - 1 - i});  // symmetric, so that ends do not lag
    const double mean = (sums[i + near + 1] - sums[i - near]) / static_cast<double>(2 * near + 1);
    out.emplace_back(points[i].first, logarithmic ? std::exp(mean) : mean);
  }
  return out;
}

struct Axes {
  double step_low = 0, step_high = 1, low = 0, high = 1;
  double right = 0;  // where the value axis ends, in the view box
  bool logarithmic = false;

  double x(double step) const {
    return kLeft + (step - step_low) / (step_high - step_low) * (right - kLeft);
  }
  double y(double value) const {
    const double share =
        logarithmic ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
    return kHeight - kBottom - std::clamp(share, 0.0, 1.0) * (kHeight - kTop - kBottom);
  }
};

Axes axes_of(const Chart& chart) {
  Axes axes;
  axes.right = chart.width - kRight;
  bool any = false;
  double low = 0, high = 0;
  for (const ReportCurve& curve : chart.curves)
    for (const auto& [step, value] : finite_points(curve, false)) {
      axes.step_high = any ? std::max(axes.step_high, step) : step;
      low = any ? std::min(low, value) : value;
      high = any ? std::max(high, value) : value;
      any = true;
    }
  if (!(axes.step_high > 0)) axes.step_high = 1;
  axes.logarithmic = !chart.percent && !chart.linear && low > 0 && high / low > kLogSpan;
  if (chart.percent) {
    axes.low = 0;
    axes.high = 1;
  } else if (axes.logarithmic) {
    axes.low = low;
    axes.high = high;
  } else {
    axes.low = std::min(low, 0.0);
    axes.high = high > axes.low ? axes.low + (high - axes.low) * 1.05 : axes.low + 1;
  }
  return axes;
}

/// Ticks of a logarithmic axis: 1, 2 and 5 times powers of ten over few decades, else powers of
/// ten.
std::vector<double> log_ticks(double low, double high) {
  const double decades = std::log10(high / low);
  const int stride = std::max(1, static_cast<int>(std::ceil(decades / 7)));
  std::vector<double> ticks;
  for (int exponent = static_cast<int>(std::floor(std::log10(low)));
       exponent <= std::ceil(std::log10(high)); ++exponent) {
    if (exponent % stride != 0) continue;
    for (const double factor : {1.0, 2.0, 5.0}) {
      const double tick = factor * std::pow(10.0, exponent);
      if ((factor == 1 || decades < 2.5) && tick >= low * 0.999 && tick <= high * 1.001)
        ticks.push_back(tick);
    }
  }
  return ticks;
}

std::string polyline(const Points& points, const Axes& axes, const std::string& classes) {
  if (points.empty()) return "";
  std::string path;
  for (const auto& [step, value] : points)
    path += fmt::format("{}{:.1f},{:.1f}", path.empty() ? "" : " ", axes.x(step), axes.y(value));
  return fmt::format("<polyline class=\"{}\" points=\"{}\"/>\n", classes, path);
}

std::string grid(const Chart& chart, const Axes& axes) {
  std::string svg;
  const std::vector<double> values = axes.logarithmic ? log_ticks(axes.low, axes.high)
                                     : chart.percent  ? std::vector<double>{0, 0.25, 0.5, 0.75, 1}
                                                      : axis_ticks(axes.low, axes.high, 5);
  for (const double value : values)
    svg += fmt::format(
        "<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{1:.1f}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/>"
        "<text class=\"tick\" text-anchor=\"end\" x=\"{3:.1f}\" y=\"{4:.1f}\">{5}</text>\n",
        kLeft, axes.right, axes.y(value), kLeft - 8, axes.y(value) + 4,
        tick_text(value, chart.percent));
  for (const double step :
       axis_ticks(axes.step_low, axes.step_high, static_cast<int>(chart.width / 90)))
    svg += fmt::format(
        "<line class=\"axis\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>"
        "<text class=\"tick\" text-anchor=\"middle\" x=\"{0:.1f}\" y=\"{3:.1f}\">{4}</text>\n",
        axes.x(step), kHeight - kBottom, kHeight - kBottom + 4, kHeight - kBottom + 17,
        tick_text(step, false));
  svg += fmt::format("<line class=\"axis\" x1=\"{0}\" x2=\"{1}\" y1=\"{2}\" y2=\"{2}\"/>\n", kLeft,
                     axes.right, kHeight - kBottom);
  svg += fmt::format("<text class=\"tick\" text-anchor=\"end\" x=\"{}\" y=\"{}\">step</text>\n",
                     axes.right, kHeight - 4);
  return svg;
}

std::string stage_marks(const Chart& chart, const Axes& axes) {
  std::string svg;
  if (chart.stages.size() < 2) return svg;
  for (size_t i = 0; i < chart.stages.size(); ++i) {
    const double begin = std::clamp(axes.x(chart.stages[i].begin), kLeft, axes.right);
    const double end = std::clamp(axes.x(chart.stages[i].end), kLeft, axes.right);
    if (i > 0)
      svg += fmt::format(
          "<line class=\"boundary\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/>\n", begin,
          kTop - 12, kHeight - kBottom);
    svg += fmt::format(
        "<text class=\"stage\" text-anchor=\"middle\" x=\"{:.1f}\" y=\"{}\">{}</text>\n",
        (begin + end) / 2, kTop - 10, escape_html(chart.stages[i].name));
  }
  return svg;
}

std::string curve_lines(const Chart& chart, const Axes& axes, size_t index) {
  const Points points = finite_points(chart.curves[index], axes.logarithmic);
  const std::string colour = fmt::format("c{}", index % 6);
  std::string svg;
  if (chart.smooth && points.size() > 40) {
    svg += polyline(thinned(points), axes, "line faint " + colour);
    svg +=
        polyline(thinned(smoothed(points, chart.stages, axes.logarithmic)), axes, "line " + colour);
  } else {
    svg += polyline(thinned(points), axes, "line " + colour);
  }
  if (chart.dots && points.size() <= 60)
    for (const auto& [step, value] : points)
      svg += fmt::format("<circle class=\"dot {}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\"/>\n", colour,
                         axes.x(step), axes.y(value));
  return svg;
}

std::string legend(const Chart& chart) {
  if (chart.curves.size() < 2) return "";
  std::string html = "<div class=\"legend\">";
  for (size_t i = 0; i < chart.curves.size(); ++i)
    html += fmt::format("<span><i class=\"k{}\"></i>{}</span>", i % 6,
                        escape_html(chart.curves[i].name));
  return html + "</div>\n";
}

}  // namespace

std::string escape_html(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\'')
      out += "&#39;";
    else if (static_cast<unsigned char>(c) >= ' ' || c == '\n' || c == '\t')
      out += c;
  }
  return out;
}

std::vector<double> axis_ticks(double low, double high, int most) {
  const double raw = (high - low) / std::max(most, 1);
  if (!(raw > 0) || !std::isfinite(raw)) return {low};
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.0, 1.0})
    if (factor * power >= raw * (1 - 1e-9)) step = factor * power;
  std::vector<double> ticks;
  for (double i = std::ceil(low / step - 1e-9); i * step <= high + step * 1e-9; ++i)
    ticks.push_back(i * step);
  return ticks;
}

std::string render_chart(const Chart& chart) {
  const bool empty =
      std::all_of(chart.curves.begin(), chart.curves.end(),
                  [](const ReportCurve& curve) { return finite_points(curve, false).empty(); });
  if (empty) return "";
  const Axes axes = axes_of(chart);
  std::string svg =
      fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{} over steps\">\n",
                  chart.width, kHeight, escape_html(chart.label));
  svg += grid(chart, axes) + stage_marks(chart, axes);
  for (size_t i = chart.curves.size(); i-- > 0;) svg += curve_lines(chart, axes, i);
  return svg + "</svg>\n" + legend(chart);
}

}  // namespace ocellus
