// SPDX-License-Identifier: Apache-2.0
// Images: what the API shows of the image cache and does with it, to each tenant its own. The cache is one for all
// tenants; the job store knows who has a right to what. Owned by the service's main; safe on any thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/ports.h"
#include "executor/image_access.h"
#include "image/image_store.h"
#include "queue/store.h"

namespace caisson::daemon {

class Images final : public api::ImagesPort {
 public:
  Images(image::ImageStore& images, queue::JobStore& jobs) : images_(images), jobs_(jobs), access_(jobs, images) {}

  Result<std::vector<api::ImageSummary>> ListImages(const api::Tenant& tenant) override;
  Result<std::string> NormaliseReference(const std::string& text) override;
  Result<api::ImageDetails> Pull(const api::Tenant& tenant, const std::string& reference, api::PullPolicy policy,
                                 const api::LongCall& call) override;
  Result<api::ImageDetails> Inspect(const api::Tenant& tenant, const std::string& image) override;
  Result<void> Remove(const api::Tenant& tenant, const std::string& image) override;
  Result<api::ImageVerdict> Verify(const api::Tenant& tenant, const std::string& image, bool repair,
                                   const api::LongCall& call) override;
  Result<void> Export(const api::Tenant& tenant, const std::string& image,
                      const std::function<Result<void>(std::string_view)>& sink, const api::LongCall& call) override;
  Result<api::CollectReport> Collect(bool all) override;
  Result<bool> HasUpload(const api::Tenant& tenant, const std::string& digest) override;
  Result<std::unique_ptr<api::BlobUpload>> StartUpload(const api::Tenant& tenant, const std::string& digest) override;
  uint64_t max_blob_bytes() const override;
  Result<api::ImportOutcome> Import(const api::Tenant& tenant, const api::ImportRequest& request,
                                    const api::LongCall& call) override;

 private:
  // An image that a tenant may know of, and where it had it from.
  struct Known {
    Digest digest;                             // as it was asked for
    std::string repository;                    // of a right that the tenant has or had
    std::optional<image::ImageRecord> record;  // nullopt: the right outlived the image
    std::string reference() const { return repository + "@" + digest.ToString(); }
  };
  // The tenant's names of each manifest, sorted; only those in repositories that gave it a right.
  using Names = std::map<Digest, std::vector<std::string>>;
  Result<Names> NamesOf(const api::Tenant& tenant, const std::vector<queue::ImageGrant>& grants);
  Result<api::ImageSummary> SummaryFor(const api::Tenant& tenant, const image::ImageRecord& record,
                                       const std::string& repository);
  Result<Digest> CompleteDigest(const api::Tenant& tenant, const std::string& text);
  Result<Known> Find(const api::Tenant& tenant, const std::string& image);
  Result<Known> FindStored(const api::Tenant& tenant, const std::string& image);
  Result<std::optional<Digest>> DigestOf(const api::Tenant& tenant, const std::string& image);
  Result<std::vector<Digest>> DigestsOf(queue::TenantId tenant, const Known& known);
  Result<bool> OthersHold(queue::TenantId tenant, const Digest& manifest);
  Result<api::ImageDetails> DetailsOf(const image::ImageRecord& record, const std::string& repository,
                                      api::ImageSummary summary);

  image::ImageStore& images_;
  queue::JobStore& jobs_;
  executor::ImageAccess access_;
};

}  // namespace caisson::daemon
