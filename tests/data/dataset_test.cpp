#include "data/dataset.h"

#include <chrono>

#include "data/csv.h"
#include "data/image.h"
#include "data/records.h"
#include "data/tar.h"
#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::test;

namespace {

// "user: [image] what is it? | assistant: a dog"
std::string shown(const Conversation& conversation) {
  std::string out;
  for (const Message& message : conversation.messages) {
    out += (out.empty() ? "" : " | ") + message.role + ":";
    for (const Part& part : message.parts) {
      const char* kind = part.kind == Part::Kind::kImage ? "image" : "video";
      out += part.kind == Part::Kind::kText ? " " + part.text
             : part.text.empty()            ? fmt::format(" [{}]", kind)
                                            : fmt::format(" [{} {}]", kind, part.text);
    }
  }
  return out;
}

std::string tiny_png() { return encode_png({1, 1, 3, {1, 2, 3}}); }

const char* const kAnswer = R"({"role":"assistant","content":"a dog"}]})";

// A messages file with these lines, opened; `pictures` are written beside it.
struct File {
  TemporaryFolder folder;
  std::unique_ptr<Source> source;
  explicit File(const std::string& text, const std::string& name = "x.jsonl",
                std::vector<std::string> pictures = {"a.png", "d/b.png"}) {
    for (const std::string& picture : pictures) spill(folder.path / picture, picture);
    spill(folder.path / name, text);
    source = open_source({.name = "mine", .kind = "messages", .path = folder.path / name});
  }
  std::string show(int64_t i = 0) const { return shown(source->conversation(i)); }
  // The complaint about sample i, without the folder.
  std::string complaint(int64_t i = 0) const {
    std::string text = error_of<FormatError>([&] { source->sample(i); });
    for (size_t at; (at = text.find(folder.path.string() + "/")) != std::string::npos;)
      text.erase(at, folder.path.string().size() + 1);
    for (size_t at; (at = text.find(folder.path.string())) != std::string::npos;)
      text.replace(at, folder.path.string().size(), "FOLDER");
    return text;
  }
};

std::string line_with(const std::string& content) {
  return R"({"messages":[{"role":"user","content":)" + content + "}," + kAnswer;
}

using Files = std::vector<std::pair<std::string, std::string>>;

struct Shard {
  TemporaryFolder folder;
  std::unique_ptr<Source> source;
  explicit Shard(const Files& files, DataSpec spec = {}) {
    write_tar(folder.path / "x.tar", files);
    spec.name = "mine";
    spec.path = folder.path / "x.tar";
    source = open_source(spec);
  }
  std::string complaint(int64_t i = 0) const {
    std::string text = error_of<FormatError>([&] { source->sample(i); });
    return text.rfind(folder.path.string(), 0) == 0 ? text.substr(folder.path.string().size() + 1)
                                                    : text;
  }
};

}  // namespace

TEST_CASE("dataset: messages JSONL in all its forms") {
  const File file(
      "\xef\xbb\xbf"
      R"({"id":"seven","source":"animals","messages":[{"role":"system","content":"be brief"},{"role":"user","content":[{"type":"image","image":"a.png"},{"type":"text","text":"what?"}]},)" +
      std::string(kAnswer) + "\r\n\n  \n" + line_with("\"no picture, literal <image>\"") + "\n" +
      R"({"images":["a.png","d/b.png"],"messages":[{"role":"user","content":[{"type":"text","text":"first"},{"type":"image"},{"type":"text","text":"second"},{"type":"image"}]},)" +
      kAnswer + "\n" + R"({"image":"d/../a.png","messages":[{"role":"user","content":"what?"},)" +
      kAnswer);
  REQUIRE(file.source->size() == 4);
  CHECK(file.show(0) == "system: be brief | user: [image a.png] what? | assistant: a dog");
  CHECK(file.show(1) == "user: no picture, literal <image> | assistant: a dog");
  CHECK(file.show(2) == "user: first [image a.png] second [image d/b.png] | assistant: a dog");
  CHECK(file.show(3) == "user: [image d/../a.png] what? | assistant: a dog");
  const Conversation first = file.source->conversation(0);
  CHECK(first.id == "seven");
  CHECK(first.source == "animals");
  CHECK(file.source->conversation(1).id == "4");  // the line's number: blank lines count
  CHECK(file.source->conversation(1).source == "mine");
  CHECK(contains(file.source->where(1), "x.jsonl line 4"));
  CHECK(file.source->image_bytes(2) == std::vector<std::string>{"a.png", "d/b.png"});
  CHECK(file.source->image_bytes(1).empty());
  CHECK(file.source->image_bytes(3) == std::vector<std::string>{"a.png"});
  CHECK(error_of<UsageError>([&] { file.source->conversation(4); }) ==
        "mine: there is no sample 4; the source has 4");
}

