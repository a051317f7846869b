// Generative evaluation: the model answers in free text, the answer is compared after trimming.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "vlm/processor.h"
#include "vlm/vlm.h"

namespace ocellus {

struct Tally {
  int64_t right = 0, n = 0;
  double accuracy() const { return n ? static_cast<double>(right) / static_cast<double>(n) : 0; }
};

/// One answered question, for reports.
struct Answered {
  std::string source, question, expected, answer;
  std::vector<Image> images;  // as the model saw them
  bool right = false;
};

struct EvaluateOptions {
  int64_t limit = 0;           // 0: all; else that many samples, spread evenly over the source
  int64_t batch = 64;
  int64_t max_new_tokens = 16;
  int64_t keep = 0;            // how many Answered to return
  std::function<bool()> interrupted;                      // polled between batches
  std::function<void(int64_t done, int64_t total)> progress;
};

struct EvaluationResult {
  Tally all;
  std::map<std::string, Tally> by_source;
  std::vector<Answered> answered;
  bool complete = true;        // false if interrupted
  double stopped_share = 0;    // answers that ended with the stop token
};

/// evaluate — greedy answers to the last assistant turn of each sample, given everything before it.
/// Right if equal to its text after trimming white space at both ends. Samples of equal prompt length
/// are answered together, so nothing is padded and the result does not depend on the batch size.
EvaluationResult evaluate(Vlm& model, const ChatTemplate& chat, const ImageProcessor& processor,
                          const Source& source, const EvaluateOptions& options);

/// The text of the user's last message before the answer, and the answer itself.
std::pair<std::string, std::string> question_and_answer(const Conversation& conversation);

}  // namespace ocellus
