#include "nn/checkpoint_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/file.h"
#include "engine/json.h"
#include "engine/kernels/copy.h"
#include "engine/scalar/math.h"

namespace ocellus {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr uint64_t kMaxHeader = 100'000'000;

// Bits of an element type of the format; 0 for a name we do not know.
int bits_of(const std::string& dtype) {
  static const std::map<std::string, int> bits = {
      {"BOOL", 8}, {"U8", 8},      {"I8", 8},   {"F8_E4M3", 8}, {"F8_E5M2", 8},
      {"I16", 16}, {"U16", 16},    {"F16", 16}, {"BF16", 16},   {"I32", 32},
      {"U32", 32}, {"F32", 32},    {"I64", 64}, {"U64", 64},    {"F64", 64},
      {"C64", 64}, {"F8_E8M0", 8}, {"F4", 4},   {"F6_E2M3", 6}, {"F6_E3M2", 6}};
  auto found = bits.find(dtype);
  return found == bits.end() ? 0 : found->second;
}

const char* stored_name(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return "F64";
    case DType::kF32:
      return "F32";
    case DType::kBF16:
      return "BF16";
    case DType::kI64:
      return "I64";
    case DType::kI32:
      return "I32";
    case DType::kU8:
      return "U8";
    default:
      return "BOOL";
  }
}

// What a file that is no safetensors looks like, for the message.
const char* sniff(const unsigned char* data, size_t size) {
  auto starts = [&](const char* magic, size_t n) {
    return size >= n && !std::memcmp(data, magic, n);
  };
  if (starts("version https://git-lfs", 23))
    return "; it is a Git LFS pointer, fetch the real file";
  if (starts("PK\x03\x04", 4) || starts("\x80\x02", 2))
    return "; it is a pickle file: convert it with safetensors.torch.save_file in Python";
  if (starts("<", 1)) return "; it looks like an HTML page";
  if (starts("GGUF", 4)) return "; it is a GGUF file";
  return "";
}

Shape read_shape(const json& value, const std::string& where) {
  check<FormatError>(value.is_array() && value.size() <= kMaxRank,
                     "{}: shape must be a list of at most {} numbers", where, kMaxRank);
  Shape shape;
  for (const json& d : value) {
    check<FormatError>(d.is_number_unsigned() && d.get<uint64_t>() < (uint64_t{1} << 62),
                       "{}: shape has an entry that is no size", where);
    shape.push_back(d.get<int64_t>());
  }
  return shape;
}

TensorInfo read_entry(const std::string& path, const std::string& name, const json& entry,
                      uint64_t base, uint64_t buffer) {
  const std::string where = path + ": tensor " + name;
  check<FormatError>(entry.is_object() && entry.size() == 3 && entry.contains("dtype") &&
                         entry.contains("shape") && entry.contains("data_offsets"),
                     "{}: needs exactly dtype, shape and data_offsets", where);
  check<FormatError>(entry["dtype"].is_string(), "{}: dtype must be a string", where);
  TensorInfo info;
  info.stored = entry["dtype"].get<std::string>();
  const int bits = bits_of(info.stored);
  check<FormatError>(bits > 0, "{}: unknown dtype \"{}\"", where, info.stored);
  info.shape = read_shape(entry["shape"], where);
  const json& offsets = entry["data_offsets"];
  check<FormatError>(offsets.is_array() && offsets.size() == 2 && offsets[0].is_number_unsigned() &&
                         offsets[1].is_number_unsigned(),
                     "{}: data_offsets must be two numbers", where);
  const uint64_t begin = offsets[0].get<uint64_t>(), end = offsets[1].get<uint64_t>();
  check<FormatError>(begin <= end && end <= buffer,
                     "{}: data_offsets [{}, {}] lie outside of the {} bytes of data", where, begin,
                     end, buffer);
  uint64_t total = static_cast<uint64_t>(bits);
  for (int64_t d : info.shape)
    check<FormatError>(!__builtin_mul_overflow(total, static_cast<uint64_t>(d), &total),
                       "{}: shape {} is too large", where, to_string(info.shape));
  check<FormatError>(total % 8 == 0 && total / 8 == end - begin,
                     "{}: {} {} needs {} bytes, data_offsets give {}", where, to_string(info.shape),
                     info.stored, total / 8, end - begin);
  info.begin = base + begin;
  info.end = base + end;
  return info;
}

