// SPDX-License-Identifier: Apache-2.0
// ExportTree: an image's merged root, as a job would see it before it has changed anything, written as one tar archive
// from the single layers (image/worker/merged_tree.h has the rules). Names are in the order of their bytes, so that the
// same layers give the same archive. Runs inside the confined worker, on read-only layers.
#pragma once

#include <span>

#include "base/result.h"
#include "image/layer/framed_output.h"
#include "image/layer/report.h"

namespace caisson::image {

// `layers` are directory descriptors, topmost first (borrowed). Does not end `out`.
Result<void> ExportTree(const MergeOrder& order, std::span<const int> layers, FramedWriter& out);

}  // namespace caisson::image
