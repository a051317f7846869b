#include "data/tokenizer_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <nlohmann/json.hpp>

#include "data/tokenizer_fields.h"
#include "data/unicode.h"
#include "engine/check.h"

namespace ocellus::tokenizer {

struct Regex::Code {
  pcre2_code* code = nullptr;
  std::string where;
  ~Code() { pcre2_code_free(code); }
};

namespace {

/// One set of PCRE2's working memory a thread.
struct Workspace {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(32 * 1024, 4 * 1024 * 1024, nullptr);
  Workspace() {
    check<OutOfMemory>(data && context && stack, "regular expression: no memory for matching");
    pcre2_jit_stack_assign(context, nullptr, stack);
    pcre2_set_match_limit(context, 20'000'000);
    pcre2_set_heap_limit(context, 64 * 1024);  // KiB
  }
  ~Workspace() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
};

}  // namespace

Regex::Regex(std::string_view pattern, const Where& where) : code_(std::make_unique<Code>()) {
  check<FormatError>(pattern.size() <= 16 * 1024, "{}: a pattern of {} bytes is longer than 16384",
                     where.text(), pattern.size());
  const std::string translated = pcre2_pattern(pattern, where);
  std::unique_ptr<pcre2_compile_context, void (*)(pcre2_compile_context*)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  check<OutOfMemory>(context != nullptr, "{}: no memory for a regular expression", where.text());
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), 100);
  int error = 0;
  PCRE2_SIZE offset = 0;
  code_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                              &error, &offset, context.get());
  if (!code_->code) {
    PCRE2_UCHAR message[256];
    pcre2_get_error_message(error, message, sizeof message);
    fail<FormatError>("{}: the regular expression \"{}\" is not supported: {} at \"{}\"",
                      where.text(), pattern, reinterpret_cast<const char*>(message),
                      translated.substr(std::min<size_t>(offset, translated.size())));
  }
  pcre2_jit_compile(code_->code, PCRE2_JIT_COMPLETE);  // without it matching is slower, not wrong
  code_->where = where.text();
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;

void Regex::find_all(std::string_view text, std::vector<Found>& out) const {
  thread_local Workspace work;
  out.clear();
  if (text.empty()) return;
  size_t covered = 0, from = 0, last_end = SIZE_MAX;
  while (from <= text.size()) {
    const int count = pcre2_match(code_->code, reinterpret_cast<PCRE2_SPTR>(text.data()),
                                  text.size(), from, PCRE2_NO_UTF_CHECK, work.data, work.context);
    if (count == PCRE2_ERROR_NOMATCH) break;
    check<FormatError>(count >= 0,
                       "{}: the regular expression needs too many steps for a text of {} "
                       "bytes (PCRE2 error {})",
                       code_->where, text.size(), count);
    const PCRE2_SIZE* match = pcre2_get_ovector_pointer(work.data);
    // \K in a lookbehind can move the start before what is already covered, or past the end.
    const size_t begin = std::max<size_t>(match[0], covered),
                 end = std::max<size_t>(match[1], begin);
    if (begin == end && end == last_end) {
      if (from == text.size()) break;
      from += unicode::decode_at(text, from).size;
      continue;
    }
    if (covered != begin) out.push_back({covered, begin, false});
    out.push_back({begin, end, true});
    covered = from = last_end = end;
  }
  if (covered != text.size()) out.push_back({covered, text.size(), false});
}

Pattern Pattern::read(const nlohmann::json& section, const Where& where) {
  const Json& pattern = object_field(section, "pattern", where);
  const Where here = where / "pattern";
  Pattern out;
  if (optional_field(pattern, "String", here)) {
    out.literal_ = string_field(pattern, "String", here);
    if (out.literal_.empty()) out.regex_ = std::make_unique<Regex>("", here);
    return out;
  }
  check<FormatError>(optional_field(pattern, "Regex", here) != nullptr,
                     "{}: String or Regex is needed", here.text());
  out.regex_text_ = string_field(pattern, "Regex", here);
  out.regex_ = std::make_unique<Regex>(out.regex_text_, here / "Regex");
  return out;
}

void Pattern::find_all(std::string_view text, std::vector<Regex::Found>& out) const {
  if (regex_) return regex_->find_all(text, out);
  out.clear();
  size_t covered = 0;
  for (size_t at = text.find(literal_); at != std::string_view::npos;
       at = text.find(literal_, covered)) {
    if (covered != at) out.push_back({covered, at, false});
    covered = at + literal_.size();
    out.push_back({at, covered, true});
  }
  if (covered != text.size()) out.push_back({covered, text.size(), false});
}

}  // namespace ocellus::tokenizer
