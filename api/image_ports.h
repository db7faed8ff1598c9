// SPDX-License-Identifier: Apache-2.0
// ImagesPort and RegistriesPort: what the API needs of the image store and of the stored registry logins, in plain
// values of its own. Implemented in daemon/. Every function is safe on any thread; "blocks" means for as long as a
// registry or a disk takes, so the API calls those on threads of their own.
//
// An `image` is what a caller names one with: a digest ("sha256:...", of a manifest or an index; of a manifest also its
// first digits, where they are enough) or a reference, as typed. A caller that has no right to the image, or never had,
// gets the same kNotFound as for one that is not there. Error messages are for the user and never hold a credential.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/secret.h"
#include "queue/job.h"

namespace caisson::api {

struct Tenant {
  queue::TenantId id;
  std::string name;
};

struct ImageSummary {
  std::string reference;  // the first of `names`; without any, or where one was asked for by digest: host/name@digest
  std::vector<std::string> names;  // host/name:tag, those by which this tenant knows it, sorted
  std::string digest;              // of the manifest
  uint64_t compressed_bytes = 0;
  uint64_t unpacked_bytes = 0;
  int layers = 0;
  UnixMillis pulled_at = 0;
  std::vector<std::string> warnings;
};

struct ImageLayer {
  std::string digest;   // of the compressed bytes
  std::string diff_id;  // of the uncompressed bytes
  uint64_t compressed_bytes = 0;
  uint64_t unpacked_bytes = 0;
  uint64_t entries = 0;
};

struct ImageConfigView {
  std::string architecture;
  std::string os;
  std::string user;
  std::vector<std::string> entrypoint;
  std::vector<std::string> command;
  std::vector<std::string> env;  // "NAME=value"
  std::string working_dir;
  std::string stop_signal;
};

struct ImageDetails {
  ImageSummary summary;
  std::string index_digest;  // of the index that it came through; empty where there was none
  ImageConfigView config;
  std::vector<ImageLayer> layers;  // base first
  std::string signature;           // "verified", "not-required": as the policy says now
};

enum class PullPolicy { kAlways, kIfMissing, kNever };

enum class LayerState { kWaiting, kDownloading, kUnpacking, kDone, kCached };
struct LayerProgress {
  std::string digest;
  LayerState state = LayerState::kWaiting;
  uint64_t bytes_done = 0;
  uint64_t bytes_total = 0;
};
struct PullProgress {
  uint64_t bytes_done = 0;
  uint64_t bytes_total = 0;
  std::vector<LayerProgress> layers;  // base first; empty while only the totals are known
};

// What a call that takes long reports, and what ends it. `cancelled` is polled: then kCancelled, unless a job or
// another caller wants the same thing, for whom it goes on.
struct LongCall {
  std::function<void(const PullProgress&)> progress;  // may be empty; quick, from any thread
  const std::atomic<bool>* cancelled = nullptr;
};

enum class LayerVerdict { kOk, kDamaged, kMissing, kRepaired };
struct LayerCheck {
  std::string digest;
  LayerVerdict verdict = LayerVerdict::kOk;
  std::string detail;  // what is wrong; empty where nothing is
};
struct ImageVerdict {
  ImageSummary image;
  std::vector<LayerCheck> layers;  // base first
};

struct CollectReport {
  uint64_t images = 0;  // removed
  uint64_t layers = 0;
  uint64_t bytes = 0;
};

struct ImportRequest {
  std::string reference;  // what the image shall be called, as typed
  std::string manifest;   // an image manifest (OCI or Docker schema 2), its exact bytes
};
struct ImportOutcome {
  std::optional<ImageDetails> image;  // or else:
  std::vector<std::string> missing;   // digests of the blobs that must be uploaded first
};

// One blob on its way in. Destroyed before Finish() succeeded: nothing of it is left.
class BlobUpload {
 public:
  virtual ~BlobUpload() = default;
  virtual Result<void> Write(std::string_view bytes) = 0;
  // kInvalid when the bytes do not have the digest that was announced.
  virtual Result<void> Finish() = 0;
};

class ImagesPort {
 public:
  virtual ~ImagesPort() = default;
  virtual Result<std::vector<ImageSummary>> ListImages(const Tenant& tenant) = 0;  // newest first; may read files
  virtual Result<std::string> NormaliseReference(const std::string& text) = 0;     // kInvalid with the reason

  // Blocks. kNotFound, kDenied, kInvalid, kCorrupt: final; kUnavailable: the registry; kExhausted: the disk.
  virtual Result<ImageDetails> Pull(const Tenant& tenant, const std::string& reference, PullPolicy policy,
                                    const LongCall& call) = 0;
  virtual Result<ImageDetails> Inspect(const Tenant& tenant, const std::string& image) = 0;
  // Drops the tenant's right, and the data where no other tenant holds one. kConflict while a job runs from it.
  virtual Result<void> Remove(const Tenant& tenant, const std::string& image) = 0;
  // Blocks. With `repair` what is damaged or missing is pulled again.
  virtual Result<ImageVerdict> Verify(const Tenant& tenant, const std::string& image, bool repair,
                                      const LongCall& call) = 0;
  // Blocks. Gives the merged root as a tar archive to `sink`, piece by piece; the sink's error ends it. What fails
  // before the first piece (no such image) was never begun.
  virtual Result<void> Export(const Tenant& tenant, const std::string& image,
                              const std::function<Result<void>(std::string_view)>& sink, const LongCall& call) = 0;
  // Blocks. Removes what was longest unused, down to the low mark; with `all` every image that no job runs from and
  // that was not imported.
  virtual Result<CollectReport> Collect(bool all) = 0;

  // kInvalid for what is no digest.
  virtual Result<bool> HasUpload(const Tenant& tenant, const std::string& digest) = 0;
  virtual Result<std::unique_ptr<BlobUpload>> StartUpload(const Tenant& tenant, const std::string& digest) = 0;
  virtual uint64_t max_blob_bytes() const = 0;
  // Blocks. From what the tenant itself uploaded.
  virtual Result<ImportOutcome> Import(const Tenant& tenant, const ImportRequest& request, const LongCall& call) = 0;
};

struct RegistryLogin {
  std::string registry;  // "ghcr.io" or a prefix of repositories: "ghcr.io/acme"
  std::string username;
  UnixMillis created_at = 0;
};

struct RegistryCredential {
  std::string username;
  Secret password;        // one of the two
  Secret identity_token;  // an OAuth2 refresh token
};

class RegistriesPort {
 public:
  virtual ~RegistriesPort() = default;
  virtual Result<std::vector<RegistryLogin>> ListLogins(const Tenant& tenant) = 0;
  // Stores it, sealed, in place of one that is there. kInvalid: not a registry. Asks no registry.
  virtual Result<RegistryLogin> PutLogin(const Tenant& tenant, const std::string& registry,
                                         const RegistryCredential& credential) = 0;
  virtual Result<void> DeleteLogin(const Tenant& tenant, const std::string& registry) = 0;  // kNotFound
};

}  // namespace caisson::api
