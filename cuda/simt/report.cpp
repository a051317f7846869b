#include "cuda/simt/report.h"

#include <link.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <vector>

#include "cuda/simt/schedule.h"

namespace ocellus::simt {
namespace {

std::string base_name(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }

std::string text_of(const std::string& path, int number) {
  std::ifstream file(path);
  std::string line;
  for (int i = 0; i < number; ++i)
    if (!std::getline(file, line)) return "";
  const size_t begin = line.find_first_not_of(' ');
  return begin == std::string::npos ? "" : "  `" + line.substr(begin) + "`";
}

uintptr_t load_address() {
  uintptr_t address = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* out) {
        *static_cast<uintptr_t*>(out) = info->dlpi_addr;
        return 1;  // the program itself comes first
      },
      &address);
  return address;
}

// Places "file:line", innermost first, of the functions that were inlined into each other there.
std::vector<std::string> places_of(uintptr_t code) {
  std::vector<std::string> places;
  const std::string command = fmt::format("addr2line -i -e /proc/{}/exe {:#x} 2>/dev/null",
                                          getpid(), code - load_address());
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  char buffer[1024];
  while (pipe && fgets(buffer, sizeof(buffer), pipe.get())) {
    std::string place = buffer;
    place = place.substr(0, place.find_first_of(" \n"));
    if (!place.starts_with("?")) places.push_back(place);
  }
  return places;
}

}  // namespace

// A report is being written: what runs from here on is no kernel, though inline functions of the
// standard library may carry the hooks of one (the linker keeps a single copy).
std::string describe_thread(unsigned thread) {
  in_kernel = false;
  const uint3 index = thread_index(thread);
  return fmt::format("thread ({},{},{}) [warp {} lane {}]", index.x, index.y, index.z, thread / 32,
                     thread % 32);
}

std::string describe_site(Site site) {
  in_kernel = false;
  return fmt::format("{}:{}{}", base_name(site.file), site.line, text_of(site.file, site.line));
}

std::string describe_code(uintptr_t code) {
  in_kernel = false;
  const std::vector<std::string> places = places_of(code - 1);  // the call, not what follows it
  if (places.empty()) return fmt::format("offset {:#x}", code - load_address());
  std::string text, outer;
  for (const std::string& place : places) {
    const size_t colon = place.find_last_of(':');
    const std::string path = place.substr(0, colon);
    const bool kernel = path.ends_with(".cu");
    const bool ours = kernel || path.ends_with(".cuh");
    if (text.empty() && ours)
      text = describe_site({path.c_str(), std::atoi(place.c_str() + colon + 1)});
    if (kernel) outer = base_name(place);
    if (kernel) break;
  }
  if (text.empty()) text = base_name(places.front());
  return outer.empty() || text.starts_with(outer) ? text : text + ", called at " + outer;
}

void fault(const char* kind, const std::string& text) {
  abort_kernel(fmt::format("{} in {}, block ({},{},{}): {}", kind, kernel_name(), blockIdx.x,
                           blockIdx.y, blockIdx.z, text)
                   .c_str());
}

}  // namespace ocellus::simt
