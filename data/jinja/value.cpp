#include "data/jinja/value.h"

#include <algorithm>
#include <cmath>

#include "data/unicode.h"

namespace ocellus::jinja {
namespace {

constexpr int kMaxDepth = 100;         // of containers in containers
constexpr size_t kLinearEntries = 12;  // dicts up to here are searched from the front
constexpr int kMaxEvaluations = 900;   // nested evaluations: far below what the stack holds

thread_local Budget* current_budget = nullptr;

int depth_of(const std::vector<Value>& items) {
  int deepest = 0;
  for (const Value& item : items) deepest = std::max(deepest, item.depth());
  if (deepest >= kMaxDepth) failure("containers are nested deeper than {} levels", kMaxDepth);
  return deepest + 1;
}

}  // namespace

BudgetScope::BudgetScope(Budget& budget) : before_(current_budget) { current_budget = &budget; }
BudgetScope::~BudgetScope() { current_budget = before_; }

void charge(size_t steps) {
  if (!current_budget) return;
  current_budget->steps -= static_cast<int64_t>(std::min<size_t>(steps, size_t{1} << 40));
  if (current_budget->steps < 0)
    failure("the template takes too many steps or makes too much text");
}

void charge_text(size_t bytes) {
  if (current_budget && bytes > current_budget->string_bytes)
    failure("a string would have {} bytes; at most {} are allowed", bytes,
            current_budget->string_bytes);
  charge(1 + bytes / 16);
}

DepthScope::DepthScope() {
  if (current_budget && ++current_budget->depth > kMaxEvaluations) {
    --current_budget->depth;
    failure("the template is nested or recurses too deeply");
  }
}
DepthScope::~DepthScope() {
  if (current_budget) --current_budget->depth;
}

// ---- strings
// ----------------------------------------------------------------------------------------

String String::slice(size_t begin, size_t end) const {
  charge_text(end - begin);
  String out(text.substr(begin, end - begin));
  out.safe = safe;
  for (const Mark& mark : marks) {
    const size_t from = std::max(mark.begin, begin), to = std::min(mark.end, end);
    // An empty mark tells where empty text came in; a neighbour's edge is none.
    if (from < to || (from == to && (mark.begin == mark.end || begin == end)))
      out.marks.push_back({from - begin, to - begin, mark.origin});
  }
  return out;
}

String String::derived(std::string made) const {
  charge_text(made.size());
  String out(std::move(made));
  out.safe = safe;
  if (out.text.size() == text.size()) {
    out.marks = marks;
  } else {
    for (const Mark& mark : marks)
      if (out.marks.empty() || out.marks.back().origin != mark.origin)
        out.marks.push_back({0, out.text.size(), mark.origin});
  }
  return out;
}

void String::append(std::string_view plain) {
  charge(plain.size() / 16);
  if (current_budget && text.size() + plain.size() > current_budget->string_bytes)
    charge_text(text.size() + plain.size());
  text += plain;
}

void String::append(const String& other) {
  const size_t base = text.size();
  append(other.text);
  charge(other.marks.size());
  for (const Mark& mark : other.marks) {
    // Neighbours of one origin become one, so that a text put together from characters stays small.
    if (!marks.empty() && marks.back().origin == mark.origin &&
        marks.back().end == base + mark.begin)
      marks.back().end = base + mark.end;
    else
      marks.push_back({base + mark.begin, base + mark.end, mark.origin});
  }
}

// ---- construction
// -----------------------------------------------------------------------------------

std::optional<Value> Object::attribute(std::string_view) const { return std::nullopt; }
Value Object::call(const Args&) { failure("'{}' object is not callable", type_name()); }
std::string Object::text() const {
  failure("a {} has no text that a template could rely on", type_name());
}

int64_t Range::size() const {
  if (step > 0) return start < stop ? (stop - start - 1) / step + 1 : 0;
  return start > stop ? (start - stop - 1) / -step + 1 : 0;
}

Value::Value(String s) : kind_(Kind::kString), object_(std::make_shared<String>(std::move(s))) {}
Value::Value(std::shared_ptr<Object> object) : kind_(Kind::kObject), object_(std::move(object)) {}

Value Value::undefined(std::string why) {
  Value v(String(std::move(why)));
  v.kind_ = Kind::kUndefined;
  return v;
}

Value Value::list(std::vector<Value> items) {
  charge(items.size() + 1);
  auto list = std::make_shared<List>();
  list->depth = depth_of(items);
  list->items = std::move(items);
  Value v;
  v.kind_ = Kind::kList;
  v.object_ = std::move(list);
  return v;
}

Value Value::tuple(std::vector<Value> items) {
  Value v = list(std::move(items));
  v.kind_ = Kind::kTuple;
  return v;
}

Value Value::dict(Dict entries) {
  charge(entries.entries.size() + 1);
  Value v;
  v.kind_ = Kind::kDict;
  v.object_ = std::make_shared<Dict>(std::move(entries));
  return v;
}

Value Value::range(int64_t start, int64_t stop, int64_t step) {
  Value v;
  v.kind_ = Kind::kRange;
  v.object_ = std::make_shared<Range>(Range{start, stop, step});
  return v;
}

Value Value::view(View view) {
  Value v;
  v.kind_ = Kind::kView;
  v.object_ = std::make_shared<View>(std::move(view));
  return v;
}

Value Value::iterator(const Value& source, std::function<std::optional<Value>()> next) {
  Value v;
  v.kind_ = Kind::kIterator;
  v.object_ = std::make_shared<Iterator>(Iterator{std::move(next), depth_of({source})});
  return v;
}

Value Value::function(std::string_view name, std::function<Value(const Args&)> body,
                      const std::vector<Value>& held) {
  auto made = std::make_shared<Function>(std::string(name), std::move(body));
  made->depth = depth_of(held);
  return Value(std::shared_ptr<Object>(std::move(made)));
}

const std::vector<Value>& Value::items() const {
  return static_cast<const List*>(object_.get())->items;
}

int Value::depth() const {
  switch (kind_) {
    case Kind::kList:
    case Kind::kTuple:
      return static_cast<const List*>(object_.get())->depth;
    case Kind::kDict:
      return entries().depth;
    case Kind::kView:
      return view().dict.depth() + 1;
    case Kind::kIterator:
      return iterator().depth;
    case Kind::kObject:
      return object().depth;
    default:
      return 0;
  }
}

const char* Value::type_name() const {
  static constexpr const char* kNames[] = {"Undefined", "NoneType",  "bool",  "int",  "float",
                                           "str",       "list",      "tuple", "dict", "range",
                                           "dict_view", "generator", "object"};
  if (kind_ == Kind::kString && string().safe) return "Markup";
  return kind_ == Kind::kObject ? object().type_name() : kNames[static_cast<size_t>(kind_)];
}

const Value* Dict::find(const Value& key) const {
  if (entries.size() <= kLinearEntries) {
    hash(key);  // unhashable keys are errors
    for (const auto& [name, value] : entries)
      if (equal(name, key)) return &value;
    return nullptr;
  }
  const auto [from, to] = index_.equal_range(hash(key));
  for (auto it = from; it != to; ++it)
    if (equal(entries[it->second].first, key)) return &entries[it->second].second;
  return nullptr;
}

const Value* Dict::find_name(std::string_view key) const {
  if (entries.size() > kLinearEntries) return find(Value(std::string(key)));
  for (const auto& [name, value] : entries)
    if (name.is_string() && name.string().text == key) return &value;
  return nullptr;
}

void Dict::set(const Value& key, Value value) {
  depth = std::max(depth, std::max(value.depth(), key.depth()) + 1);
  if (depth > kMaxDepth) failure("containers are nested deeper than {} levels", kMaxDepth);
  charge(1);
  if (const Value* old = find(key)) {
    *const_cast<Value*>(old) = std::move(value);
    return;
  }
  entries.emplace_back(key, std::move(value));
  if (entries.size() <= kLinearEntries) return;
  if (index_.empty())
    for (size_t i = 0; i + 1 < entries.size(); ++i) index_.emplace(hash(entries[i].first), i);
  index_.emplace(hash(key), entries.size() - 1);
}

Value View::at(size_t i) const {
  const auto& [key, value] = dict.entries().entries[i];
  if (what == What::kKeys) return key;
  if (what == What::kValues) return value;
  return Value::tuple({key, value});
}

Bound::Bound(const Args& args, std::string_view function, std::initializer_list<const char*> names,
             size_t required)
    : function_(function), names_(names), values_(names.size()) {
  if (args.positional.size() > names_.size())
    failure("{} takes at most {} arguments, got {}", function, names_.size(),
            args.positional.size());
  for (size_t i = 0; i < args.positional.size(); ++i) values_[i] = args.positional[i];
  for (const auto& [name, value] : args.named) {
    const auto at =
        std::find_if(names_.begin(), names_.end(), [&](const char* n) { return name == n; });
    if (at == names_.end()) failure("{} has no argument '{}'", function, name);
    auto& slot = values_[static_cast<size_t>(at - names_.begin())];
    if (slot) failure("{} got two values for its argument '{}'", function, name);
    slot = value;
  }
  for (size_t i = 0; i < required; ++i)
    if (!values_[i])
      failure("{} needs its argument '{}'", function, names_[i] + (names_[i][0] == '/'));
}

int64_t Bound::integer(size_t i, int64_t fallback) const {
  if (!has(i)) return fallback;
  if (!values_[i]->is_integer())
    failure("{}: '{}' must be an integer, got {}", function_, names_[i] + (names_[i][0] == '/'),
            values_[i]->type_name());
  return values_[i]->integer();
}

bool Bound::truth(size_t i, bool fallback) const {
  return has(i) ? jinja::truth(*values_[i]) : fallback;
}

const String& Bound::string(size_t i) const {
  if (!values_[i] || !values_[i]->is_string())
    failure("{}: '{}' must be a string, got {}", function_, names_[i] + (names_[i][0] == '/'),
            values_[i] ? values_[i]->type_name() : "nothing");
  return values_[i]->string();
}

// ---- truth, equality, order
// -------------------------------------------------------------------------

bool truth(const Value& v) {
  switch (v.kind()) {
    case Value::Kind::kUndefined:
    case Value::Kind::kNone:
      return false;
    case Value::Kind::kBool:
    case Value::Kind::kInt:
      return v.integer() != 0;
    case Value::Kind::kFloat:
      return v.real() != 0;
    default: {
      const auto n = length(v);
      return !n || *n > 0;
    }
  }
}

bool equal(const Value& a, const Value& b) {
  charge(1);
  if (a.is_number() && b.is_number()) {
    if (a.is_integer() && b.is_integer()) return a.integer() == b.integer();
    // An integer that a double cannot hold equals no double.
    const Value& i = a.is_integer() ? a : b;
    if (i.is_integer() && std::fabs(i.real()) >= 9007199254740992.0) {
      const double d = a.is_integer() ? b.real() : a.real();
      return std::fabs(d) < 9223372036854775808.0 && d == std::floor(d) &&
             static_cast<int64_t>(d) == i.integer();
    }
    return a.real() == b.real();
  }
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Value::Kind::kUndefined:
    case Value::Kind::kNone:
      return true;
    case Value::Kind::kString:
      charge(a.string().text.size() / 64);
      return a.string().text == b.string().text;
    case Value::Kind::kList:
    case Value::Kind::kTuple:
      return a.items().size() == b.items().size() &&
             std::equal(a.items().begin(), a.items().end(), b.items().begin(), equal);
    case Value::Kind::kDict: {
      if (a.entries().entries.size() != b.entries().entries.size()) return false;
      for (const auto& [key, value] : a.entries().entries) {
        const Value* other = b.entries().find(key);
        if (!other || !equal(value, *other)) return false;
      }
      return true;
    }
    case Value::Kind::kRange: {
      const Range &x = a.range(), &y = b.range();
      return x.size() == y.size() &&
             (x.size() == 0 || (x.start == y.start && (x.size() == 1 || x.step == y.step)));
    }
    case Value::Kind::kView:
      if (a.view().what != View::What::kValues && a.view().what == b.view().what)
        failure("comparing views of dicts is not supported");
      return a.identity() == b.identity();
    default:
      return a.identity() == b.identity();
  }
}

