// What kernels include under nvcc; the emulator answers in its place.
#pragma once
#include "cuda/simt/simt.h"
