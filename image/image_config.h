// SPDX-License-Identifier: Apache-2.0
// The config blob of an image (OCI image-spec config.md; Docker's has the same fields), parsed from hostile bytes.
// A pure function.
#pragma once

#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "image/image.h"

namespace caisson::image {

struct ParsedConfig {
  ImageConfig config;
  std::vector<Digest> diff_ids;  // base first
};

// kInvalid with the reason: not for this host's platform, or an execution parameter of the wrong type.
Result<ParsedConfig> ParseImageConfig(std::string_view bytes);

}  // namespace caisson::image
