// What tests/mutation/run inserts into its scratch copy of the sources: every site of a backward becomes
// at<N>(expression), which is the expression unless OCELLUS_MUTANT names site N and a kind of error.
#pragma once
#include <concepts>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

namespace ocellus {

class Tensor;
struct bf16;

namespace mutation {

enum Kind { kSign = 1, kFactor = 2, kDroppedTerm = 3, kDroppedFactor = 4, kDroppedStatement = 5 };
inline constexpr int kKinds = 8;

/// 8·site + kind; 0: none; -1: note which sites are reached.
extern const int active;
void note(int site);
bool announce(int site);

/// A site whose type is mutated: known before main(), reached or not.
template <int kSite>
struct Live {
  static const bool known;
};
template <int kSite>
const bool Live<kSite>::known = announce(kSite);

inline constexpr double kWrongFactor = 1.01;

Tensor wrong(const Tensor& x, int kind);
std::vector<Tensor> wrong(const std::vector<Tensor>& xs, int kind);

template <class E>
concept Numbers = std::is_floating_point_v<E> || (!std::is_class_v<E> && !std::is_pointer_v<E> &&
                                                  !std::is_arithmetic_v<E> && requires(E e) {
                                                    e[0];
                                                    { e + e } -> std::same_as<E>;
                                                  });
template <class E>
concept Tensorial = std::is_same_v<E, Tensor> || std::is_same_v<E, std::vector<Tensor>>;

template <Numbers E>
E wrong(E value, int kind) {
  E factor{}, one{};  // for a vector: every element
  if constexpr (std::is_floating_point_v<E>) {
    factor = static_cast<E>(kWrongFactor), one = 1;
  } else {
    using Element = std::remove_cvref_t<decltype(value[0])>;
    factor = factor + static_cast<Element>(kWrongFactor), one = one + Element(1);
  }
  switch (kind) {
    case kSign: return -value;
    case kFactor: return value * factor;
    case kDroppedTerm: return E{};
    default: return one;
  }
}

/// The value of a site.
template <int kSite, class E>
inline std::decay_t<E> at(E&& value) {
  using D = std::decay_t<E>;
  if constexpr (std::is_same_v<D, bf16>) {
    return D(at<kSite>(static_cast<float>(value)));
  } else if constexpr (Numbers<D> || Tensorial<D>) {
    static_cast<void>(&Live<kSite>::known);
    if (active == 0) [[likely]]
      return std::forward<E>(value);
    if (active < 0) note(kSite);
    if (active / kKinds == kSite) return wrong(static_cast<const D&>(value), active % kKinds);
  }
  return std::forward<E>(value);
}

inline bool dropped(int site) {
  if (active < 0) note(site);
  return active == site * kKinds + kDroppedStatement;
}

}  // namespace mutation
}  // namespace ocellus
