#include "nn/checkpoint_file.h"

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "nn/layers.h"
#include "tests/data/support.h"

using namespace ocellus;
using namespace ocellus::test;

namespace {

/// The bytes of a file with this header text and data.
std::string file_of(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + data;
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

/// The message with which a file of these bytes is refused.
std::string refusal(const std::string& bytes) {
  TemporaryFolder folder;
  const std::string path = folder.path / "x.safetensors";
  spill(path, bytes);
  const std::string message = error_of<FormatError>([&] { SafetensorsFile file(path); });
  CHECK_MESSAGE(message.starts_with(path), message);
  return message;
}

std::string refusal(const std::string& header, size_t data) {
  return refusal(file_of(header, std::string(data, '\0')));
}

#define CHECK_CONTAINS(text, part) \
  do {                             \
    const std::string t_ = text;   \
    CHECK_MESSAGE(contains(t_, part), t_); \
  } while (false)

std::vector<double> values_of(const std::string& dtype, size_t count, const std::string& bytes) {
  TemporaryFolder folder;
  const std::string path = folder.path / "x.safetensors";
  spill(path, file_of(R"({"x":)" + entry(dtype, "[" + std::to_string(count) + "]",
                                         "[0," + std::to_string(bytes.size()) + "]") + "}", bytes));
  return SafetensorsFile(path).read("x").to_vector<double>();
}

struct Small : Module {
  Linear& proj = child_<Linear>("proj", 3, 2, true);
  LayerNorm& norm = child_<LayerNorm>("norm", 3, 1e-5);
};

std::vector<std::pair<std::string, Tensor>> small_tensors() {
  return {{"proj.weight", Tensor::from<float>({1, 2, 3, 4, 5, 6}, {2, 3})},
          {"proj.bias", Tensor::from<float>({7, 8}, {2})},
          {"norm.weight", Tensor::from<float>({1, 1, 2}, {3})},
          {"norm.bias", Tensor::from<float>({0, 0, 3}, {3})}};
}

}  // namespace

TEST_CASE("safetensors: what is written reads back, bit for bit and with its metadata") {
  TemporaryFolder folder;
  const std::string path = folder.path / "x.safetensors";
  const std::vector<std::pair<std::string, Tensor>> tensors = {
      {"f64", Tensor::from<double>({0.1, -INFINITY}, {2})},
      {"f32", Tensor::from<float>({1.5f, NAN, -0.0f}, {3, 1})},
      {"bf16", Tensor::from<float>({1.0f, 3.140625f}, {2}).to(DType::kBF16)},
      {"i64", Tensor::from<int64_t>({INT64_MIN, 7}, {1, 2})},
      {"i32", Tensor::from<int32_t>({-5}, {})},
      {"u8", Tensor::from<uint8_t>({0, 255, 3}, {3})},
      {"none", Tensor::zeros({0, 4}, DType::kF32)}};
  save_safetensors(path, tensors, {{"step", "12"}});
  CHECK(std::filesystem::file_size(path) >= safetensors_size(tensors));
  const SafetensorsFile file(path);
  CHECK(file.metadata() == std::map<std::string, std::string>{{"format", "pt"}, {"step", "12"}});
  REQUIRE(file.tensors().size() == tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const Tensor again = file.read(name);
    CHECK(again.shape() == tensor.shape());
    REQUIRE(again.dtype() == tensor.dtype());
    CHECK(std::string(static_cast<const char*>(again.raw()), again.bytes()) ==
          std::string(static_cast<const char*>(tensor.raw()), tensor.bytes()));
  }
  CHECK_CONTAINS(error_of<FormatError>([&] { file.read("g"); }), "there is no tensor g");
}

TEST_CASE("safetensors: safetensors_size is the size of the file without further metadata") {
  TemporaryFolder folder;
  const std::string path = folder.path / "x.safetensors";
  save_safetensors(path, small_tensors());
  CHECK(std::filesystem::file_size(path) == safetensors_size(small_tensors()));
}

TEST_CASE("safetensors: order and padding are those of the reference writer") {
  // Widest elements first, then by name; the header is padded with spaces to a multiple of 8.
  TemporaryFolder folder;
  const std::string path = folder.path / "x.safetensors";
  save_safetensors(path, {{"b", Tensor::from<float>({1}, {1})},
                          {"z", Tensor::from<double>({2}, {1})},
                          {"a", Tensor::from<float>({3}, {1})},
                          {"c", Tensor::from<uint8_t>({4}, {1})}});
  const SafetensorsFile file(path);
  CHECK(file.tensors().at("z").begin < file.tensors().at("a").begin);
  CHECK(file.tensors().at("a").begin < file.tensors().at("b").begin);
  CHECK(file.tensors().at("b").begin < file.tensors().at("c").begin);
  const std::string bytes = slurp(path);
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  CHECK(header % 8 == 0);
  CHECK(file.tensors().at("z").begin == header + 8);
  CHECK(bytes.size() == header + 8 + 17);
  const auto root = nlohmann::json::parse(bytes.substr(8, header));
  CHECK(root.at("z").at("data_offsets") == nlohmann::json::array({0, 8}));
}

TEST_CASE("safetensors: a file of the reference writer is written again byte for byte in its data") {
  const auto shipped = source_root() / "tests/golden/llama_left_pad/model.safetensors";
  const SafetensorsFile reference(shipped);
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const auto& [name, info] : reference.tensors()) tensors.emplace_back(name, reference.read(name));
  TemporaryFolder folder;
  const std::string path = folder.path / "x.safetensors";
  save_safetensors(path, tensors);
  const std::string ours = slurp(path), theirs = slurp(shipped);
  auto data = [](const std::string& bytes) {
    uint64_t header = 0;
    std::memcpy(&header, bytes.data(), 8);
    return bytes.substr(8 + header);
  };
  CHECK(data(ours) == data(theirs));
}