bool less(const Value& a, const Value& b, const char* op) {
  charge(1);
  if (a.is_undefined()) failure("{}", a.why_undefined());
  if (b.is_undefined()) failure("{}", b.why_undefined());
  if (a.is_integer() && b.is_integer()) return a.integer() < b.integer();
  if (a.is_number() && b.is_number()) return a.real() < b.real();
  if (a.is_string() && b.is_string()) return a.string().text < b.string().text;
  if (a.is_sequence() && a.kind() == b.kind()) {
    const auto &x = a.items(), &y = b.items();
    for (size_t i = 0; i < x.size() && i < y.size(); ++i)
      if (!equal(x[i], y[i])) return less(x[i], y[i], op);
    return x.size() < y.size();
  }
  failure("'{}' not supported between instances of '{}' and '{}'", op, a.type_name(),
          b.type_name());
}

bool less_or_equal(const Value& a, const Value& b, const char* op) {
  if (a.is_number() && b.is_number() && !(a.is_integer() && b.is_integer()))
    return a.real() <= b.real();
  if (a.is_sequence() && a.kind() == b.kind()) {
    const auto &x = a.items(), &y = b.items();
    for (size_t i = 0; i < x.size() && i < y.size(); ++i)
      if (!equal(x[i], y[i])) return less_or_equal(x[i], y[i], op);
    return x.size() <= y.size();
  }
  return !less(b, a, op);
}

