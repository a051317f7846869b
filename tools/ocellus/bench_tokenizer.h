// The part of `ocellus bench` that times a tokenizer.
#pragma once
#include <cstdint>
#include <string>

namespace ocellus {

struct BenchTokenizer {
  std::string tokenizer;  // folder, tokenizer.json or tiktoken file
  std::string texts;      // JSONL of {"text"}
  int64_t repeat = 5;
  bool json = false;
};

/// bench tokenizer — MB of UTF-8 a second from texts to ids, one thread; the first round, which
/// fills caches, does not count.
int run_bench_tokenizer(const BenchTokenizer& options);

}  // namespace ocellus
