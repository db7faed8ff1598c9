// SPDX-License-Identifier: Apache-2.0
// Paths inside a layer, in the one spelling that we store, report and compare: relative, names joined by single
// slashes, no "." and no "..", "" for the root. Pure functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace caisson::image {

// From a tar entry's spelling ("./usr//bin/") to ours. kInvalid: absolute, "..", NUL, too long, too deep, or empty.
Result<std::string> NormaliseLayerPath(std::string_view raw);

// Whether `path` is in our spelling already; "" is.
bool IsLayerPath(std::string_view path);

std::string_view ParentOf(std::string_view path);  // "" of a top-level name
std::string_view NameOf(std::string_view path);
std::vector<std::string_view> SplitPath(std::string_view path);

}  // namespace caisson::image
