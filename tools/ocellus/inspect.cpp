// ocellus inspect: what a checkpoint, shard or run folder holds; the diagram of a model.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "data/tar.h"
#include "engine/file.h"
#include "engine/json.h"
#include "nn/checkpoint_file.h"
#include "nn/lora_config.h"
#include "tools/ocellus/command.h"
#include "tools/ocellus/diagram.h"
#include "vlm/checkpoint_protocol.h"

namespace ocellus {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct InspectArguments {
  std::string path, diagram;
  bool json_output = false;
};

json describe_checkpoint(const CheckpointReader& reader) {
  json tensors = json::array(), by_type = json::object(), files = json::array();
  int64_t total = 0, bytes = 0;
  for (const std::string& name : reader.names()) {
    const TensorInfo& info = reader.info(name);
    total += info.shape.numel();
    bytes += static_cast<int64_t>(info.end - info.begin);
    tensors.push_back({{"name", name},
                       {"dtype", info.stored},
                       {"shape", std::vector<int64_t>(info.shape.begin(), info.shape.end())},
                       {"bytes", info.end - info.begin}});
    by_type[info.stored] = by_type.value(info.stored, int64_t{0}) + info.shape.numel();
  }
  for (const auto& file : reader.files())
    files.push_back({{"name", fs::path(file->path()).filename().string()},
                     {"bytes", fs::file_size(file->path())},
                     {"tensors", file->tensors().size()},
                     {"metadata", file->metadata()}});
  return {{"kind", "checkpoint"}, {"files", reader.files().size()}, {"elements", total},
          {"bytes", bytes},       {"elements_by_type", by_type},    {"parts", files},
          {"tensors", tensors}};
}

// A model folder says what it is in config.json, an adapter folder in adapter_config.json.
json describe_folder(const std::string& path) {
  if (fs::exists(path + "/adapter_config.json")) {
    const LoraConfig config = load_lora_config(path);
    json document = describe_checkpoint(CheckpointReader(path + "/adapter_model.safetensors"));
    document["adapter"] = json::parse(lora_config_json(config));
    return document;
  }
  json document = describe_checkpoint(CheckpointReader(path));
  if (fs::exists(path + "/config.json")) {
    const json config = load_json(path + "/config.json");
    for (const char* key :
         {"model_type", "architectures", "dtype", "torch_dtype", "tie_word_embeddings"})
      if (config.is_object() && config.contains(key)) document["model"][key] = config[key];
  }
  return document;
}

void print_checkpoint(const json& document) {
  for (const json& tensor : document["tensors"])
    fmt::print("{:<64} {:<6} {}\n", tensor["name"].get<std::string>(),
               tensor["dtype"].get<std::string>(), tensor["shape"].dump());
  for (const char* what : {"model", "adapter"})
    if (document.contains(what))
      for (const auto& [key, value] : document[what].items())
        if (!value.is_null()) fmt::print("{} {}: {}\n", what, key, value.dump());
  for (const json& part : document["parts"])
    fmt::print("{}: {} tensors, {} bytes\n", part["name"].get<std::string>(),
               part["tensors"].get<size_t>(), part["bytes"].get<uint64_t>());
  fmt::print("elements by type: {}\n", document["elements_by_type"].dump());
  fmt::print("{} tensors, {} elements, {} bytes in {} file(s)\n", document["tensors"].size(),
             document["elements"].get<int64_t>(), document["bytes"].get<int64_t>(),
             document["files"].get<size_t>());
}

json describe_shard(const std::string& path) {
  const TarFile tar(path);
  json members = json::array();
  for (const TarMember& member : tar.members())
    members.push_back({{"name", member.name}, {"offset", member.offset}, {"bytes", member.size}});
  return {{"kind", "shard"},
          {"samples", group_samples(tar.members(), path).size()},
          {"members", members}};
}

json describe_run(const std::string& path) {
  json steps = json::array();
  for (int64_t step : checkpoint_steps(path)) {
    const std::string fault =
        verify_checkpoint(fmt::format("{}/checkpoints/step-{:08}", path, step));
    steps.push_back({{"step", step}, {"ok", fault.empty()}, {"fault", fault}});
  }
  json run = fs::exists(path + "/run.json") ? load_json(path + "/run.json") : json();
  return {{"kind", "run"}, {"checkpoints", steps}, {"run", run}};
}

int run(const InspectArguments& a) {
  check<UsageError>(a.path.empty() != a.diagram.empty(),
                    "inspect: give one file or folder, or --diagram RECIPE");
  if (!a.diagram.empty()) {
    const std::string diagram = recipe_diagram(a.diagram);
    fmt::print("{}", a.json_output ? json({{"diagram", diagram}}).dump() + "\n" : diagram);
    return 0;
  }
  check<FormatError>(fs::exists(a.path), "{}: there is no such file or folder", a.path);
  json document;
  const bool folder = fs::is_directory(a.path);
  if (folder && (fs::exists(a.path + "/log.jsonl") || fs::exists(a.path + "/checkpoints")))
    document = describe_run(a.path);
  else if (!folder && a.path.ends_with(".tar"))
    document = describe_shard(a.path);
  else if (folder)
    document = describe_folder(a.path);
  else
    document = describe_checkpoint(CheckpointReader(a.path));
  if (a.json_output) {
    fmt::print("{}\n", document.dump());
  } else if (document["kind"] == "checkpoint") {
    print_checkpoint(document);
  } else {
    fmt::print("{}\n", document.dump(2));
  }
  return 0;
}

const RegisterCommand kInspect(
    {"inspect", "names, types, shapes and sizes of a checkpoint, shard or run",
     "ocellus inspect runs/quickstart/model", [](Options& options) -> std::function<int()> {
       auto a = std::make_shared<InspectArguments>();
       options.positional("path", a->path,
                          "safetensors file, model, adapter or run folder, tar shard", false);
       options.option("--diagram", a->diagram, "RECIPE: draw its model instead");
       options.json(a->json_output);
       return [a] { return run(*a); };
     }});

}  // namespace
}  // namespace ocellus
