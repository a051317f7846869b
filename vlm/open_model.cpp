#include "vlm/open_model.h"

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "autograd/autocast.h"
#include "engine/file.h"
#include "engine/json.h"
#include "engine/random.h"
#include "vlm/hf_model.h"
#include "vlm/module_names.h"
#include "vlm/vlm.h"

namespace ocellus {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr RngKey kSampleKey{0x0CE11, 0};

Tensor sample_ids(int64_t rows, int64_t tokens, int64_t vocabulary) {
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < rows * tokens; ++i)
    ids.push_back(static_cast<int64_t>(kSampleKey.word(static_cast<uint64_t>(i))) % vocabulary);
  return Tensor::from(ids, {rows, tokens});
}

Tensor sample_pixels(int64_t count, int64_t channels, int64_t size) {
  Tensor pixels = Tensor::empty({count, channels, size, size}, DType::kF32);
  float* data = pixels.mutable_data<float>("sample");
  for (int64_t i = 0; i < pixels.numel(); ++i)
    data[i] = 2 * uniform01(kSampleKey.word(static_cast<uint64_t>(i))) - 1;
  return pixels;
}

class OpenVlm : public OpenModel {
 public:
  OpenVlm(const std::string& folder, std::string architecture)
      : architecture_(std::move(architecture)), model_(load_vlm(folder)) {}
  Module& module() override { return *model_; }
  NameMap file_name() const override {
    return [type = type()](const std::string& name) { return vlm_file_name(type, name); };
  }
  NameMap module_name() const override {
    return [type = type()](const std::string& name) { return vlm_module_name(type, name); };
  }
  std::string transformers_class() const override {
    return type() == "ocellus_vlm" ? "" : architecture_;
  }

 protected:
  ModelOutputs run_sample() override {
    const VlmConfig& config = model_->config();
    const int64_t slots = model_->tokens_per_image(config.vision.image_size);
    VlmBatch batch;
    std::vector<int64_t> ids(static_cast<size_t>(slots), config.image_token_id), rows;
    for (int64_t id : sample_ids(1, 12, config.language.vocab_size).to_vector<int64_t>())
      ids.push_back(id);
    for (int64_t i = 0; i < slots; ++i) rows.push_back(i);
    batch.ids = Tensor::from(ids, {1, static_cast<int64_t>(ids.size())});
    batch.pixels = sample_pixels(1, 3, config.vision.image_size);
    batch.image_rows = Tensor::from(rows, {slots});
    return {{"logits", model_->language().logits(model_->hidden(batch)).value()}};
  }

 private:
  std::string type() const { return vlm_model_type(model_->config()); }
  std::string architecture_;
  std::unique_ptr<Vlm> model_;
};

class OpenHf : public OpenModel {
 public:
  OpenHf(const std::string& folder, std::string architecture)
      : architecture_(std::move(architecture)),
        model_(load_hf_model(folder, architecture_, DType::kF32)) {
    const HfSample sample = model_->sample();
    if (sample.vocabulary > 0) inputs_.tensors["input_ids"] = sample_ids(2, 12, sample.vocabulary);
    if (sample.decodes) inputs_.tensors["decoder_input_ids"] = sample_ids(2, 7, sample.vocabulary);
    if (sample.image_size > 0)
      inputs_.tensors["pixel_values"] = sample_pixels(2, sample.channels, sample.image_size);
    if (sample.image_tokens > 0) place_image_tokens(sample);
  }
  Module& module() override { return *model_; }
  NameMap file_name() const override { return {}; }
  NameMap module_name() const override { return module_names(architecture_); }
  std::string transformers_class() const override { return architecture_; }

 protected:
  ModelOutputs run_sample() override {
    ModelOutputs out;
    for (const auto& [name, value] : model_->forward(inputs_)) out[name] = value.value();
    return out;
  }

 private:
  // One picture in front of each text, in the ids that stand for it.
  void place_image_tokens(const HfSample& sample) {
    std::vector<int64_t> ids;
    const auto text = inputs_.tensors["input_ids"].to_vector<int64_t>();
    for (int64_t row = 0; row < 2; ++row) {
      ids.insert(ids.end(), static_cast<size_t>(sample.image_tokens), sample.image_token_id);
      for (int64_t t = 0; t < 12; ++t) {
        const int64_t id = text[static_cast<size_t>(row * 12 + t)];
        ids.push_back(id == sample.image_token_id ? (id + 1) % sample.vocabulary : id);
      }
    }
    inputs_.tensors["input_ids"] = Tensor::from(ids, {2, sample.image_tokens + 12});
  }

