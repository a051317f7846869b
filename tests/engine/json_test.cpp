#include "engine/json.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/check.h"
#include "engine/file.h"

using namespace ocellus;
using nlohmann::json;

namespace {

std::string refusal(const std::string& text) {
  try {
    parse_json(text, "x.json");
  } catch (const FormatError& error) {
    return error.what();
  }
  return "accepted";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string nested(size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

}  // namespace

TEST_CASE("json: builds the same value as nlohmann's own parser") {
  for (
      const char* text :
      {R"({"a":[1,-2,3.5,1e30,true,false,null,"é\n\u00e9\ud83d\ude00"],"b":{"c":{},"d":[[],[{}]]}})",
       "[[1,[2,[3,[4]]]],5,[6],{\"k\":[7,{\"l\":8}],\"m\":9}]", "3", "\"s\"", "null", " [ ] ",
       "18446744073709551615", "-9223372036854775808"})
    CHECK(parse_json(text, "x") == json::parse(text));
}

TEST_CASE("json: refuses a key that occurs twice") {
  CHECK(refusal(R"({"a":1,"b":{"c":1,"c":2}})") ==
        "x.json: the key \"c\" occurs twice in one JSON object");
  CHECK(refusal(R"([{"a":1},{"a":2}])") == "accepted");
  CHECK(refusal(R"({"a":1,"\u0061":2})") ==
        "x.json: the key \"a\" occurs twice in one JSON object");
}

TEST_CASE("json: refuses nesting deeper than 128") {
  CHECK(refusal(nested(128)) == "accepted");
  CHECK(refusal(nested(129)) == "x.json: JSON is nested deeper than 128 levels");
  CHECK(refusal(std::string(5000000, '[')) == "x.json: JSON is nested deeper than 128 levels");
}

TEST_CASE("json: names the byte of damage: trailing bytes, invalid UTF-8, what is not JSON") {
  CHECK(contains(refusal("[1] x"), "x.json: not valid JSON at byte 5: "));
  CHECK(contains(refusal("[1,]"), "x.json: not valid JSON at byte 4: "));
  CHECK(contains(refusal("{\"a\": \"\xff\"}"), "x.json: not valid JSON at byte 8: "));
  CHECK(contains(refusal("\"\xed\xa0\x80\""), "not valid JSON at byte"));  // a lone surrogate
  CHECK(contains(refusal(""), "not valid JSON at byte 1: "));
  CHECK(contains(refusal("[NaN]"), "not valid JSON at byte 2: "));
  CHECK(contains(refusal("1e999"), "not valid JSON at byte"));
  CHECK(contains(refusal("{\"a\":1"), "not valid JSON at byte 7: "));
  CHECK(refusal("\"" + std::string(100000, 'x')).size() <
        300);  // repeats a little of the input only
}

TEST_CASE("json: load_json names the file and respects the limit") {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("ocellus_json_" + std::to_string(::getpid())))
          .string();
  write_file_atomic(path, "{\"a\": 1}");
  CHECK(load_json(path)["a"] == 1);
  CHECK_THROWS_WITH_AS(load_json(path, 3),
                       (path + ": the file has 8 bytes, at most 3 are accepted here").c_str(),
                       FormatError);
  write_file_atomic(path, "{");
  CHECK_THROWS_AS(load_json(path), FormatError);
  std::filesystem::remove(path);
}
