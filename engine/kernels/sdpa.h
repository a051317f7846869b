// Scaled dot-product attention without the matrix of scores: tiles of keys, softmax online, and a
// backward that computes the probabilities again from the saved log-sum of each row.
// Dao et al. 2022, arXiv:2205.14135; the delta form of the softmax backward: Dao 2023,
// arXiv:2307.08691.
#pragma once
#include <array>

#include "engine/dispatch.h"
#include "engine/scalar/hd.h"
#include "engine/tensor.h"

namespace ocellus {

/// SdpaMask — which keys a query sees, and what is added to its scores; all members may be absent.
struct SdpaMask {
  bool causal = false;  // key j ≤ query i + shift, shift = Tk - Tq
  int64_t prefix = 0;   // keys below this are exempt from causal and window
  int64_t window = 0;   // > 0: key j > query i + shift - window
  Tensor q_segment;     // [B, Tq] i32
  Tensor k_segment;     // [B, Tk] i32; equal ids attend, negative ids attend nothing
  Tensor bias;          // broadcastable to [B, H, Tq, Tk], of q's dtype
  Tensor slopes;        // [H] floating: score += slope·(j - i - shift)
  double softcap = 0;   // > 0: score = softcap·tanh(score/softcap), before all of the above
};

/// SdpaBand — the part of the mask that depends on positions alone: to key j it shows the queries
/// in [first_query(j), end_query(j)).
struct SdpaBand {
  int64_t shift, prefix, window;
  bool causal;
  HD int64_t first_query(int64_t j) const { return causal && j >= prefix ? j - shift : INT64_MIN; }
  HD int64_t end_query(int64_t j) const {
    return window > 0 && j >= prefix ? j - shift + window : INT64_MAX;
  }
};

struct SdpaOut {
  Tensor out;      // [B, Tq, H, D]
  Tensor log_sum;  // [B, H, Tq], f32 (f64 for f64): log Σ e^score; +infinity for a row that sees
                   // nothing
};

/// sdpa_forward — out = softmax(scale·q·kᵀ + bias)·v per head, 0 in rows that see no key.
/// q [B, Tq, H, D], k and v [B, Tk, K, D], H a multiple of K; one dtype. Outer strides are free; a
/// tensor whose last dimension is not contiguous is copied.
/// Cost: 4·D FLOPs per pair of query and key in a visible tile; beyond the inputs, one tile of
/// scores per thread.
SdpaOut sdpa_forward(OnCpu, const Tensor& q, const Tensor& k, const Tensor& v, const SdpaMask& mask,
                     double scale);
CUDA_TWIN SdpaOut sdpa_forward(OnCuda, const Tensor& q, const Tensor& k, const Tensor& v,
                               const SdpaMask& mask, double scale);
SdpaOut sdpa_forward(const Tensor& q, const Tensor& k, const Tensor& v, const SdpaMask& mask,
                     double scale);

/// What sdpa_backward reads: the inputs of the forward pass and its results.
struct SdpaSaved {
  Tensor q, k, v, out, log_sum;
  SdpaMask mask;
  double scale;
};

/// sdpa_backward — {dq, dk, dv, dbias} for the cotangent dout [B, Tq, H, D]; those that are not
/// needed stay undefined. dbias has the shape of the bias.
/// Probabilities p = e^{score - log_sum} are computed again by tiles; with δ = Σ_d dout·out,
///   dv = pᵀ·dout,  ds = p·(dout·vᵀ - δ),  dq = scale·ds·k,  dk = scale·dsᵀ·q,  dbias = ds;
/// with a soft cap, ds in dq and dk is multiplied by 1 - tanh².
/// Sums run in an order that depends on shapes only: over query tiles and heads of a group for dk
/// and dv, over key tiles for dq. Cost: 10·D FLOPs per pair, 4·D more if dbias is needed.
Tensors sdpa_backward(OnCpu, const SdpaSaved& saved, const Tensor& dout, std::array<bool, 4> needs);
CUDA_TWIN Tensors sdpa_backward(OnCuda, const SdpaSaved& saved, const Tensor& dout,
                                std::array<bool, 4> needs);
Tensors sdpa_backward(const SdpaSaved& saved, const Tensor& dout, std::array<bool, 4> needs);

}  // namespace ocellus
