// Every kind of section against what Hugging Face `tokenizers` made of the same files
// (tokenizer_golden.jsonl, written by make_tokenizer_golden.py).
#include <nlohmann/json.hpp>

#include "data/tokenizer.h"
#include "tests/data/support.h"

using namespace ocellus;
using Json = nlohmann::json;

namespace {

std::filesystem::path golden_path() {
  // OCELLUS_TOKENIZER_GOLDEN names a longer file of the same form.
  if (const char* path = std::getenv("OCELLUS_TOKENIZER_GOLDEN")) return path;
  return test::source_root() / "tests/data/tokenizer_golden.jsonl";
}

std::string streamed(const Tokenizer& t, const std::vector<int32_t>& ids) {
  StreamDecoder stream(t, false);
  std::string out;
  for (int32_t id : ids) out += stream.push(id);
  return out + stream.finish();
}

void check_case(const Tokenizer& t, const Json& c, int& failures) {
  const auto text = c[0].get<std::string>();
  const auto differs = [&](std::string_view what, const std::string& got, const std::string& want) {
    if (++failures <= 3)
      FAIL_CHECK(what << " of " << Json(text).dump() << ": " << got << ", not " << want);
  };
  const auto ids_of = [&](bool special) -> Json {
    try {
      return t.encode(text, special);
    } catch (const FormatError&) {
      return nullptr;
    }
  };
  const Json ids = ids_of(true), plain = ids_of(false);
  if (ids != c[1]) return differs("ids", ids.dump(), c[1].dump());
  const Json& want = c[2].is_number() ? c[1] : c[2];
  if (plain != want) differs("plain ids", plain.dump(), want.dump());
  if (c.size() > 5) {
    std::vector<TextRange> offsets;
    const Json traced = t.encode_with_offsets(text, true, offsets);
    Json flat = Json::array();
    for (const TextRange& o : offsets) flat.insert(flat.end(), {o.begin, o.end});
    if (traced != ids) differs("ids with offsets", traced.dump(), ids.dump());
    if (flat != c[5]) differs("offsets", flat.dump(), c[5].dump());
  }
  if (c[3].is_null()) return;
  const auto list = c[1].get<std::vector<int32_t>>();
  const auto decoded = c[3].get<std::string>();
  if (t.decode(list, false) != decoded) differs("text", t.decode(list, false), decoded);
  const std::string short_text = c[4].is_number() ? decoded : c[4].get<std::string>();
  if (t.decode(list, true) != short_text) differs("short text", t.decode(list, true), short_text);
  if (streamed(t, list) != decoded) differs("streamed text", streamed(t, list), decoded);
}

}  // namespace

TEST_CASE(
    "tokenizer: every kind of tokenizer.json gives the ids, offsets and texts of Hugging Face "
    "tokenizers") {
  Json bytes = Json::object();
  for (int b = 0; b < 256; ++b) bytes[fmt::format("<0x{:02X}>", b)] = b;
  const std::string text = test::slurp(golden_path());
  int files = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    Json line = Json::parse(text.substr(at, end - at));
    at = end + 1;
    CAPTURE(line["name"].get<std::string>());
    if (line["file"]["model"]["vocab"].is_string()) line["file"]["model"]["vocab"] = bytes;
    const Tokenizer t = Tokenizer::from_json(line["file"].dump(), "golden");
    int failures = 0;
    for (const Json& c : line["cases"]) check_case(t, c, failures);
    CHECK(failures == 0);
    ++files;
  }
  CHECK(files >= 105);
}
