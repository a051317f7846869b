// The table of recipe keys, and the interface of what walks over it.
//
// describe_recipe() names every key once, with its member, description, bounds and the condition
// under which it is used. A reader, a writer, the help and the list of names are visitors of that
// one table, so that none of them can forget a key.
#pragma once
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "vlm/recipe.h"

namespace ocellus {

struct KeyInfo {
  const char* name;
  const char* help = "";
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
  std::vector<std::string> choices = {};  // of a string: the accepted values; empty: any
  bool required = false;
  bool changes_result = true;
  bool used = true;            // false: writing the key is an error, because nothing reads it
  const char* used_with = "";  // what would make it used: "kind = \"pixel_shuffle\""
};

class KeyVisitor {
 public:
  virtual ~KeyVisitor() = default;
  virtual void key(const KeyInfo& info, bool& value) = 0;
  virtual void key(const KeyInfo& info, int64_t& value) = 0;
  virtual void key(const KeyInfo& info, double& value) = 0;
  virtual void key(const KeyInfo& info, std::string& value) = 0;
  virtual void key(const KeyInfo& info, std::vector<std::string>& value) = 0;
  virtual void key(const KeyInfo& info, std::array<double, 2>& value) = 0;
  virtual void key(const KeyInfo& info, std::vector<PatternRate>& value) = 0;
  virtual void table(const KeyInfo& info, const std::function<void(KeyVisitor&)>& visit) = 0;

  /// A list of tables behind one interface, whatever the type of its entries.
  struct List {
    std::function<size_t()> size;
    std::function<void(size_t)> resize;
    std::function<void(KeyVisitor&, size_t)> visit;
  };
  virtual void list(const KeyInfo& info, const List& list) = 0;

  /// True while values are being read: presets fill their members then, and only then.
  virtual bool reading() const { return false; }
};

/// describe_recipe — calls the visitor once for each key of `recipe`, outermost first.
void describe_recipe(KeyVisitor& visitor, Recipe& recipe);

/// check_recipe — the rules that tie several keys together (sizes that must divide each other,
/// names that must differ, something to train on). Throws UsageError beginning with `who`.
void check_recipe(const Recipe& recipe, const std::string& who);

}  // namespace ocellus
