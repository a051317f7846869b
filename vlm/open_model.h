// A model folder of any class that Ocellus has, behind one face: for commands that treat weights as
// weights (merge, export) and only want to know whether two models compute the same.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nn/checkpoint_file.h"
#include "nn/lora.h"

namespace ocellus {

/// What a model answers to a fixed input drawn from a seed, by the names of transformers ("logits"
/// …).
using ModelOutputs = std::map<std::string, Tensor>;

class OpenModel {
 public:
  virtual ~OpenModel() = default;
  virtual Module& module() = 0;
  /// Names of parameters in files, and in the module tree of transformers, by which adapters go.
  virtual NameMap file_name() const = 0;
  virtual NameMap module_name() const = 0;
  /// The class of transformers that opens the folder; empty if there is none.
  virtual std::string transformers_class() const = 0;
  /// Computed in f32, or in bf16 as in mixed training.
  ModelOutputs sample_outputs(DType precision);

  /// An adapter folder onto the model, by the module tree of transformers 5 or the names in files.
  Adapters load_adapters(const std::string& folder) {
    return load_lora(module(), folder, {module_name(), file_name()});
  }
  /// Parameters and buffers by their file names, for save_model_tensors.
  std::vector<std::pair<std::string, Tensor>> file_tensors();

 protected:
  virtual ModelOutputs run_sample() = 0;
};

/// open_model — config.json and weights of a folder, in f32. FormatError for a class that is not
/// built.
std::unique_ptr<OpenModel> open_model(const std::string& folder);

/// The model folder that `path` means: itself, or the model/ of a run folder.
std::string model_folder_of(const std::string& path);

/// OutputDifference — max|a - b| over all outputs, and relative to max|b| of the same output; which
/// one.
struct OutputDifference {
  double largest = 0, relative = 0;
  std::string where;
};
OutputDifference compare_outputs(const ModelOutputs& a, const ModelOutputs& b);

/// OutputFolder — a folder that appears whole or not at all: files are written into a sibling that
/// is renamed by commit(). UsageError if `path` exists and is not empty.
class OutputFolder {
 public:
  explicit OutputFolder(const std::string& path);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  const std::string& path() const { return temporary_; }
  /// Copies every file of a model folder but its weights: config, tokenizer, templates, processor.
  void copy_settings(const std::string& model_folder);
  void commit();

 private:
  std::string path_, temporary_;
};

/// Tensors in the types of the folder `like`: bf16 where the same name is bf16 there, or all of it
/// is. Other types stay as they are here (f16 and the 8-bit floats were widened exactly).
std::vector<std::pair<std::string, Tensor>> stored_like(
    std::vector<std::pair<std::string, Tensor>> tensors, const std::string& like);

}  // namespace ocellus
