// Activation checkpointing: keep the inputs of a part of the model, run it again in backward.
#pragma once
#include <functional>

#include "autograd/variable.h"

namespace ocellus {

/// checkpoint — ys = fn(inputs), whose inner activations are not kept: backward runs fn once more,
/// on an inner tape.  Chen et al. 2016, arXiv:1604.06174.   Saves the inputs.
///
/// fn runs with the same state of default_generator() and the same autocast both times, so
/// gradients have the bits of the plain run (where an input is used outside fn as well, sums of its
/// gradient associate differently). The node is recorded also if no input requires a gradient but
/// fn read a trainable parameter; gradients of parameters reach them while fn is replayed.
/// Other Variables of the tape must come in through `inputs`: one that fn captures is an
/// AutogradError in backward. Throws AutogradError if fn gives another number of outputs then.
Variables checkpoint(const std::function<Variables(const Variables&)>& fn, const Variables& inputs);

}  // namespace ocellus
