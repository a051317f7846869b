// Headers of libraries that most files include, parsed once a build. Never a header of our own: an edit would rebuild
// everything. Files still name what they use (they compile with -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON).
#pragma once
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>
