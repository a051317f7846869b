// Line charts as inline SVG, coloured by the classes of the report's style sheet.
#pragma once
#include <string>
#include <vector>

#include "vlm/report.h"

namespace ocellus {

struct Chart {
  std::string label;                     // of the values: "loss", "learning rate"
  std::vector<ReportCurve> curves = {};  // the first is drawn strongest
  std::vector<ReportStage> stages = {};  // boundaries and names, if there are at least two
  bool percent = false;                  // values are shares, the axis goes from 0 to 100 %
  bool smooth = false;                   // draw noisy curves faintly, and their running mean on top
  bool dots = false;                     // mark the points: few measurements
  bool linear = false;                   // never a logarithmic axis
  double width = 1000;  // in the units of the text size; about the pixels it will have
};

/// render_chart — an <svg> element; "" if no curve has a point. The value axis is logarithmic if
/// all values are positive and span more than a factor of fifty.
std::string render_chart(const Chart& chart);

/// escape_html — `text` with & < > " ' replaced, and control characters other than tab and line
/// break left out.
std::string escape_html(const std::string& text);

/// axis_ticks — at most `most` + 1 round numbers (1, 2 or 5 times a power of ten apart) within
/// [low, high].
std::vector<double> axis_ticks(double low, double high, int most);

}  // namespace ocellus