TEST_CASE("dataset: LLaVA JSON") {
  const File file(R"([
    {"id": 5, "image": "a.png", "conversations": [{"from":"human","value":"<image>\nWhat is it?"},{"from":"gpt","value":"a <image> of a dog"}]},
    {"id": 6, "image": ["a.png", "d/b.png"], "conversations": [{"from":"human","value":"Compare <image> and <image>."},{"from":"gpt","value":"no"}]},
    {"id": 7, "image": "a.png", "conversations": [{"from":"human","value":"What is it?"},{"from":"gpt","value":"x"}]},
    {"id": 8, "conversations": [{"from":"human","value":"what does <image> mean?"},{"from":"gpt","value":"x"}]},
    {"id": 9, "image": "a.png", "conversations": [{"from":"human","value":"<image><image>?"},{"from":"gpt","value":"x"}]}
  ])",
                  "x.json");
  CHECK(file.show(0) == "user: [image a.png] What is it? | assistant: a <image> of a dog");
  CHECK(file.show(1) == "user: Compare [image a.png] and [image d/b.png] . | assistant: no");
  CHECK(file.show(2) == "user: [image a.png] What is it? | assistant: x");
  CHECK(file.show(3) == "user: what does <image> mean? | assistant: x");
  CHECK(file.source->conversation(0).id == "5");
  CHECK(file.complaint(4) == "x.json record 5: has 2 image slots and 1 image");
}

TEST_CASE("dataset: each damaged record is one sentence with its line") {
  const auto complaint = [](const std::string& line) {
    return File("\n" + line + "\n").complaint();
  };
  CHECK(contains(complaint("{\"messages\": ["), "x.jsonl line 2: not valid JSON at byte "));
  CHECK(contains(complaint(line_with("\"caf\xe9\"")), "x.jsonl line 2: "));
  CHECK(contains(error_of<FormatError>([] { File("[]"); }), "there is no conversation in it"));
  CHECK(contains(error_of<FormatError>([] { File(""); }), "there is no conversation in it"));
  CHECK(complaint("3") == "x.jsonl line 2: a record must be a JSON object with \"messages\"");
  CHECK(complaint("{}") ==
        "x.jsonl line 2: the record has neither \"messages\" nor \"conversations\"");
  CHECK(complaint(R"({"messages":[]})") ==
        "x.jsonl line 2: \"messages\" must be a list with at least one message");
  CHECK(complaint(R"({"messages":["hi"]})") ==
        "x.jsonl line 2: message 1 must be an object with \"role\" and \"content\"");
  CHECK(complaint(R"({"messages":[{"role":"<|end|>","content":"x"}]})") ==
        "x.jsonl line 2: message 1 has the role \"<|end|>\"; a role is a word of letters, digits, _ and "
        "-, at most 64");
  CHECK(complaint(R"({"tools":{},"messages":[{"role":"user","content":"x"},)" + std::string(kAnswer)) ==
        "x.jsonl line 2: \"tools\" must be a list");
  CHECK(complaint(R"({"messages":[{"role":"user"}]})") ==
        "x.jsonl line 2: message 1 needs \"content\", a string or a list of parts");
  CHECK(complaint(R"({"messages":[{"role":"user","content":[{"type":"image_url"}]}]})") ==
        "x.jsonl line 2: part 1 of message 1 has the type \"image_url\"; known are text, image and "
        "video");
  CHECK(complaint(R"({"messages":[{"role":"user","content":[{"type":"text"}]}]})") ==
        "x.jsonl line 2: part 1 of message 1 needs \"text\", a string");
  CHECK(complaint(R"({"messages":[{"role":"user","content":"x"}]})") ==
        "x.jsonl line 2: there is no message of the assistant, so nothing to learn");
  CHECK(
      complaint(
          R"({"messages":[{"role":"user","content":"x"},{"role":"assistant","content":" \n"}]})") ==
      "x.jsonl line 2: message 2, the assistant's, is empty");
  CHECK(
      complaint(
          R"({"messages":[{"role":"assistant","content":[{"type":"image","image":"a.png"}]}]})") ==
      "x.jsonl line 2: message 1 is the assistant's and holds an image or a video");
  CHECK(complaint(R"({"id":[1],"messages":[{"role":"user","content":"x"},)" +
                  std::string(kAnswer)) == "x.jsonl line 2: \"id\" must be a string or an integer");
  CHECK(complaint(R"({"image":7,"messages":[{"role":"user","content":"x"},)" +
                  std::string(kAnswer)) ==
        "x.jsonl line 2: \"image\" must be a path or a list of paths");
  CHECK(complaint(R"({"image":"a.png","messages":[)" + std::string(kAnswer)) ==
        "x.jsonl line 2: there is no user message to show the image in");
  CHECK(complaint(R"({"conversations":[{"from":"dog","value":"x"}]})") ==
        "x.jsonl line 2: turn 1 is from \"dog\"; known are human, gpt and system");
  CHECK(complaint(R"({"conversations":[]})") ==
        "x.jsonl line 2: \"conversations\" must be a list with at least one turn");
}