void check_contiguous(const std::string& path, const std::map<std::string, TensorInfo>& tensors,
                      uint64_t base, uint64_t file_size) {
  std::vector<std::pair<const TensorInfo*, const std::string*>> order;
  for (const auto& [name, info] : tensors) order.emplace_back(&info, &name);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first->begin, a.first->end) < std::pair(b.first->begin, b.first->end);
  });
  uint64_t expected = base;
  for (const auto& [info, name] : order) {
    check<FormatError>(info->begin == expected,
                       "{}: tensor {} starts at byte {}, {} was expected: {}", path, *name,
                       info->begin, expected,
                       info->begin < expected ? "tensors overlap" : "there is a hole");
    expected = info->end;
  }
  check<FormatError>(expected == file_size,
                     "{}: the last tensor ends at byte {}, the file has {}{}", path, expected,
                     file_size, expected > file_size ? " (truncated)" : "");
}

float half_to_float(uint16_t h) {
  const uint32_t sign = uint32_t{h & 0x8000u} << 16, exponent = (h >> 10) & 31u,
                 mantissa = h & 1023u;
  if (exponent == 31) return math::detail::bits_to_float(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  return math::detail::bits_to_float(sign | ((exponent + 112u) << 23) | (mantissa << 13));
}

// The two 8-bit floats of the OCP specification: e4m3 has no infinity, e5m2 is the top of a half.
float e5m2_to_float(uint8_t b) { return half_to_float(static_cast<uint16_t>(b << 8)); }
float e4m3_to_float(uint8_t b) {
  const int exponent = (b >> 3) & 15, mantissa = b & 7;
  const float sign = b & 0x80 ? -1.0f : 1.0f;
  if (exponent == 15 && mantissa == 7) return NAN;
  if (exponent == 0) return sign * static_cast<float>(mantissa) * 0x1p-9f;
  return sign * std::ldexp(1.0f + static_cast<float>(mantissa) / 8.0f, exponent - 7);
}

template <class From, class To, class Convert>
Tensor converted(const unsigned char* bytes, const Shape& shape, Convert convert) {
  Tensor out = Tensor::empty(shape, dtype_of<To>, kCpu, "load_checkpoint");
  To* to = out.mutable_data<To>("load_checkpoint");
  for (int64_t i = 0; i < out.numel(); ++i) {
    From value;
    std::memcpy(&value, bytes + i * static_cast<int64_t>(sizeof(From)), sizeof(From));
    to[i] = convert(value);
  }
  return out;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::string& path)
    : map_(std::make_shared<MappedFile>(path)) {
  const unsigned char* data = map_->data();
  const uint64_t size = map_->size();
  check<FormatError>(size >= 8, "{}: a safetensors file has at least 8 bytes, this one {}", path,
                     size);
  uint64_t header = 0;
  std::memcpy(&header, data, 8);
  check<FormatError>(header <= kMaxHeader,
                     "{}: not a safetensors file: the header would be {} bytes{}", path, header,
                     sniff(data, size));
  check<FormatError>(header + 8 <= size,
                     "{}: the header ends at byte {}, the file has {} (truncated){}", path,
                     header + 8, size, sniff(data, size));
  check<FormatError>(header > 0 && data[8] == '{', "{}: the header must start with '{{'{}", path,
                     sniff(data, size));
  const json root =
      parse_json({reinterpret_cast<const char*>(data) + 8, static_cast<size_t>(header)}, path);
  const uint64_t base = header + 8;
  for (const auto& [name, entry] : root.items()) {
    if (name == "__metadata__") {
      check<FormatError>(entry.is_object(), "{}: __metadata__ must map strings to strings", path);
      for (const auto& [key, value] : entry.items()) {
        check<FormatError>(value.is_string(), "{}: __metadata__ must map strings to strings", path);
        metadata_[key] = value.get<std::string>();
      }
    } else {
      tensors_[name] = read_entry(path, name, entry, base, size - base);
    }
  }
  check_contiguous(path, tensors_, base, size);
}

// Elements [from, to) of the flattened tensor, over the mapped bytes where the engine has the type.
Tensor SafetensorsFile::read_part(const TensorInfo& info, const std::string& name, int64_t from,
                                  int64_t to) const {
  static const std::map<std::string, DType> same = {
      {"F64", DType::kF64}, {"F32", DType::kF32}, {"BF16", DType::kBF16}, {"I64", DType::kI64},
      {"I32", DType::kI32}, {"U8", DType::kU8},   {"BOOL", DType::kBool}};
  const Shape shape{to - from};
  const auto at = static_cast<size_t>(from), count = static_cast<size_t>(to - from);
  const unsigned char* bytes = map_->data() + info.begin;
  if (auto direct = same.find(info.stored); direct != same.end()) {
    const auto width = static_cast<size_t>(dtype_size(direct->second));
    bytes += at * width;
    if (reinterpret_cast<uintptr_t>(bytes) % width == 0)
      return Tensor::wrap(Memory::borrowed(const_cast<unsigned char*>(bytes), count * width, map_),
                          shape, direct->second);
    Tensor copy = Tensor::empty(shape, direct->second, kCpu, "load_checkpoint");
    std::memcpy(copy.mutable_raw("load_checkpoint"), bytes, count * width);
    return copy;
  }
  if (info.stored == "F16") return converted<uint16_t, float>(bytes + 2 * at, shape, half_to_float);
  if (info.stored == "F8_E4M3") return converted<uint8_t, float>(bytes + at, shape, e4m3_to_float);
  if (info.stored == "F8_E5M2") return converted<uint8_t, float>(bytes + at, shape, e5m2_to_float);
  if (info.stored == "F8_E8M0")
    return converted<uint8_t, float>(bytes + at, shape, [](uint8_t v) {
      return v == 255 ? NAN : std::ldexp(1.0f, int{v} - 127);
    });
  if (info.stored == "I16")
    return converted<int16_t, int32_t>(bytes + 2 * at, shape, [](int16_t v) { return int32_t{v}; });
  if (info.stored == "U16")
    return converted<uint16_t, int32_t>(bytes + 2 * at, shape,
                                        [](uint16_t v) { return int32_t{v}; });
  if (info.stored == "I8")
    return converted<int8_t, int32_t>(bytes + at, shape, [](int8_t v) { return int32_t{v}; });
  if (info.stored == "U32")
    return converted<uint32_t, int64_t>(bytes + 4 * at, shape,
                                        [](uint32_t v) { return int64_t{v}; });
  fail<FormatError>("{}: tensor {} is {}, which cannot be read", path(), name, info.stored);
}

Tensor SafetensorsFile::read(const std::string& name) const {
  auto found = tensors_.find(name);
  check<FormatError>(found != tensors_.end(), "{}: there is no tensor {}", path(), name);
  const TensorInfo& info = found->second;
  return read_part(info, name, 0, info.shape.numel()).view_as(info.shape);
}

void SafetensorsFile::read_into(const std::string& name, Tensor& out) const {
  auto found = tensors_.find(name);
  check<FormatError>(found != tensors_.end(), "{}: there is no tensor {}", path(), name);
  const TensorInfo& info = found->second;
  const int64_t count = info.shape.numel();
  check<ShapeError>(out.shape() == info.shape && out.is_contiguous(),
                    "load_checkpoint: {} is {} in the file, {} in the model", name,
                    to_string(info.shape), to_string(out.shape()));
  constexpr int64_t kPart = int64_t{1} << 20;
  Tensor flat = out.view_as({count});
  for (int64_t from = 0; from < count; from += kPart) {
    const int64_t to = std::min(count, from + kPart);
    const Tensor part = read_part(info, name, from, to);
    check<FormatError>(is_floating(part.dtype()), "load_checkpoint: {} in {} holds {}, not numbers",
                       name, path(), dtype_name(part.dtype()));
    Tensor target = flat.sliced(0, from, to);
    copy(part, target);
    const uint64_t width = (info.end - info.begin) / static_cast<uint64_t>(count);
    map_->release(info.begin + static_cast<uint64_t>(from) * width,
                  info.begin + static_cast<uint64_t>(to) * width);
  }
}

namespace {
bool is_pickle_name(const fs::path& path) {
  static const std::set<std::string> extensions = {".bin", ".pt", ".pth", ".ckpt", ".pkl"};
  return extensions.contains(path.extension().string());
}

// A model folder without safetensors: says what its weights are and how to convert them.
void refuse_other_weights(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name == "training_args.bin") continue;
    check<FormatError>(!is_pickle_name(name) && name != "pytorch_model.bin.index.json",
                       "{}: has only {}; pickle files can run code and are not read, save the "
                       "model with save_pretrained(safe_serialization=True) of transformers",
                       folder.string(), name);
    check<FormatError>(name != "tf_model.h5" && name != "flax_model.msgpack",
                       "{}: has only {}; load it in transformers and save it with "
                       "save_pretrained(safe_serialization=True)",
                       folder.string(), name);
  }
}
}  // namespace

