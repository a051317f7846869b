// The recipe: everything that decides a training run, as plain structs with defaults.
//
// A recipe is read from TOML and changed by --set; both go through the one table of keys in
// recipe_keys.cpp, which also writes the resolved recipe and the help. Paths are relative to the
// working folder. To add a key: a member here, a line in that table.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ocellus {

struct VisionRecipe {
  std::string kind = "vit";     // vit | siglip
  std::string preset = "tiny";  // sizes below that the recipe does not give come from it
  int64_t image_size = 64, patch_size = 8;
  int64_t hidden_size = 96, num_hidden_layers = 2, num_attention_heads = 3;
  int64_t intermediate_size = 384;
  std::string hidden_act = "gelu_pytorch_tanh";
  double layer_norm_eps = 1e-6;
  double dropout = 0;
  bool operator==(const VisionRecipe&) const = default;
};

struct ConnectorRecipe {
  std::string kind = "pixel_shuffle";  // linear | mlp | pixel_shuffle
  int64_t factor = 2;                  // pixel_shuffle: factor² patches become one token
  std::string hidden_act = "gelu";     // mlp: between its two layers
  bool operator==(const ConnectorRecipe&) const = default;
};

struct LanguageRecipe {
  std::string kind = "llama";
  std::string preset = "tiny";
  int64_t hidden_size = 96, num_hidden_layers = 2, num_attention_heads = 3;
  int64_t num_key_value_heads = 3, intermediate_size = 256;
  std::string hidden_act = "silu";
  double rope_theta = 10000, rms_norm_eps = 1e-5;
  int64_t max_position_embeddings = 512;
  bool tie_word_embeddings = true;
  double dropout = 0;
  bool operator==(const LanguageRecipe&) const = default;
};

struct ModelRecipe {
  std::string from;  // a model folder; then the parts are not used
  VisionRecipe vision;
  ConnectorRecipe connector;
  LanguageRecipe language;
  bool operator==(const ModelRecipe&) const = default;
};

struct TokenizerRecipe {
  std::string from;                  // a tokenizer.json; empty: trained on the training text
  int64_t vocab = 512;               // entries, special tokens and the 256 bytes included
  std::vector<std::string> sources;  // record sources whose text is used; empty: all
  bool operator==(const TokenizerRecipe&) const = default;
};

/// Names of the fields in the records of an image folder's annotation file.
struct FieldsRecipe {
  std::string image = "image", question = "question", answer = "answer", source = "source";
  bool operator==(const FieldsRecipe&) const = default;
};

struct DataRecipe {
  std::string name;
  std::string kind = "webdataset";  // webdataset | messages | image_folder
  std::string path;                 // a file, a folder or a shard pattern
  std::string split = "train";      // train | eval
  double weight = 1;
  std::vector<std::string> sources;  // record sources to keep; empty: all
  std::string annotations;           // image_folder: its CSV or JSONL
  FieldsRecipe fields;               // image_folder
  std::string on_bad = "fail";       // fail | quarantine | substitute
  int64_t bad_cap = 100;             // samples refused before the run stops after all
  bool operator==(const DataRecipe&) const = default;
};

struct LoaderRecipe {
  int64_t threads = 1;   // decoding threads beside the training thread
  int64_t prefetch = 4;  // batches kept ready
  int64_t max_mb = 256;  // bound on decoded bytes in flight, MiB
  bool operator==(const LoaderRecipe&) const = default;
};

struct CheckpointRecipe {
  int64_t every = 200;  // steps; 0: only at the end of a stage and on interruption
  int64_t keep = 3;     // newest checkpoints kept
  bool operator==(const CheckpointRecipe&) const = default;
};

struct LogRecipe {
  int64_t every = 10;  // steps between progress lines where no terminal is attached
  bool tensorboard = true;
  bool operator==(const LogRecipe&) const = default;
};

struct EvalRecipe {
  int64_t every = 0;    // steps; 0: never during training
  int64_t limit = 512;  // samples per evaluation during training; 0: all
  int64_t batch = 64;
  int64_t max_new_tokens = 16;
  bool at_end = true;  // the whole evaluation split once after the last stage
  bool operator==(const EvalRecipe&) const = default;
};

struct NumericsRecipe {
  std::string on_nonfinite = "stop";  // stop | skip | rewind
  int64_t max_skips = 10;
  bool operator==(const NumericsRecipe&) const = default;
};

struct EmaRecipe {
  double decay = 0;  // 0: off
  bool operator==(const EmaRecipe&) const = default;
};

/// The learning rate of the parameters whose name matches `pattern`.
struct PatternRate {
  std::string pattern;
  double lr = 0;
  bool operator==(const PatternRate&) const = default;
};

