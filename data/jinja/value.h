// Values of a template: what Python has, as far as templates can see it. Strings know which of
// their bytes came from the messages, so that markup and text are never confused again.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "data/jinja/error.h"

namespace ocellus::jinja {

class Value;
struct Args;

/// Bytes [begin, end) of a string that came from `origin`: the number of a message, or a constant
/// below.
struct Mark {
  size_t begin, end;
  int32_t origin;
};
constexpr int32_t kFromTemplate = -1;  // never stored: what has no mark
constexpr int32_t kFromVariable = -2;  // tools, documents and other variables of the caller
constexpr int32_t kGeneration = -3;    // inside {% generation %}

/// String — UTF-8 text with marks. `safe` is what the filter of that name makes (Markup in Python).
struct String {
  std::string text;
  std::vector<Mark> marks;
  bool safe = false;

  String() = default;
  explicit String(std::string t) : text(std::move(t)) {}
  explicit String(const char* t) : text(t) {}
  /// Bytes [begin, end) with their marks.
  String slice(size_t begin, size_t end) const;
  /// `text` made of this one in a way that cannot be followed: marked as a whole if anything here
  /// is.
  String derived(std::string text) const;
  void append(std::string_view plain);
  void append(const String& other);
};

/// Objects with identity: namespaces, loops, functions.
class Object {
 public:
  virtual ~Object() = default;
  virtual const char* type_name() const = 0;
  virtual std::optional<Value> attribute(std::string_view) const;
  virtual bool callable() const { return false; }
  virtual Value call(const Args& args);
  /// str() of it; throws Failure where Python would print an address.
  virtual std::string text() const;
  int depth = 1;  // as of containers: values held inside count
};

/// What a generator yields, one by one; shared, as in Python: consumed once.
struct Iterator {
  std::function<std::optional<Value>()> next;
  int depth = 1;
};

struct List;
struct Dict;
struct Range {
  int64_t start, stop, step;
  int64_t size() const;
};
struct View;

class Value {
 public:
  enum class Kind : uint8_t {
    kUndefined,
    kNone,
    kBool,
    kInt,
    kFloat,
    kString,
    kList,
    kTuple,
    kDict,
    kRange,
    kView,
    kIterator,
    kObject
  };

  Value() : kind_(Kind::kNone) {}
  Value(bool b) : kind_(Kind::kBool) { number_.integer = b; }    // NOLINT: literals are values
  Value(int64_t i) : kind_(Kind::kInt) { number_.integer = i; }  // NOLINT
  Value(int i) : Value(static_cast<int64_t>(i)) {}               // NOLINT
  Value(double d) : kind_(Kind::kFloat) { number_.real = d; }    // NOLINT
  Value(String s);                                               // NOLINT
  Value(std::string s) : Value(String(std::move(s))) {}          // NOLINT
  Value(const char* s) : Value(String(s)) {}                     // NOLINT
  Value(std::shared_ptr<Object> object);                         // NOLINT
  static Value undefined(std::string why);
  static Value list(std::vector<Value> items);
  static Value tuple(std::vector<Value> items);
  static Value dict(Dict entries);
  static Value range(int64_t start, int64_t stop, int64_t step);
  static Value view(View view);
  /// `source`: what `next` draws from.
  static Value iterator(const Value& source, std::function<std::optional<Value>()> next);
  /// A function that holds `held`.
  static Value function(std::string_view name, std::function<Value(const Args&)> body,
                        const std::vector<Value>& held = {});

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_undefined() const { return kind_ == Kind::kUndefined; }
  bool is_string() const { return kind_ == Kind::kString; }
  bool is_sequence() const { return kind_ == Kind::kList || kind_ == Kind::kTuple; }
  bool is_integer() const { return kind_ == Kind::kInt || kind_ == Kind::kBool; }
  bool is_number() const { return is_integer() || kind_ == Kind::kFloat; }

  // The contents; the kind must be right (bool reads as 0 or 1, an integer as a real).
  int64_t integer() const { return number_.integer; }
  double real() const {
    return kind_ == Kind::kFloat ? number_.real : static_cast<double>(number_.integer);
  }
  const String& string() const { return *static_cast<const String*>(object_.get()); }
  const std::vector<Value>& items() const;
  const Dict& entries() const { return *static_cast<const Dict*>(object_.get()); }
  const Range& range() const { return *static_cast<const Range*>(object_.get()); }
  const View& view() const { return *static_cast<const View*>(object_.get()); }
  Iterator& iterator() const { return *static_cast<Iterator*>(object_.get()); }
  Object& object() const { return *static_cast<Object*>(object_.get()); }
  const std::string& why_undefined() const { return string().text; }
  /// Address of what it refers to, for `is sameas`.
  const void* identity() const { return object_.get(); }
  template <class T>
  std::shared_ptr<T> shared() const {
    return std::static_pointer_cast<T>(object_);
  }

  /// How deeply containers are nested in it.
  int depth() const;
  /// "str", "list", …: Python's name of the type.
  const char* type_name() const;

