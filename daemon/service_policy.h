// SPDX-License-Identifier: Apache-2.0
// The image policy that the configuration asks for. Pure function.
#pragma once

#include "base/result.h"
#include "daemon/settings/settings.h"
#include "image/image_policy.h"

namespace caisson::daemon {

// kInvalid names the key file that is of no use, and why.
Result<image::ImagePolicy> MakeImagePolicy(const Settings& settings);

}  // namespace caisson::daemon
