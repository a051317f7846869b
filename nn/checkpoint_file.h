// safetensors: read (memory-mapped, sharded) and write. Every rule of the format is checked before
// a byte is used, and every message names the file and the place.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/file.h"
#include "engine/tensor.h"
#include "nn/module.h"

namespace ocellus {

/// One tensor of a safetensors file. `stored` is the name of the element type in the file.
struct TensorInfo {
  std::string stored;  // "F32", "BF16", "F16", "I64", …
  Shape shape;
  uint64_t begin = 0, end = 0;  // bytes in the file
};

/// SafetensorsFile — one mapped file. Rules: header length within the file and ≤ 100,000,000; UTF-8
/// JSON that starts with '{'; no duplicate keys; offsets contiguous from 0 without holes or
/// overlap, sizes that equal shape times element size; nothing behind the last tensor.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path);
  const std::string& path() const { return map_->path(); }
  const std::map<std::string, TensorInfo>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// The tensor as its own element type, over the mapped bytes, if the engine has that type; F16
  /// and the 8-bit floats are converted to f32, narrow integers to i32.
  Tensor read(const std::string& name) const;
  /// Copies the tensor into `out` (same shape, contiguous, any floating type) a few megabytes at a
  /// time, giving the file's memory back behind itself: a model is loaded in its own size.
  void read_into(const std::string& name, Tensor& out) const;

 private:
  Tensor read_part(const TensorInfo& info, const std::string& name, int64_t from, int64_t to) const;
  std::shared_ptr<MappedFile> map_;
  std::map<std::string, TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
};

/// CheckpointReader — a model's tensors: one file, a folder with model.safetensors, or a folder
/// with model.safetensors.index.json and its shards. Pickle files are refused with how to convert
/// them.
class CheckpointReader {
 public:
  explicit CheckpointReader(const std::string& file_or_folder);
  std::vector<std::string> names() const;
  bool contains(const std::string& name) const { return where_.contains(name); }
  const TensorInfo& info(const std::string& name) const;
  Tensor read(const std::string& name) const;
  void read_into(const std::string& name, Tensor& out) const;
  const std::string& path() const { return path_; }
  const std::vector<std::unique_ptr<SafetensorsFile>>& files() const { return files_; }

 private:
  std::string path_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, SafetensorsFile*> where_;
};

/// save_safetensors — writes the tensors atomically, sorted by alignment then name as the reference
/// writer does, header padded to 8 bytes, metadata {"format": "pt"} added.
void save_safetensors(const std::string& path,
                      const std::vector<std::pair<std::string, Tensor>>& tensors,
                      std::map<std::string, std::string> metadata = {});

/// save_model_tensors — model.safetensors in `folder`, or shards model-00001-of-0000N.safetensors
/// of at most `shard_bytes` (one tensor at least) and, last, model.safetensors.index.json.
void save_model_tensors(const std::string& folder,
                        const std::vector<std::pair<std::string, Tensor>>& tensors,
                        uint64_t shard_bytes = uint64_t{5} << 30);

/// The bytes that save_safetensors would write, without writing (for checks of free space).
uint64_t safetensors_size(const std::vector<std::pair<std::string, Tensor>>& tensors);

/// NameMap — file name of each parameter name; the identity if empty.
using NameMap = std::function<std::string(const std::string&)>;

/// load_parameters — copies every parameter and buffer of `module` from the checkpoint, converted
/// to its dtype. Those missing in the file, tensors the model does not use (other than `ignored`)
/// and wrong shapes are one FormatError that lists both sides, with the nearest names.
void load_parameters(Module& module, const CheckpointReader& checkpoint,
                     const NameMap& file_name = {}, const std::vector<std::string>& ignored = {});

/// stored_tensors — every parameter and buffer of `module` by its name in files: what
/// load_parameters reads back.
std::vector<std::pair<std::string, Tensor>> stored_tensors(Module& module,
                                                           const NameMap& file_name = {});

/// load_tensors — the same as load_parameters for a list of parameters by their names in the file.
void load_tensors(const std::vector<std::pair<std::string, Parameter*>>& parameters,
                  const CheckpointReader& checkpoint, const std::vector<std::string>& ignored = {});

}  // namespace ocellus
