#include "vlm/train.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "autograd/autocast.h"
#include "autograd/finite_watch.h"
#include "engine/file.h"
#include "engine/json.h"
#include "engine/kernels/optim.h"
#include "engine/parallel.h"
#include "nn/checkpoint_file.h"
#include "vlm/batches.h"
#include "vlm/checkpoint_protocol.h"
#include "vlm/language_loss.h"
#include "vlm/model_folder.h"
#include "vlm/progress.h"
#include "vlm/run_log.h"
#include "vlm/run_record.h"
#include "vlm/signals.h"
#include "vlm/stage.h"
#include "vlm/tensorboard.h"

namespace ocellus {
namespace {

using nlohmann::json;
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Random numbers of a step are a function of (seed, step) alone: a resumed step draws the same ones.
constexpr uint64_t kDropoutStream = 0xD50;
void seed_step(uint64_t seed, int64_t step) {
  default_generator().set(seed ^ (kDropoutStream << 32), static_cast<uint64_t>(step) << 20);
}

struct StepStats {
  double loss = 0, norm = 0, clip = 1, lr = 0;
  int64_t targets = 0, tokens = 0, samples = 0, images = 0;
  double wait_seconds = 0;
  std::map<std::string, double> norms;  // by root module
  uint64_t saved_bytes = 0;
  std::string bad;                      // the first tensor that is not finite, or empty
};

class Trainer {
 public:
  Trainer(const Recipe& recipe, const TrainOptions& options)
      : recipe_(recipe), options_(options), placed_(options.device), lock_(options.out) {}

  TrainResult run();

 private:
  void prepare();
  void resume_from(const FoundCheckpoint& found);
  void load_state(const std::string& folder);
  void enter_stage(size_t stage);
  void save_base(size_t stage);
  void end_stage();
  bool run_stage(size_t stage);
  bool run_stage_or_save(size_t stage);
  StepStats step(Batches& batches);
  void forward_backward(const Batch& batch, int64_t targets, StepStats& stats);
  std::string first_bad_tensor(const std::vector<Batch>& batches);
  bool handle_nonfinite(const StepStats& stats);
  void log_step(const StepStats& stats, double seconds, bool skipped);
  void save_checkpoint();
  EvaluationResult run_evaluation(int64_t limit, int64_t keep);
  void evaluate_now(bool final_one);
  void finish();
  const StageRecipe& stage() const { return recipe_.stage[stage_]; }
  int64_t total_steps() const;

  const Recipe& recipe_;
  const TrainOptions& options_;
  ParameterDevice placed_;  // parameters made by this trainer lie there
  RunLock lock_;
  std::unique_ptr<Vlm> model_;
  std::unique_ptr<ChatTemplate> chat_;
  ImageProcessor processor_;
  std::unique_ptr<RunLog> log_;
  std::unique_ptr<EventWriter> events_;
  std::unique_ptr<Progress> progress_;
  std::vector<std::unique_ptr<Source>> eval_sources_;
  std::unique_ptr<Ema> ema_;
  StageSetup setup_;
  RunRecord record_;

  // The state that a checkpoint holds besides tensors.
  size_t stage_ = 0;
  int64_t stage_step_ = 0;      // steps of this stage that are done
  int64_t global_step_ = 0;
  int64_t samples_ = 0, tokens_ = 0;
  std::set<int64_t> bad_steps_;  // global steps whose update is skipped
  int64_t skips_ = 0;
  uint64_t refused_ = 0;

