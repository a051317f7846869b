#include "autograd/checkpoint.h"

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"
#include "engine/random.h"

namespace ocellus {

static Sample sample(Rng& r, const Shape& shape) {
  auto fn = [](const Variables& in) {
    const Variable h = gelu_tanh(mul(in[0], in[1]));
    return Variables{mul(h, in[0]), square(h)};
  };
  return {.inputs = {r.normal(shape), r.normal(shape)},
          .run = [fn](const Variables& in) { return checkpoint(fn, in); },
          .reference = fn};
}
static const OpDef kCheckpoint{
    .name = "checkpoint",
    .inputs = {{"input…"}},
    .precision = Precision::kFollow,
    .samples = {{"two outputs", [](Rng& r) { return sample(r, {3, 4}); }},
                {"odd", [](Rng& r) { return sample(r, {7}); }}}};

Variables checkpoint(const std::function<Variables(const Variables&)>& fn, const Variables& inputs) {
  if (!Tape::active()) return fn(inputs);
  Generator& generator = default_generator();
  const Generator before = generator;
  const DType low = Autocast::low_type();
  Tensors outputs;
  take_parameter_was_read();
  {
    StopRecording stop;
    Variables constants;
    for (const Variable& x : inputs) constants.emplace_back(x.value());
    for (const Variable& y : fn(constants)) outputs.push_back(y.value());
  }
  const bool always = take_parameter_was_read();
  std::vector<SavedTensor> saved;
  for (const Variable& x : inputs) saved.push_back(save(x));
  return record_node(
      kCheckpoint, inputs, std::move(outputs),
      [fn, saved, before, low](const Tensors& dys, Needs needs) {
        Generator& now = default_generator();
        const Generator after = now;
        now = before;
        Autocast precision(low);
        Tape tape;
        Variables leaves, roots;
        for (size_t i = 0; i < saved.size(); ++i)
          leaves.push_back(needs[i] ? leaf(saved[i]()) : constant(saved[i]()));
        const Variables ys = fn(leaves);
        Tensors cotangents;
        for (size_t k = 0; k < ys.size(); ++k)
          if (dys[k].defined() && ys[k].requires_grad()) {
            roots.push_back(ys[k]);
            cotangents.push_back(dys[k]);
          }
        tape.backward(roots, cotangents);
        now = after;
        Tensors gradients(saved.size());
        for (size_t i = 0; i < saved.size(); ++i)
          if (needs[i]) gradients[i] = tape.gradient(leaves[i]);
        return gradients;
      },
      nullptr, always);
}

}  // namespace ocellus
