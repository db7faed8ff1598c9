// SPDX-License-Identifier: Apache-2.0
#include "image/referrers.h"

#include "base/json/json.h"
#include "image/layer/limits.h"

namespace caisson::image {

Result<std::vector<Descriptor>> ParseReferrers(std::string_view bytes, const std::string& artifact_type) {
  const Json json = TRY(ParseJson(bytes, {.max_bytes = kMaxManifestBytes, .max_depth = kMaxJsonDepth}));
  const Json* manifests = json.Find("manifests");
  if (!manifests || !manifests->AsArray()) return Fail(ErrorCode::kInvalid, "\"manifests\" is missing or not an array");
  if (manifests->AsArray()->size() > kMaxIndexEntries)
    return Fail(ErrorCode::kTooLarge, "{} entries are more than {}", manifests->AsArray()->size(), kMaxIndexEntries);
  std::vector<Descriptor> referrers;
  for (const Json& item : *manifests->AsArray()) {
    const Result<Digest> digest = Digest::Parse(item.StringOr("digest", ""));
    const int64_t size = item.IntOr("size", -1);
    if (!digest || size < 0 || static_cast<uint64_t>(size) > kMaxManifestBytes) continue;
    if (!artifact_type.empty() && item.StringOr("artifactType", "") != artifact_type) continue;
    referrers.push_back({item.StringOr("mediaType", ""), *digest, static_cast<uint64_t>(size)});
  }
  return referrers;
}

std::string ReferrersTag(const Digest& digest) { return "sha256-" + digest.hex(); }

}  // namespace caisson::image