TEST_CASE("dataset: image slots and images must agree, and paths stay in the folder") {
  const auto complaint = [](const std::string& path) {
    return File(line_with(R"([{"type":"image","image":")" + path + "\"}]")).complaint();
  };
  CHECK(complaint("a.png") == "(no error)");
  CHECK(complaint("./d//b.png") == "(no error)");
  CHECK(complaint("c.png") ==
        "x.jsonl line 1: c.png: cannot open the file: No such file or directory");
  CHECK(complaint("../a.png") ==
        "x.jsonl line 1: the image path ../a.png leaves the folder FOLDER");
  CHECK(complaint("d/../../a.png") ==
        "x.jsonl line 1: the image path d/../../a.png leaves the folder FOLDER");
  CHECK(complaint("/etc/passwd") ==
        "x.jsonl line 1: the image path /etc/passwd is absolute; it must be relative to FOLDER");
  CHECK(complaint("https://x.org/a.png") ==
        "x.jsonl line 1: the image https://x.org/a.png is a URL; only files are read");
  CHECK(contains(complaint("data:image/png;base64,AAAA"), "is a URL; only files are read"));
  CHECK(complaint("") == "x.jsonl line 1: an image part names no file");
  CHECK(complaint("d") == "x.jsonl line 1: d: need a regular file, this is a folder");
  const std::string two = R"([{"type":"image"},{"type":"image"}])";
  CHECK(File(R"({"images":["a.png"],"messages":[{"role":"user","content":)" + two + "}," + kAnswer)
            .complaint() == "x.jsonl line 1: has 2 image slots and 1 image");
  CHECK(File(R"({"images":["a.png","a.png","a.png"],"messages":[{"role":"user","content":)" + two +
             "}," + kAnswer)
            .complaint() == "x.jsonl line 1: has 2 image slots and 3 images");
}