 private:
  Kind kind_;
  union {
    int64_t integer;
    double real;
  } number_{0};
  std::shared_ptr<void> object_;
};

struct List {
  std::vector<Value> items;
  int depth = 1;
  bool group = false;  // a pair made by groupby: its items have the names grouper and list
};

/// Dict — in order of insertion; keys as in Python (1 == 1.0 == True).
struct Dict {
  std::vector<std::pair<Value, Value>> entries;
  int depth = 1;
  const Value* find(const Value& key) const;
  const Value* find_name(std::string_view key) const;
  void set(const Value& key, Value value);

 private:
  std::unordered_multimap<size_t, size_t> index_;  // hash to entry, once there are many
};

/// keys(), values(), items() of a dict.
struct View {
  enum class What : uint8_t { kKeys, kValues, kItems } what;
  Value dict;
  Value at(size_t i) const;
};

/// Function — a callable of C++; `self` in a closure makes a bound method of it.
class Function : public Object {
 public:
  using Body = std::function<Value(const Args&)>;
  Function(std::string name, Body body) : name_(std::move(name)), body_(std::move(body)) {}
  const char* type_name() const override { return "function"; }
  bool callable() const override { return true; }
  Value call(const Args& args) override { return body_(args); }

 private:
  std::string name_;
  Body body_;
};

struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

/// Bound — arguments by the names of a signature. Names that begin with '/' cannot be given by
/// name.
class Bound {
 public:
  Bound(const Args& args, std::string_view function, std::initializer_list<const char*> names,
        size_t required = 0);
  bool has(size_t i) const { return values_[i].has_value(); }
  const Value& operator[](size_t i) const { return *values_[i]; }
  Value get(size_t i, Value fallback) const {
    return values_[i] ? *values_[i] : std::move(fallback);
  }
  /// The argument as the type it must have; Failure naming function and argument otherwise.
  int64_t integer(size_t i, int64_t fallback) const;
  bool truth(size_t i, bool fallback) const;
  const String& string(size_t i) const;

 private:
  std::string function_;
  std::vector<const char*> names_;
  std::vector<std::optional<Value>> values_;
};

// ---- what Python does with values
// -------------------------------------------------------------------

bool truth(const Value& v);
/// str() and repr(). Undefined prints as nothing.
String str(const Value& v);
String repr(const Value& v);
std::string repr_string(std::string_view text);
std::string float_text(double d);
bool equal(const Value& a, const Value& b);
/// a < b; Failure if Python cannot order them. `op` is for the message.
bool less(const Value& a, const Value& b, const char* op = "<");
bool less_or_equal(const Value& a, const Value& b, const char* op = "<=");
/// Failure for what Python cannot hash.
size_t hash(const Value& v);
/// Iterates; Failure "'int' object is not iterable".
std::shared_ptr<Iterator> iterate(const Value& v);
std::vector<Value> to_vector(const Value& v);
/// len(); nothing if it has none.
std::optional<size_t> length(const Value& v);
bool contains(const Value& container, const Value& item);

Value get_item(const Value& object, const Value& key);  // object[key], falling back to attributes
Value get_attribute(const Value& object,
                    std::string_view name);  // object.name, falling back to items
Value slice(const Value& object, const Value& start, const Value& stop, const Value& step);
enum class Operator : uint8_t { kAdd, kSub, kMul, kDiv, kFloorDiv, kMod, kPow };
Value arithmetic(Operator op, const Value& a, const Value& b);
Value negate(const Value& v, bool minus);
int64_t checked_multiply(int64_t a, int64_t b);
int64_t checked_add(int64_t a, int64_t b);

/// The method `name` of a string, list, tuple, dict, range or number, bound to it; nothing if there
/// is none. Methods that change their object give an undefined value, as in the sandbox.
std::optional<Value> method(const Value& self, std::string_view name);

/// printf-style and str.format formatting.
String percent_format(const String& format, const Value& arguments);
String brace_format(const String& format, const Args& args);

/// json.dumps(v, ensure_ascii, indent, separators, sort_keys).
struct JsonStyle {
  bool ascii = false, sort_keys = false;
  std::optional<std::string> indent;
  std::string item_separator = ", ", key_separator = ": ";
};
String to_json(const Value& v, const JsonStyle& style);

/// Reads JSON in the order of the text; strings get marks: those inside messages[i] the origin i
/// but for roles, others kFromVariable. FormatError "WHO: …".
Value from_json(std::string_view text, const std::string& who);

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string title(std::string_view text);
std::string capitalize(std::string_view text);
enum class CaseKind : uint8_t { kNone, kUpper, kLower, kTitle };
CaseKind case_of(char32_t code);
bool is_python_space(char32_t code);
size_t character_count(std::string_view text);
/// Byte offset of the character `index` (0 … count).
size_t byte_offset(std::string_view text, size_t index);
/// str.replace; a negative limit is none.
String replaced(const String& self, const String& old, const String& with, int64_t limit);
String strip(const String& s, const Value& characters, bool left, bool right);
std::vector<String> split_lines(const String& s, bool keep_ends);
String escape_html(const Value& v);

}  // namespace ocellus::jinja