TEST_CASE("safetensors: two tensors of one name are not written") {
  TemporaryFolder folder;
  const Tensor one = Tensor::from<float>({1}, {1});
  CHECK_CONTAINS(error_of<Error>([&] { save_safetensors(folder.path / "x", {{"a", one}, {"a", one}}); }),
                 "two tensors are named a");
}

TEST_CASE("safetensors: damaged files are refused with a sentence that names file and place") {
  const std::string ok = entry("F32", "[1]", "[0,4]");
  CHECK_CONTAINS(refusal(std::string("abc")), "has at least 8 bytes, this one 3");
  CHECK_CONTAINS(refusal(std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10)), "the header would be");
  CHECK_CONTAINS(refusal(std::string("\x64\0\0\0\0\0\0\0{}", 10)), "(truncated)");
  CHECK_CONTAINS(refusal(" {\"a\":" + ok + "}", 4), "must start with '{'");
  CHECK_CONTAINS(refusal("", 0), "must start with '{'");
  CHECK_CONTAINS(refusal("{\"a\":}", 0), "not valid JSON at byte");
  CHECK_CONTAINS(refusal("{\"a\xff\":1}", 0), "not valid JSON");
  CHECK_CONTAINS(refusal("{\"a\":" + ok + ",\"a\":" + ok + "}", 4), "\"a\" occurs twice");
  CHECK_CONTAINS(refusal("{\"a\":" + ok + ",\"b\":" + entry("F32", "[1]", "[2,6]") + "}", 6), "tensors overlap");
  CHECK_CONTAINS(refusal("{\"a\":" + ok + ",\"b\":" + entry("F32", "[1]", "[5,9]") + "}", 9), "there is a hole");
  CHECK_CONTAINS(refusal("{\"a\":" + entry("F32", "[1]", "[4,8]") + "}", 8), "there is a hole");
  CHECK_CONTAINS(refusal("{\"a\":" + ok + "}", 5), "the last tensor ends at byte");
  CHECK_CONTAINS(refusal("{\"a\":" + ok + "}", 3), "lie outside of the 3 bytes of data");
  CHECK_CONTAINS(refusal("{\"a\":" + entry("F32", "[1]", "[4,0]") + "}", 4), "lie outside");
  CHECK_CONTAINS(refusal("{\"a\":" + entry("F32", "[2]", "[0,4]") + "}", 4),
                 "tensor a: [2] F32 needs 8 bytes, data_offsets give 4");
  CHECK_CONTAINS(refusal("{\"a\":" + entry("F33", "[1]", "[0,4]") + "}", 4), "unknown dtype \"F33\"");
  CHECK_CONTAINS(refusal("{\"a\":" + entry("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") + "}", 4), "at most 8");
  CHECK_CONTAINS(refusal("{\"a\":" + entry("F32", "[4294967296,4294967296]", "[0,4]") + "}", 4), "is too large");
  CHECK_CONTAINS(refusal("{\"a\":" + entry("F32", "[-1]", "[0,4]") + "}", 4), "no size");
  CHECK_CONTAINS(refusal("{\"a\":" + entry("F32", "[1.0]", "[0,4]") + "}", 4), "no size");
  CHECK_CONTAINS(refusal("{\"a\":" + entry("F32", "1", "[0,4]") + "}", 4), "shape must be a list");
  CHECK_CONTAINS(refusal("{\"a\":" + entry("F32", "[1]", "[0]") + "}", 4), "data_offsets must be two numbers");
  CHECK_CONTAINS(refusal("{\"a\":" + entry("F32", "[1]", "[0,4.5]") + "}", 4), "data_offsets must be two numbers");
  CHECK_CONTAINS(refusal("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4), "needs exactly dtype, shape");
  CHECK_CONTAINS(refusal("{\"a\":3}", 0), "needs exactly dtype, shape");
  CHECK_CONTAINS(refusal("{\"__metadata__\":{\"a\":1}}", 0), "__metadata__ must map strings to strings");
  CHECK_CONTAINS(refusal("{\"__metadata__\":3}", 0), "__metadata__ must map strings to strings");
}

TEST_CASE("safetensors: a header of more than 100,000,000 bytes is refused even if the file has them") {
  TemporaryFolder folder;
  const std::string path = folder.path / "x.safetensors";
  const uint64_t length = 100'000'001;
  spill(path, std::string(reinterpret_cast<const char*>(&length), 8) + "{}");
  std::filesystem::resize_file(path, length + 8);  // sparse
  CHECK_CONTAINS(error_of<FormatError>([&] { SafetensorsFile file(path); }), "the header would be 100000001 bytes");
}

TEST_CASE("safetensors: files of other kinds are named") {
  CHECK_CONTAINS(refusal(std::string("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")), "Git LFS pointer");
  CHECK_CONTAINS(refusal(std::string("<!DOCTYPE html><html></html>")), "HTML page");
  CHECK_CONTAINS(refusal(std::string("PK\x03\x04 and what a zip has")), "pickle file");
  CHECK_CONTAINS(refusal(std::string("GGUF\x03\0\0\0\0\0\0\0", 12)), "GGUF file");
  TemporaryFolder folder;
  spill(folder.path / "pytorch_model.bin", "PK");
  CHECK_CONTAINS(error_of<FormatError>([&] { CheckpointReader r(folder.path / "pytorch_model.bin"); }),
                 "pickle files can run code");
  CHECK_CONTAINS(error_of<FormatError>([&] { CheckpointReader r(folder.path); }), "has only pytorch_model.bin");
}

TEST_CASE("safetensors: small floats and integers have their values") {
  using V = std::vector<double>;
  CHECK(values_of("F16", 6, std::string("\x00\x3c\x00\xc0\xff\x7b\x01\x00\x00\x7c\x00\x04", 12)) ==
        V{1, -2, 65504, std::ldexp(1.0, -24), INFINITY, std::ldexp(1.0, -14)});
  CHECK(values_of("BF16", 2, std::string("\x80\x3f\x49\xc0", 4)) == V{1, -3.140625});
  CHECK(values_of("F8_E4M3", 5, std::string("\x38\xb8\x7e\x01\x08", 5)) ==
        V{1, -1, 448, std::ldexp(1.0, -9), std::ldexp(1.0, -6)});
  CHECK(std::isnan(values_of("F8_E4M3", 1, "\x7f")[0]));
  CHECK(values_of("F8_E5M2", 4, std::string("\x3c\xbc\x7b\x7c", 4)) == V{1, -1, 57344, INFINITY});
  CHECK(values_of("F8_E8M0", 3, std::string("\x7f\x80\x00", 3)) == V{1, 2, std::ldexp(1.0, -127)});
  CHECK(std::isnan(values_of("F8_E8M0", 1, "\xff")[0]));
  CHECK(std::signbit(values_of("F16", 1, std::string("\x00\x80", 2))[0]));
  CHECK(values_of("I8", 2, "\x80\x7f") == V{-128, 127});
  CHECK(values_of("I16", 1, std::string("\x00\x80", 2)) == V{-32768});
  CHECK(values_of("U16", 1, "\xff\xff") == V{65535});
  CHECK(values_of("U32", 1, "\xff\xff\xff\xff") == V{4294967295.0});
  CHECK_CONTAINS(error_of<FormatError>([] { values_of("F4", 2, "\x11"); }), "is F4, which cannot be read");
}

TEST_CASE("safetensors: tensors that the header puts at odd addresses are read all the same") {
  TemporaryFolder folder;
  const std::string path = folder.path / "x.safetensors";
  std::string data(9, '\x05');
  const double value = 2.5;
  std::memcpy(data.data() + 1, &value, 8);
  spill(path, file_of("{\"a\":" + entry("U8", "[1]", "[0,1]") + ",\"b\":" + entry("F64", "[]", "[1,9]") + "}", data));
  CHECK(SafetensorsFile(path).read("b").item() == 2.5);
}

TEST_CASE("safetensors: a folder with an index is read across its shards") {
  TemporaryFolder folder;
  const auto tensors = small_tensors();
  save_safetensors(folder.path / "one.safetensors", {tensors[0], tensors[1]});
  save_safetensors(folder.path / "two.safetensors", {tensors[2], tensors[3]});
  auto write_index = [&](const std::string& map) {
    spill(folder.path / "model.safetensors.index.json", "{\"weight_map\":{" + map + "}}");
  };
  auto message = [&] { return error_of<FormatError>([&] { CheckpointReader reader(folder.path); }); };
  const std::string one = R"("proj.weight":"one.safetensors","proj.bias":"one.safetensors",)";
  write_index(one + R"("norm.weight":"two.safetensors","norm.bias":"two.safetensors")");
  Small model;
  load_parameters(model, CheckpointReader(folder.path));
  CHECK(model.proj.weight().value().to_vector<float>() == std::vector<float>{1, 2, 3, 4, 5, 6});

  write_index(one + R"("norm.weight":"two.safetensors")");
  CHECK_CONTAINS(message(), "norm.bias of two.safetensors is not in weight_map");
  write_index(one + R"("norm.weight":"one.safetensors")");
  CHECK_CONTAINS(message(), "norm.weight should be in one.safetensors, which lacks it");
  write_index(one + R"("norm.weight":"three.safetensors")");
  CHECK_CONTAINS(message(), "three.safetensors");
  for (const char* outside : {"../one.safetensors", "/etc/passwd", "..", ""}) {
    write_index(std::string(R"("a":")") + outside + "\"");
    CHECK_CONTAINS(message(), "weight_map of a leaves the folder");
  }
  write_index(R"("a":3)");
  CHECK_CONTAINS(message(), "must be a file name");
  spill(folder.path / "model.safetensors.index.json", "{}");
  CHECK_CONTAINS(message(), "needs an object \"weight_map\"");
}

TEST_CASE("safetensors: a model is written in shards with an index, and reads as one") {
  TemporaryFolder folder;
  const auto tensors = small_tensors();  // 24, 8, 12 and 12 bytes
  save_model_tensors(folder.path, tensors, 24);
  const auto index = nlohmann::json::parse(slurp(folder.path / "model.safetensors.index.json"));
  CHECK(index["metadata"]["total_size"] == 56);
  CHECK(index["weight_map"]["proj.weight"] == "model-00001-of-00003.safetensors");
  CHECK(index["weight_map"]["norm.weight"] == "model-00002-of-00003.safetensors");
  CHECK(index["weight_map"]["norm.bias"] == "model-00003-of-00003.safetensors");
  const CheckpointReader reader(folder.path);
  for (const auto& [name, tensor] : tensors)
    CHECK(reader.read(name).to_vector<float>() == tensor.to_vector<float>());
  TemporaryFolder one;
  save_model_tensors(one.path, tensors);
  CHECK(std::filesystem::exists(one.path / "model.safetensors"));
  CHECK(!std::filesystem::exists(one.path / "model.safetensors.index.json"));
  // A shard that is cut off, or twice in the map.
  const auto shard = folder.path / "model-00002-of-00003.safetensors";
  spill(shard, slurp(shard).substr(0, 90));
  CHECK_CONTAINS(error_of<FormatError>([&] { CheckpointReader cut(folder.path); }), "model-00002-of-00003");
  spill(folder.path / "model.safetensors.index.json", R"({"weight_map":{"a":"x","a":"y"}})");
  CHECK_CONTAINS(error_of<FormatError>([&] { CheckpointReader twice(folder.path); }), "\"a\" occurs twice");
}

TEST_CASE("safetensors: folders and files with weights of other kinds say how to convert them") {
  TemporaryFolder folder;
  auto refused = [&] { return error_of<FormatError>([&] { CheckpointReader r(folder.path); }); };
  for (const char* name : {"pytorch_model-00001-of-00002.bin", "consolidated.00.pth", "model.ckpt", "tf_model.h5"}) {
    spill(folder.path / name, "x");
    CHECK_CONTAINS(refused(), std::string("has only ") + name);
    CHECK_CONTAINS(refused(), "save_pretrained(safe_serialization=True)");
    std::filesystem::remove(folder.path / name);
  }
  spill(folder.path / "training_args.bin", "x");
  CHECK_CONTAINS(refused(), "model.safetensors");
  for (const char* name : {"x.pt", "x.pth", "x.ckpt", "x.pkl"})
    CHECK_CONTAINS(error_of<FormatError>([&] { CheckpointReader r(folder.path / name); }), "pickle files can run code");
}

TEST_CASE("safetensors: tensors of any float type are copied in parts into parameters") {
  TemporaryFolder folder;
  const std::string path = folder.path / "x.safetensors";
  const int64_t count = (int64_t{1} << 20) + 3;  // more than one part
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 251) - 100;
  const Tensor x = Tensor::from(values, {count});
  save_safetensors(path, {{"f32", x}, {"bf16", x.to(DType::kBF16)}, {"f64", x.to(DType::kF64)},
                          {"ids", Tensor::from<int64_t>({1}, {1})}});
  const SafetensorsFile file(path);
  for (const char* name : {"f32", "bf16", "f64"}) {
    Tensor out = Tensor::zeros({count}, DType::kF32);
    file.read_into(name, out);
    CHECK(out.to_vector<float>() == values);
    CHECK(file.read(name).to_vector<float>() == values);  // given back, and still there
  }
  Tensor small = Tensor::zeros({2}, DType::kF32);
  CHECK_CONTAINS(error_of<ShapeError>([&] { file.read_into("f32", small); }), "in the file, [2] in the model");
  Tensor one = Tensor::zeros({1}, DType::kF32);
  CHECK_CONTAINS(error_of<FormatError>([&] { file.read_into("ids", one); }), "holds i64, not numbers");
}

