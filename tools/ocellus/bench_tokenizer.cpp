#include "tools/ocellus/bench_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "data/tokenizer.h"
#include "engine/check.h"
#include "engine/file.h"
#include "engine/json.h"

namespace ocellus {

int run_bench_tokenizer(const BenchTokenizer& options) {
  check<UsageError>(options.repeat > 0, "bench tokenizer: --repeat must be positive, got {}",
                    options.repeat);
  const Tokenizer tokenizer = Tokenizer::load(options.tokenizer);
  std::vector<std::string> texts;
  size_t bytes = 0;
  std::istringstream lines(read_file(options.texts));
  for (std::string line; std::getline(lines, line);) {
    const std::string who = fmt::format("{}: line {}", options.texts, texts.size() + 1);
    const nlohmann::json record = parse_json(line, who);
    check<FormatError>(record.is_object() && record.contains("text") && record["text"].is_string(),
                       "{}: needs an object with a string \"text\"", who);
    texts.push_back(record["text"].get<std::string>());
    bytes += texts.back().size();
  }
  check<FormatError>(bytes > 0, "{}: has no text", options.texts);
  std::vector<double> rates;
  size_t tokens = 0;
  for (int64_t round = -1; round < options.repeat; ++round) {
    const auto start = std::chrono::steady_clock::now();
    tokens = 0;
    for (const std::string& text : texts) tokens += tokenizer.encode(text).size();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    if (round >= 0) rates.push_back(static_cast<double>(bytes) / 1e6 / seconds.count());
  }
  std::sort(rates.begin(), rates.end());
  const double median = rates[rates.size() / 2];
  if (options.json)
    fmt::print("{}\n",
               nlohmann::json{{"bench", "tokenizer"},
                              {"texts", texts.size()},
                              {"bytes", bytes},
                              {"tokens", tokens},
                              {"mb_per_s",
                               {{"median", median}, {"min", rates.front()}, {"max", rates.back()}}}}
                   .dump());
  else
    fmt::print("{} texts, {:.1f} MB, {} tokens: {:.1f} MB/s on one thread ({:.1f}–{:.1f})\n",
               texts.size(), static_cast<double>(bytes) / 1e6, tokens, median, rates.front(),
               rates.back());
  return 0;
}

}  // namespace ocellus