TEST_CASE("dataset: one tar sample gives many conversations about its picture") {
  const std::string
      png = tiny_png(),
      lines =
          R"({"source":"shape","messages":[{"role":"user","content":"what?"},{"role":"assistant","content":"a disc"}]})"
          "\n"
          R"({"messages":[{"role":"user","content":[{"type":"text","text":"and"},{"type":"image"}]},{"role":"assistant","content":"b"}]})";
  const Shard shard(
      {{"0.png", png},
       {"0.jsonl", lines},
       {"1.JPG", "jpeg"},
       {"1.json",
        "[" +
            std::string(
                R"({"source":"x\u0079","messages":[{"role":"user","content":"q"},{"role":"assistant","content":"r"}]})") +
            "]"},
       {"2.txt", " a caption\n"},
       {"2.png", png},
       {"3.left.png", "L"},
       {"3.right.png", "R"},
       {"3.json",
        R"({"messages":[{"role":"user","content":[{"type":"image","image":"3.right.png"},{"type":"image"},{"type":"text","text":"differ?"}]},{"role":"assistant","content":"yes"}]})"}});
  const Source& s = *shard.source;
  REQUIRE(s.size() == 5);
  CHECK(shown(s.conversation(0)) == "user: [image] what? | assistant: a disc");
  CHECK(shown(s.conversation(1)) == "user: and [image] | assistant: b");
  CHECK(shown(s.conversation(2)) == "user: [image] q | assistant: r");
  CHECK(shown(s.conversation(3)) == "user: [image] Describe the picture. | assistant: a caption");
  CHECK(s.conversation(1).id == "0/2");
  CHECK(s.conversation(0).source == "shape");
  CHECK(contains(s.conversation(1).where, "x.tar: 0.jsonl line 2"));
  CHECK(contains(s.where(2), "x.tar: 1.json record 1"));
  std::string sources;
  for (int64_t i = 0; i < s.size(); ++i) sources += s.record_source(i) + " ";
  CHECK(sources == "shape mine xy mine mine ");
  CHECK(s.image_bytes(1) == std::vector<std::string>{png});
  CHECK(s.image_bytes(4) ==
        std::vector<std::string>{"R", "R"});  // the second slot takes the second picture
  CHECK(contains(s.sample(2).images[0].name, "x.tar: 1.JPG"));
}

TEST_CASE("dataset: tar samples that do not fit are named") {
  const std::string line = line_with("\"what?\"");
  CHECK(contains(error_of<FormatError>([&] {
                   Shard(Files{{"0.png", "x"}, {"0.cls", "3"}});
                 }),
                 "x.tar: the sample 0 has no .jsonl, .json or .txt file"));
  CHECK(contains(error_of<FormatError>([&] {
                   Shard(Files{{"readme", "x"}});
                 }),
                 "x.tar: there is no sample in it"));
  CHECK(
      Shard(Files{{"0.json", line_with(R"([{"type":"image"},{"type":"image"}])")}, {"0.png", "x"}})
          .complaint() == "x.tar: 0.json: has 2 image slots and 1 image");
  CHECK(Shard(Files{{"0.json", line_with(R"([{"type":"image"}])")}}).complaint() ==
        "x.tar: 0.json: has 1 image slot and 0 images");
  CHECK(Shard(Files{{"0.json", line_with(R"([{"type":"image","image":"9.png"}])")}, {"0.png", "x"}})
            .complaint() == "x.tar: 0.json: the image 9.png is not in the sample 0");
  CHECK(contains(Shard(Files{{"0.jsonl", line + "\n{\n"}, {"0.png", "x"}}).complaint(1),
                 "x.tar: 0.jsonl line 2: not valid JSON"));
  CHECK(Shard(Files{{"0.json", line_with("\"q\"")}}).complaint() == "(no error)");  // text only
  CHECK(Shard(Files{{"0.txt", "caf\xe9"}, {"0.png", "x"}}).complaint() ==
        "x.tar: 0.txt: the text is not valid UTF-8");
}

TEST_CASE("dataset: filters by record source and slices") {
  std::string text;
  for (int i = 0; i < 10; ++i)
    text += fmt::format(
        R"({{"source":"{}","id":{},"messages":[{{"role":"user","content":"q"}},{{"role":"assistant","content":"a"}}]}})"
        "\n",
        i % 2 ? "odd" : "even", i);
  const File file(text);
  const auto ids = [&](std::vector<std::string> sources, const std::string& slice) {
    const auto source = open_source({.name = "mine",
                                     .kind = "messages",
                                     .path = file.folder.path / "x.jsonl",
                                     .sources = std::move(sources),
                                     .slice = slice});
    std::string out;
    for (int64_t i = 0; i < source->size(); ++i) out += source->conversation(i).id;
    return out;
  };
  CHECK(ids({}, "") == "0123456789");
  CHECK(ids({"odd"}, "") == "13579");
  CHECK(ids({"odd", "even"}, "3:") == "3456789");
  CHECK(ids({"even"}, "2") == "02");
  CHECK(ids({}, "4:6") == "45");
  CHECK(ids({}, "-3:") == "789");
  CHECK(ids({}, ":-8") == "01");
  CHECK(ids({}, "5:100") == "56789");
  CHECK(error_of<UsageError>([&] { ids({"prime"}, ""); }) ==
        "mine: no record has the source \"prime\"; there are: even, odd");
  CHECK(error_of<UsageError>([&] { ids({}, "a:b"); }) ==
        "mine: a slice is written as \"100\", \"100:200\" or \":-50\", got \"a:b\"");
  CHECK(error_of<UsageError>([] {
          open_source({.name = "mine", .kind = "parquet", .path = "x"});
        }) == "mine: the kind must be webdataset, messages or image_folder, got \"parquet\"");
  CHECK(count_by_source(*file.source) == std::map<std::string, int64_t>{{"even", 5}, {"odd", 5}});
}

