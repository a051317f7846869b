// HD marks code that the host compiler and nvcc both compile: one arithmetic for CPU and CUDA.
#pragma once
#if defined(__CUDACC__)
#define HD __host__ __device__
#else
#define HD
#endif
