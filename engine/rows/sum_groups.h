// Which dimensions a sum runs over, neighbours of one fate merged: the same passes on every device.
#pragma once
#include <algorithm>
#include <vector>

#include "engine/shape.h"

namespace ocellus {

/// Neighbouring dimensions of one fate, merged; extents of 1 are left out.
struct SumGroup {
  int64_t extent;
  bool summed;
};

/// sum_groups(from, to) — summed are the dimensions in which `to` has 1 (or none) and `from` more.
inline std::vector<SumGroup> sum_groups(const Shape& from, const Shape& to) {
  std::vector<SumGroup> groups;
  const int shift = from.rank() - to.rank();
  for (int i = 0; i < from.rank(); ++i) {
    if (from[i] == 1) continue;
    const bool summed = i < shift || to[i - shift] == 1;
    if (!groups.empty() && groups.back().summed == summed)
      groups.back().extent *= from[i];
    else
      groups.push_back({from[i], summed});
  }
  return groups;
}

inline bool any_summed(const std::vector<SumGroup>& groups) {
  return std::any_of(groups.begin(), groups.end(), [](const SumGroup& g) { return g.summed; });
}

/// One pass of a sum: x as [outer, n, inner], summed over n.
struct SumPass {
  int64_t outer, n, inner;
};

/// take_pass — the innermost summed group as a pass; it leaves the list.
inline SumPass take_pass(std::vector<SumGroup>& groups) {
  size_t k = groups.size();
  while (!groups[k - 1].summed) --k;
  SumPass pass{1, groups[k - 1].extent, 1};
  for (size_t i = 0; i + 1 < k; ++i) pass.outer *= groups[i].extent;
  for (size_t i = k; i < groups.size(); ++i) pass.inner *= groups[i].extent;
  groups.erase(groups.begin() + static_cast<std::ptrdiff_t>(k) - 1);
  return pass;
}

}  // namespace ocellus
