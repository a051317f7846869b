// What the project promises about its own sources: layers include downwards only, every folder explains
// itself, nothing names a machine.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace fs = std::filesystem;

namespace {

const fs::path kRoot = OCELLUS_SOURCE_DIR;

// Which layers a layer may include, itself always among them.
const std::map<std::string, std::set<std::string>> kAllowed = {
    {"engine", {"engine"}},
    {"autograd", {"engine", "autograd"}},
    {"nn", {"engine", "autograd", "nn"}},
    {"vlm", {"engine", "autograd", "nn", "vlm", "data"}},
    {"cuda", {"engine", "cuda"}},
    {"data", {"engine", "data"}},
};
const std::vector<std::string> kFolders = {"engine", "autograd", "nn",    "vlm",
                                           "cuda",   "data",     "tools", "tests"};

bool is_source(const fs::path& path) {
  static const std::set<std::string> extensions = {".h", ".cpp", ".cu", ".cuh", ".inc", ".def"};
  return extensions.contains(path.extension().string());
}

std::vector<std::string> lines_of(const fs::path& path) {
  std::ifstream in(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::vector<fs::path> sources_of(const std::string& folder) {
  std::vector<fs::path> list;
  if (!fs::exists(kRoot / folder)) return list;
  for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder))
    if (entry.is_regular_file() && is_source(entry.path())) list.push_back(entry.path());
  return list;
}

// The file that a line includes by quotes, else nothing.
std::string included(const std::string& line) {
  const std::string start = "#include \"";
  if (!line.starts_with(start)) return "";
  return line.substr(start.size(), line.find('"', start.size()) - start.size());
}

}  // namespace

TEST_CASE("style: includes point down the layers") {
  for (const auto& [layer, allowed] : kAllowed) {
    const auto sources = sources_of(layer);
    CHECK_MESSAGE(!sources.empty(), layer);
    for (const fs::path& source : sources)
      for (const std::string& line : lines_of(source)) {
        const std::string file = included(line);
        const size_t slash = file.find('/');
        if (slash == std::string::npos) continue;
        const std::string target = file.substr(0, slash);
        // Only what is a folder of ours counts: "gemm/x.inc" beside the source is not.
        if (!kAllowed.contains(target) && target != "tools" && target != "tests") continue;
        CHECK_MESSAGE(allowed.contains(target), source.string() << " includes " << file);
      }
  }
}

TEST_CASE("style: every folder has a README") {
  for (const std::string& folder : kFolders)
    CHECK_MESSAGE(fs::exists(kRoot / folder / "README.md"), folder);
}

TEST_CASE("style: no source names a path of a machine") {
  // Written in halves, so that this file does not find itself.
  const std::vector<std::string> paths = {std::string("/wo") + "rk/", std::string("/ho") + "me/",
                                          std::string("/ro") + "ot/", std::string("/Us") + "ers/"};
  for (const std::string& folder : kFolders)
    for (const fs::path& source : sources_of(folder)) {
      int number = 0;
      for (const std::string& line : lines_of(source)) {
        ++number;
        for (const std::string& path : paths)
          CHECK_MESSAGE(line.find(path) == std::string::npos, source.string() << ":" << number);
      }
    }
}
