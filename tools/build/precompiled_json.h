// As precompiled.h, for the layers that read and write JSON.
#pragma once
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tools/build/precompiled.h"
