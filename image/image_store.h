// SPDX-License-Identifier: Apache-2.0
// ImageStore: from an image reference to a verified, cached, read-only tree that the launcher can mount. Resolve()
// asks the registry which digest a reference means now; Pull() brings that digest into the store. It downloads and
// checks; the bytes are parsed by store workers and the files belong to the launcher (image/store_port.h). Calls
// block, are safe on any thread, and share one pull per digest. Owned by the service's main.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/digest.h"
#include "base/result.h"
#include "image/image.h"
#include "image/store_port.h"

namespace caisson::image {

struct RegistrySettings {  // [registries."HOST:PORT"]
  bool plain_http = false;
  std::string ca_file;  // further certificate authorities (PEM)
};

struct PullProgress {
  uint64_t bytes_done = 0;
  uint64_t bytes_total = 0;
};

struct PullContext {
  std::function<void(const PullProgress&)> progress;  // may be empty; from any thread
  const std::atomic<bool>* cancelled = nullptr;       // polled; then kCancelled
};

struct ResolvedReference {
  std::string reference;   // normalised: host/name:tag@digest
  std::string repository;  // host/name
  Digest digest;           // of the manifest or index that the reference means
};

class ImageStore {
 public:
  virtual ~ImageStore() = default;

  // kInvalid: not a reference. Errors for users name the reference and what to do. kUnavailable is worth a retry;
  // kNotFound, kDenied, kCorrupt, kInvalid are final.
  virtual Result<ResolvedReference> Resolve(const std::string& reference, const PullContext& context) = 0;
  // The image of `digest` in the reference's repository: from the cache where `may_use_cached` says so and the record
  // is there, else from the registry. Without the cache the manifest is fetched and of the rest whatever this
  // repository has not sent us before: that proves the right to the image (the caller records the grant). A cached
  // digest that the registry only names proves nothing.
  virtual Result<ImageRecord> Pull(const ResolvedReference& reference, bool may_use_cached,
                                   const PullContext& context) = 0;
  // Every stored image, newest first.
  virtual Result<std::vector<ImageRecord>> List() = 0;
  virtual Result<std::optional<ImageRecord>> Find(const Digest& manifest_or_index) = 0;
};

struct ImageStoreOptions {
  std::string directory;  // .../service: holds blobs/, images/, locks/, partial/
  std::map<std::string, RegistrySettings> registries;
  StorePort* store = nullptr;  // outlives the ImageStore
  const Clock* clock = &SystemClock();
};
Result<std::unique_ptr<ImageStore>> OpenImageStore(const ImageStoreOptions& options);

// Normalises a reference without asking anybody: "alpine" -> "docker.io/library/alpine:latest". kInvalid with the
// reason; used by the API to refuse nonsense at submit.
Result<std::string> NormaliseReference(std::string_view text);

}  // namespace caisson::image
