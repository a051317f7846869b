// Conversations in tar shards. The index is (shard, text member, line); lines are found by their
// ends.
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "data/dataset.h"
#include "data/records.h"
#include "data/tar.h"
#include "engine/check.h"
#include "engine/json.h"

namespace ocellus {
namespace {

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

bool is_picture_suffix(std::string_view suffix) {
  for (std::string_view kind : {"png", "jpg", "jpeg"})
    if (suffix == kind ||
        (ends_with(suffix, kind) && suffix[suffix.size() - kind.size() - 1] == '.'))
      return true;
  return false;
}

class WebDataset : public Source {
 public:
  explicit WebDataset(const DataSpec& spec) : Source(spec.name), need_answer_(spec.need_answer) {
    prompt_ = spec.prompt.empty() ? "Describe the picture." : spec.prompt;
    std::error_code ignored;
    const bool folder = std::filesystem::is_directory(spec.path, ignored);
    for (const std::string& path : expand_pattern(folder ? spec.path + "/*.tar" : spec.path))
      add_shard(path);
    check<FormatError>(!entries_.empty(), "{}: there is no sample in it", spec.path);
  }

  int64_t size() const override { return static_cast<int64_t>(entries_.size()); }

  Conversation conversation(int64_t index) const override {
    const Entry& entry = at(index);
    const Group& group = groups_[entry.group];
    RecordContext context{where(index), fmt::format("{}/{}", group.key, entry.line), name(),
                          need_answer_};
    Conversation conversation;
    const std::string_view text = text_of(entry);
    if (group.form == Form::kCaption) {
      return caption_conversation(context, "", group.image_count, prompt_,
                                  std::string(trimmed(text)));
    } else if (group.form == Form::kList) {
      const nlohmann::json list = parse_json(text, context.where);
      conversation = conversation_of(list.at(entry.line - 1), context);
    } else {
      conversation = conversation_of(parse_json(text, context.where), context);
    }
    place_images(conversation, group.image_count);
    return conversation;
  }

  std::vector<EncodedImage> images(int64_t index, const Conversation& conversation) const override {
    const Group& group = groups_[at(index).group];
    std::vector<EncodedImage> images;
    for (const Part* part : image_parts(conversation)) {
      const uint32_t member = picture_for(group, *part, images.size(), conversation.where);
      const TarFile& shard = shards_[group.shard];
      images.push_back({fmt::format("{}: {}", shard.path(), shard.members()[member].name),
                        std::string(shard.bytes(member))});
    }
    return images;
  }

  std::string record_source(int64_t index) const override {
    const Entry& entry = at(index);
    const Form form = groups_[entry.group].form;
    std::string source;
    if (form == Form::kLines || form == Form::kSingle)
      source = top_level_string(text_of(entry), "source");
    if (form == Form::kList) {
      const nlohmann::json record = parse_json(text_of(entry), where(index)).at(entry.line - 1);
      if (record.is_object() && record.contains("source") && record["source"].is_string())
        source = record["source"];
    }
    return source.empty() ? name() : source;
  }

  std::string where(int64_t index) const override {
    const Entry& entry = at(index);
    const Group& group = groups_[entry.group];
    const TarFile& shard = shards_[group.shard];
    const std::string file = fmt::format("{}: {}", shard.path(), shard.members()[group.text].name);
    switch (group.form) {
      case Form::kLines:
        return fmt::format("{} line {}", file, entry.line);
      case Form::kList:
        return fmt::format("{} record {}", file, entry.line);
      default:
        return file;
    }
  }

 private:
  enum class Form : uint8_t { kLines, kSingle, kList, kCaption };
  struct Group {  // one key of one shard
    std::string key;
    uint32_t shard, text;      // text: the member with the conversations …
    std::string_view content;  // … and its bytes, in the shard's mapping
    uint32_t first_image, image_count;
    Form form;
  };
  struct Entry {  // one conversation
    uint64_t begin;
    uint32_t length, group,
        line;  // line: number in a .jsonl, from 1; of the record in a .json list
  };