size_t hash(const Value& v) {
  switch (v.kind()) {
    case Value::Kind::kBool:
    case Value::Kind::kInt:
      return std::hash<double>()(v.real());
    case Value::Kind::kFloat:
      return std::hash<double>()(v.real() == 0 ? 0.0 : v.real());
    case Value::Kind::kString:
      return std::hash<std::string>()(v.string().text);
    case Value::Kind::kTuple: {
      size_t h = 17;
      for (const Value& item : v.items()) h = h * 1000003 + hash(item);
      return h;
    }
    case Value::Kind::kList:
    case Value::Kind::kDict:
      failure("unhashable type: '{}'", v.type_name());
    case Value::Kind::kView:
      if (v.view().what != View::What::kValues) failure("unhashable type: 'dict view'");
      return std::hash<const void*>()(v.identity());
    case Value::Kind::kRange:
      return static_cast<size_t>(v.range().size());
    case Value::Kind::kUndefined:
    case Value::Kind::kNone:
      return static_cast<size_t>(v.kind());
    default:
      return std::hash<const void*>()(v.identity());
  }
}

// ---- iteration
// --------------------------------------------------------------------------------------

std::optional<size_t> length(const Value& v) {
  switch (v.kind()) {
    case Value::Kind::kUndefined:
      return 0;
    case Value::Kind::kString:
      return character_count(v.string().text);
    case Value::Kind::kList:
    case Value::Kind::kTuple:
      return v.items().size();
    case Value::Kind::kDict:
      return v.entries().entries.size();
    case Value::Kind::kRange:
      return static_cast<size_t>(v.range().size());
    case Value::Kind::kView:
      return v.view().dict.entries().entries.size();
    default:
      return std::nullopt;
  }
}

