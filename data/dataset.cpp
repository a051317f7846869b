#include "data/dataset.h"

#include <glob.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>

#include "engine/check.h"

namespace ocellus {
namespace {

constexpr size_t kMostPaths = 1'000'000;

/// Some samples of another source, in a stated order.
class View : public Source {
 public:
  View(std::shared_ptr<const Source> base, std::vector<int64_t> indices)
      : Source(base->name()), base_(std::move(base)), indices_(std::move(indices)) {}
  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  Conversation conversation(int64_t index) const override { return base_->conversation(at(index)); }
  std::vector<EncodedImage> images(int64_t index, const Conversation& conversation) const override {
    return base_->images(at(index), conversation);
  }
  std::string record_source(int64_t index) const override {
    return base_->record_source(at(index));
  }
  std::string where(int64_t index) const override { return base_->where(at(index)); }

 private:
  int64_t at(int64_t index) const {
    check_index(index);
    return indices_[static_cast<size_t>(index)];
  }
  std::shared_ptr<const Source> base_;
  std::vector<int64_t> indices_;
};

bool to_number(std::string_view text, int64_t& value) {
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
}

// One pair of braces: "000..012" counts with leading zeros, "a,b" lists.
std::vector<std::string> alternatives(const std::string& inside, const std::string& pattern) {
  const size_t dots = inside.find("..");
  int64_t first = 0, last = 0;
  if (dots != std::string::npos && to_number(inside.substr(0, dots), first) &&
      to_number(inside.substr(dots + 2), last)) {
    check<UsageError>(
        first >= 0 && first <= last && last - first < static_cast<int64_t>(kMostPaths),
        "{}: the range {{{}}} must go upwards and have at most {} numbers", pattern, inside,
        kMostPaths);
    std::vector<std::string> out;
    for (int64_t i = first; i <= last; ++i) out.push_back(fmt::format("{:0{}}", i, dots));
    return out;
  }
  std::vector<std::string> out;
  for (size_t begin = 0; begin <= inside.size();) {
    const size_t end = std::min(inside.find(',', begin), inside.size());
    out.push_back(inside.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

void expand_braces(const std::string& pattern, const std::string& whole,
                   std::vector<std::string>& out) {
  const size_t open = pattern.find('{'), close = pattern.find('}', open);
  if (open == std::string::npos || close == std::string::npos) {
    out.push_back(pattern);
    check<UsageError>(out.size() <= kMostPaths, "{}: stands for more than {} files", whole,
                      kMostPaths);
    return;
  }
  for (const std::string& middle : alternatives(pattern.substr(open + 1, close - open - 1), whole))
    expand_braces(pattern.substr(0, open) + middle + pattern.substr(close + 1), whole, out);
}

}  // namespace

void Source::check_index(int64_t index) const {
  check<UsageError>(index >= 0 && index < size(), "{}: there is no sample {}; the source has {}",
                    name(), index, size());
}

DataSample Source::sample(int64_t index) const {
  DataSample sample{conversation(index), {}};
  sample.images = images(index, sample.conversation);
  return sample;
}

std::vector<std::string> Source::image_bytes(int64_t index) const {
  std::vector<std::string> bytes;
  for (EncodedImage& image : sample(index).images) bytes.push_back(std::move(image.bytes));
  return bytes;
}

std::vector<std::string> expand_pattern(const std::string& pattern) {
  std::vector<std::string> expanded, paths;
  expand_braces(pattern, pattern, expanded);
  for (const std::string& path : expanded) {
    if (path.find_first_of("*?[") == std::string::npos || std::filesystem::exists(path)) {
      paths.push_back(path);
      continue;
    }
    glob_t found{};
    const int status = glob(path.c_str(), 0, nullptr, &found);
    for (size_t i = 0; status == 0 && i < found.gl_pathc; ++i)
      paths.emplace_back(found.gl_pathv[i]);
    globfree(&found);
    check<FormatError>(status == 0, "{}: no file has a name like this", path);
  }
  return paths;
}

std::string guess_kind(const std::string& path) {
  const std::filesystem::path p(path);
  if (p.extension() == ".jsonl" || p.extension() == ".json") return "messages";
  std::error_code ignored;
  if (!std::filesystem::is_directory(p, ignored)) return "webdataset";
  for (const auto& entry : std::filesystem::directory_iterator(p, ignored))
    if (entry.path().extension() == ".tar") return "webdataset";
  return "image_folder";
}

std::unique_ptr<Source> keep_sources(std::shared_ptr<const Source> source,
                                     const std::vector<std::string>& names) {
  const std::set<std::string> wanted(names.begin(), names.end());
  std::set<std::string> seen;
  std::vector<int64_t> kept;
  for (int64_t i = 0; i < source->size(); ++i) {
    std::string name = source->record_source(i);
    if (wanted.count(name)) kept.push_back(i);
    seen.insert(std::move(name));
  }
  for (const std::string& name : names) {
    if (seen.count(name)) continue;
    std::string known;
    for (const std::string& s : seen) known += (known.empty() ? "" : ", ") + s;
    fail<UsageError>("{}: no record has the source \"{}\"; there are: {}", source->name(), name,
                     known);
  }
  return std::make_unique<View>(std::move(source), std::move(kept));
}

std::unique_ptr<Source> keep_slice(std::shared_ptr<const Source> source, const std::string& slice) {
  const int64_t size = source->size();
  const size_t colon = slice.find(':');
  const std::string first = colon == std::string::npos ? "" : slice.substr(0, colon);
  const std::string last = colon == std::string::npos ? slice : slice.substr(colon + 1);
  int64_t begin = 0, end = size;
  const bool ok = (first.empty() || to_number(first, begin)) &&
                  (last.empty() || to_number(last, end)) && !slice.empty();
  check<UsageError>(ok, "{}: a slice is written as \"100\", \"100:200\" or \":-50\", got \"{}\"",
                    source->name(), slice);
  auto place = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? at + size : at, 0, size); };
  std::vector<int64_t> kept;
  for (int64_t i = place(begin); i < place(end); ++i) kept.push_back(i);
  return std::make_unique<View>(std::move(source), std::move(kept));
}

std::map<std::string, int64_t> count_by_source(const Source& source) {
  std::map<std::string, int64_t> counts;
  for (int64_t i = 0; i < source.size(); ++i) ++counts[source.record_source(i)];
  return counts;
}

std::unique_ptr<Source> open_source(const DataSpec& spec) {
  std::unique_ptr<Source> source;
  if (spec.kind == "webdataset") {
    source = open_webdataset(spec);
  } else if (spec.kind == "messages") {
    source = open_messages(spec);
  } else if (spec.kind == "image_folder") {
    source = open_image_folder(spec);
  } else {
    fail<UsageError>("{}: the kind must be webdataset, messages or image_folder, got \"{}\"",
                     spec.name, spec.kind);
  }
  if (!spec.sources.empty()) source = keep_sources(std::move(source), spec.sources);
  if (!spec.slice.empty()) source = keep_slice(std::move(source), spec.slice);
  return source;
}

}  // namespace ocellus
