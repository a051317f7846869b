// ocellus bench step: a training step at the shapes of tools/bench/torch_step.py, with its field names.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>

#include "autograd/autocast.h"
#include "engine/file.h"
#include "engine/kernels/optim.h"
#include "engine/parallel.h"
#include "nn/optim/optimizer.h"
#include "tools/ocellus/bench_data.h"
#include "tools/ocellus/command.h"
#include "tools/ocellus/machine.h"
#include "vlm/flops.h"
#include "vlm/language_loss.h"

namespace ocellus {
namespace {

struct Arguments {
  std::string model = "quickstart", device = "auto", dtype = "f32";
  int64_t threads = 0, seed = 0, batch = 0, text = 0, steps = 10, warmup = 2;
  bool json = false;
};

struct Shapes {
  const char* name;
  VlmConfig config;
  int64_t batch, text;
};

VisionConfig vision(int64_t image, int64_t patch, int64_t dim, int64_t layers, int64_t heads, int64_t mlp) {
  VisionConfig v;
  v.image_size = image;
  v.patch_size = patch;
  v.hidden_size = dim;
  v.num_hidden_layers = layers;
  v.num_attention_heads = heads;
  v.intermediate_size = mlp;
  v.use_head = false;
  return v;
}

DecoderConfig language(int64_t vocab, int64_t dim, int64_t layers, int64_t heads, int64_t kv, int64_t mlp) {
  DecoderConfig l;
  l.vocab_size = vocab;
  l.hidden_size = dim;
  l.num_hidden_layers = layers;
  l.num_attention_heads = heads;
  l.num_key_value_heads = kv;
  l.head_dim = dim / heads;
  l.intermediate_size = mlp;
  l.tie_word_embeddings = true;
  return l;
}

std::vector<Shapes> all_shapes() {
  auto vlm = [](VisionConfig v, DecoderConfig l, int64_t factor) {
    VlmConfig c;
    c.connector = {"pixel_shuffle", factor, "gelu", v.hidden_size, l.hidden_size};
    c.vision = std::move(v);
    c.language = std::move(l);
    return c;
  };
  return {{"quickstart", vlm(vision(64, 8, 128, 4, 4, 512), language(512, 128, 4, 4, 2, 384), 2), 32, 24},
          {"nanovlm222", vlm(vision(224, 16, 768, 12, 12, 3072), language(49152, 576, 30, 9, 3, 1536), 2), 4, 79},
          {"smolvlm256", vlm(vision(512, 16, 768, 12, 12, 3072), language(49152, 576, 30, 9, 3, 1536), 4), 1, 192}};
}

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Seconds since the kernel started this process, in clock ticks of 10 ms.
double since_process_start() {
  std::string stat = read_file("/proc/self/stat");
  size_t at = stat.rfind(')');
  for (int field = 0; field < 20; ++field) at = stat.find(' ', at + 1);
  const double ticks = std::stod(stat.substr(at + 1));
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9 -
         ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

VlmBatch synthetic_batch(const VlmConfig& c, int64_t batch, int64_t text, int64_t image_tokens, uint64_t seed) {
  VlmBatch b;
  const int64_t width = image_tokens + text;
  const RngKey ids_key{seed, 1}, pixel_key{seed, 2};
  std::vector<int64_t> ids(static_cast<size_t>(batch * width)), labels(ids.size(), -100), rows;
  for (int64_t r = 0; r < batch; ++r)
    for (int64_t t = 0; t < width; ++t) {
      const int64_t i = r * width + t;
      ids[i] = ids_key.word(static_cast<uint64_t>(i)) % static_cast<uint64_t>(c.language.vocab_size);
      if (t < image_tokens)
        rows.push_back(i);
      else
        labels[i] = ids[i];
    }
  b.ids = Tensor::from(ids, {batch, width});
  b.labels = Tensor::from(labels, {batch, width});
  b.image_rows = Tensor::from(rows, {static_cast<int64_t>(rows.size())});
  const int64_t side = c.vision.image_size;
  b.pixels = Tensor::empty({batch, 3, side, side}, DType::kF32);
  float* pixels = b.pixels.mutable_data<float>("bench");
  for (int64_t i = 0; i < b.pixels.numel(); ++i)
    pixels[i] = 2 * uniform01(pixel_key.word(static_cast<uint64_t>(i))) - 1;
  return b;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

int run_step(const Arguments& a) {
  choose_device(a.device);
  const DType dtype = choose_dtype(a.dtype, {DType::kF32, DType::kBF16});
  use_threads(a.threads);
  const std::vector<Shapes> shapes = all_shapes();
  auto found = std::find_if(shapes.begin(), shapes.end(), [&](const Shapes& s) { return a.model == s.name; });
  check<UsageError>(found != shapes.end(),
                    "bench step: --model must be one of quickstart, nanovlm222, smolvlm256, got \"{}\"", a.model);
  check<UsageError>(a.steps > 0 && a.warmup >= 0, "bench step: --steps must be positive, got {}", a.steps);
  const VlmConfig& config = found->config;
  const int64_t batch = a.batch > 0 ? a.batch : found->batch, text = a.text > 0 ? a.text : found->text;
  const double build_start = seconds();
  Vlm model(config);
  init_parameters(model, static_cast<uint64_t>(a.seed));
  const int64_t image_tokens = model.tokens_per_image(config.vision.image_size);
  const VlmBatch data = synthetic_batch(config, batch, text, image_tokens, static_cast<uint64_t>(a.seed));
  OptimizerConfig settings;
  settings.betas = {0.9, 0.95};
  Optimizer optimizer(settings, group_parameters(model, {{"*", 1e-4}}, 0.1));
  const double build = seconds() - build_start;
  std::vector<double> forward_ms, backward_ms, optimizer_ms, step_ms;
  double loss = 0, first_loss = 0;
  auto step = [&](bool record) {
    const double begin = seconds();
    double middle = 0, end = 0;
    {
      Autocast precision(dtype);
      Tape tape;
      const Variable hidden = model.hidden(data);
      const LossSum sum = model.language().loss(hidden, data.labels);
      loss = sum.sum.value().item() / static_cast<double>(sum.count);
      middle = seconds();
      tape.backward(sum.sum, 1.0 / static_cast<double>(sum.count));
      end = seconds();
    }
    optimizer.step(1, clip_factor(optimizer.gradient_norm(), 1.0));
    model.clear_gradients();
    const double done = seconds();
    if (!record) return;
    forward_ms.push_back((middle - begin) * 1e3);
    backward_ms.push_back((end - middle) * 1e3);
    optimizer_ms.push_back((done - end) * 1e3);
    step_ms.push_back((done - begin) * 1e3);
  };
  const double first_start = seconds();
  step(false);
  first_loss = loss;
  const double first = seconds() - first_start, process = since_process_start();
  for (int64_t i = 0; i < a.warmup; ++i) step(false);
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  for (int64_t i = 0; i < a.steps; ++i) step(true);
  getrusage(RUSAGE_SELF, &after);
  auto cpu_ms = [](const timeval& x, const timeval& y) {
    return 1e3 * static_cast<double>(y.tv_sec - x.tv_sec) + 1e-3 * static_cast<double>(y.tv_usec - x.tv_usec);
  };
  const double n = static_cast<double>(a.steps), mid = median(step_ms) * 1e-3;
  const StepFlops flops = step_flops(config, batch, text);
  const double tokens = static_cast<double>(batch * (text + image_tokens));
  const nlohmann::json out = {
      {"bench", "ocellus_step"},
      {"model", a.model},
      {"batch", batch},
      {"text_tokens", text},
      {"image_tokens", image_tokens},
      {"dtype", a.dtype},
      {"device", "cpu"},
      {"threads", num_threads()},
      {"steps", a.steps},
      {"step_ms", {{"median", mid * 1e3},
                   {"min", *std::min_element(step_ms.begin(), step_ms.end())},
                   {"max", *std::max_element(step_ms.begin(), step_ms.end())}}},
      {"forward_ms", median(forward_ms)},
      {"backward_ms", median(backward_ms)},
      {"optimizer_ms", median(optimizer_ms)},
      {"optimizer", "AdamW fused"},
      {"tokens_per_s", tokens / mid},
      {"images_per_s", static_cast<double>(batch) / mid},
      {"params", model.parameter_count()},
      {"trainable_params", model.parameter_count(true)},
      {"gflop_per_step", flops.total() / 1e9},
      {"gflop_forward", flops.forward / 1e9},
      {"tflop_per_s", flops.total() / mid / 1e12},
      {"peak_rss_mb", static_cast<double>(after.ru_maxrss) / 1024},
      {"peak_allocated_mb", static_cast<double>(allocator_of(kCpu)->stats().peak) / (1 << 20)},
      {"minor_faults_per_step", static_cast<double>(after.ru_minflt - before.ru_minflt) / n},
      {"user_ms_per_step", cpu_ms(before.ru_utime, after.ru_utime) / n},
      {"system_ms_per_step", cpu_ms(before.ru_stime, after.ru_stime) / n},
      {"build_s", build},
      {"first_step_s", first},
      {"process_to_first_step_s", process},
      {"loss_first", first_loss},
      {"loss_last", loss}};
  if (a.json)
    fmt::print("{}\n", out.dump());
  else
    fmt::print("{}\n", out.dump(2));
  return 0;
}

int run_ops(const Arguments& a) {
  use_threads(a.threads);
  const nlohmann::json out = {{"threads", num_threads()}, {"copy_gb_per_s", measure_copy_bandwidth()},
                              {"products", measure_products()}};
  if (a.json) {
    fmt::print("{}\n", out.dump());
    return 0;
  }
  fmt::print("{} threads, copy {:.1f} GB/s\n", num_threads(), out["copy_gb_per_s"].get<double>());
  fmt::print("{:<22} {:>10} {:>10} {:>10}   GFLOP/s, median of 7\n", "M x K x N", "NT", "NN", "TN");
  for (const auto& row : out["products"])
    fmt::print("{:<22} {:>10.1f} {:>10.1f} {:>10.1f}\n", row["shape"].get<std::string>(),
               row["nt"].get<double>(), row["nn"].get<double>(), row["tn"].get<double>());
  return 0;
}

const RegisterCommand kBench({"bench", "timings as medians", "ocellus bench step --model quickstart --threads 2 --steps 20",
                              [](Options& options) -> std::function<int()> {
                                auto a = std::make_shared<Arguments>();
                                Options step = options.subcommand("step", "a whole training step",
                                                                  [a] { return run_step(*a); });
                                step.option("--model", a->model, "quickstart, nanovlm222 or smolvlm256");
                                step.option("--batch", a->batch, "samples; 0: the model's default");
                                step.option("--text", a->text, "text tokens a sample; 0: the model's default");
                                step.option("--steps", a->steps, "steps to time");
                                step.option("--warmup", a->warmup, "steps before them");
                                step.device(a->device);
                                step.dtype(a->dtype, "f32, bf16");
                                step.threads(a->threads);
                                step.seed(a->seed);
                                step.json(a->json);
                                Options ops = options.subcommand("ops", "matrix products beside copy bandwidth",
                                                                 [a] { return run_ops(*a); });
                                ops.threads(a->threads);
                                ops.json(a->json);
                                auto d = std::make_shared<BenchData>();
                                Options data = options.subcommand(
                                    "data", "pictures from files to numbers", [d] { return run_bench_data(*d); });
                                data.option("--images", d->images, "folder of JPEG and PNG files", true);
                                data.option("--size", d->size, "side to resize to");
                                data.option("--repeat", d->repeat, "rounds over all files");
                                data.threads(d->threads);
                                data.json(d->json);
                                for (const char* later : {"ladder", "attention", "decode"})
                                  options.subcommand(later, "not built yet", [later]() -> int {
                                    fail<UsageError>("bench {}: not built yet", later);
                                  });
                                return [] { return 2; };
                              }});

}  // namespace
}  // namespace ocellus
