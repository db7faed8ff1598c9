// SPDX-License-Identifier: Apache-2.0
// ImageStore: from an image reference to a verified, cached, read-only tree that the launcher can mount. Resolve()
// asks which digest a reference means now; Pull() brings that digest into the store; Collect() keeps it within bounds.
// It downloads and checks; the bytes are parsed by store workers and the files belong to the launcher
// (image/store_port.h). Calls block, are safe on any thread, and share one pull per digest. Owned by the service's
// main.
#pragma once

#include <atomic>
#include <chrono>
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
#include "image/registry_settings.h"
#include "image/store_port.h"
#include "image/store_space.h"

namespace caisson::image {

class CredentialSource;  // image/credentials.h
class ImagePolicy;       // image/image_policy.h

// Whom to ask what a tag means. The words are those of the API and the settings: "always", "if-missing", "never".
enum class PullPolicy {
  kAlways,     // the registry
  kIfMissing,  // the tag memory, where the image that it leads to is in the store; else the registry
  kNever,      // the tag memory alone
};
std::string_view ToString(PullPolicy policy);
std::optional<PullPolicy> ParsePullPolicy(std::string_view text);

struct LayerProgress {
  enum State { kWaiting, kDownloading, kUnpacking, kDone, kCached };
  Digest digest;  // compressed
  State state = kWaiting;
  uint64_t bytes_done = 0;
  uint64_t bytes_total = 0;
};
std::string_view ToString(LayerProgress::State state);  // "waiting", ...

struct PullProgress {
  uint64_t bytes_done = 0;  // compressed bytes of all layers, those that were there already too
  uint64_t bytes_total = 0;
  std::vector<LayerProgress> layers;  // base first
};

// For whom, and how it is told. Everything that blocks for long takes one.
struct PullContext {
  std::string tenant;                                 // its name: policy, credentials and the tag memory are by tenant
  std::function<void(const PullProgress&)> progress;  // may be empty; from any thread, must be quick
  const std::atomic<bool>* cancelled = nullptr;       // polled; then kCancelled
  // Somebody watches and no job slot is held: a busy registry is waited for as long as it asks.
  bool interactive = false;
};

struct ResolvedReference {
  std::string reference;     // normalised: host/name:tag@digest
  std::string repository;    // host/name
  Digest digest;             // of the manifest or index that the reference means
  bool cached_only = false;  // resolved under kNever: Pull() asks nobody
};

// What a reference last meant for a tenant.
struct RememberedTag {
  Digest digest;
  bool imported = false;  // by Import(): the tenant's own word, not a registry's
};

// What the policy on signatures says of a stored image now.
enum class SignatureState {
  kNotRequired,
  kVerified,
  kUnverified,  // a rule came or changed since: the next use of the image asks its registry
};

struct CollectOptions {
  bool all = false;           // every image that nothing uses and nobody holds for good; else only down to the low mark
  uint64_t bytes_needed = 0;  // beside the marks: as much must be free afterwards, if it can be
};
struct CollectReport {
  uint64_t images = 0;  // records removed
  uint64_t layers = 0;  // fix-up layers too
  uint64_t bytes = 0;   // of those layers
};

struct LayerVerdict {
  enum State { kOk, kDamaged, kMissing };
  LayerName name;
  State state = kOk;
  std::string reason;     // of another than kOk
  bool repaired = false;  // by Repair()
};
struct ImageVerdict {
  std::vector<LayerVerdict> layers;  // of ImageRecord::rootfs, in its order
  bool ok() const;
};

// One blob on its way from a client into the spool. One thread; destroying it without Finish() throws it away.
class BlobUpload {
 public:
  virtual ~BlobUpload() = default;
  virtual Result<void> Write(std::string_view bytes) = 0;  // kTooLarge, kExhausted
  virtual Result<void> Finish() = 0;                       // kCorrupt: the bytes are not those of the digest
};

struct ImportRequest {
  std::string tenant;
  std::string reference;  // the name that the image gets; with a tag or without
  std::string manifest;   // the bytes of an OCI manifest or index, or of Docker's
  // Called with the record before anybody could remove it again: for the grant. Its error ends the import.
  std::function<Result<void>(const ImageRecord&)> on_record = {};
};

class ImageStore {
 public:
  virtual ~ImageStore() = default;

