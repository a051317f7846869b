// A folder of pictures: named by a CSV or JSONL file beside them, or one folder a class.
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "data/csv.h"
#include "data/dataset.h"
#include "data/records.h"
#include "engine/check.h"
#include "engine/file.h"
#include "engine/json.h"

namespace ocellus {
namespace {

namespace fs = std::filesystem;

bool is_picture_file(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return extension == ".png" || extension == ".jpg" || extension == ".jpeg";
}

class ImageFolder : public Source {
 public:
  explicit ImageFolder(const DataSpec& spec) : Source(spec.name), folder_(spec.path), spec_(spec) {
    std::error_code ignored;
    check<FormatError>(fs::is_directory(folder_, ignored), "{}: is not a folder", folder_);
    annotations_ = find_annotations();
    if (annotations_.empty()) {
      read_classes();
    } else if (fs::path(annotations_).extension() == ".csv") {
      read_csv();
    } else {
      read_jsonl();
    }
    check<FormatError>(!rows_.empty(), "{}: there is no picture in it",
                       annotations_.empty() ? folder_ : annotations_);
  }

  int64_t size() const override { return static_cast<int64_t>(rows_.size()); }

  Conversation conversation(int64_t index) const override {
    const Row& row = at(index);
    const RecordContext context{where(index), row.id, name(), spec_.need_answer};
    check<FormatError>(row.problem.empty(), "{}: {}", context.where, row.problem);
    std::string prompt = row.question.empty() ? default_prompt() : row.question;
    Conversation conversation =
        caption_conversation(context, row.source, 1, std::move(prompt), row.answer);
    conversation.messages[0].parts[0].text = row.image;
    path_inside(folder_, row.image, context.where);
    return conversation;
  }

  std::vector<EncodedImage> images(int64_t, const Conversation& conversation) const override {
    return read_images(conversation, folder_);
  }

  std::string record_source(int64_t index) const override {
    const Row& row = at(index);
    return row.source.empty() ? name() : row.source;
  }

  std::string where(int64_t index) const override {
    const Row& row = at(index);
    return annotations_.empty() ? fmt::format("{}/{}", folder_, row.image)
                                : fmt::format("{} line {}", annotations_, row.line);
  }

 private:
  struct Row {
    std::string image, question, answer, source, id;
    std::string problem;  // why the row cannot be used; said when it is asked for
    uint32_t line = 0;
  };

  const Row& at(int64_t index) const {
    check_index(index);
    return rows_[static_cast<size_t>(index)];
  }

  std::string default_prompt() const {
    if (!spec_.prompt.empty()) return spec_.prompt;
    return annotations_.empty() ? "What is this?" : "Describe the picture.";
  }

  std::string find_annotations() const {
    std::error_code ignored;
    if (!spec_.annotations.empty()) {
      const std::string inside = folder_ + "/" + spec_.annotations;
      return fs::exists(inside, ignored) ? inside : spec_.annotations;
    }
    for (const char* stem : {"metadata", "captions", "annotations"})
      for (const char* extension : {".jsonl", ".csv"})
        if (const std::string path = folder_ + "/" + stem + extension; fs::exists(path, ignored))
          return path;
    return {};
  }

  // The names under which public data sets keep a field, after the one that was asked for.
  std::vector<std::string> names_of(const std::string& asked, const std::string& usual,
                                    std::vector<std::string> others) const {
    if (asked != usual) return {asked};
    others.insert(others.begin(), asked);
    return others;
  }
  std::vector<std::string> image_names() const {
    return names_of(spec_.fields.image, "image", {"file_name"});
  }
  std::vector<std::string> answer_names() const {
    return names_of(spec_.fields.answer, "answer", {"caption", "captions", "text", "label"});
  }

  static std::string joined(const std::vector<std::string>& names) {
    std::string out;
    for (const std::string& name : names) out += (out.empty() ? "\"" : "\" or \"") + name;
    return out + '"';
  }

  void read_classes() {
    std::vector<fs::path> pictures;
    for (const auto& entry : fs::recursive_directory_iterator(folder_))
      if (entry.is_regular_file() && is_picture_file(entry.path()))
        pictures.push_back(fs::relative(entry.path(), folder_));
    std::sort(pictures.begin(), pictures.end());
    for (const fs::path& picture : pictures) {
      const std::string path = picture.generic_string();
      check<FormatError>(picture.has_parent_path(),
                         "{}/{}: lies in no class folder, and no annotations file (metadata.jsonl, "
                         "captions.csv, …) names it",
                         folder_, path);
      rows_.push_back({.image = path,
                       .question = "",
                       .answer = picture.begin()->string(),
                       .source = "",
                       .id = path,
                       .problem = "",
                       .line = 0});
    }
  }

