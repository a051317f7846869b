#include "vlm/recipe_keys.h"

#include <algorithm>
#include <set>

#include "engine/check.h"

namespace ocellus {
namespace {

constexpr double kMany = 1e12;      // bound of counts: far above use, far below overflow
constexpr double kWidth = 1 << 20;  // bound of sizes of layers

struct VisionPreset {
  const char* name;
  int64_t image_size, patch_size, hidden_size, layers, heads, intermediate_size;
};
// tiny learns the quickstart in minutes on two cores; small is the shape of `bench step`; the last
// two are the vision towers of SigLIP-B/16 at two resolutions.
constexpr VisionPreset kVisionPresets[] = {
    {"tiny", 64, 8, 96, 2, 3, 384},
    {"small", 64, 8, 128, 4, 4, 512},
    {"siglip_b16_224", 224, 16, 768, 12, 12, 3072},
    {"siglip_b16_512", 512, 16, 768, 12, 12, 3072},
};

struct LanguagePreset {
  const char* name;
  int64_t hidden_size, layers, heads, kv_heads, intermediate_size, positions;
  double rope_theta;
};
constexpr LanguagePreset kLanguagePresets[] = {
    {"tiny", 96, 2, 3, 3, 256, 512, 10000},
    {"small", 128, 4, 4, 2, 384, 512, 10000},
    {"smollm2_135m", 576, 30, 9, 3, 1536, 8192, 100000},
    {"smollm2_360m", 960, 32, 15, 5, 2560, 8192, 100000},
};

/// The accepted values of `preset`: "" keeps the defaults of the single keys.
template <class Presets>
std::vector<std::string> names_of(const Presets& presets) {
  std::vector<std::string> names = {""};
  for (const auto& preset : presets) names.push_back(preset.name);
  return names;
}

const std::vector<std::string> kActivations = {"gelu", "gelu_pytorch_tanh", "quick_gelu", "relu",
                                               "silu"};

void apply_preset(VisionRecipe& r) {
  for (const VisionPreset& p : kVisionPresets)
    if (r.preset == p.name) {
      r.image_size = p.image_size;
      r.patch_size = p.patch_size;
      r.hidden_size = p.hidden_size;
      r.num_hidden_layers = p.layers;
      r.num_attention_heads = p.heads;
      r.intermediate_size = p.intermediate_size;
    }
}

void apply_preset(LanguageRecipe& r) {
  for (const LanguagePreset& p : kLanguagePresets)
    if (r.preset == p.name) {
      r.hidden_size = p.hidden_size;
      r.num_hidden_layers = p.layers;
      r.num_attention_heads = p.heads;
      r.num_key_value_heads = p.kv_heads;
      r.intermediate_size = p.intermediate_size;
      r.max_position_embeddings = p.positions;
      r.rope_theta = p.rope_theta;
    }
}

void describe(KeyVisitor& v, VisionRecipe& r) {
  v.key(
      {.name = "kind", .help = "architecture of the picture encoder", .choices = {"vit", "siglip"}},
      r.kind);
  v.key({.name = "preset",
         .help = "named sizes; single keys override it",
         .choices = names_of(kVisionPresets)},
        r.preset);
  if (v.reading()) apply_preset(r);
  v.key(
      {.name = "image_size", .help = "side of the square input, pixels", .least = 1, .most = 8192},
      r.image_size);
  v.key({.name = "patch_size",
         .help = "side of a patch, pixels; divides image_size",
         .least = 1,
         .most = 8192},
        r.patch_size);
  v.key({.name = "hidden_size", .help = "channels", .least = 1, .most = kWidth}, r.hidden_size);
  v.key({.name = "num_hidden_layers", .help = "transformer blocks", .least = 1, .most = 1024},
        r.num_hidden_layers);
  v.key({.name = "num_attention_heads",
         .help = "heads; divides hidden_size",
         .least = 1,
         .most = 1024},
        r.num_attention_heads);
  v.key({.name = "intermediate_size",
         .help = "inner channels of the MLP",
         .least = 1,
         .most = kWidth},
        r.intermediate_size);
  v.key({.name = "hidden_act", .help = "activation of the MLP", .choices = kActivations},
        r.hidden_act);
  v.key({.name = "layer_norm_eps",
         .help = "added to the variance in layer norms",
         .least = 0,
         .most = 1},
        r.layer_norm_eps);
  v.key({.name = "dropout",
         .help = "share of activations dropped in training",
         .least = 0,
         .most = 0.99},
        r.dropout);
}

void describe(KeyVisitor& v, ConnectorRecipe& r) {
  v.key({.name = "kind",
         .help = "what maps patches to text tokens",
         .choices = {"linear", "mlp", "pixel_shuffle"}},
        r.kind);
  v.key({.name = "factor",
         .help = "factor x factor patches become one token",
         .least = 1,
         .most = 64,
         .used = r.kind == "pixel_shuffle",
         .used_with = "kind = \"pixel_shuffle\""},
        r.factor);
  v.key({.name = "hidden_act",
         .help = "activation between the two layers",
         .choices = kActivations,
         .used = r.kind == "mlp",
         .used_with = "kind = \"mlp\""},
        r.hidden_act);
}

void describe(KeyVisitor& v, LanguageRecipe& r) {
  v.key({.name = "kind", .help = "architecture of the language model", .choices = {"llama"}},
        r.kind);
  v.key({.name = "preset",
         .help = "named sizes; single keys override it",
         .choices = names_of(kLanguagePresets)},
        r.preset);
  if (v.reading()) apply_preset(r);
  v.key({.name = "hidden_size", .help = "channels", .least = 1, .most = kWidth}, r.hidden_size);
  v.key({.name = "num_hidden_layers", .help = "transformer blocks", .least = 1, .most = 1024},
        r.num_hidden_layers);
  v.key({.name = "num_attention_heads",
         .help = "query heads; divides hidden_size",
         .least = 1,
         .most = 1024},
        r.num_attention_heads);
  v.key({.name = "num_key_value_heads",
         .help = "key and value heads; divides num_attention_heads",
         .least = 1,
         .most = 1024},
        r.num_key_value_heads);
  v.key({.name = "intermediate_size",
         .help = "inner channels of the gated MLP",
         .least = 1,
         .most = kWidth},
        r.intermediate_size);
  v.key({.name = "hidden_act", .help = "activation of the gated MLP", .choices = kActivations},
        r.hidden_act);
  v.key({.name = "rope_theta", .help = "base of the rotary wavelengths", .least = 1, .most = 1e12},
        r.rope_theta);
  v.key({.name = "rms_norm_eps",
         .help = "added to the mean square in RMS norms",
         .least = 0,
         .most = 1},
        r.rms_norm_eps);
  v.key({.name = "max_position_embeddings",
         .help = "longest sequence, tokens",
         .least = 1,
         .most = 1 << 24},
        r.max_position_embeddings);
  v.key({.name = "tie_word_embeddings", .help = "the output matrix is the embedding"},
        r.tie_word_embeddings);
  v.key({.name = "dropout",
         .help = "share of activations dropped in training",
         .least = 0,
         .most = 0.99},
        r.dropout);
}

void describe(KeyVisitor& v, ModelRecipe& r) {
  v.key({.name = "from", .help = "model folder to start from, instead of the parts"}, r.from);
  const bool parts = r.from.empty();
  const char* const with = "model.from left empty";
  v.table({.name = "vision", .used = parts, .used_with = with},
          [&](KeyVisitor& t) { describe(t, r.vision); });
  v.table({.name = "connector", .used = parts, .used_with = with},
          [&](KeyVisitor& t) { describe(t, r.connector); });
  v.table({.name = "language", .used = parts, .used_with = with},
          [&](KeyVisitor& t) { describe(t, r.language); });
}

void describe(KeyVisitor& v, TokenizerRecipe& r) {
  v.key({.name = "from", .help = "tokenizer.json to use; empty: trained on the training text"},
        r.from);
  const bool trained = r.from.empty();
  const char* const with = "tokenizer.from left empty";
  v.key({.name = "vocab",
         .help = "entries, the 256 bytes and special tokens included",
         .least = 257,
         .most = 1 << 22,
         .used = trained,
         .used_with = with},
        r.vocab);
  v.key({.name = "sources",
         .help = "record sources whose text it is trained on; empty: all",
         .used = trained,
         .used_with = with},
        r.sources);
}

void describe(KeyVisitor& v, FieldsRecipe& r) {
  v.key({.name = "image", .help = "field that names the picture"}, r.image);
  v.key({.name = "question", .help = "field that becomes the user's text"}, r.question);
  v.key({.name = "answer", .help = "field that becomes the assistant's text"}, r.answer);
  v.key({.name = "source", .help = "field that evaluation groups by"}, r.source);
}

void describe(KeyVisitor& v, DataRecipe& r) {
  v.key({.name = "name", .help = "how other keys and messages call it", .required = true}, r.name);
  v.key({.name = "kind",
         .help = "layout of the data",
         .choices = {"webdataset", "messages", "image_folder"}},
        r.kind);
  v.key({.name = "path", .help = "file, folder or shard pattern", .required = true}, r.path);
  v.key({.name = "split",
         .help = "trained on, or held out for evaluation",
         .choices = {"train", "eval"}},
        r.split);
  v.key({.name = "weight",
         .help = "how often a sample is drawn, relative to other data",
         .least = 0,
         .most = 1e6,
         .used = r.split == "train",
         .used_with = "split = \"train\""},
        r.weight);
  v.key({.name = "sources", .help = "record sources to keep; empty: all"}, r.sources);
  const bool folder = r.kind == "image_folder";
  const char* const with = "kind = \"image_folder\"";
  v.key({.name = "annotations",
         .help = "CSV or JSONL that lists the pictures",
         .used = folder,
         .used_with = with},
        r.annotations);
  v.key({.name = "on_bad",
         .help = "what a sample that cannot be read leads to",
         .choices = {"fail", "quarantine", "substitute"}},
        r.on_bad);
  v.key({.name = "bad_cap",
         .help = "samples refused before the run stops after all",
         .least = 0,
         .most = kMany,
         .used = r.on_bad != "fail",
         .used_with = "on_bad = \"quarantine\" or \"substitute\""},
        r.bad_cap);
  v.table({.name = "fields", .used = folder, .used_with = with},
          [&](KeyVisitor& t) { describe(t, r.fields); });
}

void describe(KeyVisitor& v, LoaderRecipe& r) {
  v.key({.name = "threads",
         .help = "decoding threads; 0: decode in the training thread",
         .least = 0,
         .most = 256,
         .changes_result = false},
        r.threads);
  v.key({.name = "prefetch",
         .help = "batches kept ready",
         .least = 1,
         .most = 4096,
         .changes_result = false},
        r.prefetch);
  v.key({.name = "max_mb",
         .help = "bound on decoded bytes in flight, MiB",
         .least = 1,
         .most = 1 << 20,
         .changes_result = false},
        r.max_mb);
}

void describe(KeyVisitor& v, CheckpointRecipe& r) {
  v.key({.name = "every",
         .help = "steps between checkpoints; 0: only at the end of a stage",
         .least = 0,
         .most = kMany,
         .changes_result = false},
        r.every);
  v.key({.name = "keep",
         .help = "newest checkpoints kept",
         .least = 1,
         .most = 10000,
         .changes_result = false},
        r.keep);
}

void describe(KeyVisitor& v, LogRecipe& r) {
  v.key({.name = "every",
         .help = "steps between progress lines without a terminal",
         .least = 1,
         .most = kMany,
         .changes_result = false},
        r.every);
  v.key({.name = "tensorboard",
         .help = "also write TensorBoard event files",
         .changes_result = false},
        r.tensorboard);
}

void describe(KeyVisitor& v, EvalRecipe& r) {
  v.key({.name = "every",
         .help = "steps between evaluations; 0: none during training",
         .least = 0,
         .most = kMany,
         .changes_result = false},
        r.every);
  v.key({.name = "limit",
         .help = "samples per evaluation during training; 0: all",
         .least = 0,
         .most = kMany,
         .changes_result = false},
        r.limit);
  v.key({.name = "batch",
         .help = "samples answered at a time",
         .least = 1,
         .most = 65536,
         .changes_result = false},
        r.batch);
  v.key({.name = "max_new_tokens",
         .help = "longest answer, tokens",
         .least = 1,
         .most = 1 << 20,
         .changes_result = false},
        r.max_new_tokens);
  v.key({.name = "at_end",
         .help = "evaluate the whole held-out part after the last stage",
         .changes_result = false},
        r.at_end);
}

void describe(KeyVisitor& v, NumericsRecipe& r) {
  v.key({.name = "on_nonfinite",
         .help = "what a loss or gradient that is not finite leads to",
         .choices = {"stop", "skip", "rewind"}},
        r.on_nonfinite);
  v.key({.name = "max_skips",
         .help = "skips or rewinds before the run stops after all",
         .least = 1,
         .most = kMany,
         .used = r.on_nonfinite != "stop",
         .used_with = "on_nonfinite = \"skip\" or \"rewind\""},
        r.max_skips);
}

void describe(KeyVisitor& v, EmaRecipe& r) {
  v.key({.name = "decay",
         .help = "of the running mean of the weights; 0: none",
         .least = 0,
         .most = 0.9999999},
        r.decay);
}

void describe(KeyVisitor& v, LoraRecipe& r) {
  const char* const with = "targets";
  v.key({.name = "targets",
         .help = "patterns of layers that get low-rank adapters, or \"all-linear\""},
        r.targets);
  v.key({.name = "rank",
         .help = "of the change",
         .least = 1,
         .most = 1 << 16,
         .used = r.on(),
         .used_with = with},
        r.rank);
  v.key({.name = "alpha",
         .help = "the change is scaled by alpha/rank",
         .least = 0,
         .most = 1e6,
         .used = r.on(),
         .used_with = with},
        r.alpha);
  v.key({.name = "dropout",
         .help = "on the adapters' inputs",
         .least = 0,
         .most = 0.99,
         .used = r.on(),
         .used_with = with},
        r.dropout);
  v.key({.name = "rslora", .help = "scale by alpha/sqrt(rank)", .used = r.on(), .used_with = with},
        r.rslora);
  v.key({.name = "dora",
         .help = "train the lengths of the changed rows as well",
         .used = r.on(),
         .used_with = with},
        r.dora);
  v.key({.name = "init",
         .help = "start of the first factor",
         .choices = {"default", "gaussian"},
         .used = r.on(),
         .used_with = with},
        r.init);
  v.key({.name = "bias",
         .help = "biases that are trained too",
         .choices = {"none", "all", "lora_only"},
         .used = r.on(),
         .used_with = with},
        r.bias);
  v.key({.name = "modules_to_save",
         .help = "patterns of modules of the adapted parts to train in full",
         .used = r.on(),
         .used_with = with},
        r.modules_to_save);
}

void describe(KeyVisitor& v, StageRecipe& r) {
  v.key({.name = "name", .help = "how messages and --set call it", .required = true}, r.name);
  v.key({.name = "skip", .help = "leave this stage out"}, r.skip);
  v.key({.name = "steps",
         .help = "updates of the weights",
         .least = 1,
         .most = kMany,
         .required = true},
        r.steps);
  v.key({.name = "batch", .help = "samples in a micro-batch", .least = 1, .most = 1 << 20},
        r.batch);
  v.key({.name = "accumulate", .help = "micro-batches per step", .least = 1, .most = 1 << 20},
        r.accumulate);
  v.key({.name = "sources", .help = "record sources used in this stage; empty: all"}, r.sources);
  v.table({.name = "lora", .used = v.reading() || r.lora.on()},
          [&](KeyVisitor& t) { describe(t, r.lora); });
  if (v.reading() && r.lora.on()) r.train.clear();
  v.key(
      {.name = "train",
       .help = "patterns of the parameters to train; the rest is frozen, and so is every part with "
               "adapters, but for these"},
      r.train);
  v.key({.name = "lr",
         .help = "highest learning rate, or a table pattern -> rate (the longest match counts)",
         .least = 0,
         .most = 1e3},
        r.lr);
  v.key({.name = "schedule",
         .help = "course of the learning rate",
         .choices = {"constant", "linear", "cosine", "wsd"}},
        r.schedule);
  v.key({.name = "warmup",
         .help = "linear rise at the start: below 1 a share of the steps, else steps",
         .least = 0,
         .most = kMany},
        r.warmup);
  v.key({.name = "decay",
         .help = "fall at the end: below 1 a share of the steps, else steps",
         .least = 0,
         .most = kMany,
         .used = r.schedule == "wsd",
         .used_with = "schedule = \"wsd\""},
        r.decay);
  v.key({.name = "min_lr_ratio",
         .help = "last learning rate as a share of the highest",
         .least = 0,
         .most = 1,
         .used = r.schedule != "constant",
         .used_with = "a schedule other than \"constant\""},
        r.min_lr_ratio);
  v.key({.name = "optimizer", .help = "update rule", .choices = {"adamw", "sgd"}}, r.optimizer);
  v.key({.name = "weight_decay",
         .help = "decoupled decay of matrices, per unit of learning rate",
         .least = 0,
         .most = 1e3},
        r.weight_decay);
  const bool adamw = r.optimizer == "adamw";
  const char* const with = "optimizer = \"adamw\"";
  v.key({.name = "betas",
         .help = "decay of the two moments",
         .least = 0,
         .most = 0.9999999,
         .used = adamw,
         .used_with = with},
        r.betas);
  v.key({.name = "eps",
         .help = "added to the root of the second moment",
         .least = 0,
         .most = 1,
         .used = adamw,
         .used_with = with},
        r.eps);
  v.key({.name = "momentum",
         .help = "decay of the velocity",
         .least = 0,
         .most = 0.9999999,
         .used = !adamw,
         .used_with = "optimizer = \"sgd\""},
        r.momentum);
  v.key({.name = "clip",
         .help = "largest norm of all gradients together; 0: no clipping",
         .least = 0,
         .most = 1e9},
        r.clip);
  v.key({.name = "image_size",
         .help = "side of the pictures in this stage, pixels; 0: the model's",
         .least = 0,
         .most = 8192},
        r.image_size);
  v.key({.name = "dropout",
         .help = "in place of the model's dropouts; -1: theirs",
         .least = -1,
         .most = 0.99},
        r.dropout);
  v.key({.name = "checkpoint_activations",
         .help = "recompute blocks in backward: less memory, a third more time"},
        r.checkpoint_activations);
  v.key(
      {.name = "loss_chunk", .help = "rows of logits held at a time", .least = 1, .most = 1 << 24},
      r.loss_chunk);
  v.key({.name = "train_on", .help = "roles whose text is the target"}, r.train_on);
}

template <class T>
void describe_list(KeyVisitor& v, const KeyInfo& info, std::vector<T>& entries) {
  v.list(info, {.size = [&] { return entries.size(); },
                .resize = [&](size_t count) { entries.resize(count); },
                .visit = [&](KeyVisitor& inner, size_t i) { describe(inner, entries[i]); }});
}

void check_names(const std::vector<std::string>& names, const char* list, const std::string& who) {
  std::set<std::string> seen;
  for (const std::string& name : names) {
    check<UsageError>(!name.empty(), "{}: an entry of {} has an empty name", who, list);
    check<UsageError>(seen.insert(name).second, "{}: two entries of {} have the name \"{}\"", who,
                      list, name);
  }
}

void check_divides(int64_t divisor, int64_t value, const std::string& divisor_name,
                   const std::string& value_name, const std::string& who) {
  check<UsageError>(value % divisor == 0, "{}: {} ({}) must divide {} ({})", who, divisor_name,
                    divisor, value_name, value);
}

/// Pictures of `size` pixels must fall into whole patches, and these into whole groups.
void check_picture_size(const ModelRecipe& model, int64_t size, const std::string& name,
                        const std::string& who) {
  check_divides(model.vision.patch_size, size, "model.vision.patch_size", name, who);
  const int64_t patches = size / model.vision.patch_size;
  if (model.connector.kind == "pixel_shuffle")
    check<UsageError>(patches % model.connector.factor == 0,
                      "{}: model.connector.factor ({}) must divide the {} patches along a side of "
                      "the picture ({} / patch_size)",
                      who, model.connector.factor, patches, name);
}

void check_parts(const Recipe& r, const std::string& who) {
  const VisionRecipe& vision = r.model.vision;
  const LanguageRecipe& language = r.model.language;
  check_picture_size(r.model, vision.image_size, "model.vision.image_size", who);
  check_divides(vision.num_attention_heads, vision.hidden_size, "model.vision.num_attention_heads",
                "model.vision.hidden_size", who);
  check_divides(language.num_attention_heads, language.hidden_size,
                "model.language.num_attention_heads", "model.language.hidden_size", who);
  check_divides(language.num_key_value_heads, language.num_attention_heads,
                "model.language.num_key_value_heads", "model.language.num_attention_heads", who);
  check<UsageError>(language.hidden_size / language.num_attention_heads % 2 == 0,
                    "{}: the head size of model.language ({} / {}) must be even, because rotary "
                    "embeddings turn pairs of channels",
                    who, language.hidden_size, language.num_attention_heads);
  for (size_t i = 0; i < r.stage.size(); ++i)
    if (r.stage[i].image_size > 0)
      check_picture_size(r.model, r.stage[i].image_size, fmt::format("stage.{}.image_size", i),
                         who);
}

void check_stage(const StageRecipe& stage, const std::string& key, const std::string& who) {
  check<UsageError>(!stage.train.empty() || stage.lora.on(),
                    "{}: {}.train is empty, so nothing would be trained", who, key);
  check<UsageError>(!stage.lr.empty(), "{}: {}.lr is an empty table; give at least one rate", who,
                    key);
  check<UsageError>(!stage.train_on.empty(),
                    "{}: {}.train_on is empty, so nothing would be a target", who, key);
  for (const std::string& role : stage.train_on)
    check<UsageError>(role == "system" || role == "user" || role == "assistant",
                      "{}: {}.train_on has \"{}\"; roles are system, user, assistant", who, key,
                      role);
  const auto steps_of = [&](double share_or_steps) {
    return share_or_steps < 1 ? share_or_steps * static_cast<double>(stage.steps) : share_or_steps;
  };
  const double falling = stage.schedule == "wsd" ? steps_of(stage.decay) : 0;
  check<UsageError>(steps_of(stage.warmup) + falling <= static_cast<double>(stage.steps),
                    "{}: {}.warmup and decay take {} steps together, the stage has {}", who, key,
                    steps_of(stage.warmup) + falling, stage.steps);
  check<UsageError>(stage.dropout >= 0 || stage.dropout == -1,
                    "{}: {}.dropout must be -1 (the model's) or from 0 to 0.99, got {}", who, key,
                    stage.dropout);
}

}  // namespace

void describe_recipe(KeyVisitor& v, Recipe& r) {
  v.key({.name = "name",
         .help = "of the run; empty: the recipe's file name",
         .changes_result = false},
        r.name);
  v.key({.name = "seed",
         .help = "of weights, order of samples and dropout",
         .least = 0,
         .most = 9007199254740992.0},
        r.seed);
  v.key({.name = "threads",
         .help = "threads that compute; 0: all cores",
         .least = 0,
         .most = 4096,
         .changes_result = false},
        r.threads);
  v.key({.name = "precision",
         .help = "of activations; weights and sums stay f32",
         .choices = {"f32", "bf16"}},
        r.precision);
  v.table({.name = "model"}, [&](KeyVisitor& t) { describe(t, r.model); });
  v.table({.name = "tokenizer"}, [&](KeyVisitor& t) { describe(t, r.tokenizer); });
  describe_list(v, {.name = "data"}, r.data);
  v.table({.name = "loader"}, [&](KeyVisitor& t) { describe(t, r.loader); });
  v.table({.name = "checkpoint"}, [&](KeyVisitor& t) { describe(t, r.checkpoint); });
  v.table({.name = "log"}, [&](KeyVisitor& t) { describe(t, r.log); });
  v.table({.name = "eval"}, [&](KeyVisitor& t) { describe(t, r.eval); });
  v.table({.name = "numerics"}, [&](KeyVisitor& t) { describe(t, r.numerics); });
  v.table({.name = "ema"}, [&](KeyVisitor& t) { describe(t, r.ema); });
  describe_list(v, {.name = "stage"}, r.stage);
}

void check_recipe(const Recipe& r, const std::string& who) {
  check<UsageError>(r.name.find('/') == std::string::npos && r.name != "." && r.name != "..",
                    "{}: name must be usable as a folder name, got \"{}\"", who, r.name);
  std::vector<std::string> data_names, stage_names;
  for (const DataRecipe& data : r.data) data_names.push_back(data.name);
  for (const StageRecipe& stage : r.stage) stage_names.push_back(stage.name);
  check_names(data_names, "data", who);
  check_names(stage_names, "stage", who);
  check<UsageError>(
      std::any_of(r.data.begin(), r.data.end(),
                  [](const DataRecipe& d) { return d.split == "train" && d.weight > 0; }),
      "{}: there is nothing to train on; add a [[data]] entry with split = \"train\" and "
      "a weight above 0",
      who);
  check<UsageError>(
      std::any_of(r.stage.begin(), r.stage.end(), [](const StageRecipe& s) { return !s.skip; }),
      "{}: there is no stage to train; add a [[stage]] entry without skip = true", who);
  for (const DataRecipe& data : r.data)
    check<UsageError>(!data.path.empty(), "{}: data.{}.path is empty", who, data.name);
  if (r.model.from.empty()) check_parts(r, who);
  for (const StageRecipe& stage : r.stage)
    check<UsageError>(
        !stage.lora.on() || r.ema.decay == 0,
        "{}: ema.decay and the lora of stage {} exclude each other; the running mean is "
        "over the weights, which adapters leave as they are",
        who, stage.name);
  for (size_t i = 0; i < r.stage.size(); ++i)
    check_stage(r.stage[i], fmt::format("stage.{}", i), who);
}

}  // namespace ocellus
