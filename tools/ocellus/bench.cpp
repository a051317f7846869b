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
#include "engine/kernels/upload.h"
#include "engine/parallel.h"
#include "nn/checkpoint_file.h"
#include "nn/optim/optimizer.h"
#include "tools/ocellus/bench_attention.h"
#include "tools/ocellus/bench_data.h"
#include "tools/ocellus/bench_device.h"
#include "tools/ocellus/bench_models.h"
#include "tools/ocellus/bench_tokenizer.h"
#include "tools/ocellus/command.h"
#include "tools/ocellus/machine.h"

namespace ocellus {
namespace {

struct BenchArguments {
  BenchOptions options;
  std::string device = "auto", dtype = "f32", dump;
  int64_t threads = 0, steps = 10, warmup = 2;
  bool json = false;
};

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

double resident_mb() {
  const std::string pages = read_file("/proc/self/statm");
  return std::stod(pages.substr(pages.find(' ') + 1)) * static_cast<double>(sysconf(_SC_PAGE_SIZE)) / (1 << 20);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

int run_step(const BenchArguments& a) {
  const Device device = choose_device(a.device);
  const ParameterDevice placed(device);
  const DType dtype = choose_dtype(a.dtype, {DType::kF32, DType::kBF16});
  use_threads(a.threads);
  check<UsageError>(a.steps > 0 && a.warmup >= 0, "bench step: --steps must be positive, got {}", a.steps);
  const double build_start = steady_seconds();
  BenchModel model = make_bench_model(a.options);
  OptimizerConfig settings;
  settings.betas = {0.9, 0.95};
  Optimizer optimizer(settings, group_parameters(*model.module, {{"*", 1e-4}}, 0.1));
  const double build = steady_seconds() - build_start, rss_model = resident_mb();
  std::vector<double> forward_ms, backward_ms, optimizer_ms, step_ms;
  double loss = 0, first_loss = 0;
  check<UsageError>(a.dump.empty() || !model.config.empty(),
                    "bench step: --dump is for vision-language models, got {}", a.options.model);
  // What another program needs to repeat the first step: the model, the batch, and what came out.
  auto write_dump = [&] {
    std::vector<std::pair<std::string, Tensor>> tensors = model.inputs;
    tensors.emplace_back("loss", Tensor::scalar(loss, DType::kF64));
    for (auto& [name, parameter] : model.module->parameters()) {
      tensors.emplace_back(name, parameter->value());
      if (parameter->grad().defined()) tensors.emplace_back("grad." + name, parameter->grad());
    }
    save_safetensors(a.dump + "/step.safetensors", tensors);
    write_file_atomic(a.dump + "/config.json", model.config);
  };
  auto step = [&](bool record) {
    const double begin = steady_seconds();
    double middle = 0, end = 0;
    {
      Autocast precision(dtype);
      Tape tape;
      const LossSum sum = model.loss();
      loss = sum.sum.value().item() / static_cast<double>(sum.count);
      middle = steady_seconds();
      tape.backward(sum.sum, 1.0 / static_cast<double>(sum.count));
      wait_for(device);
      end = steady_seconds();
    }
    if (!a.dump.empty() && optimizer.steps_done() == 0) write_dump();
    optimizer.step(1, clip_factor(optimizer.gradient_norm(), 1.0));
    model.module->clear_gradients();
    wait_for(device);
    const double done = steady_seconds();
    if (!record) return;
    forward_ms.push_back((middle - begin) * 1e3);
    backward_ms.push_back((end - middle) * 1e3);
    optimizer_ms.push_back((done - end) * 1e3);
    step_ms.push_back((done - begin) * 1e3);
  };
  const double first_start = steady_seconds();
  step(false);
  first_loss = loss;
  const double first = steady_seconds() - first_start, process = since_process_start();
  for (int64_t i = 0; i < a.warmup; ++i) step(false);
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  for (int64_t i = 0; i < a.steps; ++i) step(true);
  getrusage(RUSAGE_SELF, &after);
  auto cpu_ms = [](const timeval& x, const timeval& y) {
    return 1e3 * static_cast<double>(y.tv_sec - x.tv_sec) + 1e-3 * static_cast<double>(y.tv_usec - x.tv_usec);
  };
  const double n = static_cast<double>(a.steps), mid = median(step_ms) * 1e-3;
  const double tokens = static_cast<double>(model.batch * (model.text + model.image_tokens));
  const nlohmann::json out = {
      {"bench", "ocellus_step"},
      {"model", a.options.model},
      {"batch", model.batch},
      {"text_tokens", model.text},
      {"image_tokens", model.image_tokens},
      {"dtype", a.dtype},
      {"device", to_string(device)},
      {"threads", num_threads()},
      {"lora", a.options.lora},
      {"freeze", a.options.freeze},
      {"steps", a.steps},
      {"step_ms", {{"median", mid * 1e3},
                   {"min", *std::min_element(step_ms.begin(), step_ms.end())},
                   {"max", *std::max_element(step_ms.begin(), step_ms.end())}}},
      {"forward_ms", median(forward_ms)},
      {"backward_ms", median(backward_ms)},
      {"optimizer_ms", median(optimizer_ms)},
      {"optimizer", "AdamW fused"},
      {"tokens_per_s", tokens / mid},
      {"images_per_s", static_cast<double>(model.images) / mid},
      {"params", model.module->parameter_count()},
      {"trainable_params", model.module->parameter_count(true)},
      {"gflop_per_step", model.flops.total() / 1e9},
      {"gflop_forward", model.flops.forward / 1e9},
      {"tflop_per_s", model.flops.total() / mid / 1e12},
      {"peak_rss_mb", static_cast<double>(after.ru_maxrss) / 1024},
      {"rss_model_mb", rss_model},
      {"logits_f32_mb", model.logits_mb},
      {"peak_allocated_mb", static_cast<double>(allocator_of(device)->stats().peak) / (1 << 20)},
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

int run_ops(const BenchArguments& a) {
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
                                auto a = std::make_shared<BenchArguments>();
                                Options step = options.subcommand("step", "a whole training step",
                                                                  [a] { return run_step(*a); });
                                step.option("--model", a->options.model, bench_model_names());
                                step.option("--batch", a->options.batch, "samples; 0: the model's default");
                                step.option("--text", a->options.text, "text tokens a sample; 0: the model's default");
                                step.option("--lora", a->options.lora, "rank of adapters on q_proj and v_proj of the language model");
                                step.option("--freeze", a->options.freeze, "comma list of vision, connector, language");
                                step.option("--steps", a->steps, "steps to time");
                                step.option("--warmup", a->warmup, "steps before them");
                                step.option("--dump", a->dump,
                                            "folder for weights, batch and gradients of the first step");
                                step.device(a->device);
                                step.dtype(a->dtype, "f32, bf16");
                                step.threads(a->threads);
                                step.seed(a->options.seed);
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
                                auto t = std::make_shared<BenchAttention>();
                                Options attention = options.subcommand("attention", "forward and backward of sdpa",
                                                                       [t] { return run_bench_attention(*t); });
                                attention.option("--batch", t->batch, "one shape instead of the list: samples");
                                attention.option("--heads", t->heads, "heads of queries");
                                attention.option("--kv-heads", t->kv_heads, "heads of keys and values; 0: as many");
                                attention.option("--tokens", t->tokens, "queries and keys");
                                attention.option("--head-dim", t->head_dim, "features of a head");
                                attention.flag("--causal", t->causal, "later keys are hidden");
                                attention.option("--repeat", t->repeat, "times; the median counts");
                                attention.device(t->device);
                                attention.dtype(t->dtype, "f32, bf16");
                                attention.threads(t->threads);
                                attention.seed(t->seed);
                                attention.json(t->json);
                                auto g = std::make_shared<BenchDevice>();
                                Options ladder = options.subcommand(
                                    "ladder", "variants of a CUDA kernel, each an idea further",
                                    [g] { return run_bench_ladder(*g); });
                                ladder.positional("NAME", g->ladder, "gemm, softmax, layer_norm or flash", true);
                                ladder.option("--rows", g->rows, "rows (flash: tokens); 0: many");
                                ladder.option("--columns", g->columns, "columns (flash: head size)");
                                ladder.option("--depth", g->depth, "inner dimension of gemm (flash: batch)");
                                ladder.option("--heads", g->heads, "heads of flash");
                                Options kernels = options.subcommand(
                                    "kernels", "memory-bound CUDA kernels beside copy bandwidth",
                                    [g] { return run_bench_kernels(*g); });
                                kernels.option("--rows", g->rows, "rows; 0: many");
                                kernels.option("--columns", g->columns, "columns");
                                for (Options* one : {&ladder, &kernels}) {
                                  one->device(g->device);
                                  one->json(g->json);
                                }
                                options.subcommand("decode", "not built yet", []() -> int {
                                  fail<UsageError>("bench decode: not built yet");
                                });
                                auto k = std::make_shared<BenchTokenizer>();
                                Options words = options.subcommand("tokenizer", "texts to ids",
                                                                   [k] { return run_bench_tokenizer(*k); });
                                words.option("--tokenizer", k->tokenizer, "folder, tokenizer.json or tiktoken file", true);
                                words.option("--texts", k->texts, "JSONL of {\"text\"}", true);
                                words.option("--repeat", k->repeat, "rounds over all texts");
                                words.json(k->json);
                                return [] { return 2; };
                              }});

}  // namespace
}  // namespace ocellus
