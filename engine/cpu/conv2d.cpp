#include "engine/kernels/conv2d.h"

#include <algorithm>

#include "engine/cpu/row_blocks.h"
#include "engine/cpu/tensor_gemm.h"
#include "engine/rows/lanes.h"

namespace ocellus {
namespace {

struct Sizes {
  int64_t batch, channels, height, width;           // of x
  int64_t out_channels, out_height, out_width;      // of y
  int64_t group_in, group_out, kernel_h, kernel_w;  // of one group
  ConvShape shape;

  Sizes(const Shape& x, const Shape& w, ConvShape s)
      : batch(x[0]),
        channels(x[1]),
        height(x[2]),
        width(x[3]),
        out_channels(w[0]),
        out_height(s.out(x[2], w[2])),
        out_width(s.out(x[3], w[3])),
        group_in(w[1]),
        group_out(w[0] / s.groups),
        kernel_h(w[2]),
        kernel_w(w[3]),
        shape(s) {}
  int64_t plane() const { return height * width; }
  int64_t out_plane() const { return out_height * out_width; }
  int64_t taps() const { return group_in * kernel_h * kernel_w; }
  bool depthwise() const { return group_in == 1 && shape.groups > 1; }
  bool pointwise() const {
    return kernel_h == 1 && kernel_w == 1 && shape.stride == 1 && shape.padding == 0;
  }
};

// Output positions [begin, end) along an axis whose tap `k` lies inside of `size`.
struct Span {
  int64_t begin, end;
};
Span inside(int64_t k, int64_t size, int64_t out, const ConvShape& s) {
  const int64_t lack = s.padding - k;  // input position = i·stride - lack
  const int64_t begin = lack > 0 ? (lack + s.stride - 1) / s.stride : 0;
  const int64_t last = size - 1 + lack;
  const int64_t end = last < 0 ? 0 : std::min(out, last / s.stride + 1);
  return {std::min(begin, end), end};
}

// visit(output row, output columns [begin, end), input position of the first): every run of a row
// that tap (u, v) sees inside the picture.
template <class F>
void for_runs(const Sizes& z, int64_t u, int64_t v, F&& visit) {
  const Span rows = inside(u, z.height, z.out_height, z.shape);
  const Span columns = inside(v, z.width, z.out_width, z.shape);
  if (columns.begin == columns.end) return;
  for (int64_t i = rows.begin; i < rows.end; ++i)
    visit(i, columns,
          (i * z.shape.stride + u - z.shape.padding) * z.width + columns.begin * z.shape.stride +
              v - z.shape.padding);
}

// Channels of one group of one picture as [taps, out_plane]: row (c, u, v) is what that tap sees.
// `matrix` arrives zeroed; what falls on padding is never written.
template <class T>
void windows_of(const Sizes& z, const T* x, T* matrix) {
  const int64_t per_channel = z.kernel_h * z.kernel_w;
  parallel_for(z.taps(), rows_per_chunk(z.out_plane()), [&](int64_t begin, int64_t end) {
    for (int64_t tap = begin; tap < end; ++tap) {
      const T* plane = x + tap / per_channel * z.plane();
      T* row = matrix + tap * z.out_plane();
      for_runs(z, tap % per_channel / z.kernel_w, tap % z.kernel_w,
               [&](int64_t i, Span columns, int64_t from) {
                 T* to = row + i * z.out_width;
                 for (int64_t j = columns.begin; j < columns.end; ++j, from += z.shape.stride)
                   to[j] = plane[from];
               });
    }
  });
}

// The transposed map: adds the matrix up into channels.
template <class A>
void add_windows(const Sizes& z, const A* matrix, A* x) {
  const int64_t per_channel = z.kernel_h * z.kernel_w;
  parallel_for(
      z.group_in, rows_per_chunk(per_channel * z.out_plane()), [&](int64_t begin, int64_t end) {
        for (int64_t tap = begin * per_channel; tap < end * per_channel; ++tap) {
          A* plane = x + tap / per_channel * z.plane();
          const A* row = matrix + tap * z.out_plane();
          for_runs(z, tap % per_channel / z.kernel_w, tap % z.kernel_w,
                   [&](int64_t i, Span columns, int64_t to) {
                     const A* from = row + i * z.out_width;
                     for (int64_t j = columns.begin; j < columns.end; ++j, to += z.shape.stride)
                       plane[to] += from[j];
                   });
        }
      });
}

// visit(batch, group): the pictures of groups, in order.
template <class F>
void for_groups(const Sizes& z, F&& visit) {
  for (int64_t b = 0; b < z.batch; ++b)
    for (int64_t g = 0; g < z.shape.groups; ++g) visit(b, g);
}

template <class T>
void forward_matrix(const Sizes& z, const T* x, const T* w, T* y) {
  std::vector<T> matrix(z.pointwise() ? 0 : static_cast<size_t>(z.taps() * z.out_plane()));
  for_groups(z, [&](int64_t b, int64_t g) {
    const T* picture = x + (b * z.channels + g * z.group_in) * z.plane();
    if (!z.pointwise()) windows_of(z, picture, matrix.data());
    gemm(z.group_out, z.out_plane(), z.taps(),
         Operand<T>{w + g * z.group_out * z.taps(), z.taps(), 1},
         Operand<T>{z.pointwise() ? picture : matrix.data(), z.out_plane(), 1},
         y + (b * z.out_channels + g * z.group_out) * z.out_plane(), z.out_plane(), true);
  });
}

// One channel per group: each output plane is the sum over taps of one input plane.
template <class T>
void forward_depthwise(const Sizes& z, const T* x, const T* w, T* y) {
  using A = AccT<T>;
  parallel_for(z.batch * z.out_channels, 1, [&](int64_t begin, int64_t end) {
    std::vector<A> sum(static_cast<size_t>(z.out_plane()));
    for (int64_t item = begin; item < end; ++item) {
      const int64_t b = item / z.out_channels, o = item % z.out_channels;
      const T* plane = x + (b * z.channels + o / z.group_out) * z.plane();
      const T* taps = w + o * z.taps();
      T* out = y + item * z.out_plane();
      for (int64_t i = 0; i < z.out_plane(); ++i) sum[i] = static_cast<A>(out[i]);  // the bias
      for (int64_t tap = 0; tap < z.taps(); ++tap) {
        const A weight = static_cast<A>(taps[tap]);
        for_runs(z, tap / z.kernel_w, tap % z.kernel_w, [&](int64_t i, Span columns, int64_t from) {
          A* to = sum.data() + i * z.out_width + columns.begin;
          const T* source = plane + from;
          const int64_t count = columns.end - columns.begin, step = z.shape.stride;
          if (step == 1) {
#pragma omp simd
            for (int64_t j = 0; j < count; ++j) to[j] += weight * static_cast<A>(source[j]);
          } else {
            for (int64_t j = 0; j < count; ++j) to[j] += weight * static_cast<A>(source[j * step]);
          }
        });
      }
      for (int64_t i = 0; i < z.out_plane(); ++i) out[i] = static_cast<T>(sum[i]);
    }
  });
}

template <class T>
void input_matrix(const Sizes& z, const T* dy, const T* w, T* dx) {
  using A = AccT<T>;
  std::vector<A> matrix(static_cast<size_t>(z.taps() * z.out_plane()));
  std::vector<A> sum(static_cast<size_t>(z.group_in * z.plane()));
  for_groups(z, [&](int64_t b, int64_t g) {
    gemm(z.taps(), z.out_plane(), z.group_out,
         Operand<T>{w + g * z.group_out * z.taps(), z.taps(), 1}.transposed(),
         Operand<T>{dy + (b * z.out_channels + g * z.group_out) * z.out_plane(), z.out_plane(), 1},
         matrix.data(), z.out_plane());
    std::fill(sum.begin(), sum.end(), A(0));
    add_windows(z, matrix.data(), sum.data());
    T* to = dx + (b * z.channels + g * z.group_in) * z.plane();
    for (size_t i = 0; i < sum.size(); ++i) to[i] = static_cast<T>(sum[i]);
  });
}

template <class T>
void input_depthwise(const Sizes& z, const T* dy, const T* w, T* dx) {
  using A = AccT<T>;
  parallel_for(z.batch * z.channels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t b = item / z.channels, c = item % z.channels;
      std::vector<A> sum(static_cast<size_t>(z.plane()));
      for (int64_t o = c * z.group_out; o < (c + 1) * z.group_out; ++o) {
        const T* from = dy + (b * z.out_channels + o) * z.out_plane();
        for (int64_t tap = 0; tap < z.taps(); ++tap) {
          const A weight = static_cast<A>(w[o * z.taps() + tap]);
          for_runs(z, tap / z.kernel_w, tap % z.kernel_w, [&](int64_t i, Span columns, int64_t at) {
            A* to = sum.data() + at;
            const T* source = from + i * z.out_width + columns.begin;
            const int64_t count = columns.end - columns.begin, step = z.shape.stride;
            if (step == 1) {
#pragma omp simd
              for (int64_t j = 0; j < count; ++j) to[j] += weight * static_cast<A>(source[j]);
            } else {
              for (int64_t j = 0; j < count; ++j)
                to[j * step] += weight * static_cast<A>(source[j]);
            }
          });
        }
      }
      for (int64_t i = 0; i < z.plane(); ++i) dx[item * z.plane() + i] = static_cast<T>(sum[i]);
    }
  });
}

