// The hand-written scanners against PCRE2, and Oniguruma's notation.
#include <random>

#include "data/pretokenizer.h"
#include "data/tokenizer_regex.h"
#include "data/unicode.h"
#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::tokenizer;
using test::error_of;

namespace {

const Where kHere{"test", "pattern"};

/// Random text of what the patterns tell apart: letters of every case, marks, numbers, blanks, ends
/// of lines, signs, contractions.
std::string random_text(std::mt19937& random) {
  static const std::vector<std::string> parts{"a",
                                              "B",
                                              "the",
                                              "'s",
                                              "'S",
                                              "'ſ",
                                              "'ll",
                                              "'lL",
                                              "'re",
                                              "'x",
                                              "'",
                                              " ",
                                              "  ",
                                              "\n",
                                              "\r\n",
                                              "\r",
                                              "\t",
                                              "\u00A0",
                                              "\u3000",
                                              "\u0085",
                                              "1",
                                              "22",
                                              "4567",
                                              "½",
                                              "Ⅷ",
                                              "١",
                                              "!",
                                              "?!",
                                              "/",
                                              "//",
                                              "-",
                                              "é",
                                              "E\u0301",
                                              "\u0301",
                                              "ʰ",
                                              "ª",
                                              "ǅ",
                                              "中",
                                              "ß",
                                              "İ",
                                              "🙂",
                                              "_",
                                              "\u200D",
                                              "<|endoftext|>",
                                              "<|startoftext|>",
                                              "\u180E",
                                              "Ω",
                                              "ω",
                                              "\u2028"};
  std::string out;
  for (size_t n = random() % 12; n-- > 0;) {
    if (random() % 4) {
      out += parts[random() % parts.size()];
    } else {
      auto code = static_cast<char32_t>(random() % 0x30000);
      if (code >= 0xD800 && code < 0xE000) code = 'z';
      unicode::append_utf8(out, code);
    }
  }
  return out;
}

std::vector<std::string> scanned(Scanner scan, std::string_view text) {
  std::vector<std::string> out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = scan(text, at);
    if (end > at) out.emplace_back(text.substr(at, end - at));
    at = end > at ? end : at + unicode::decode_at(text, at).size;
  }
  return out;
}

std::vector<std::string> matched(const Regex& regex, std::string_view text) {
  std::vector<Regex::Found> found;
  regex.find_all(text, found);
  std::vector<std::string> out;
  for (const Regex::Found& f : found)
    if (f.match) out.emplace_back(text.substr(f.begin, f.end - f.begin));
  return out;
}

std::vector<std::string> matches(const char* pattern, std::string_view text) {
  return matched(Regex(pattern, kHere), text);
}
using Strings = std::vector<std::string>;

}  // namespace

TEST_CASE("tokenizer: scanners of well-known patterns cut as PCRE2 does") {
  for (const char* pattern :
       {kGpt2Pattern, kClipPattern, kCl100kPattern, kQwen2Pattern, kO200kPattern}) {
    CAPTURE(pattern);
    const Regex regex(pattern, kHere);
    const KnownPattern known = known_pattern(pattern);
    REQUIRE(bool(known.scan));
    const Regex unassigned(R"(\p{Cn})", kHere);
    std::mt19937 random(7);
    int different = 0;
    for (int i = 0; i < 20000 && different == 0; ++i) {
      const std::string text = random_text(random);
      if (!matched(unassigned, text).empty()) continue;  // the tables may know it
      CAPTURE(text);
      const auto ours = scanned(known.scan, text), theirs = matched(regex, text);
      different += ours != theirs;
      CHECK(ours == theirs);
    }
  }
}

TEST_CASE("tokenizer: classes inside classes, intersections and named sets match as in Oniguruma") {
  CHECK(matches(R"([a-c[x-z]]+)", "abxyd") == Strings{"abxy"});
  CHECK(matches(R"([^a[b-d]]+)", "abcdef") == Strings{"ef"});
  CHECK(matches(R"([\w&&[^aeiou]]+)", "house") == Strings{"h", "s"});
  CHECK(matches(R"([^\s&&[^\n]]+)", "a \nb") == Strings{"a", "\nb"});
  CHECK(matches(R"( ?[^(\s|[.,!])]+)", "ab (c.d") == Strings{"ab", "c", "d"});
  CHECK(matches(R"(\h+)", "xFa09g") == Strings{"Fa09"});
  CHECK(matches(R"(\p{^L}\P{L})", "a12b") == Strings{"12"});
  CHECK(matches(R"([[:digit:][:^alpha:]]+)", "a1-b") == Strings{"1-"});
  CHECK(matches(R"(\p{Han}+)", "中文、x") == Strings{"中文"});
  CHECK(matches(R"([\u4e00-\u9fff]|\x{1F642})", "a中🙂") == Strings{"中", "🙂"});
  CHECK(matches(R"(\p{N}{1,3}+)", "12345") == Strings{"12345"});
  CHECK(matches(R"(a{,2}b)", "aaab") == Strings{"aab"});
  CHECK(matches(R"((?m:a.b))", "a\nb") == Strings{"a\nb"});
  CHECK(matches(R"(\bfoo\b)", "foo_ foo") == Strings{"foo"});
  CHECK(matches(R"(\w+)", "a½ [b]") == Strings{"a½", "b"});
  CHECK(matches(R"([\w]+)", "a½b") == Strings{"a", "b"});
  CHECK(matches("\\s", "a\u180Eb\u0085") == Strings{"\u0085"});
}

TEST_CASE("tokenizer: empty matches advance by characters, never between the bytes of one") {
  CHECK(matches("x*", "éx") == Strings{"", "x"});
  CHECK(matches("", "é") == Strings{"", ""});
}

TEST_CASE("tokenizer: patterns that cannot be kept are refused with the place") {
  const auto refusal = [](const std::string& pattern) {
    return error_of<FormatError>([&] { Regex(pattern, kHere); });
  };
  CHECK(refusal("a(?#x)") ==
        "test: pattern: the regular expression \"a(?#x)\" is not supported: a comment at byte 1");
  CHECK(test::contains(refusal(R"(\g<1>)"), R"(\g at byte 0)"));
  CHECK(test::contains(refusal(R"([a-)"), "an open class"));
  CHECK(test::contains(refusal(R"((?W:a))"), "option W"));
  CHECK(test::contains(refusal(R"(\p{Nonsense})"), "unknown property"));
  CHECK(test::contains(refusal(R"((a)"), "missing closing parenthesis"));
  CHECK(test::contains(refusal(std::string(20000, 'a')), "longer than 16384"));
  CHECK(test::contains(refusal(std::string(30, '[') + "a" + std::string(30, ']')),
                       "nested too deeply"));
}

TEST_CASE("tokenizer: a pattern that would run for ever is stopped") {
  const Regex regex(R"((a+)+$)", kHere);
  std::vector<Regex::Found> found;
  const std::string error =
      error_of<FormatError>([&] { regex.find_all(std::string(200, 'a') + "b", found); });
  CHECK(test::contains(error, "test: pattern: the regular expression needs too many steps"));
}
