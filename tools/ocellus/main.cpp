// Entry point: runs a command and turns errors into exit statuses.
#include <fmt/core.h>

#include <csignal>
#include <cstdio>
#include <new>

#include "engine/check.h"
#include "engine/file.h"
#include "tools/ocellus/command.h"

int main(int argc, char** argv) {
  using namespace ocellus;
  std::signal(SIGXFSZ, SIG_IGN);  // a write beyond a limit is an error with a sentence, not a death
  std::signal(SIGPIPE, SIG_DFL);
  end_on_shrunken_files(3);
  auto report = [](const char* what, int status) {
    fmt::print(stderr, "ocellus: {}\n", what);
    return status;
  };
  try {
    const int status = run_program(argc, argv);
    // What still lies in the buffer must reach a full disk as an error, too.
    return std::fflush(stdout) == 0 ? status : report("standard output: cannot write", 3);
  } catch (const UsageError& error) {
    return report(error.what(), 2);
  } catch (const FormatError& error) {
    return report(error.what(), 3);
  } catch (const OutOfMemory& error) {
    return report(error.what(), 4);
  } catch (const std::bad_alloc&) {
    return report("out of memory", 4);
  } catch (const NumericsError& error) {
    return report(error.what(), 5);
  } catch (const DeviceError& error) {
    return report(error.what(), 2);
  } catch (const std::exception& error) {  // files that cannot be written, shapes that do not fit
    return report(std::ferror(stdout) ? "standard output: cannot write" : error.what(), 3);
  }
}
