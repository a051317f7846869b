// A command of the program: one file each. It declares its options, then runs and returns an exit
// status (see exit_status in main.cpp).
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/dtype.h"

namespace ocellus {

/// Options — declares what a command accepts; a thin face of CLI11, whose header stays in options.cpp.
class Options {
 public:
  struct Impl;
  explicit Options(Impl& impl) : impl_(impl) {}
  void positional(const std::string& name, std::string& value, const std::string& help,
                  bool required = true);
  void positionals(const std::string& name, std::vector<std::string>& values, const std::string& help,
                   bool required = true);
  void option(const std::string& flags, std::string& value, const std::string& help, bool required = false);
  void option(const std::string& flags, int64_t& value, const std::string& help);
  void option(const std::string& flags, double& value, const std::string& help);
  void list(const std::string& flags, std::vector<std::string>& values, const std::string& help);
  void flag(const std::string& flags, bool& value, const std::string& help);
  /// A command below this one ("tokenizer train").
  Options subcommand(const std::string& name, const std::string& help, std::function<int()> run);

  // The options that several commands share.
  void json(bool& value) { flag("--json", value, "print one JSON document on stdout"); }
  void threads(int64_t& value) { option("--threads", value, "threads to use; 0 is all cores"); }
  void seed(int64_t& value) { option("--seed", value, "seed of everything random"); }
  void device(std::string& value) { option("--device", value, "cpu, cuda, cuda:N or auto"); }
  void dtype(std::string& value, const std::string& allowed) { option("--dtype", value, "one of " + allowed); }

 private:
  Impl& impl_;
};

struct Command {
  const char *name, *summary, *example;
  /// Declares options into variables that `run` captures.
  std::function<std::function<int()>(Options&)> declare;
};

/// Every command registers itself by a static object of this type in its own file.
class RegisterCommand {
 public:
  explicit RegisterCommand(Command command);
};
std::vector<Command>& all_commands();

/// parse and run; the exit status. Usage errors are printed in one sentence and give 2.
int run_program(int argc, char** argv);

// ---- what several commands need ---------------------------------------------------------------------

/// "auto" without a GPU gives the CPU; "cuda" without one is a DeviceError, any other name a UsageError.
Device choose_device(const std::string& name);
/// f32 | bf16 | f64 restricted to `allowed`; UsageError otherwise.
DType choose_dtype(const std::string& name, const std::vector<DType>& allowed);
/// Applies --threads.
void use_threads(int64_t threads);

}  // namespace ocellus