TEST_CASE("safetensors: load_parameters converts, renames and ignores") {
  TemporaryFolder folder;
  const std::string path = folder.path / "x.safetensors";
  auto tensors = small_tensors();
  for (auto& [name, tensor] : tensors) name = "model." + name, tensor = tensor.to(DType::kBF16);
  tensors.emplace_back("rotary.inv_freq", Tensor::zeros({4}, DType::kF32));
  save_safetensors(path, tensors);
  Small model;
  load_parameters(model, CheckpointReader(path), [](const std::string& n) { return "model." + n; },
                  {"rotary.inv_freq"});
  CHECK(model.proj.weight().value().dtype() == DType::kF32);
  CHECK(model.proj.weight().value().to_vector<float>() == std::vector<float>{1, 2, 3, 4, 5, 6});
}

TEST_CASE("safetensors: load_parameters lists what is missing, unused and of another shape at once") {
  TemporaryFolder folder;
  const std::string path = folder.path / "x.safetensors";
  auto tensors = small_tensors();
  tensors[0].first = "proj.weights";
  tensors[1].second = Tensor::zeros({5}, DType::kF32);
  save_safetensors(path, tensors);
  Small model;
  const std::string message =
      error_of<FormatError>([&] { load_parameters(model, CheckpointReader(path)); });
  CHECK_CONTAINS(message, "missing in the file: proj.weight (nearest: proj.weights)");
  CHECK_CONTAINS(message, "not used by the model: proj.weights (nearest: proj.weight)");
  CHECK_CONTAINS(message, "proj.bias is [5] in the file, [2] in the model");
  CHECK_CONTAINS(message, path);
  tensors = small_tensors();
  tensors[1].second = Tensor::zeros({2}, DType::kI64);
  save_safetensors(path, tensors);
  CHECK_CONTAINS(error_of<FormatError>([&] { load_parameters(model, CheckpointReader(path)); }),
                 "holds i64, not numbers");
}
