// Reports: what went wrong, in which block, which threads, at which lines.
#pragma once
#include <string>

#include "cuda/simt/simt.h"
#include "engine/check.h"

namespace ocellus::simt {

/// SimtError — a kernel did what a GPU would punish, or only sometimes forgive.
struct SimtError : Error {
  using Error::Error;
};

/// Ends the running kernel with "KIND in NAME, block (x,y,z): TEXT".
[[noreturn]] void fault(const char* kind, const std::string& text);

/// "thread (30,0,0) [warp 0 lane 30]"
std::string describe_thread(unsigned thread);
/// "flash.cu:14  `text of the line`", the text only where the source file is at hand.
std::string describe_site(Site site);
/// The same of a program counter inside a kernel, by addr2line; an offset where that is missing.
/// Code of a header names the kernel's line as well.
std::string describe_code(uintptr_t code);

}  // namespace ocellus::simt