template <class T>
void weight_matrix(const Sizes& z, const T* dy, const T* x, AccT<T>* dw) {
  std::vector<T> matrix(z.pointwise() ? 0 : static_cast<size_t>(z.taps() * z.out_plane()));
  for_groups(z, [&](int64_t b, int64_t g) {
    const T* picture = x + (b * z.channels + g * z.group_in) * z.plane();
    if (!z.pointwise()) windows_of(z, picture, matrix.data());
    gemm(z.group_out, z.taps(), z.out_plane(),
         Operand<T>{dy + (b * z.out_channels + g * z.group_out) * z.out_plane(), z.out_plane(), 1},
         Operand<T>{z.pointwise() ? picture : matrix.data(), z.out_plane(), 1}.transposed(),
         dw + g * z.group_out * z.taps(), z.taps(), b > 0);
  });
}

template <class T>
void weight_depthwise(const Sizes& z, const T* dy, const T* x, AccT<T>* dw) {
  using A = AccT<T>;
  parallel_for(z.out_channels * z.taps(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t o = item / z.taps(), tap = item % z.taps();
      A total = 0;
      for (int64_t b = 0; b < z.batch; ++b) {
        const T* gradient = dy + (b * z.out_channels + o) * z.out_plane();
        const T* plane = x + (b * z.channels + o / z.group_out) * z.plane();
        for_runs(z, tap / z.kernel_w, tap % z.kernel_w, [&](int64_t i, Span columns, int64_t at) {
          const T *p = gradient + i * z.out_width + columns.begin, *q = plane + at;
          A run = 0;
#pragma omp simd reduction(+ : run)
          for (int64_t j = 0; j < columns.end - columns.begin; ++j)
            run += static_cast<A>(p[j]) * static_cast<A>(q[j * z.shape.stride]);
          total += run;
        });
      }
      dw[item] = total;
    }
  });
}

}  // namespace