  const Entry& at(int64_t index) const {
    check_index(index);
    return entries_[static_cast<size_t>(index)];
  }

  std::string_view text_of(const Entry& entry) const {
    return groups_[entry.group].content.substr(entry.begin, entry.length);
  }

  void add_shard(const std::string& path) {
    shards_.emplace_back(path);
    const TarFile& shard = shards_.back();
    for (const TarSample& sample : group_samples(shard.members(), path)) {
      Group group{};
      group.key = sample.key;
      group.shard = static_cast<uint32_t>(shards_.size() - 1);
      group.first_image = static_cast<uint32_t>(images_.size());
      std::string_view found;
      for (const TarSample::File& file : sample.files) {
        if (is_picture_suffix(file.suffix)) images_.push_back(static_cast<uint32_t>(file.member));
        // The richest form wins: .jsonl before .json before .txt.
        const bool text = file.suffix == "jsonl" || file.suffix == "json" || file.suffix == "txt";
        if (!text || found == "jsonl" || (found == "json" && file.suffix == "txt")) continue;
        found = file.suffix;
        group.text = static_cast<uint32_t>(file.member);
      }
      group.image_count = static_cast<uint32_t>(images_.size()) - group.first_image;
      check<FormatError>(!found.empty(), "{}: the sample {} has no .jsonl, .json or .txt file",
                         path, sample.key);
      group.form = found == "jsonl"  ? Form::kLines
                   : found == "json" ? Form::kSingle
                                     : Form::kCaption;
      groups_.push_back(std::move(group));
      add_entries(shard);
    }
  }

  void add_entries(const TarFile& shard) {
    Group& group = groups_.back();
    const uint32_t number = static_cast<uint32_t>(groups_.size() - 1);
    const std::string_view text = group.content = shard.bytes(group.text);
    const std::string who = fmt::format("{}: {}", shard.path(), shard.members()[group.text].name);
    check<FormatError>(text.size() < uint64_t{1} << 31,
                       "{}: has {} bytes, at most 2^31 − 1 are read", who, text.size());
    const uint32_t length = static_cast<uint32_t>(text.size());
    const size_t first = text.find_first_not_of(" \t\r\n");
    if (group.form == Form::kLines) {
      for (const TextLine& line : lines_of(text, who))
        entries_.push_back({line.begin, line.length, number, line.number});
    } else if (group.form == Form::kSingle && first != std::string_view::npos &&
               text[first] == '[') {
      group.form = Form::kList;
      const size_t count = parse_json(text, who).size();
      for (uint32_t i = 1; i <= count; ++i) entries_.push_back({0, length, number, i});
    } else {
      entries_.push_back({0, length, number, 1});
    }
  }

  // The picture for the n-th image part: the n-th, unless the part names one.
  uint32_t picture_for(const Group& group, const Part& part, size_t n,
                       const std::string& where) const {
    const uint32_t* first = images_.data() + group.first_image;
    if (part.text.empty()) return first[n];
    const auto& members = shards_[group.shard].members();
    for (uint32_t i = 0; i < group.image_count; ++i) {
      const std::string& name = members[first[i]].name;
      if (name == part.text || ends_with(name, "/" + part.text)) return first[i];
    }
    fail<FormatError>("{}: the image {} is not in the sample {}", where, part.text, group.key);
  }

  bool need_answer_;
  std::string prompt_;
  std::vector<TarFile> shards_;
  std::vector<Group> groups_;
  std::vector<uint32_t> images_;  // members, grouped
  std::vector<Entry> entries_;
};

}  // namespace

std::unique_ptr<Source> open_webdataset(const DataSpec& spec) {
  return std::make_unique<WebDataset>(spec);
}

}  // namespace ocellus
