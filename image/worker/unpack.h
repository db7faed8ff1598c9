// SPDX-License-Identifier: Apache-2.0
// UnpackLayer: one compressed layer from a descriptor to files below a directory, and what the service has to know of
// it. Every byte is hostile. Runs inside the confined worker; needs nothing but the two descriptors.
#pragma once

#include "base/result.h"
#include "image/layer/limits.h"
#include "image/layer/report.h"

namespace caisson::image {

// Reads the order and the layer from `input`, writes into the empty directory `out` (both borrowed). An error says
// what of the layer was refused; the directory is then to be thrown away.
Result<UnpackReport> UnpackLayer(int input, int out, const UnpackLimits& limits = {});

}  // namespace caisson::image