namespace {

std::function<std::optional<Value>()> counted(size_t count, std::function<Value(size_t)> at) {
  return [count, at = std::move(at), i = size_t{0}]() mutable -> std::optional<Value> {
    charge(1);
    if (i >= count) return std::nullopt;
    return at(i++);
  };
}

std::function<std::optional<Value>()> characters(const Value& v) {
  return [v, at = size_t{0}]() mutable -> std::optional<Value> {
    charge(1);
    const String& s = v.string();
    if (at >= s.text.size()) return std::nullopt;
    const size_t begin = at;
    at += unicode::decode_at(s.text, at).size;
    return Value(s.slice(begin, at));
  };
}

}  // namespace

std::shared_ptr<Iterator> iterate(const Value& v) {
  auto make = [](std::function<std::optional<Value>()> next) {
    return std::make_shared<Iterator>(Iterator{std::move(next), 1});
  };
  switch (v.kind()) {
    case Value::Kind::kUndefined:
      return make([] { return std::nullopt; });
    case Value::Kind::kString:
      return make(characters(v));
    case Value::Kind::kList:
    case Value::Kind::kTuple:
      return make(counted(v.items().size(), [v](size_t i) { return v.items()[i]; }));
    case Value::Kind::kDict:
      return make(counted(v.entries().entries.size(),
                          [v](size_t i) { return v.entries().entries[i].first; }));
    case Value::Kind::kRange:
      return make(counted(static_cast<size_t>(v.range().size()), [v](size_t i) {
        return Value(v.range().start + static_cast<int64_t>(i) * v.range().step);
      }));
    case Value::Kind::kView:
      return make(counted(*length(v), [v](size_t i) { return v.view().at(i); }));
    case Value::Kind::kIterator:
      return v.shared<Iterator>();
    default:
      failure("'{}' object is not iterable", v.type_name());
  }
}