  void read_csv() {
    const std::vector<CsvRow> table = parse_csv(read_file(annotations_), annotations_);
    check<FormatError>(!table.empty(), "{}: needs a first line with the names of the columns",
                       annotations_);
    const auto column = [&](const std::vector<std::string>& names) -> std::optional<size_t> {
      for (const std::string& name : names) {
        const auto found = std::find(table[0].cells.begin(), table[0].cells.end(), name);
        if (found != table[0].cells.end())
          return static_cast<size_t>(found - table[0].cells.begin());
      }
      return std::nullopt;
    };
    const auto image = column(image_names()), answer = column(answer_names());
    const auto question = column({spec_.fields.question}), source = column({spec_.fields.source});
    check<FormatError>(image.has_value(), "{}: has no column {}", annotations_,
                       joined(image_names()));
    check<FormatError>(answer || !spec_.need_answer, "{}: has no column {}", annotations_,
                       joined(answer_names()));
    for (size_t i = 1; i < table.size(); ++i) {
      const std::vector<std::string>& cells = table[i].cells;
      Row row{.image = "",
              .question = "",
              .answer = "",
              .source = "",
              .id = std::to_string(i),
              .problem = "",
              .line = table[i].line};
      if (cells.size() != table[0].cells.size()) {
        row.problem =
            fmt::format("has {} cells, the first line has {}", cells.size(), table[0].cells.size());
      } else {
        row.image = cells[*image];
        if (answer) row.answer = cells[*answer];
        if (question) row.question = cells[*question];
        if (source) row.source = cells[*source];
      }
      rows_.push_back(std::move(row));
    }
  }

  void read_jsonl() {
    const std::string text = read_file(annotations_);
    for (const TextLine& line : lines_of(text, annotations_)) {
      Row row{.image = "",
              .question = "",
              .answer = "",
              .source = "",
              .id = std::to_string(line.number),
              .problem = "",
              .line = line.number};
      std::vector<std::string> answers;
      try {
        answers = read_record(std::string_view(text).substr(line.begin, line.length), row);
      } catch (const FormatError& error) {
        row.problem = error.what();
        answers = {""};
      }
      // A list of captions is that many conversations about one picture.
      for (size_t i = 0; i < answers.size(); ++i) {
        Row copy = row;
        copy.answer = std::move(answers[i]);
        if (answers.size() > 1) copy.id += fmt::format("/{}", i + 1);
        rows_.push_back(std::move(copy));
      }
    }
  }

  std::vector<std::string> read_record(std::string_view line, Row& row) const {
    const nlohmann::json record = parse_json(line, "the record");
    check<FormatError>(record.is_object(), "the record must be a JSON object");
    const auto find = [&](const std::vector<std::string>& names) -> const nlohmann::json* {
      for (const std::string& name : names)
        if (const auto found = record.find(name); found != record.end() && !found->is_null())
          return &*found;
      return nullptr;
    };
    const auto text = [&](const nlohmann::json& value, const std::string& what) -> std::string {
      check<FormatError>(value.is_string() || value.is_number_integer(), "{} must be a string",
                         what);
      return value.is_string() ? value.get<std::string>() : value.dump();
    };
    if (const auto* source = find({spec_.fields.source}))
      row.source = text(*source, '"' + spec_.fields.source + '"');
    if (const auto* question = find({spec_.fields.question}))
      row.question = text(*question, '"' + spec_.fields.question + '"');
    const auto* image = find(image_names());
    check<FormatError>(image != nullptr, "the record has no {}", joined(image_names()));
    row.image = text(*image, joined(image_names()));
    const auto* answer = find(answer_names());
    check<FormatError>(answer || !spec_.need_answer, "the record has no {}",
                       joined(answer_names()));
    if (!answer) return {""};
    if (!answer->is_array()) return {text(*answer, joined(answer_names()))};
    std::vector<std::string> answers;
    for (const auto& item : *answer)
      answers.push_back(text(item, "an item of " + joined(answer_names())));
    check<FormatError>(!answers.empty(), "{} is an empty list", joined(answer_names()));
    return answers;
  }

  std::string folder_;
  DataSpec spec_;
  std::string annotations_;
  std::vector<Row> rows_;
};

}  // namespace

std::unique_ptr<Source> open_image_folder(const DataSpec& spec) {
  return std::make_unique<ImageFolder>(spec);
}

}  // namespace ocellus
