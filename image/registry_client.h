// SPDX-License-Identifier: Apache-2.0
// RegistryClient speaks the OCI distribution protocol about one repository: manifests and blobs, by digest checked byte
// for byte. Mirrors are asked before the registry itself; what proves its bytes by a digest may come from anybody.
// Made for one pull; calls block and are safe on any thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "image/image_source.h"
#include "image/manifest.h"
#include "image/reference.h"
#include "image/registry_access.h"

namespace caisson::image {

class RegistryTransport;

class RegistryClient : public ImageSource {
 public:
  // A registry that the settings block, or whose settings are unusable, fails each call.
  RegistryClient(const Reference& reference, const RegistryAccess& access);
  ~RegistryClient() override;

  std::string repository() const override { return reference_.repository(); }

  // What a tag means now. The registry's word only, where it gives one, which proves nothing: anybody's registry can
  // name any digest. Whoever fetches by the digest checks it.
  Result<Digest> ResolveTag(const std::string& tag);
  // The same with the bytes; nullopt where there is no such tag.
  Result<std::optional<ManifestBytes>> FindManifest(const std::string& tag);
  // The manifests that name `digest` as their subject and have that artifact type ("": any), as the referrers API or
  // the fallback tag lists them. The registry's word: whoever fetches one checks what it says.
  Result<std::vector<Descriptor>> Referrers(const Digest& digest, const std::string& artifact_type);

  Result<ManifestBytes> GetManifest(const Digest& digest) override;
  // A transfer that breaks is taken up again where it broke, also at the next mirror or the registry.
  Result<void> GetBlob(const Descriptor& blob, const Sink& sink) override;
  bool MayHaveBetter(const Digest& digest) override;

 private:
  // A place that has the repository.
  struct Place {
    std::unique_ptr<RegistryTransport> transport;
    std::atomic<bool> down = false;  // a mirror that was, for the rest of this pull
  };

  Result<void> AddMirrors(const RegistryTable& registries);
  template <typename T>
  Result<T> AskInOrder(bool mirrors, const std::function<Result<T>(RegistryTransport&)>& ask);
  Result<bool> MayAskMirrors(const Digest& manifest);
  bool PassOver(Place& mirror, const Error& error);
  bool IsRegistryOnly(const Digest& digest);
  static Result<ManifestBytes> GetManifestBytes(RegistryTransport& place, const std::string& tag_or_digest);
  static Result<Digest> ResolveTagAt(RegistryTransport& place, const std::string& tag);
  static Result<std::vector<Descriptor>> ReferrersAt(RegistryTransport& place, const Digest& digest,
                                                     const std::string& artifact_type);

  const Reference reference_;
  const RegistryAccess access_;
  std::optional<Error> unusable_;
  bool mirror_tags_ = false;
  std::vector<std::unique_ptr<Place>> places_;  // mirrors in order, then the registry

  std::mutex mutex_;
  std::set<Digest> from_mirrors_;   // blobs of which a mirror sent bytes
  std::set<Digest> registry_only_;  // where that went wrong
};

}  // namespace caisson::image