/// Adapters in place of training a part's weights (nn/lora.h). Without targets: none.
struct LoraRecipe {
  std::vector<std::string> targets;  // patterns of layers, or "all-linear"
  int64_t rank = 8;
  double alpha = 16;
  double dropout = 0;
  bool rslora = false, dora = false;
  std::string init = "default";  // default | gaussian
  std::string bias = "none";     // none | all | lora_only
  std::vector<std::string> modules_to_save;  // patterns of modules to train in full besides
  bool on() const { return !targets.empty(); }
  bool operator==(const LoraRecipe&) const = default;
};

struct StageRecipe {
  std::string name;
  bool skip = false;
  int64_t steps = 0;
  int64_t batch = 32;      // samples per step and micro-batch
  int64_t accumulate = 1;  // micro-batches per step
  std::vector<std::string> sources;
  LoraRecipe lora;
  /// Patterns of trainable parameters. A part that carries adapters is frozen but for these; a recipe
  /// with lora and without this key trains adapters only.
  std::vector<std::string> train = {"*"};
  /// Sorted by length of the pattern, then by text: of those that match a name, the last counts.
  std::vector<PatternRate> lr = {{"*", 1e-3}};
  std::string schedule = "cosine";  // constant | linear | cosine | wsd
  double warmup = 0.03;             // below 1: share of the steps; else: steps
  double decay = 0.2;               // wsd: likewise
  double min_lr_ratio = 0;          // linear, cosine, wsd: last rate / lr
  std::string optimizer = "adamw";  // adamw | sgd
  double weight_decay = 0.01;
  std::array<double, 2> betas = {0.9, 0.999};  // adamw
  double eps = 1e-8;                           // adamw
  double momentum = 0.9;                       // sgd
  double clip = 1;                             // norm of all gradients; 0: off
  int64_t image_size = 0;                      // 0: the model's
  double dropout = -1;                         // -1: the model's
  bool checkpoint_activations = false;
  int64_t loss_chunk = 1024;  // rows of logits held at a time
  std::vector<std::string> train_on = {"assistant"};
  bool operator==(const StageRecipe&) const = default;
};

struct Recipe {
  std::string name;     // empty: the file's name without .toml
  int64_t seed = 0;     // of weights, order of samples and dropout
  int64_t threads = 0;  // 0: all cores
  std::string precision = "f32";
  ModelRecipe model;
  TokenizerRecipe tokenizer;
  std::vector<DataRecipe> data;
  LoaderRecipe loader;
  CheckpointRecipe checkpoint;
  LogRecipe log;
  EvalRecipe eval;
  NumericsRecipe numerics;
  EmaRecipe ema;
  std::vector<StageRecipe> stage;
  bool operator==(const Recipe&) const = default;
};

/// load_recipe — the recipe in the TOML file `path`, changed by `settings` ("stage.0.steps=120").
///
/// A setting is KEY=VALUE. KEY reaches into arrays of tables by number or by the entry's name
/// (`stage.pretrain.steps`); VALUE is TOML, or a string without quotes. Settings apply in order.
/// Throws FormatError if the file is missing or not TOML, UsageError for an unknown, unused,
/// missing, wrongly typed or out-of-range key; the sentence names file and line, or the setting.
Recipe load_recipe(const std::string& path, const std::vector<std::string>& settings = {});

/// parse_recipe — the same for TOML text that `who` names in errors.
Recipe parse_recipe(std::string_view text, const std::string& who,
                    const std::vector<std::string>& settings = {});

/// to_toml — the resolved recipe, every key that is in use written out. Reading it gives the same
/// Recipe and the same text.
std::string to_toml(const Recipe& recipe);

/// recipe_help — one line a key: dotted name, type, default, description.
std::string recipe_help();

/// RecipeEntry — one key of a resolved recipe: "stage.0.lr", "0.001".
struct RecipeEntry {
  std::string key, value;  // value as TOML
  bool changes_result;     // false: threads, folders of the log and the like
};

/// recipe_entries — all keys in use, in the order of the file.
std::vector<RecipeEntry> recipe_entries(const Recipe& recipe);

/// recipe_hash — XXH3-64 over the entries that change the result: equal for runs that may resume
/// each other's checkpoints.
std::string recipe_hash(const Recipe& recipe);

/// recipe_differences — sentences "stage.0.steps is 600 in the checkpoint, 700 now" for the entries
/// that change the result and differ between `saved` and `now`.
std::vector<std::string> recipe_differences(const Recipe& saved, const Recipe& now);

/// nearest_name — the candidate closest to `name` by edits (insert, delete, replace, swap), or ""
/// if none is near enough to be meant.
std::string nearest_name(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace ocellus