  std::string architecture_;
  std::unique_ptr<HfModel> model_;
  HfInputs inputs_;
};

}  // namespace

ModelOutputs OpenModel::sample_outputs(DType precision) {
  StopRecording stop;
  Autocast scope(precision);
  return run_sample();
}

std::vector<std::pair<std::string, Tensor>> OpenModel::file_tensors() {
  return stored_tensors(module(), file_name());
}

std::unique_ptr<OpenModel> open_model(const std::string& folder) {
  const std::string path = folder + "/config.json";
  const json config = load_json(path);
  check<FormatError>(config.is_object(), "{}: must be an object", path);
  try {
    const std::string type = config.value("model_type", "");
    const json architectures = config.value("architectures", json::array());
    const std::string architecture =
        architectures.empty() ? "" : architectures.at(0).get<std::string>();
    if (type == "idefics3" || vlm_is_llava(config) || type == "ocellus_vlm")
      return std::make_unique<OpenVlm>(folder, architecture);
    check<FormatError>(!architecture.empty(), "{}: architectures must name a class", path);
    return std::make_unique<OpenHf>(folder, architecture);
  } catch (const json::exception& error) {
    fail<FormatError>("{}: {}", path, error.what());
  }
}

std::string model_folder_of(const std::string& path) {
  return !fs::exists(path + "/config.json") && fs::exists(path + "/model/config.json")
             ? path + "/model"
             : path;
}

OutputDifference compare_outputs(const ModelOutputs& a, const ModelOutputs& b) {
  OutputDifference worst;
  for (const auto& [name, tensor] : a) {
    if (!is_floating(tensor.dtype())) continue;
    const auto x = tensor.to_vector<double>(), y = b.at(name).to_vector<double>();
    double largest = 0, top = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double d = std::fabs(x[i] - y[i]);
      largest = std::isnan(d) ? INFINITY : std::max(largest, d);
      top = std::max(top, std::fabs(y[i]));
    }
    worst.largest = std::max(worst.largest, largest);
    const double relative = largest == 0 ? 0 : largest / top;
    if (relative >= worst.relative) worst.relative = relative, worst.where = name;
  }
  return worst;
}

OutputFolder::OutputFolder(const std::string& path)
    : path_(fs::path(path).lexically_normal().string()) {
  while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
  check<UsageError>(!fs::exists(path_) || (fs::is_directory(path_) && fs::is_empty(path_)),
                    "{}: exists already; give a folder that does not exist", path_);
  temporary_ = fmt::format("{}.tmp-{}", path_, ::getpid());
  std::error_code ignored;
  fs::remove_all(temporary_, ignored);
  make_folders(temporary_);
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
}

void OutputFolder::copy_settings(const std::string& model_folder) {
  static const std::set<std::string> weights = {".safetensors", ".bin", ".pt",      ".pth", ".ckpt",
                                                ".pkl",         ".h5",  ".msgpack", ".gguf"};
  for (const auto& entry : fs::directory_iterator(model_folder)) {
    const std::string name = entry.path().filename().string();
    if (name == "additional_chat_templates" && entry.is_directory())
      fs::copy(entry.path(), temporary_ + "/" + name, fs::copy_options::recursive);
    if (!entry.is_regular_file() || weights.contains(entry.path().extension().string()) ||
        name.ends_with(".index.json") || name.starts_with("adapter_"))
      continue;
    write_file_atomic(temporary_ + "/" + name, read_file(entry.path().string()));
  }
}

void OutputFolder::commit() {
  std::error_code failed;
  fs::remove(path_, failed);  // an empty folder
  fs::rename(temporary_, path_, failed);
  check<Error>(!failed, "{}: cannot rename {} to it: {}", path_, temporary_, failed.message());
  temporary_.clear();
}

std::vector<std::pair<std::string, Tensor>> stored_like(
    std::vector<std::pair<std::string, Tensor>> tensors, const std::string& like) {
  const CheckpointReader reader(like);
  bool all_low = true;
  for (const std::string& name : reader.names())
    all_low = all_low && (reader.info(name).stored == "BF16" || reader.info(name).stored == "I64");
  for (auto& [name, tensor] : tensors)
    if (is_floating(tensor.dtype()) &&
        (all_low || (reader.contains(name) && reader.info(name).stored == "BF16")))
      tensor = tensor.to(DType::kBF16);
  return tensors;
}

}  // namespace ocellus
