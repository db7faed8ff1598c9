// SPDX-License-Identifier: Apache-2.0
// What a registry lists as referring to a manifest (signatures, attestations): an index of the OCI distribution spec's
// referrers API or its fallback tag, parsed from hostile bytes. A pure function.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "image/manifest.h"

namespace caisson::image {

// Those with that artifact type; all where it is "". Entries that are no descriptors of manifests are left out: they
// refer to nothing that could be fetched. kInvalid where the whole is no index.
Result<std::vector<Descriptor>> ParseReferrers(std::string_view bytes, const std::string& artifact_type);

// The tag under which a registry without the API lists them: "sha256-<hex>".
std::string ReferrersTag(const Digest& digest);

}  // namespace caisson::image