TEST_CASE("dataset: the quick look at a top-level string equals parsing") {
  CHECK(top_level_string(R"({"source":"a"})", "source") == "a");
  CHECK(
      top_level_string(
          R"( { "x" : {"source":"no"}, "y":[1,"]",{"k":"}"}], "z":"\"source\":\"no\"", "source" : "yes"})",
          "source") == "yes");
  CHECK(top_level_string(R"({"source":"caf\u00e9 \"q\""})", "source") == "caf\xc3\xa9 \"q\"");
  CHECK(top_level_string(R"({"s\u006furce":"x"})", "source") == "x");
  for (const char* none : {"", "{", "{}", "[]", R"({"source":3})", R"({"source")",
                           R"({"source":"x)", R"({"a":"b)", R"({"a" "b"})", R"({"source":"\)"})
    CHECK(top_level_string(none, "sourcex").empty());
  CHECK(top_level_string(R"({"source":3})", "source").empty());
}

TEST_CASE("dataset: shard patterns") {
  TemporaryFolder folder;
  for (const char* name : {"a-000.tar", "a-001.tar", "a-002.tar", "b-010.tar"})
    spill(folder.path / name, "");
  const auto names = [&](const std::string& pattern) {
    std::string out;
    for (const std::string& path : expand_pattern(folder.path.string() + "/" + pattern))
      out += path.substr(path.rfind('/') + 1, 5) + " ";
    return out;
  };
  CHECK(names("a-*.tar") == "a-000 a-001 a-002 ");
  CHECK(names("a-{001..002}.tar") == "a-001 a-002 ");
  CHECK(names("{b,a}-0?0.tar") == "b-010 a-000 ");
  CHECK(names("a-{8..11}.tar") == "a-8.t a-9.t a-10. a-11. ");
  CHECK(contains(error_of<FormatError>([&] { names("c-*.tar"); }),
                 "c-*.tar: no file has a name like this"));
  CHECK(contains(error_of<UsageError>([&] { names("a-{5..2}.tar"); }),
                 "the range {5..2} must go upwards"));
  CHECK(contains(error_of<UsageError>([&] { names("{0..9999}{0..9999}"); }),
                 "stands for more than 1000000 files"));
}

TEST_CASE("dataset: a folder of pictures with CSV, with JSONL, with class folders") {
  TemporaryFolder folder;
  const auto open = [&](DataSpec spec) {
    spec.name = "mine", spec.kind = "image_folder", spec.path = folder.path;
    return open_source(spec);
  };
  spill(folder.path / "dog" / "2.png", "2");
  spill(folder.path / "dog" / "1.JPEG", "1");
  spill(folder.path / "big cat" / "3.jpg", "3");
  spill(folder.path / "big cat" / "notes.txt", "");
  auto source = open({});
  REQUIRE(source->size() == 3);
  CHECK(shown(source->conversation(0)) ==
        "user: [image big cat/3.jpg] What is this? | assistant: big cat");
  CHECK(shown(source->conversation(1)) ==
        "user: [image dog/1.JPEG] What is this? | assistant: dog");
  CHECK(source->image_bytes(1) == std::vector<std::string>{"1"});

  spill(folder.path / "captions.csv",
        "file_name,text,source\r\ndog/1.JPEG,\"a dog, "
        "\"\"sitting\"\"\nthere\",pets\r\ndog/2.png,x\n../x.png,y,z\n");
  source = open({});
  REQUIRE(source->size() == 3);
  CHECK(shown(source->conversation(0)) ==
        "user: [image dog/1.JPEG] Describe the picture. | assistant: a dog, \"sitting\"\nthere");
  CHECK(source->conversation(0).source == "pets");
  CHECK(contains(error_of<FormatError>([&] { source->conversation(1); }),
                 "captions.csv line 4: has 2 cells, the first line has 3"));
  CHECK(contains(error_of<FormatError>([&] { source->conversation(2); }),
                 "captions.csv line 5: the image path ../x.png leaves the folder"));

  spill(folder.path / "qa.jsonl", R"({"pic":"dog/1.JPEG","question":"who?","answer":["a","b"]})"
                                  "\n"
                                  "{\n"
                                  R"({"pic":"dog/1.JPEG"})");
  source = open({.annotations = "qa.jsonl", .fields = {.image = "pic"}});
  REQUIRE(source->size() == 4);
  CHECK(shown(source->conversation(1)) == "user: [image dog/1.JPEG] who? | assistant: b");
  CHECK(source->conversation(1).id == "1/2");
  CHECK(contains(error_of<FormatError>([&] { source->conversation(2); }),
                 "qa.jsonl line 2: the record: not valid JSON"));
  CHECK(contains(error_of<FormatError>([&] { source->conversation(3); }),
                 "qa.jsonl line 3: the record has no \"answer\" or \"caption\""));
  CHECK(contains(error_of<FormatError>(
                     [&] { open({.annotations = "captions.csv", .fields = {.image = "pic"}}); }),
                 "captions.csv: has no column \"pic\""));
  std::filesystem::remove(folder.path / "captions.csv");
  spill(folder.path / "loose.png", "");
  CHECK(contains(error_of<FormatError>([&] { open({}); }), "loose.png: lies in no class folder"));
}

TEST_CASE("dataset: CSV") {
  const auto rows = parse_csv("a,b\n\"x\ny\",\"\"\n\n,\n", "t.csv");
  REQUIRE(rows.size() == 3);
  CHECK(rows[1].cells == std::vector<std::string>{"x\ny", ""});
  CHECK(rows[1].line == 2);
  CHECK(rows[2].line == 5);
  CHECK(error_of<FormatError>([] { parse_csv("a\n\"b\n", "t.csv"); }) ==
        "t.csv line 2: a quote is opened and never closed");
  CHECK(error_of<FormatError>([] { parse_csv("\"b\"c\n", "t.csv"); }) ==
        "t.csv line 1: text follows a closing quote");
}

TEST_CASE("dataset: the bundled easy-VQA opens fast and is complete") {
  const std::string path = source_root() / "data/samples/easy_vqa/train-*.tar";
  const auto begin = std::chrono::steady_clock::now();
  const auto naming =
      open_source({.name = "easy_vqa", .path = path, .sources = {"shape", "color"}});
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  CHECK(naming->size() == 5002 + 5166);
  CHECK(seconds < 3.0);  // about 0.03 s; the bound is for sanitizers and busy machines
  MESSAGE("opened and filtered in ", seconds, " s");
  const auto all = open_source({.name = "easy_vqa", .path = path});
  CHECK(all->size() == 38575);
  CHECK(count_by_source(*all) ==
        std::map<std::string, int64_t>{{"color", 5166}, {"shape", 5002}, {"yes_no", 28407}});
  const DataSample sample = all->sample(0);
  CHECK(shown(sample.conversation) ==
        "user: [image] what is the blue shape? | assistant: rectangle");
  REQUIRE(sample.images.size() == 1);
  const Image image = decode_image(sample.images[0].bytes, sample.images[0].name);
  CHECK(image.width == 64);
  CHECK(image.channels == 3);
  for (int64_t i = 0; i < all->size(); i += 97)
    CHECK(all->sample(i).conversation.messages.size() == 2);
}

TEST_CASE("dataset: a long line is no trouble") {
  const std::string long_text(1 << 20, 'x');
  const File file(line_with('"' + long_text + '"') + "\n" + line_with("\"short\""));
  CHECK(file.show(0) == "user: " + long_text + " | assistant: a dog");
  CHECK(file.show(1) == "user: short | assistant: a dog");
}

TEST_CASE("dataset: kinds are guessed from paths") {
  CHECK(guess_kind("x/y.jsonl") == "messages");
  CHECK(guess_kind("x/train-{000..007}.tar") == "webdataset");
  CHECK(guess_kind(source_root() / "data/samples/easy_vqa") == "webdataset");
  CHECK(guess_kind(source_root() / "tests") == "image_folder");
}
