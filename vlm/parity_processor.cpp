// Goldens of kind "processor": pictures to numbers, case by case.
#include "engine/file.h"
#include "engine/json.h"
#include "vlm/golden.h"
#include "vlm/image_processor.h"

namespace ocellus {
namespace {

using nlohmann::json;

// Names, or lists of names, in the folder's images/. Pillow leaves EXIF orientation alone.
ImageBatch read_batch(const std::string& folder, const json& names) {
  ImageBatch batch;
  auto read = [&](const json& name) {
    const std::string file = name.get<std::string>();
    check<FormatError>(file.find('/') == std::string::npos && !file.starts_with("."),
                       "{}/golden.json: \"{}\" is no file of images/", folder, file);
    const std::string path = folder + "/images/" + file;
    batch.images.push_back(
        decode_image(read_file(path, uint64_t{1} << 30), path, {.apply_orientation = false}));
  };
  for (const json& entry : names) {
    if (!entry.is_array()) {
      read(entry);
      continue;
    }
    batch.counts.push_back(static_cast<int64_t>(entry.size()));
    for (const json& name : entry) read(name);
  }
  return batch;
}

// Every tensor stored for a case, and every list that its "outputs" state.
void compare_case(const Golden& golden, size_t i, const ProcessedImages& got,
                  std::vector<ParityRow>& rows) {
  const std::string prefix = fmt::format("out.{}.", i);
  for (const std::string& name : golden.under(prefix)) {
    auto found = got.tensors.find(name);
    rows.push_back(found == got.tensors.end() ? complaint(prefix + name, "nothing here computes it")
                                              : compare(golden, prefix + name, found->second));
  }
  const json outputs = golden.meta.at("cases")[i].value("outputs", json::object());
  for (const auto& [name, stated] : outputs.items()) {
    if (golden.tensors.contains(prefix + name)) continue;
    const json lists = name == "rows" ? json(got.rows) : name == "cols" ? json(got.cols) : json();
    ParityRow row =
        complaint(prefix + name,
                  lists.is_null() ? "nothing here computes it"
                                  : fmt::format("is {}, stored {}", lists.dump(), stated.dump()));
    row.ok = !lists.is_null() && lists == stated;
    if (row.ok) row.note.clear();
    rows.push_back(row);
  }
}

std::vector<ParityRow> processor_parity(const std::string& folder, DType dtype) {
  const Golden golden(folder, dtype);
  const ImageProcessorConfig config = load_image_processor(folder);
  std::vector<ParityRow> rows;
  const json call = golden.meta.value("call", json::object());
  for (const auto& [name, value] : call.items())
    if (name != "return_row_col_info")  // rows and columns are always there
      rows.push_back(complaint("call." + name, "this argument is not known"));
  const json& cases = golden.meta.at("cases");
  for (size_t i = 0; i < cases.size(); ++i)
    compare_case(golden, i,
                 process_images(config, read_batch(folder, cases[i].at("images")), dtype), rows);
  return rows;
}

const RegisterParity kProcessor("processor", processor_parity);

}  // namespace
}  // namespace ocellus
