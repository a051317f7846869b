# The CUDA backend: compilers, flags, the object library ocellus_cuda. Included with -DOCELLUS_CUDA=ON.
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(CMAKE_CUDA_COMPILER nvcc PATHS /usr/local/cuda/bin)
endif()
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  message(FATAL_ERROR "nvcc is missing; install NVIDIA's package cuda-toolkit (12.4 or newer) or set CMAKE_CUDA_COMPILER")
endif()

# The GPU at hand, or sm_90 where there is none (a build machine).
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  execute_process(COMMAND nvidia-smi -L RESULT_VARIABLE no_gpu OUTPUT_QUIET ERROR_QUIET)
  if(no_gpu STREQUAL "0")
    set(CMAKE_CUDA_ARCHITECTURES native)
  else()
    set(CMAKE_CUDA_ARCHITECTURES 90)
  endif()
endif()
enable_language(CUDA)
# CUDA takes the standard of C++; CMake 3.25 does not know that nvcc has that one.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_FIND_LIBRARY_SUFFIXES .so .a)  # cuBLASLt has no static library worth linking
find_package(CUDAToolkit REQUIRED)

# relaxed-constexpr: the monoids of engine/rows start from std::numeric_limits.
# FMT_…: fmt 9 mixes constexpr and not under nvcc; format strings are checked by g++ and at run time.
target_compile_options(ocellus_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr -DFMT_USE_CONSTEXPR=1 -DFMT_CONSTEVAL= -Werror=all-warnings
    -Xcompiler=-Wall,-Wextra,-Wno-unknown-pragmas,-Werror>)

file(GLOB cuda_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/cuda/kernels/*.cu ${CMAKE_SOURCE_DIR}/cuda/ladder/*.cu
  ${CMAKE_SOURCE_DIR}/cuda/runtime/*.cpp ${CMAKE_SOURCE_DIR}/cuda/ladder/*.cpp)
add_library(ocellus_cuda OBJECT ${cuda_sources})
target_link_libraries(ocellus_cuda PUBLIC ocellus_flags CUDA::cudart_static CUDA::cublasLt)

# The program exists already; the test programs, made later, take the list.
target_link_libraries(ocellus PRIVATE ocellus_cuda)
list(APPEND OCELLUS_OBJECTS ocellus_cuda)
check_twins(ocellus)
