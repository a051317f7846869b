// Other public names of the same parameters: files of one class differ by prefix, by age, and by
// what they store besides parameters.
#pragma once
#include <set>
#include <string>
#include <vector>

#include "nn/checkpoint_file.h"

namespace ocellus {

/// KeyRule — a name that files of a class use, and ours. `*` in `architecture` and `file` is any
/// run of characters; each `*` of `here` stands for the run at the same place in `file`. An empty
/// `here` marks what is no parameter.
struct KeyRule {
  const char *architecture, *file, *here;
};

/// KeyLayout — arguments of load_parameters for one file.
struct KeyLayout {
  NameMap file_name;
  std::vector<std::string> ignored;
};

/// key_layout — how the names of a file belong to `parameters` of a model of class `architecture`.
/// A name that the model has stays; any other goes through up to three rules until it is one the
/// model has. A second copy of a parameter (tied tables) is ignored. Names that no rule explains
/// are left for load_parameters to complain about.
KeyLayout key_layout(const std::string& architecture, const std::set<std::string>& parameters,
                     const std::vector<std::string>& names);

}  // namespace ocellus
