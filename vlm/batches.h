// The stream of batches of a stage: batch n is a pure function of (recipe, stage, n), whoever computes
// it and whenever.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/ledger.h"
#include "data/loader.h"
#include "vlm/processor.h"
#include "vlm/recipe.h"

namespace ocellus {

/// open_data — the source of a [[data]] entry, its record sources filtered.
std::unique_ptr<Source> open_data(const DataRecipe& data);

/// The text that a tokenizer is trained on: questions and answers of the training sources.
std::vector<std::string> training_text(const Recipe& recipe);

/// preview_samples — the first `count` samples of a stage in training order, prepared as for training.
std::vector<PreparedSample> preview_samples(const Recipe& recipe, size_t stage, const ChatTemplate& chat,
                                            const ImageProcessor& processor, int64_t count);

/// Batches — position → Batch, computed ahead by loader threads.
class Batches {
 public:
  /// `first` is the position (micro-batch of the stage) to begin with. Refused samples are appended to
  /// the ledger at `ledger_path`. Pixels go to `device`, one batch ahead of its use.
  Batches(const Recipe& recipe, size_t stage, const ChatTemplate& chat,
          const ImageProcessor& processor, const std::string& ledger_path, int64_t first,
          Device device = kCpu);
  ~Batches();
  /// The next batch in order; waits for the loader. Errors of a sample arrive here.
  Batch next();
  /// Seconds that next() has waited since the last call of this function.
  double take_wait_seconds();
  /// Most bytes of pixels that were ready at a time.
  uint64_t peak_bytes() const;
  /// Samples refused so far, over all sources.
  uint64_t refused() const;

 private:
  friend std::vector<PreparedSample> preview_samples(const Recipe&, size_t, const ChatTemplate&,
                                                     const ImageProcessor&, int64_t);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ocellus
