// SPDX-License-Identifier: Apache-2.0
#include "daemon/service_images.h"

#include <map>
#include <set>

namespace caisson::daemon {
namespace {

// Where the tenant itself had the image from: the name under which another tenant pulled it first is not its business.
std::string ReferenceFor(const image::ImageRecord& record, const std::set<std::string>& granted_repositories) {
  if (granted_repositories.contains(record.repository)) return record.reference;
  return *granted_repositories.begin() + "@" + record.manifest.ToString();
}

api::ImageSummary SummaryOf(const image::ImageRecord& record) {
  api::ImageSummary summary{.reference = record.reference,
                            .digest = record.manifest.ToString(),
                            .layers = static_cast<int>(record.layers.size()),
                            .pulled_at = record.pulled_at,
                            .warnings = record.warnings};
  for (const image::LayerRecord& layer : record.layers) {
    summary.compressed_bytes += layer.compressed_bytes;
    summary.unpacked_bytes += layer.unpacked_bytes;
  }
  return summary;
}

}  // namespace

// Whoever has a right through an index has one to the manifest that it led to, so the manifest alone is looked for.
Result<std::vector<api::ImageSummary>> Images::ListImages(queue::TenantId tenant) {
  std::map<Digest, std::set<std::string>> granted;  // the repositories of each
  for (const queue::ImageGrant& grant : TRY(jobs_.ImageGrants(tenant)))
    granted[grant.manifest].insert(grant.repository);
  std::vector<api::ImageSummary> summaries;
  for (const image::ImageRecord& record : TRY(images_.List())) {
    const auto found = granted.find(record.manifest);
    if (found == granted.end()) continue;
    summaries.push_back(SummaryOf(record));
    summaries.back().reference = ReferenceFor(record, found->second);
  }
  return summaries;
}

Result<std::string> Images::NormaliseReference(const std::string& text) { return image::NormaliseReference(text); }

}  // namespace caisson::daemon
