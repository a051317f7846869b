#include "tools/ocellus/bench_data.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/check.h"
#include "engine/file.h"
#include "engine/parallel.h"
#include "vlm/image_processor.h"

namespace ocellus {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> pictures_in(const std::string& folder) {
  check<FormatError>(fs::is_directory(folder), "{}: is not a folder", folder);
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string extension = entry.path().extension();
    if (extension == ".jpg" || extension == ".jpeg" || extension == ".png")
      files.push_back(entry.path().string());
  }
  check<FormatError>(!files.empty(), "{}: has no .jpg or .png files", folder);
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

int run_bench_data(const BenchData& options) {
  check<UsageError>(options.repeat > 0 && options.size > 0,
                    "bench data: --repeat and --size must be positive, got {} and {}",
                    options.repeat, options.size);
  const std::vector<std::string> files = pictures_in(options.images);
  set_num_threads(static_cast<int>(options.threads));
  const ImageProcessorConfig processor =
      read_image_processor({{"image_processor_type", "CLIPImageProcessor"},
                            {"do_center_crop", false},
                            {"size", {{"height", options.size}, {"width", options.size}}}},
                           "bench data");
  std::vector<double> rates;
  for (int64_t round = -1; round < options.repeat; ++round) {  // one round to warm up
    const auto start = std::chrono::steady_clock::now();
    parallel_for(static_cast<int64_t>(files.size()), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        ImageBatch batch;
        batch.images.push_back(decode_image(read_file(files[i], uint64_t{1} << 30), files[i]));
        process_images(processor, batch);
      }
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    if (round >= 0) rates.push_back(static_cast<double>(files.size()) / seconds.count());
  }
  std::sort(rates.begin(), rates.end());
  const double median = rates[rates.size() / 2];
  const nlohmann::json out = {
      {"bench", "data_plane"},
      {"section", "images"},
      {"how", "ocellus"},
      {"threads", options.threads},
      {"photos", files.size()},
      {"images_per_s", {{"median", median}, {"min", rates.front()}, {"max", rates.back()}}}};
  if (options.json)
    fmt::print("{}\n", out.dump());
  else
    fmt::print("{} pictures, {} threads: {:.1f} per second ({:.1f}–{:.1f})\n", files.size(),
               options.threads, median, rates.front(), rates.back());
  return 0;
}

}  // namespace ocellus
