// SPDX-License-Identifier: Apache-2.0
// Admission: what the operator's policy says of an image before anything of it is used, from the cache or not. A
// signature that was verified once counts for the same digest, repository and rule; a changed rule asks again. Safe on
// any thread; owned by the ImageStore.
#pragma once

#include <functional>
#include <mutex>
#include <string>

#include "base/result.h"
#include "image/image_policy.h"
#include "image/image_store.h"
#include "image/records.h"
#include "image/reference.h"
#include "image/registry_client.h"

namespace caisson::image {

class Admission {
 public:
  // Makes the client that looks for signatures, with the tenant's credentials.
  using MakeClient = std::function<RegistryClient(const Reference&, const PullContext&)>;
  // Without a policy everything is allowed.
  Admission(const ImagePolicy* policy, const Records& records, MakeClient make_client)
      : policy_(policy), records_(records), make_client_(std::move(make_client)) {}

  // kDenied: the tenant may not use this repository.
  Result<void> CheckAllowed(const std::string& tenant, const std::string& repository) const;
  // kDenied where a rule wants a signature and neither the index nor the manifest has a good one. `top` is the index,
  // or the manifest itself. May ask the registry.
  Result<void> CheckSigned(const Reference& reference, const Digest& top, const Digest& manifest,
                           const PullContext& context) const;
  // Of an image in the store; asks nobody.
  Result<SignatureState> StateOf(const std::string& repository, const ImageRecord& image) const;
  // kDenied where a rule wants a signature: an import brings none.
  Result<void> CheckImport(const Reference& reference) const;

 private:
  const ImagePolicy* const policy_;
  const Records& records_;
  const MakeClient make_client_;
  mutable std::mutex marks_;  // two writers of one
};

}  // namespace caisson::image
