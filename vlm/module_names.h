// The module tree of transformers, where it differs from the names in files: adapters go by
// modules.
#pragma once
#include <string>

#include "nn/checkpoint_file.h"

namespace ocellus {

/// module_names — names of parameters in files of class `architecture` → names in the module tree
/// of transformers 5. Empty (the identity) where both are the same. Adapters of transformers 4 go
/// by the names in files.
NameMap module_names(const std::string& architecture);

}  // namespace ocellus