CheckpointReader::CheckpointReader(const std::string& file_or_folder) : path_(file_or_folder) {
  auto add = [&](const std::string& file) -> SafetensorsFile& {
    files_.push_back(std::make_unique<SafetensorsFile>(file));
    return *files_.back();
  };
  if (!fs::is_directory(path_)) {
    check<FormatError>(!is_pickle_name(path_),
                       "{}: pickle files can run code and are not read; convert it with "
                       "safetensors.torch.save_file in Python",
                       path_);
    SafetensorsFile& file = add(path_);
    for (const auto& [name, info] : file.tensors()) where_[name] = &file;
    return;
  }
  const fs::path folder(path_);
  const fs::path index = folder / "model.safetensors.index.json";
  const fs::path single = folder / "model.safetensors";
  if (!fs::exists(index)) {
    if (!fs::exists(single)) refuse_other_weights(folder);
    SafetensorsFile& file = add(single.string());
    for (const auto& [name, info] : file.tensors()) where_[name] = &file;
    return;
  }
  const json root = load_json(index.string());
  check<FormatError>(
      root.is_object() && root.contains("weight_map") && root["weight_map"].is_object(),
      "{}: needs an object \"weight_map\"", index.string());
  std::map<std::string, SafetensorsFile*> shards;
  for (const auto& [name, shard] : root["weight_map"].items()) {
    check<FormatError>(shard.is_string(), "{}: weight_map of {} must be a file name",
                       index.string(), name);
    const std::string file = shard.get<std::string>();
    check<FormatError>(!file.empty() && file.find('/') == std::string::npos && file != "..",
                       "{}: weight_map of {} leaves the folder: \"{}\"", index.string(), name,
                       file);
    if (!shards.contains(file)) shards[file] = &add((folder / file).string());
    check<FormatError>(shards[file]->tensors().contains(name),
                       "{}: {} should be in {}, which lacks it", index.string(), name, file);
    where_[name] = shards[file];
  }
  for (const auto& [file, shard] : shards)
    for (const auto& [name, info] : shard->tensors())
      check<FormatError>(where_.contains(name), "{}: tensor {} of {} is not in weight_map",
                         index.string(), name, file);
}

