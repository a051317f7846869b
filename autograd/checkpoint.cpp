#include "autograd/checkpoint.h"

#include "autograd/autocast.h"
#include "autograd/ops.h"
#include "autograd/tape.h"
#include "engine/random.h"

namespace ocellus {
namespace {

// The generator as it was at some point, until the end of the scope.
class GeneratorScope {
 public:
  explicit GeneratorScope(const Generator& state)
      : before_(std::exchange(default_generator(), state)) {}
  ~GeneratorScope() { default_generator() = before_; }
  GeneratorScope(const GeneratorScope&) = delete;

 private:
  Generator before_;
};

Sample checkpoint_sample(Rng& r, const Shape& shape, float p) {
  // The generator starts anew in each run, so that every evaluation draws the same masks.
  auto fn = [p](const Variables& in) {
    const Variable h = gelu_tanh(mul(in[0], in[1]));
    const Variable dropped = p > 0 ? dropout(h, p, default_generator().next()) : h;
    return Variables{mul(dropped, in[0]), square(h)};
  };
  auto seeded = [](const std::function<Variables()>& run) {
    const GeneratorScope scope{Generator(7)};
    return run();
  };
  return {.inputs = {r.normal(shape), r.normal(shape)},
          .run = [=](const Variables& in) { return seeded([&] { return checkpoint(fn, in); }); },
          .reference = [=](const Variables& in) { return seeded([&] { return fn(in); }); }};
}

}  // namespace

static const OpDef kCheckpoint{.name = "checkpoint",
                               .inputs = {{"input…"}},
                               .precision = Precision::kFollow,
                               .samples = {{"two outputs",
                                            [](Rng& r) {
                                              return checkpoint_sample(r, {3, 4}, 0);
                                            }},
                                           {"dropout inside",
                                            [](Rng& r) {
                                              return checkpoint_sample(r, {4, 8}, 0.25f);
                                            }},
                                           {"large",
                                            [](Rng& r) {
                                              return checkpoint_sample(r, {131, 139}, 0);
                                            }},
                                           {"odd", [](Rng& r) { return checkpoint_sample(r, {7}, 0); }}}};

Variables checkpoint(const std::function<Variables(const Variables&)>& fn,
                     const Variables& inputs) {
  if (!Tape::active()) return fn(inputs);
  const Generator generator = default_generator();
  const DType low = Autocast::low_type();
  Tensors outputs;
  take_parameter_was_read();
  {
    StopRecording stop;
    Variables constants;
    for (const Variable& x : inputs) constants.push_back(constant(x.value()));
    for (const Variable& y : fn(constants)) outputs.push_back(y.value());
  }
  const bool reads_parameters = take_parameter_was_read();
  std::vector<SavedTensor> saved;
  for (const Variable& x : inputs) saved.push_back(save(x));

  auto backward = [fn, saved, generator, low, count = outputs.size()](const Tensors& dys,
                                                                      Needs needs) {
    const GeneratorScope same_random_numbers(generator);
    const Autocast same_precision(low);
    Tape tape;
    Variables replayed_inputs;
    for (size_t i = 0; i < saved.size(); ++i)
      replayed_inputs.push_back(needs[i] ? leaf(saved[i]()) : constant(saved[i]()));
    const Variables ys = fn(replayed_inputs);
    check<AutogradError>(ys.size() == count,
                         "checkpoint: the function gave {} outputs in backward, {} in forward",
                         ys.size(), count);
    Variables roots;
    Tensors cotangents;
    for (size_t k = 0; k < count; ++k)
      if (dys[k].defined() && ys[k].requires_grad()) {
        roots.push_back(ys[k]);
        cotangents.push_back(dys[k]);
      }
    tape.backward(roots, cotangents);
    Tensors gradients(saved.size());
    for (size_t i = 0; i < saved.size(); ++i)
      if (needs[i]) gradients[i] = tape.gradient(replayed_inputs[i]);
    return gradients;
  };
  return record_node(kCheckpoint, inputs, std::move(outputs), std::move(backward), nullptr,
                     reads_parameters);
}

}  // namespace ocellus
