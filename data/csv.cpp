#include "data/csv.h"

#include <algorithm>

#include "engine/check.h"

namespace ocellus {
namespace {

struct CsvReader {
  std::string_view text;
  const std::string& who;
  size_t at = 0;
  uint32_t line = 1;

  bool at_end_of_cell() const {
    return at >= text.size() || text[at] == ',' || text[at] == '\n' || text.substr(at, 2) == "\r\n";
  }

  std::string cell() {
    if (at >= text.size() || text[at] != '"') {
      const size_t begin = at;
      while (!at_end_of_cell()) ++at;
      return std::string(text.substr(begin, at - begin));
    }
    const uint32_t opened = line;
    std::string out;
    for (++at;; ++at) {
      check<FormatError>(at < text.size(), "{} line {}: a quote is opened and never closed", who,
                         opened);
      if (text[at] == '"' && text.substr(at, 2) != "\"\"") break;
      if (text[at] == '"') ++at;
      if (text[at] == '\n') ++line;
      out.push_back(text[at]);
    }
    ++at;
    check<FormatError>(at_end_of_cell(), "{} line {}: text follows a closing quote", who, line);
    return out;
  }
};

}  // namespace

std::vector<CsvRow> parse_csv(std::string_view text, const std::string& who) {
  if (text.rfind("\xef\xbb\xbf", 0) == 0) text.remove_prefix(3);
  std::vector<CsvRow> rows;
  CsvReader reader{text, who};
  while (reader.at < text.size()) {
    CsvRow row{{}, reader.line};
    row.cells.push_back(reader.cell());
    while (reader.at < text.size() && text[reader.at] == ',') {
      ++reader.at;
      row.cells.push_back(reader.cell());
    }
    reader.at += text.substr(reader.at, 2) == "\r\n" ? 2 : 1;
    ++reader.line;
    if (row.cells.size() > 1 || !row.cells[0].empty()) rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace ocellus