std::vector<std::string> CheckpointReader::names() const {
  std::vector<std::string> list;
  for (const auto& [name, file] : where_) list.push_back(name);
  return list;
}

const TensorInfo& CheckpointReader::info(const std::string& name) const {
  auto found = where_.find(name);
  check<FormatError>(found != where_.end(), "{}: there is no tensor {}", path_, name);
  return found->second->tensors().at(name);
}

Tensor CheckpointReader::read(const std::string& name) const {
  auto found = where_.find(name);
  check<FormatError>(found != where_.end(), "{}: there is no tensor {}", path_, name);
  return found->second->read(name);
}

void CheckpointReader::read_into(const std::string& name, Tensor& out) const {
  auto found = where_.find(name);
  check<FormatError>(found != where_.end(), "{}: there is no tensor {}", path_, name);
  found->second->read_into(name, out);
}

namespace {
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

// The order of the reference writer: widest element first, then by name.
std::vector<const std::pair<std::string, Tensor>*> writing_order(const NamedTensors& tensors) {
  std::vector<const std::pair<std::string, Tensor>*> order;
  for (const auto& entry : tensors) order.push_back(&entry);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    const int64_t x = dtype_size(a->second.dtype()), y = dtype_size(b->second.dtype());
    return x != y ? x > y : a->first < b->first;
  });
  return order;
}

