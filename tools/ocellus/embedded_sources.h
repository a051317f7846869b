// The sources that document ops, inside the program: `ocellus ops NAME` prints from them, so that the
// comment above an op is the only place where it is described.
#pragma once
#include <string>
#include <vector>

namespace ocellus {

struct EmbeddedSource {
  const char *path, *text;
};

/// autograd/ops.h, autograd/ops/*.cpp and the functors of engine/scalar/; made by CMake.
const std::vector<EmbeddedSource>& embedded_sources();

}  // namespace ocellus