std::vector<Value> to_vector(const Value& v) {
  if (v.is_sequence()) {
    charge(v.items().size());
    return v.items();
  }
  std::vector<Value> items;
  const auto from = iterate(v);
  while (auto item = from->next()) items.push_back(std::move(*item));
  return items;
}

bool contains(const Value& container, const Value& item) {
  switch (container.kind()) {
    case Value::Kind::kString:
      if (!item.is_string())
        failure("'in <string>' requires string as left operand, not {}", item.type_name());
      charge(container.string().text.size() / 64);
      return container.string().text.find(item.string().text) != std::string::npos;
    case Value::Kind::kDict:
      return container.entries().find(item) != nullptr;
    case Value::Kind::kView:
      if (container.view().what == View::What::kKeys)
        return container.view().dict.entries().find(item) != nullptr;
      [[fallthrough]];
    default: {
      if (container.is(Value::Kind::kObject))
        failure("argument of type '{}' is not iterable", container.type_name());
      const auto from = iterate(container);
      while (auto other = from->next())
        if (equal(*other, item)) return true;
      return false;
    }
  }
}

// ---- items and attributes
// ---------------------------------------------------------------------------

namespace {

Value missing(const Value& object, const Value& key) {
  const std::string name = key.is_string() ? repr_string(key.string().text) : str(key).text;
  return Value::undefined(
      key.is_string() ? fmt::format("'{} object' has no attribute {}", object.type_name(), name)
                      : fmt::format("{} object has no element {}", object.type_name(), name));
}

/// The item `key`, or nothing where Python raises TypeError or LookupError.
std::optional<Value> item_of(const Value& object, const Value& key) {
  if (object.is(Value::Kind::kDict)) {
    if (key.is(Value::Kind::kList) || key.is(Value::Kind::kDict)) return std::nullopt;
    const Value* found = object.entries().find(key);
    return found ? std::optional<Value>(*found) : std::nullopt;
  }
  if (!key.is_integer()) return std::nullopt;
  const bool indexable =
      object.is_sequence() || object.is_string() || object.is(Value::Kind::kRange);
  if (!indexable) return std::nullopt;
  const auto count = static_cast<int64_t>(*length(object));
  const int64_t i = key.integer() < 0 ? key.integer() + count : key.integer();
  if (i < 0 || i >= count) return std::nullopt;
  if (object.is(Value::Kind::kRange)) return Value(object.range().start + i * object.range().step);
  if (object.is_sequence()) return object.items()[static_cast<size_t>(i)];
  const std::string& text = object.string().text;
  const size_t begin = byte_offset(text, static_cast<size_t>(i));
  return Value(object.string().slice(begin, begin + unicode::decode_at(text, begin).size));
}

std::optional<Value> attribute_of(const Value& object, std::string_view name) {
  if (object.is(Value::Kind::kObject)) {
    auto found = object.object().attribute(name);
    if (found) return found;
  } else if (auto found = method(object, name)) {
    return found;
  }
  return std::nullopt;
}

}  // namespace