std::string header_of(const NamedTensors& tensors, std::map<std::string, std::string> metadata) {
  metadata.emplace("format", "pt");
  json root = json::object();
  root["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const auto* entry : writing_order(tensors)) {
    const auto& [name, tensor] = *entry;
    const auto bytes = static_cast<uint64_t>(tensor.bytes());
    check<Error>(!root.contains(name), "save_safetensors: two tensors are named {}", name);
    root[name] = {{"dtype", stored_name(tensor.dtype())},
                  {"shape", std::vector<int64_t>(tensor.shape().begin(), tensor.shape().end())},
                  {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = root.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}
}  // namespace

uint64_t safetensors_size(const NamedTensors& tensors) {
  uint64_t bytes = 8 + header_of(tensors, {}).size();
  for (const auto& [name, tensor] : tensors) bytes += static_cast<uint64_t>(tensor.bytes());
  return bytes;
}

void save_safetensors(const std::string& path, const NamedTensors& tensors,
                      std::map<std::string, std::string> metadata) {
  const std::string header = header_of(tensors, std::move(metadata));
  AtomicFile file(path);
  const uint64_t length = header.size();
  file.write(&length, 8);
  file.write(header);
  for (const auto* entry : writing_order(tensors)) {
    const Tensor dense = entry->second.to(kCpu).contiguous();
    file.write(dense.raw(), static_cast<size_t>(dense.bytes()));
  }
  file.commit();
}

void save_model_tensors(const std::string& folder, const NamedTensors& tensors,
                        uint64_t shard_bytes) {
  std::vector<NamedTensors> shards(1);
  uint64_t in_shard = 0, total = 0;
  for (const auto& entry : tensors) {
    const auto bytes = static_cast<uint64_t>(entry.second.bytes());
    if (in_shard > 0 && in_shard + bytes > shard_bytes) {
      shards.emplace_back();
      in_shard = 0;
    }
    shards.back().push_back(entry);
    in_shard += bytes;
    total += bytes;
  }
  if (shards.size() == 1) return save_safetensors(folder + "/model.safetensors", tensors);
  json map = json::object();
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string file = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    for (const auto& [name, tensor] : shards[i]) map[name] = file;
    save_safetensors(folder + "/" + file, shards[i]);
  }
  const json index = {{"metadata", {{"total_size", total}}}, {"weight_map", map}};
  write_file_atomic(folder + "/model.safetensors.index.json", index.dump(2) + "\n");
}

namespace {
size_t common_ends(const std::string& a, const std::string& b) {
  size_t front = 0, back = 0;
  const size_t limit = std::min(a.size(), b.size());
  while (front < limit && a[front] == b[front]) ++front;
  while (back < limit && a[a.size() - 1 - back] == b[b.size() - 1 - back]) ++back;
  return front + back;
}
std::string nearest(const std::string& name, const std::set<std::string>& candidates) {
  const std::string* best = nullptr;
  for (const std::string& candidate : candidates)
    if (!best || common_ends(name, candidate) > common_ends(name, *best)) best = &candidate;
  return best ? " (nearest: " + *best + ")" : "";
}
std::string listing(const std::vector<std::string>& names, const std::set<std::string>& other) {
  std::string text;
  for (size_t i = 0; i < names.size() && i < 8; ++i)
    text += (i ? ", " : "") + names[i] + nearest(names[i], other);
  if (names.size() > 8) text += fmt::format(", and {} more", names.size() - 8);
  return text;
}

// Values by their names in the file: parameters, and buffers of any type.
void load_values(const std::vector<std::pair<std::string, Tensor*>>& values,
                 const CheckpointReader& checkpoint, const std::vector<std::string>& ignored) {
  std::set<std::string> unused;
  for (const std::string& name : checkpoint.names()) unused.insert(name);
  for (const std::string& name : ignored) unused.erase(name);
  std::vector<std::string> missing;
  std::string shapes;
  std::set<std::string> wanted;
  for (const auto& [stored, value] : values) {
    wanted.insert(stored);
    if (!checkpoint.contains(stored)) {
      missing.push_back(stored);
      continue;
    }
    unused.erase(stored);
    const Shape& shape = checkpoint.info(stored).shape;
    if (!(shape == value->shape()))
      shapes += fmt::format("; {} is {} in the file, {} in the model", stored, to_string(shape),
                            to_string(value->shape()));
  }
  const std::vector<std::string> extra(unused.begin(), unused.end());
  if (!missing.empty() || !extra.empty() || !shapes.empty()) {
    std::string text = "load_checkpoint: " + checkpoint.path() + " and the model disagree";
    if (!missing.empty()) text += "; missing in the file: " + listing(missing, unused);
    if (!extra.empty()) text += "; not used by the model: " + listing(extra, wanted);
    text += shapes;
    throw FormatError(text);
  }
  for (const auto& [stored, value] : values) {
    if (is_floating(value->dtype())) {
      checkpoint.read_into(stored, *value);
      continue;
    }
    const Tensor tensor = checkpoint.read(stored);
    check<FormatError>(!is_floating(tensor.dtype()),
                       "load_checkpoint: {} in {} holds {}, not whole numbers", stored,
                       checkpoint.path(), dtype_name(tensor.dtype()));
    *value = tensor.to(value->dtype()).clone();
  }
}
}  // namespace

void load_parameters(Module& module, const CheckpointReader& checkpoint, const NameMap& file_name,
                     const std::vector<std::string>& ignored) {
  std::vector<std::pair<std::string, Tensor*>> values;
  auto add = [&](const std::string& name, Tensor& value) {
    values.emplace_back(file_name ? file_name(name) : name, &value);
  };
  module.for_each_parameter(
      [&](const std::string& name, Parameter& parameter) { add(name, parameter.mutable_value()); });
  module.for_each_buffer(add);
  load_values(values, checkpoint, ignored);
}

std::vector<std::pair<std::string, Tensor>> stored_tensors(Module& module,
                                                           const NameMap& file_name) {
  NamedTensors tensors;
  auto add = [&](const std::string& name, const Tensor& value) {
    tensors.emplace_back(file_name ? file_name(name) : name, value);
  };
  module.for_each_parameter(
      [&](const std::string& name, Parameter& parameter) { add(name, parameter.value()); });
  module.for_each_buffer(add);
  return tensors;
}

void load_tensors(const std::vector<std::pair<std::string, Parameter*>>& parameters,
                  const CheckpointReader& checkpoint, const std::vector<std::string>& ignored) {
  std::vector<std::pair<std::string, Tensor*>> values;
  for (const auto& [stored, parameter] : parameters)
    values.emplace_back(stored, &parameter->mutable_value());
  load_values(values, checkpoint, ignored);
}

}  // namespace ocellus
