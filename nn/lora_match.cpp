// Which modules a LoraConfig means: PEFT's rules over module names.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "engine/check.h"
#include "nn/lora_config.h"

namespace ocellus {

struct PythonPattern::Code {
  pcre2_code* code = nullptr;
  pcre2_match_data* data = nullptr;
  pcre2_match_context* context = nullptr;
  std::string who;
  ~Code() {
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
    pcre2_code_free(code);
  }
};

PythonPattern::PythonPattern(const std::string& expression, const std::string& who)
    : code_(std::make_unique<Code>()) {
  check<FormatError>(expression.size() <= 1 << 16,
                     "{}: an expression of {} bytes is longer than {}", who, expression.size(),
                     1 << 16);
  int error = 0;
  PCRE2_SIZE offset = 0;
  std::unique_ptr<pcre2_compile_context, void (*)(pcre2_compile_context*)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  check<OutOfMemory>(context != nullptr, "{}: no memory for a regular expression", who);
  pcre2_set_parens_nest_limit(context.get(), 100);
  code_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED | PCRE2_NEVER_BACKSLASH_C,
                              &error, &offset, context.get());
  if (!code_->code) {
    PCRE2_UCHAR message[256];
    pcre2_get_error_message(error, message, sizeof message);
    fail<FormatError>("{}: the regular expression \"{}\" is not valid at character {}: {}", who,
                      expression, offset, reinterpret_cast<const char*>(message));
  }
  code_->data = pcre2_match_data_create_from_pattern(code_->code, nullptr);
  code_->context = pcre2_match_context_create(nullptr);
  check<OutOfMemory>(code_->data && code_->context, "{}: no memory for a regular expression", who);
  pcre2_set_match_limit(code_->context, 1'000'000);
  pcre2_set_heap_limit(code_->context, 16 * 1024);  // KiB
  code_->who = who;
}
PythonPattern::~PythonPattern() = default;
PythonPattern::PythonPattern(PythonPattern&&) noexcept = default;

namespace {
int run(pcre2_code* code, const std::string& name, uint32_t options, pcre2_match_data* data,
        pcre2_match_context* context, const std::string& who) {
  const int count = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(name.data()), name.size(), 0,
                                options, data, context);
  check<FormatError>(
      count >= 0 || count == PCRE2_ERROR_NOMATCH,
      "{}: the regular expression takes too many steps on the name {} (PCRE2 error {})", who, name,
      count);
  return count;
}
}  // namespace

bool PythonPattern::matches(const std::string& name) const {
  return run(code_->code, name, PCRE2_ENDANCHORED, code_->data, code_->context, code_->who) >= 0;
}

std::string PythonPattern::first_group(const std::string& name) const {
  if (run(code_->code, name, 0, code_->data, code_->context, code_->who) < 2) return "";
  const PCRE2_SIZE* at = pcre2_get_ovector_pointer(code_->data);
  return at[2] == PCRE2_UNSET ? "" : name.substr(at[2], at[3] - at[2]);
}

namespace {
bool ends_as_module(const std::string& name, const std::string& ending) {
  return name == ending || name.ends_with("." + ending);
}
bool chosen(const ModuleChoice& choice, const std::vector<PythonPattern>& regex,
            const std::string& name) {
  if (!regex.empty()) return regex[0].matches(name);
  return std::any_of(choice.list.begin(), choice.list.end(),
                     [&](const std::string& entry) { return ends_as_module(name, entry); });
}
}  // namespace

LoraMatcher::LoraMatcher(const LoraConfig& c, const std::string& who) : config_(c) {
  if (!c.targets.regex.empty()) target_.emplace_back(c.targets.regex, who + ": target_modules");
  if (!c.exclude.regex.empty()) exclude_.emplace_back(c.exclude.regex, who + ": exclude_modules");
  // As in PEFT, a module to save excludes itself and all below it by expression, and is found by
  // the ending of its name.
  for (const std::string& module : c.modules_to_save)
    saved_.emplace_back("(?:^|.*\\.)" + module + "(?:$|\\..*)", who + ": modules_to_save");
  if (c.layers_pattern.empty()) layers_.emplace_back(".*?\\.[^.]*\\.(\\d+)\\.", who);
  for (const std::string& pattern : c.layers_pattern)
    layers_.emplace_back("(?:^|.*?\\.)" + pattern + "\\.(\\d+)\\.", who + ": layers_pattern");
  for (const auto& [pattern, rank] : c.rank_pattern)
    ranks_.emplace_back("(?:.*\\.)?(?:" + pattern + ")", who + ": rank_pattern");
  for (const auto& [pattern, alpha] : c.alpha_pattern)
    alphas_.emplace_back("(?:.*\\.)?(?:" + pattern + ")", who + ": alpha_pattern");
}

bool LoraMatcher::in_chosen_layer(const std::string& name) const {
  for (const PythonPattern& pattern : layers_) {
    const std::string index = pattern.first_group(name);
    if (index.empty()) continue;
    return index.size() < 10 &&
           std::find(config_.layers_to_transform.begin(), config_.layers_to_transform.end(),
                     std::stoll(index)) != config_.layers_to_transform.end();
  }
  return false;
}

bool LoraMatcher::targets(const std::string& name) const {
  if (chosen(config_.exclude, exclude_, name)) return false;
  for (const PythonPattern& pattern : saved_)
    if (pattern.matches(name)) return false;
  if (!chosen(config_.targets, target_, name)) return false;
  const auto& list = config_.targets.list;
  const bool by_full_name = std::find(list.begin(), list.end(), name) != list.end();
  // Layer numbers count for endings only: neither for whole names nor for expressions.
  if (config_.layers_to_transform.empty() || !target_.empty() || by_full_name) return true;
  return in_chosen_layer(name);
}

bool LoraMatcher::saves(const std::string& name) const {
  return std::any_of(config_.modules_to_save.begin(), config_.modules_to_save.end(),
                     [&](const std::string& ending) { return name.ends_with(ending); });
}

int64_t LoraMatcher::rank_of(const std::string& name) const {
  for (size_t i = 0; i < ranks_.size(); ++i)
    if (ranks_[i].matches(name)) return config_.rank_pattern[i].second;
  return config_.rank;
}

double LoraMatcher::alpha_of(const std::string& name) const {
  for (size_t i = 0; i < alphas_.size(); ++i)
    if (alphas_[i].matches(name)) return config_.alpha_pattern[i].second;
  return config_.alpha;
}

}  // namespace ocellus