Value get_item(const Value& object, const Value& key) {
  if (object.is_undefined()) failure("{}", object.why_undefined());
  if (auto item = item_of(object, key)) return *item;
  if (key.is_string())
    if (auto attribute = attribute_of(object, key.string().text)) return *attribute;
  return missing(object, key);
}

Value get_attribute(const Value& object, std::string_view name) {
  if (object.is_undefined()) failure("{}", object.why_undefined());
  if (auto attribute = attribute_of(object, name)) return *attribute;
  if (object.is(Value::Kind::kDict))
    if (const Value* found = object.entries().find_name(name)) return *found;
  return missing(object, Value(std::string(name)));
}

Value slice(const Value& object, const Value& start, const Value& stop, const Value& step) {
  if (object.is_undefined()) failure("{}", object.why_undefined());
  auto usable = [](const Value& v) { return v.is(Value::Kind::kNone) || v.is_integer(); };
  const bool sliceable =
      object.is_sequence() || object.is_string() || object.is(Value::Kind::kRange);
  if (!sliceable) failure("'{}' object cannot be sliced", object.type_name());
  if (!usable(start) || !usable(stop) || !usable(step))
    failure("slice indices must be integers or none");
  const auto count = static_cast<int64_t>(*length(object));
  const int64_t by = step.is(Value::Kind::kNone) ? 1 : step.integer();
  if (by == 0) failure("slice step cannot be zero");
  auto clamp = [&](const Value& v, int64_t fallback) {
    if (v.is(Value::Kind::kNone)) return fallback;
    int64_t i = v.integer();
    if (i < 0) i = i < -count ? -1 : i + count;
    return by > 0 ? std::clamp<int64_t>(i, 0, count) : std::clamp<int64_t>(i, -1, count - 1);
  };
  const int64_t from = clamp(start, by > 0 ? 0 : count - 1), to = clamp(stop, by > 0 ? count : -1);
  if (object.is(Value::Kind::kRange)) {
    const Range& r = object.range();
    return Value::range(r.start + from * r.step, r.start + to * r.step,
                        checked_multiply(r.step, by));
  }
  if (object.is_string() && by == 1) {
    const std::string& text = object.string().text;
    const size_t begin = byte_offset(text, static_cast<size_t>(from));
    return object.string().slice(begin,
                                 from < to ? byte_offset(text, static_cast<size_t>(to)) : begin);
  }
  const std::vector<Value> all = to_vector(object);
  std::vector<Value> chosen;
  const int64_t chosen_count = Range{from, to, by}.size();
  for (int64_t k = 0; k < chosen_count; ++k)
    chosen.push_back(all[static_cast<size_t>(from + k * by)]);
  if (object.is(Value::Kind::kList)) return Value::list(std::move(chosen));
  if (object.is(Value::Kind::kTuple)) return Value::tuple(std::move(chosen));
  String joined;
  joined.safe = object.string().safe;
  for (const Value& c : chosen) joined.append(c.string());
  return joined;
}

}  // namespace ocellus::jinja
