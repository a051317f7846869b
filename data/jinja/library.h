// Filters, tests and functions by name.
#pragma once
#include <ctime>
#include <map>
#include <string>

#include "data/jinja/value.h"

namespace ocellus::jinja {

/// A filter or test: its value and the other arguments.
using FilterFunction = Value (*)(const Value& value, const Args& args);
using TestFunction = bool (*)(const Value& value, const Args& args);

/// By name; nullptr if there is none. Known to Jinja, but not here: pprint, random, striptags,
/// urlize, wordwrap, xmlattr.
FilterFunction find_filter(std::string_view name);
TestFunction find_test(std::string_view name);

/// What raise_exception(message) throws.
struct Raised : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Namespace — what namespace() makes, the only thing that templates can change.
class Namespace : public Object {
 public:
  const char* type_name() const override { return "Namespace"; }
  std::optional<Value> attribute(std::string_view name) const override;
  std::string text() const override;
  void set(const std::string& name, Value value);
  Dict values;
};

/// Namespaces may hold themselves: whoever renders clears them at the end.
using NamespaceList = std::vector<std::shared_ptr<Namespace>>;

/// range, dict, namespace, cycler, joiner, raise_exception, strftime_now. `now` is the time that
/// strftime_now tells; every namespace made is put into `namespaces`.
std::map<std::string, Value, std::less<>> global_functions(std::time_t now,
                                                           NamespaceList& namespaces);

}  // namespace ocellus::jinja