Tensor conv2d_forward(OnCpu, const Tensor& x_any, const Tensor& weight_any, const Tensor& bias,
                      ConvShape shape) {
  const Tensor x = x_any.contiguous(), weight = weight_any.contiguous();
  const Sizes z(x.shape(), weight.shape(), shape);
  Tensor y = Tensor::zeros({z.batch, z.out_channels, z.out_height, z.out_width}, x.dtype(), kCpu,
                           "conv2d");
  on_float("conv2d", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* to = y.mutable_data<T>("conv2d");
    if (bias.defined()) {
      const Tensor offsets = bias.to(x.dtype()).contiguous();
      for (int64_t item = 0; item < z.batch * z.out_channels; ++item)
        std::fill_n(to + item * z.out_plane(), z.out_plane(),
                    offsets.data<T>()[item % z.out_channels]);
    }
    if (z.depthwise())
      forward_depthwise(z, x.data<T>(), weight.data<T>(), to);
    else
      forward_matrix(z, x.data<T>(), weight.data<T>(), to);
  });
  return y;
}

Tensor conv2d_backward_input(OnCpu, const Tensor& dy_any, const Tensor& weight_any,
                             const Shape& x_shape, ConvShape shape) {
  const Tensor dy = dy_any.contiguous(), weight = weight_any.contiguous();
  const Sizes z(x_shape, weight.shape(), shape);
  Tensor dx = Tensor::empty(x_shape, dy.dtype(), kCpu, "conv2d");
  on_float("conv2d", dy.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* to = dx.mutable_data<T>("conv2d");
    if (z.depthwise())
      input_depthwise(z, dy.data<T>(), weight.data<T>(), to);
    else
      input_matrix(z, dy.data<T>(), weight.data<T>(), to);
  });
  return dx;
}

Tensor conv2d_backward_weight(OnCpu, const Tensor& dy_any, const Tensor& x_any,
                              const Shape& weight_shape, ConvShape shape, DType dtype) {
  const Tensor dy = dy_any.contiguous(), x = x_any.contiguous();
  const Sizes z(x.shape(), weight_shape, shape);
  const DType wide = dy.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  Tensor dw = Tensor::zeros(weight_shape, wide, kCpu, "conv2d");
  on_float("conv2d", dy.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    auto* to = dw.mutable_data<AccT<T>>("conv2d");
    if (z.depthwise())
      weight_depthwise(z, dy.data<T>(), x.data<T>(), to);
    else
      weight_matrix(z, dy.data<T>(), x.data<T>(), to);
  });
  return dw.to(dtype);
}

Tensor channel_sums(OnCpu, const Tensor& x_any, DType dtype) {
  const Tensor x = x_any.contiguous();
  const int64_t batch = x.dim(0), channels = x.dim(1), plane = x.dim(2) * x.dim(3);
  const DType wide = x.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  Tensor sums = Tensor::empty({channels}, wide, kCpu, "conv2d");
  on_float("conv2d", x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = AccT<T>;
    const T* from = x.data<T>();
    A* to = sums.mutable_data<A>("conv2d");
    parallel_for(channels, rows_per_chunk(batch * plane), [&](int64_t begin, int64_t end) {
      RowBuffer<T> row(plane);
      for (int64_t c = begin; c < end; ++c) {
        to[c] = 0;
        for (int64_t b = 0; b < batch; ++b) {
          const A* v = row.load(from + (b * channels + c) * plane);
          to[c] += sum_row<A>(plane, [v]<class V>(int64_t i) { return at<V>(v, i); });
        }
      }
    });
  });
  return sums.to(dtype);
}

}  // namespace ocellus