  // kInvalid: not a reference. Errors for users name the reference and what to do. kUnavailable is worth a retry, as
  // is kExhausted (the disk is full); kNotFound, kDenied, kCorrupt, kInvalid are final.
  virtual Result<ResolvedReference> Resolve(const std::string& reference, PullPolicy policy,
                                            const PullContext& context) = 0;
  // The image of `digest` in the reference's repository: from the cache where `may_use_cached` says so and the record
  // is there, else from the registry. Without the cache the manifest is fetched and of the rest whatever this
  // repository has not sent us before: that proves the right to the image (the caller records the grant). A cached
  // digest that the registry only names proves nothing. The policy on registries and signatures holds for both ways.
  virtual Result<ImageRecord> Pull(const ResolvedReference& reference, bool may_use_cached,
                                   const PullContext& context) = 0;
  // Every stored image, newest first, without its config, passwd and group. A damaged record is set aside and told in
  // the log: it hides no other.
  virtual Result<std::vector<ImageRecord>> List() = 0;
  virtual Result<std::optional<ImageRecord>> Find(const Digest& manifest_or_index) = 0;
  // Of the tag memory: what Resolve() last heard, or Import() was told.
  virtual Result<std::optional<RememberedTag>> FindTag(const std::string& tenant, const std::string& reference) = 0;
  // Every reference of the tenant in it (host/name:tag), with the digest that it leads to: a manifest's or an index's.
  virtual Result<std::vector<std::pair<std::string, Digest>>> Names(const std::string& tenant) = 0;
  // Forgets every reference of the tenant that leads to one of these digests.
  virtual Result<void> ForgetTags(const std::string& tenant, const std::vector<Digest>& digests) = 0;

  // For a use of the image by the name of `repository`.
  virtual Result<SignatureState> Signature(const ImageRecord& image, const std::string& repository) = 0;

  // ---- Space. What is kept, and when it goes: docs/IMAGES.md.
  // Removes the image and whatever nothing else needs. kConflict while a job runs from it or a pull brings it.
  virtual Result<CollectReport> Remove(const Digest& manifest_or_index) = 0;
  virtual Result<CollectReport> Collect(const CollectOptions& options) = 0;

  // ---- Verify and repair. kNotFound: no such image.
  virtual Result<ImageVerdict> Verify(const Digest& manifest_or_index, const PullContext& context) = 0;
  // Fetches what is damaged or missing again, from `reference`'s repository with the tenant's credentials, and gives
  // the verdict afterwards. kConflict while a job uses a damaged layer.
  virtual Result<ImageVerdict> Repair(const Digest& manifest_or_index, const std::string& reference,
                                      const PullContext& context) = 0;

  // ---- Export: the merged root as a tar stream.
  using Sink = std::function<Result<void>(std::string_view)>;
  virtual Result<void> Export(const Digest& manifest_or_index, const Sink& sink,
                              const std::atomic<bool>* cancelled) = 0;

  // ---- Import: a client uploads the blobs, then gives the manifest. What a tenant uploads serves that tenant alone.
  virtual Result<std::unique_ptr<BlobUpload>> StartUpload(const std::string& tenant, const Digest& digest) = 0;
  virtual Result<bool> HasUpload(const std::string& tenant, const Digest& digest) = 0;  // or need not upload it
  // The blobs that Import() of this would miss.
  virtual Result<std::vector<Digest>> MissingBlobs(const ImportRequest& request) = 0;
  // Needs no registry. The caller records a permanent grant for the reference's repository, in on_record. kNotFound:
  // blobs are missing (MissingBlobs() lists them).
  virtual Result<ImageRecord> Import(const ImportRequest& request, const PullContext& context) = 0;
};

struct ImageStoreOptions {
  std::string directory;  // .../service: holds blobs/, images/, locks/, partial/
  RegistryTable registries;
  StorePort* store = nullptr;               // outlives the ImageStore, as all of these
  CredentialSource* credentials = nullptr;  // may be null: anonymous
  const ImagePolicy* policy = nullptr;      // may be null: everything is allowed
  std::function<void()> on_collected;       // after each collection, on its thread: for what others remember of images
  int gc_high_percent = 85;  // of the file system: above it unused images go, the least recently used first,
  int gc_low_percent = 75;   // until it is below this
  uint64_t min_free_bytes = 1ull << 30;  // a pull never takes the last of the file system
  std::chrono::milliseconds collect_interval = std::chrono::minutes(10);  // zero: only when asked
  std::function<Result<SpaceInfo>(const std::string& directory)> space;   // empty: statvfs
  const Clock* clock = &SystemClock();
};
// Sweeps what a crash left, then starts the collector's thread, which the ImageStore ends and joins.
Result<std::unique_ptr<ImageStore>> OpenImageStore(const ImageStoreOptions& options);

// Normalises a reference without asking anybody: "alpine" -> "docker.io/library/alpine:latest". kInvalid with the
// reason; used by the API to refuse nonsense at submit.
Result<std::string> NormaliseReference(std::string_view text);

}  // namespace caisson::image
