// SPDX-License-Identifier: Apache-2.0
// Mirror: another registry that has the images of one, "HOST[:PORT][/PREFIX]" in the settings: what is "library/alpine"
// at the registry is "PREFIX/library/alpine" there. Plain value and a pure function.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace caisson::image {

struct Mirror {
  std::string host;    // "mirror.example:5000"; also the key of its own settings and credentials
  std::string prefix;  // "cache/hub", or empty
};

// kInvalid with the reason.
Result<Mirror> ParseMirror(std::string_view text);

}  // namespace caisson::image
