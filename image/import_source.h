// SPDX-License-Identifier: Apache-2.0
// ImportSource: an ImageSource over what a tenant has uploaded, and the manifest that it gave. Its records are the
// tenant's own ("import@TENANT"): what it uploads is never taken for what a registry sent, nor for another tenant's.
// Made for one import; safe on any thread.
#pragma once

#include <optional>
#include <string>

#include "image/image_source.h"
#include "image/records.h"
#include "image/uploads.h"

namespace caisson::image {

// The key of served records; no repository of a registry contains an '@'.
std::string ImportRepository(const std::string& tenant);

class ImportSource : public ImageSource {
 public:
  ImportSource(const Uploads& uploads, const Records& records, std::string tenant, std::string manifest);

  std::string repository() const override { return ImportRepository(tenant_); }
  Result<ManifestBytes> GetManifest(const Digest& digest) override;
  Result<void> GetBlob(const Descriptor& blob, const Sink& sink) override;

 private:
  // A manifest or config that an earlier import of this tenant has left in the store.
  Result<std::optional<std::string>> FindKept(const Digest& digest) const;

  const Uploads& uploads_;
  const Records& records_;
  const std::string tenant_;
  const std::string manifest_;
  const Digest digest_;  // of it
};

}  // namespace caisson::image
