// SPDX-License-Identifier: Apache-2.0
// MergeLayers: closes overlayfs' gaps for one image. It writes the fix-up layer, which goes on top of the others:
//  - directories that a layer has only because an entry needed a parent get back the attributes that a layer below
//    says (else /tmp would become 0755 root);
//  - directories whose whiteouts overlayfs would show as ghost names, since nothing below merges with them, are there
//    a second time, so that they merge.
// And it reports what the service and the launcher must know of the merged root. Runs inside the confined worker.
#pragma once

#include <span>

#include "base/result.h"
#include "image/layer/report.h"

namespace caisson::image {

// `layers` are directory descriptors, topmost first; `out` is the empty directory of the fix-up layer (all borrowed).
Result<MergeReport> MergeLayers(const MergeOrder& order, std::span<const int> layers, int out);

}  // namespace caisson::image
