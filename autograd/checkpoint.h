// Activation checkpointing: keep the inputs of a part of the model, run it again in backward.
#pragma once
#include <functional>

#include "autograd/variable.h"

namespace ocellus {

/// checkpoint — y = fn(inputs), whose inner activations are not kept: backward runs fn once more on an inner
/// tape. Gradients are bit-equal to those of the plain run: random numbers and autocast are as they were. The
/// node is recorded also if no input requires a gradient but fn read a trainable parameter. Chen et al. 2016,
/// arXiv:1604.06174.   Saves the inputs.
Variables checkpoint(const std::function<Variables(const Variables&)>& fn, const Variables& inputs);

}  // namespace ocellus
