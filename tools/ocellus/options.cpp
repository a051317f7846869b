#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "engine/check.h"
#include "engine/dispatch.h"
#include "engine/memory/caching_allocator.h"
#include "engine/parallel.h"
#include "tools/ocellus/command.h"
#include "vlm/recipe.h"

namespace ocellus {

struct Options::Impl {
  CLI::App* app;
  std::vector<std::unique_ptr<Impl>> children;
  std::function<int()> run;
};

void Options::positional(const std::string& name, std::string& value, const std::string& help,
                         bool required) {
  impl_.app->add_option(name, value, help)->required(required);
}
void Options::positionals(const std::string& name, std::vector<std::string>& values,
                          const std::string& help, bool required) {
  impl_.app->add_option(name, values, help)->required(required);
}
void Options::option(const std::string& flags, std::string& value, const std::string& help,
                     bool required) {
  auto* option = impl_.app->add_option(flags, value, help)->required(required);
  if (!value.empty()) option->capture_default_str();
}
void Options::option(const std::string& flags, int64_t& value, const std::string& help) {
  impl_.app->add_option(flags, value, help)->capture_default_str();
}
void Options::option(const std::string& flags, double& value, const std::string& help) {
  impl_.app->add_option(flags, value, help)->capture_default_str();
}
void Options::list(const std::string& flags, std::vector<std::string>& values, const std::string& help) {
  impl_.app->add_option(flags, values, help)->take_all()->allow_extra_args(false);
}
void Options::flag(const std::string& flags, bool& value, const std::string& help) {
  impl_.app->add_flag(flags, value, help);
}
Options Options::subcommand(const std::string& name, const std::string& help, std::function<int()> run) {
  auto child = std::make_unique<Impl>();
  child->app = impl_.app->add_subcommand(name, help);
  child->app->footer(impl_.app->get_footer());
  child->run = std::move(run);
  impl_.app->require_subcommand(1);
  impl_.children.push_back(std::move(child));
  return Options(*impl_.children.back());
}

std::vector<Command>& all_commands() {
  static std::vector<Command> commands;
  return commands;
}
RegisterCommand::RegisterCommand(Command command) { all_commands().push_back(std::move(command)); }

namespace {
// Commands of the contract that later work brings: named, so that asking for one says so.
constexpr const char* kLater[] = {"check", "plan", "metrics", "study"};

// A first argument that is neither an option nor the name of a command.
void check_command(const std::string& name) {
  std::vector<std::string> names;
  for (const Command& command : all_commands()) names.push_back(command.name);
  if (name.starts_with("-") || std::find(names.begin(), names.end(), name) != names.end()) return;
  for (const char* later : kLater)
    check<UsageError>(name != later, "the command {} is not built yet", name);
  const std::string near = nearest_name(name, names);
  fail<UsageError>("there is no command \"{}\"{}; see ocellus --help", name,
                   near.empty() ? "" : "; did you mean " + near + "?");
}
}  // namespace

int run_program(int argc, char** argv) {
  CLI::App app("Ocellus: train and run small vision-language models.", "ocellus");
  app.require_subcommand(0, 1);
  std::sort(all_commands().begin(), all_commands().end(),
            [](const Command& a, const Command& b) { return std::string(a.name) < b.name; });
  std::vector<std::unique_ptr<Options::Impl>> implementations;
  for (const Command& command : all_commands()) {
    auto impl = std::make_unique<Options::Impl>();
    impl->app = app.add_subcommand(command.name, command.summary);
    impl->app->footer(std::string("Example:\n  ") + command.example);
    Options options(*impl);
    impl->run = command.declare(options);
    implementations.push_back(std::move(impl));
  }
  if (argc > 1) check_command(argv[1]);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "ocellus: {}; see ocellus{} --help\n", error.what(),
               argc > 1 && argv[1][0] != '-' ? std::string(" ") + argv[1] : "");
    return 2;
  }
  for (const auto& impl : implementations) {
    if (!impl->app->parsed()) continue;
    for (const auto& child : impl->children)
      if (child->app->parsed()) return child->run();
    return impl->run();
  }
  fmt::print("{}", app.help());
  return 2;
}

namespace {

// Makes the context of a GPU, which says what is wrong with it.
void open_device(Device device) { allocator_of(device)->allocate(1, "--device"); }

// The first GPU where there is one that can be used; without one, the CPU, and why.
Device device_at_hand() {
  if (!cuda_linked()) return kCpu;
  const Device gpu{DeviceType::kCuda, 0};
  try {
    open_device(gpu);
    return gpu;
  } catch (const Error& error) {
    static bool said = false;
    if (!std::exchange(said, true)) fmt::print(stderr, "device: the CPU ({})\n", error.what());
    return kCpu;
  }
}

}  // namespace

Device choose_device(const std::string& name) {
  if (name == "cpu") return kCpu;
  if (name == "auto") return device_at_hand();
  const bool cuda = name == "cuda" || (name.starts_with("cuda:") && name.size() > 5 &&
                                       name.find_first_not_of("0123456789", 5) == std::string::npos);
  check<UsageError>(cuda, "--device: must be cpu, cuda, cuda:N or auto, got \"{}\"", name);
  check<DeviceError>(cuda_linked(), "--device {}: this program was built without CUDA; build the cuda preset",
                    name);
  try {
    const Device device{DeviceType::kCuda, name == "cuda" ? 0 : std::atoi(name.c_str() + 5)};
    open_device(device);
    return device;
  } catch (const DeviceError& error) {
    fail<DeviceError>("--device {}: {}", name, error.what());
  }
}

DType choose_dtype(const std::string& name, const std::vector<DType>& allowed) {
  std::string names;
  for (DType dtype : allowed) {
    if (name == dtype_name(dtype)) return dtype;
    (names += names.empty() ? "" : ", ") += dtype_name(dtype);
  }
  fail<UsageError>("--dtype: must be one of {}, got \"{}\"", names, name);
}

void use_threads(int64_t threads) {
  check<UsageError>(threads >= 0 && threads <= kMaxThreads, "--threads: must be from 0 to {}, got {}",
                    kMaxThreads, threads);
  if (threads > 0) set_num_threads(static_cast<int>(threads));
}

}  // namespace ocellus
