// Comma-separated values (RFC 4180): quoted cells may hold commas, doubled quotes and line breaks.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ocellus {

struct CsvRow {
  std::vector<std::string> cells;
  uint32_t line;  // where it begins, from 1
};

/// parse_csv — all rows that are not blank. Throws FormatError "WHO line N: …" for a quote that is
/// not closed, or text after a closing quote.
std::vector<CsvRow> parse_csv(std::string_view text, const std::string& who);

}  // namespace ocellus