  double train_seconds_ = 0, wait_seconds_ = 0;
  TrainResult result_;
};

int64_t Trainer::total_steps() const {
  int64_t total = 0;
  for (const StageRecipe& s : recipe_.stage)
    if (!s.skip) total += s.steps;
  return total;
}

// Everything up to the first step that does not depend on a checkpoint.
void Trainer::prepare() {
  if (recipe_.threads > 0) set_num_threads(static_cast<int>(recipe_.threads));
  check<UsageError>(recipe_.precision == "f32" || recipe_.precision == "bf16",
                    "precision: must be f32 or bf16, got \"{}\"", recipe_.precision);
  if (!recipe_.model.from.empty()) {
    LoadedVlm loaded = load_model_folder(recipe_.model.from);
    model_ = std::move(loaded.model);
    chat_ = std::move(loaded.chat);
    processor_ = loaded.processor;
  } else {
    const std::string saved = options_.out + "/tokenizer.json";
    const bool known = options_.resume && std::filesystem::exists(saved);
    const Tokenizer tokenizer =
        known ? Tokenizer::load(saved)
        : recipe_.tokenizer.from.empty()
            ? Tokenizer::train_byte_bpe(training_text(recipe_), static_cast<int>(recipe_.tokenizer.vocab),
                                        kSpecialTokens)
            : Tokenizer::load(recipe_.tokenizer.from);
    if (!known) write_file_atomic(saved, tokenizer.to_json());
    const ChatTemplate ids(tokenizer, 1);
    model_ = std::make_unique<Vlm>(
        vlm_config_of(recipe_, tokenizer.vocab_size(), ids.image_id(), ids.pad_id(), ids.end_id()));
    init_parameters(*model_, static_cast<uint64_t>(recipe_.seed));
    processor_.size = recipe_.model.vision.image_size;
    chat_ = std::make_unique<ChatTemplate>(tokenizer, model_->tokens_per_image(processor_.size));
  }
  for (const DataRecipe& data : recipe_.data)
    if (data.split == "eval") eval_sources_.push_back(open_data(data));
  if (recipe_.ema.decay > 0) ema_ = std::make_unique<Ema>(*model_, recipe_.ema.decay);
}

// Freezing, optimizer, schedule and image size of a stage. Optimizer state starts afresh.
void Trainer::enter_stage(size_t index) {
  stage_ = index;
  if (setup_.adapters) setup_.adapters->remove();
  setup_ = {};
  setup_ = begin_stage(*model_, stage(), static_cast<uint64_t>(recipe_.seed) + index);
  const int64_t size = stage().image_size > 0 ? stage().image_size : model_->config().vision.image_size;
  if (size != processor_.size) {
    processor_.size = size;
    chat_ = std::make_unique<ChatTemplate>(chat_->with_image_tokens(model_->tokens_per_image(size)));
  }
}

// What the adapters of the stage will belong on, as a model folder of its own.
void Trainer::save_base(size_t index) {
  if (recipe_.stage[index].lora.on())
    save_model_folder(options_.out + "/base", *model_, *chat_, processor_);
}

// Adapters are written, then folded into the weights: the next stage and the final model have them.
void Trainer::end_stage() {
  if (!setup_.adapters) return;
  setup_.adapters->set_base_model(std::filesystem::absolute(options_.out + "/base").lexically_normal());
  setup_.adapters->save(options_.out + "/adapter");
  setup_.optimizer.reset();
  setup_.adapters->merge();
  setup_.adapters.reset();
}

void Trainer::resume_from(const FoundCheckpoint& found) {
  for (const std::string& why : found.rejected) fmt::print(stderr, "resume: {}\n", why);
  if (found.folder.empty()) {
    fmt::print(stderr, "resume: no checkpoint in {}, starting afresh\n", options_.out);
    return;
  }
  load_state(found.folder);
  fmt::print(stderr, "resume: continuing from {} (step {})\n", found.folder, global_step_);
}

void Trainer::load_state(const std::string& folder) {
  const json state = load_json(folder + "/state.json");
  try {
    const json saved = state.at("recipe_entries");
    for (const RecipeEntry& entry : recipe_entries(recipe_)) {
      if (!entry.changes_result) continue;
      const std::string before = saved.value(entry.key, std::string("absent"));
      check<UsageError>(before == entry.value,
                        "resume: {} is {} in the checkpoint, {} in the recipe; a resumed run must use the "
                        "same recipe",
                        entry.key, before, entry.value);
    }
    const size_t index = state.at("stage").get<size_t>();
    check<FormatError>(index < recipe_.stage.size(), "{}/state.json: stage {} does not exist", folder, index);
    enter_stage(index);
    stage_step_ = state.at("stage_step").get<int64_t>();
    global_step_ = state.at("global_step").get<int64_t>();
    samples_ = state.at("samples").get<int64_t>();
    tokens_ = state.at("tokens").get<int64_t>();
    skips_ = state.at("skips").get<int64_t>();
    for (int64_t step : state.at("bad_steps").get<std::vector<int64_t>>()) bad_steps_.insert(step);
    train_seconds_ = state.at("train_seconds").get<double>();
    wait_seconds_ = state.at("wait_seconds").get<double>();
    load_parameters(*model_, CheckpointReader(folder + "/parameters.safetensors"));
    auto tensors_of = [&](const char* file) {
      const CheckpointReader reader(folder + file);
      std::map<std::string, Tensor> tensors;
      for (const std::string& name : reader.names()) tensors[name] = reader.read(name).clone();
      return tensors;
    };
    setup_.optimizer->load_state(tensors_of("/optimizer.safetensors"),
                                 state.at("optimizer_steps").get<int64_t>());
    if (ema_) ema_->load_state(tensors_of("/ema.safetensors"));
  } catch (const json::exception& error) {
    fail<FormatError>("{}/state.json: {}", folder, error.what());
  }
}

void Trainer::save_checkpoint() {
  const NamedTensors parameters = stored_tensors(*model_), optimizer = setup_.optimizer->state();
  json entries = json::object();
  for (const RecipeEntry& entry : recipe_entries(recipe_))
    if (entry.changes_result) entries[entry.key] = entry.value;
  const json state = {{"stage", stage_},
                      {"stage_step", stage_step_},
                      {"global_step", global_step_},
                      {"samples", samples_},
                      {"tokens", tokens_},
                      {"skips", skips_},
                      {"bad_steps", bad_steps_},
                      {"train_seconds", train_seconds_},
                      {"wait_seconds", wait_seconds_},
                      {"optimizer_steps", setup_.optimizer->steps_done()},
                      {"recipe_entries", entries}};
  uint64_t bytes = safetensors_size(parameters) + safetensors_size(optimizer) + state.dump().size();
  NamedTensors ema;
  if (ema_) bytes += safetensors_size(ema = ema_->state());
  log_->sync();
  CheckpointWriter writer(options_.out, global_step_, bytes);
  save_safetensors(writer.part_path("parameters.safetensors"), parameters);
  save_safetensors(writer.part_path("optimizer.safetensors"), optimizer);
  if (ema_) save_safetensors(writer.part_path("ema.safetensors"), ema);
  write_file_atomic(writer.part_path("state.json"), state.dump());
  writer.commit({{"recipe_hash", recipe_hash(recipe_)},
                 {"global_step", global_step_},
                 {"samples", samples_},
                 {"tokens", tokens_},
                 {"version", program_version()}},
                recipe_.checkpoint.keep);
}

void Trainer::forward_backward(const Batch& batch, int64_t targets, StepStats& stats) {
  Autocast precision(recipe_.precision == "bf16" ? DType::kBF16 : DType::kF32);
  Tape tape;
  const Variable hidden = model_->hidden(batch.tensors);
  const LossSum loss = model_->language().loss(hidden, batch.tensors.labels,
                                       stage().loss_chunk);
  stats.loss += loss.sum.value().item() / static_cast<double>(targets);
  stats.saved_bytes = std::max(stats.saved_bytes, static_cast<uint64_t>(tape.saved_bytes()));
  if (std::isfinite(stats.loss)) tape.backward(loss.sum, 1.0 / static_cast<double>(targets));
}

// One optimizer step's gradients: all micro-batches are loaded first, since the loss of each is divided
// by the targets of all.
StepStats Trainer::step(Batches& batches) {
  StepStats stats;
  std::vector<Batch> micro;
  for (int64_t m = 0; m < stage().accumulate; ++m) {
    micro.push_back(batches.next());
    stats.targets += micro.back().targets;
    stats.tokens += micro.back().tokens;
    stats.samples += micro.back().samples;
    stats.images += micro.back().images;
  }
  stats.wait_seconds = batches.take_wait_seconds();
  check<FormatError>(stats.targets > 0, "train: step {} has no target token in {} samples", global_step_ + 1,
                     stats.samples);
  seed_step(static_cast<uint64_t>(recipe_.seed), global_step_);
  TrainingMode mode(true);
  model_->clear_gradients();
  for (const Batch& batch : micro) forward_backward(batch, stats.targets, stats);
  std::map<std::string, double> squares;
  std::vector<std::string> roots;
  Tensors gradients;
  for (auto& [name, parameter] : model_->parameters())
    if (parameter->grad().defined()) {
      roots.push_back(name.substr(0, name.find('.')));
      gradients.push_back(parameter->grad());
    }
  const std::vector<double> each = norms(gradients);
  for (size_t i = 0; i < roots.size(); ++i) squares[roots[i]] += each[i] * each[i];
  double total = 0;
  for (const auto& [root, square] : squares) {
    stats.norms[root] = std::sqrt(square);
    total += square;
  }
  stats.norm = std::sqrt(total);
  stats.clip = clip_factor(stats.norm, stage().clip);
  stats.lr = setup_.schedule.factor(stage_step_);
  if (!std::isfinite(stats.loss) || !std::isfinite(stats.norm)) stats.bad = first_bad_tensor(micro);
  return stats;
}

// Runs the step again, watching every op; failing that, names the first bad parameter or gradient.
std::string Trainer::first_bad_tensor(const std::vector<Batch>& batches) {
  auto bad = [](const Tensor& x) { return x.defined() && has_nonfinite(x); };
  for (auto& [name, parameter] : model_->parameters())
    if (bad(parameter->value())) return "the parameter " + name;
  for (const Batch& batch : batches)
    if (bad(batch.tensors.pixels)) return "the pixels of the batch (" + batch.sample_ids[0] + " …)";
  {
    FiniteWatch watch;
    seed_step(static_cast<uint64_t>(recipe_.seed), global_step_);
    StopRecording stop;
    for (const Batch& batch : batches) {
      const Variable hidden = model_->hidden(batch.tensors);
      model_->language().loss(hidden, batch.tensors.labels, stage().loss_chunk);
    }
    if (!watch.first().empty()) return watch.first();
  }
  for (auto& [name, parameter] : model_->parameters())
    if (bad(parameter->grad())) return "the gradient of " + name;
  return "the norm of all gradients";
}

// True if training goes on (the update of this step is left out); throws where the policy is to stop.
bool Trainer::handle_nonfinite(const StepStats& stats) {
  const double loss = std::isnan(stats.loss) ? std::abs(stats.loss) : stats.loss;  // a NaN has no sign to show
  const std::string what = fmt::format("train: step {} of stage {} is not finite (loss {}): {}",
                                       global_step_ + 1, stage().name, loss, stats.bad);
  const std::string& policy = recipe_.numerics.on_nonfinite;
  if (policy == "stop") throw NumericsError(what);
  check<NumericsError>(++skips_ <= recipe_.numerics.max_skips, "{}; numerics.max_skips ({}) is used up", what,
                       recipe_.numerics.max_skips);
  progress_->message(what + (policy == "skip" ? "; update skipped" : "; rewinding"));
  bad_steps_.insert(global_step_);
  if (policy == "skip") return true;
  const FoundCheckpoint found = find_newest_valid(options_.out);
  check<NumericsError>(!found.folder.empty(), "{}; there is no checkpoint to rewind to", what);
  const std::set<int64_t> bad = bad_steps_;
  const int64_t skips = skips_;
  load_state(found.folder);
  bad_steps_.insert(bad.begin(), bad.end());
  skips_ = skips;
  log_->rewind(global_step_);
  return false;
}

void Trainer::log_step(const StepStats& s, double seconds, bool skipped) {
  const auto memory = allocator_of(options_.device)->stats();
  const double base = stage().lr.empty() ? 0 : stage().lr.back().lr;
  json lr = json::object();
  for (const PatternRate& rate : stage().lr) lr[rate.pattern] = rate.lr * s.lr;
  json record = {{"step", global_step_},
                 {"stage", stage().name},
                 {"loss", s.loss},
                 {"lr", stage().lr.size() == 1 ? json(base * s.lr) : lr},
                 {"grad_norm", s.norm},
                 {"grad_norms", s.norms},
                 {"tokens", s.tokens},
                 {"targets", s.targets},
                 {"samples", s.samples},
                 {"tokens_per_s", static_cast<double>(s.tokens) / seconds},
                 {"images_per_s", static_cast<double>(s.images) / seconds},
                 {"step_ms", seconds * 1e3},
                 {"data_wait", s.wait_seconds / seconds},
                 {"peak_mb", static_cast<double>(memory.peak) / (1 << 20)}};
  if (skipped) record["skipped"] = true;
  log_->append(record);
  if (events_)
    events_->add(global_step_, {{"train/loss", static_cast<float>(s.loss)},
                                {"train/lr", static_cast<float>(base * s.lr)},
                                {"train/grad_norm", static_cast<float>(s.norm)},
                                {"train/tokens_per_s", static_cast<float>(double(s.tokens) / seconds)},
                                {"train/data_wait", static_cast<float>(s.wait_seconds / seconds)}});
  progress_->update(global_step_, stage().name,
                    fmt::format("loss {:.4f}  norm {:.2f}  {:.0f} tok/s", s.loss, s.norm,
                                static_cast<double>(s.tokens) / seconds));
}

EvaluationResult Trainer::run_evaluation(int64_t limit, int64_t keep) {
  EvaluationResult all;
  if (ema_) ema_->swap();
  for (const auto& source : eval_sources_) {
    EvaluateOptions options;
    options.limit = limit;
    options.batch = recipe_.eval.batch;
    options.max_new_tokens = recipe_.eval.max_new_tokens;
    options.keep = keep;
    options.interrupted = [] { return pending_signal() != 0; };
    const EvaluationResult one = evaluate(*model_, *chat_, processor_, *source, options);
    all.complete = all.complete && one.complete;
    all.all.n += one.all.n;
    all.all.right += one.all.right;
    for (const auto& [name, tally] : one.by_source) {
      all.by_source[name].n += tally.n;
      all.by_source[name].right += tally.right;
    }
    all.answered.insert(all.answered.end(), one.answered.begin(), one.answered.end());
    all.stopped_share = one.stopped_share;
  }
  if (ema_) ema_->swap();
  return all;
}

void Trainer::evaluate_now(bool final_one) {
  if (eval_sources_.empty()) return;
  EvaluationResult e = run_evaluation(final_one ? 0 : recipe_.eval.limit, final_one ? 8 : 0);
  if (!e.complete) return;
  json by_source = json::object();
  for (const auto& [name, tally] : e.by_source)
    by_source[name] = {{"accuracy", tally.accuracy()}, {"n", tally.n}};
  log_->append({{"step", global_step_},
                {"eval", {{"name", final_one ? "final" : "periodic"},
                          {"accuracy", e.all.accuracy()},
                          {"n", e.all.n},
                          {"by_source", by_source}}}});
  if (events_) events_->add(global_step_, {{"eval/accuracy", static_cast<float>(e.all.accuracy())}});
  std::string line = fmt::format("step {}: accuracy {:.2f} % of {}", global_step_,
                                 100 * e.all.accuracy(), e.all.n);
  for (const auto& [name, tally] : e.by_source) line += fmt::format("  {} {:.2f} %", name, 100 * tally.accuracy());
  progress_->message(line);
  if (final_one) result_.final_evaluation = std::move(e);
}

// Runs the current stage from stage_step_; false if interrupted. A rewind may change stage_.
bool Trainer::run_stage(size_t index) {
  while (stage_ == index && stage_step_ < stage().steps) {
    Batches batches(recipe_, stage_, *chat_, processor_, options_.out + "/ledger.jsonl",
                    stage_step_ * stage().accumulate, options_.device);
    bool rewound = false;
    while (!rewound && stage_step_ < stage().steps) {
      if (pending_signal()) return false;
      const double begin = now_seconds();
      const StepStats stats = step(batches);
      bool skipped = bad_steps_.contains(global_step_);
      if (!skipped && !stats.bad.empty()) {
        skipped = handle_nonfinite(stats);
        rewound = !skipped;
        if (rewound) break;
      }
      if (!skipped) {
        setup_.optimizer->step(stats.lr, stats.clip);
        if (ema_) ema_->update();
      }
      model_->clear_gradients();
      ++stage_step_;
      ++global_step_;
      samples_ += stats.samples;
      tokens_ += stats.tokens;
      const double seconds = now_seconds() - begin;
      train_seconds_ += seconds;
      wait_seconds_ += stats.wait_seconds;
      record_.note_step(*model_, *setup_.optimizer, stats.saved_bytes, batches.peak_bytes());
      refused_ = batches.refused();
      log_step(stats, seconds, skipped);
      const bool last = stage_step_ == stage().steps;
      if (recipe_.eval.every > 0 && (global_step_ % recipe_.eval.every == 0 || last)) evaluate_now(false);
      if ((recipe_.checkpoint.every > 0 && global_step_ % recipe_.checkpoint.every == 0) || last)
        save_checkpoint();
      if (options_.after_step) options_.after_step(global_step_);
    }
  }
  return true;
}

// Bad data ends a run, but not what it has learnt: the steps done are saved first.
bool Trainer::run_stage_or_save(size_t index) {
  try {
    return run_stage(index);
  } catch (const FormatError&) {
    try {
      if (global_step_ > 0) save_checkpoint();
    } catch (const Error& error) {
      progress_->message(error.what());
    }
    throw;
  }
}

void Trainer::finish() {
  if (ema_) ema_->swap();
  save_model_folder(options_.out + "/model", *model_, *chat_, processor_);
  if (ema_) ema_->swap();
  if (recipe_.eval.at_end) evaluate_now(true);
}

TrainResult Trainer::run() {
  SignalScope signals;
  prepare();
  std::optional<FoundCheckpoint> found;
  size_t first = 0;
  while (first < recipe_.stage.size() && recipe_.stage[first].skip) ++first;
  check<UsageError>(first < recipe_.stage.size(), "train: the recipe has no stage to run");
  if (options_.resume) found = find_newest_valid(options_.out);
  if (!found || found->folder.empty()) save_base(first);
  enter_stage(first);
  if (found) {
    resume_from(*found);
  } else if (const auto steps = checkpoint_steps(options_.out); !steps.empty() && !options_.quiet) {
    fmt::print(stderr, "train: {} holds a run up to step {}; starting afresh replaces it (--resume continues it)\n",
               options_.out, steps.back());
  }
  const int64_t resumed = global_step_ > 0 ? global_step_ : -1;
  log_ = std::make_unique<RunLog>(options_.out + "/log.jsonl", resumed);
  if (recipe_.log.tensorboard) events_ = std::make_unique<EventWriter>(options_.out, resumed);
  write_file_atomic(options_.out + "/recipe.toml", to_toml(recipe_));
  Progress::Options progress;
  progress.every = options_.quiet ? int64_t{1} << 40 : recipe_.log.every;
  if (options_.quiet) progress.terminal = 0;
  progress_ = std::make_unique<Progress>(total_steps(), global_step_, progress);
  if (!options_.quiet)
    progress_->message(fmt::format("{}: {} parameters, {} steps", recipe_.name, model_->parameter_count(),
                                   total_steps()));
  bool finished = true;
  while (finished) {
    const size_t current = stage_;
    finished = run_stage_or_save(current);
    if (!finished || stage_ != current) continue;
    end_stage();
    size_t next = current + 1;
    while (next < recipe_.stage.size() && recipe_.stage[next].skip) ++next;
    if (next == recipe_.stage.size()) break;
    save_base(next);
    enter_stage(next);
    stage_step_ = 0;
  }
  if (!finished) {
    result_.signal = pending_signal();
    save_checkpoint();
    progress_->message(fmt::format("interrupted: saved at step {}; continue with --resume", global_step_));
  } else {
    finish();
    if (pending_signal()) result_.signal = pending_signal();
  }
  progress_->finish();
  result_.steps = global_step_;
  result_.seconds = train_seconds_;
  record_.write(options_.out, recipe_, result_, samples_, tokens_, train_seconds_, wait_seconds_, refused_,
                options_.compare);
  return result_;
}

}  // namespace

TrainResult train(const Recipe& recipe, const TrainOptions& options) {
  return Trainer(recipe, options).run();
}

}  // namespace ocellus
