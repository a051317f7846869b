// The functions that every chat template can call.
#include <algorithm>

#include "data/jinja/library.h"

namespace ocellus::jinja {
namespace {

constexpr int64_t kMaxRange = 100000;  // as Jinja's sandbox has it

Value range(const Args& args) {
  const Bound a(args, "range", {"/start", "/stop", "/step"}, 1);
  const bool single = !a.has(1);
  const int64_t start = single ? 0 : a.integer(0, 0), stop = a.integer(single ? 0 : 1, 0),
                step = a.integer(2, 1);
  if (step == 0) failure("range() arg 3 must not be zero");
  constexpr int64_t kFar = int64_t{1} << 60;
  if (std::max({std::abs(start), std::abs(stop), std::abs(step)}) > kFar ||
      Range{start, stop, step}.size() > kMaxRange)
    failure("Range too big. The sandbox blocks ranges larger than MAX_RANGE ({}).", kMaxRange);
  return Value::range(start, stop, step);
}

// dict(mapping or pairs, name=value …)
Dict dict_of(const Args& args, const char* name) {
  Dict made;
  if (args.positional.size() > 1)
    failure("{} expected at most 1 argument, got {}", name, args.positional.size());
  if (!args.positional.empty()) {
    const Value& from = args.positional[0];
    if (from.is(Value::Kind::kDict)) {
      made = from.entries();
    } else {
      const auto pairs = iterate(from);
      while (auto pair = pairs->next()) {
        const std::vector<Value> both = to_vector(*pair);
        if (both.size() != 2)
          failure("{}: an element has length {}; 2 is required", name, both.size());
        made.set(both[0], both[1]);
      }
    }
  }
  for (const auto& [key, value] : args.named) made.set(Value(key), value);
  return made;
}

class DictFunction : public Object {
 public:
  const char* type_name() const override { return "TemplateDict"; }
  bool callable() const override { return true; }
  Value call(const Args& args) override { return Value::dict(dict_of(args, "dict")); }
  std::optional<Value> attribute(std::string_view name) const override {
    if (name != "fromkeys") return std::nullopt;
    return Value::function("fromkeys", [](const Args& args) {
      const Bound a(args, "fromkeys", {"/iterable", "/value"}, 1);
      Dict made;
      for (const Value& key : to_vector(a[0])) made.set(key, a.get(1, Value()));
      return Value::dict(std::move(made));
    });
  }
};

class Cycler : public Object {
 public:
  explicit Cycler(std::vector<Value> items) : items_(std::move(items)) {}
  const char* type_name() const override { return "Cycler"; }
  std::optional<Value> attribute(std::string_view name) const override {
    auto state = state_;
    const std::vector<Value>& items = items_;
    if (name == "current") return items[*state];
    if (name == "items") return Value::tuple(items);
    if (name == "pos") return Value(static_cast<int64_t>(*state));
    if (name == "next")
      return Value::function(
          "next",
          [state, items](const Args&) {
            const Value now = items[*state];
            *state = (*state + 1) % items.size();
            return now;
          },
          items);
    if (name == "reset")
      return Value::function("reset", [state](const Args&) {
        *state = 0;
        return Value();
      });
    return std::nullopt;
  }

 private:
  std::vector<Value> items_;
  std::shared_ptr<size_t> state_ = std::make_shared<size_t>(0);
};

Value cycler(const Args& args) {
  if (args.positional.empty()) failure("at least one item has to be provided");
  auto made = std::make_shared<Cycler>(args.positional);
  made->depth = Value::list(args.positional).depth();
  return Value(std::shared_ptr<Object>(made));
}

Value joiner(const Args& args) {
  const Bound a(args, "joiner", {"sep"});
  const Value separator = a.get(0, Value(", "));
  return Value::function("joiner",
                         [separator, used = std::make_shared<bool>(false)](const Args&) {
                           return std::exchange(*used, true) ? separator : Value("");
                         },
                         {separator});
}

Value make_namespace(const Args& args, NamespaceList& all) {
  charge(8);
  auto made = std::make_shared<Namespace>();
  all.push_back(made);
  for (const auto& [key, value] : dict_of(args, "namespace").entries) {
    if (!key.is_string()) failure("a namespace has names, not {}", key.type_name());
    made->set(key.string().text, value);
  }
  return Value(std::shared_ptr<Object>(made));
}

Value strftime_now(const Args& args, std::time_t now) {
  const Bound a(args, "strftime_now", {"format"}, 1);
  std::string format;
  const std::string& given = a.string(0).text;
  for (size_t i = 0; i < given.size(); ++i) {
    // What a time without zone and of whole seconds has for them.
    if (given[i] == '%' && i + 1 < given.size() &&
        (given[i + 1] == 'z' || given[i + 1] == 'Z' || given[i + 1] == 'f')) {
      if (given[++i] == 'f') format += "000000";
      continue;
    }
    format += given[i];
    if (given[i] == '%' && i + 1 < given.size()) format += given[++i];
  }
  charge_text(format.size());
  std::tm local{};
  localtime_r(&now, &local);
  std::string out(format.size() * 64 + 256, '\0');
  format += ' ';  // so that an empty result is told from one that does not fit
  const size_t size = std::strftime(out.data(), out.size(), format.c_str(), &local);
  if (size == 0) failure("strftime_now: the format '{}' gives too much text", given.substr(0, 80));
  out.resize(size - 1);
  return out;
}

}  // namespace

std::optional<Value> Namespace::attribute(std::string_view name) const {
  const Value* found = values.find_name(name);
  return found ? std::optional<Value>(*found) : std::nullopt;
}

std::string Namespace::text() const {
  const DepthScope depth;  // it may hold itself
  return "<Namespace " + repr(Value::dict(values)).text + ">";
}

void Namespace::set(const std::string& name, Value value) {
  if (name.starts_with('_'))
    failure("a namespace cannot have the name '{}': it begins with an underscore", name);
  if (value.depth() > 90) failure("containers are nested deeper than 90 levels");
  values.set(Value(name), std::move(value));
}

std::map<std::string, Value, std::less<>> global_functions(std::time_t now,
                                                           NamespaceList& namespaces) {
  return {
      {"range", Value::function("range", range)},
      {"dict", Value(std::shared_ptr<Object>(std::make_shared<DictFunction>()))},
      {"namespace",
       Value::function("namespace",
                       [&](const Args& args) { return make_namespace(args, namespaces); })},
      {"cycler", Value::function("cycler", cycler)},
      {"joiner", Value::function("joiner", joiner)},
      {"lipsum",
       Value::function("lipsum", [](const Args&) -> Value { failure("lipsum is not supported"); })},
      {"raise_exception", Value::function("raise_exception",
                                          [](const Args& args) -> Value {
                                            const Bound a(args, "raise_exception", {"message"}, 1);
                                            throw Raised(str(a[0]).text);
                                          })},
      {"strftime_now",
       Value::function("strftime_now",
                       [now](const Args& args) { return strftime_now(args, now); })},
  };
}

}  // namespace ocellus::jinja
