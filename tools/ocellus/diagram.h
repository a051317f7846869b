// The diagram of a model: what flows through its parts, and the modules with their shapes.
#pragma once
#include <string>

namespace ocellus {

/// recipe_diagram — of the model that a recipe trains, as text; alike layers are drawn once.
std::string recipe_diagram(const std::string& recipe);

}  // namespace ocellus
