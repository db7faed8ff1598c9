// SPDX-License-Identifier: Apache-2.0
#include "image/image_store.h"

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/check.h"
#include "base/io.h"
#include "image/image_config.h"
#include "image/key_locks.h"
#include "image/layer_pull.h"
#include "image/manifest.h"
#include "image/records.h"
#include "image/reference.h"
#include "image/registry_client.h"

namespace caisson::image {
namespace {

constexpr size_t kParallelLayers = 3;                    // each costs a connection, a worker and its memory
constexpr uint64_t kProgressBytes = 256 << 10;           // between two calls of the progress function
constexpr std::chrono::milliseconds kLookAtCaller{100};  // whether it has cancelled

// The platform's manifest of a reference, with the bytes that were read to find it.
struct FoundManifest {
  Digest digest;
  std::string bytes;
  Manifest manifest;
  std::string index_bytes;  // empty where there was no index
};

// A config that fits the manifest.
struct FoundConfig {
  std::string bytes;
  ParsedConfig parsed;
};

// Tells the caller how far the layers are, from whichever thread brings bytes.
class Progress {
 public:
  Progress(const PullContext& context, uint64_t total) : context_(context), total_(total) { Tell(0); }
  void Add(uint64_t bytes) {
    const uint64_t before = done_.fetch_add(bytes), after = before + bytes;
    if (before / kProgressBytes != after / kProgressBytes || after >= total_) Tell(after);
  }

 private:
  void Tell(uint64_t done) const {
    if (context_.progress) context_.progress({std::min(done, total_), total_, {}});
  }
  const PullContext& context_;
  const uint64_t total_;
  std::atomic<uint64_t> done_ = 0;
};

// Runs `work(i)` for each i below `count` on a few threads. The first error ends it: `stop` becomes true, which the
// work is expected to heed, as it does when the caller cancels.
Result<void> RunInParallel(size_t count, const std::atomic<bool>* cancelled, std::atomic<bool>& stop,
                           const std::function<Result<void>(size_t)>& work) {
  std::mutex mutex;
  std::condition_variable changed;
  size_t next = 0, running = 0;
  std::optional<Error> first_error;
  const auto run = [&] {
    for (std::unique_lock lock(mutex); next < count && !stop;) {
      const size_t item = next++;
      lock.unlock();
      Result<void> result = work(item);
      lock.lock();
      if (result) continue;
      if (!first_error) first_error = std::move(result).error();
      stop = true;
    }
    const std::lock_guard lock(mutex);
    --running;
    changed.notify_all();
  };
  std::vector<std::thread> threads;
  running = std::min(count, kParallelLayers);
  for (size_t i = std::min(count, kParallelLayers); i > 0; --i) threads.emplace_back(run);
  {
    std::unique_lock lock(mutex);
    while (running > 0) {
      changed.wait_for(lock, kLookAtCaller);
      if (cancelled && cancelled->load()) stop = true;
    }
  }
  for (std::thread& thread : threads) thread.join();
  if (cancelled && cancelled->load()) return Fail(ErrorCode::kCancelled, "cancelled");
  if (first_error) return tl::unexpected(*std::move(first_error));
  return {};
}

void AddWarning(std::vector<std::string>& warnings, uint64_t count, std::string_view what) {
  if (count > 0) warnings.push_back(fmt::format("{} {}", count, what));
}

std::vector<std::string> WarningsOf(const std::vector<LayerPuller::Layer>& layers) {
  uint64_t devices = 0, ids = 0, xattrs = 0;
  for (const LayerPuller::Layer& layer : layers) {
    devices += layer.report.devices_skipped;
    ids += layer.report.ids_changed;
    xattrs += layer.report.xattrs_dropped;
  }
  std::vector<std::string> warnings;
  AddWarning(warnings, devices, "device nodes skipped");
  AddWarning(warnings, ids, "files with an owner above 65535, stored as 65534 without set-id bits");
  AddWarning(warnings, xattrs, "extended attributes dropped");
  return warnings;
}

class RegistryImageStore : public ImageStore {
 public:
  RegistryImageStore(const ImageStoreOptions& options, Records records)
      : options_(options),
        records_(std::move(records)),
        locks_(options.directory + "/locks"),
        layers_(*options.store, records_, locks_) {}

  Result<ResolvedReference> Resolve(const std::string& text, PullPolicy, const PullContext& context) override {
    const Reference reference = TRY(ParseReference(text));
    ResolvedReference resolved{.reference = reference.ToString(), .repository = reference.repository(), .digest = {}};
    if (reference.digest) {
      resolved.digest = *reference.digest;
      return resolved;
    }
    RegistryClient registry = ClientFor(reference, context.cancelled);
    resolved.digest = TRY_IN("resolve " + reference.ToString(), registry.ResolveTag(reference.tag));
    resolved.reference += "@" + resolved.digest.ToString();
    return resolved;
  }

  Result<ImageRecord> Pull(const ResolvedReference& resolved, bool may_use_cached,
                           const PullContext& context) override {
    if (may_use_cached)
      if (std::optional<ImageRecord> cached = TRY(FindUsable(resolved.digest))) return *std::move(cached);
    const Reference reference = TRY(ParseReference(resolved.reference));
    return TRY_IN("pull " + reference.ToString(), PullFrom(reference, resolved.digest, context));
  }

  Result<std::vector<ImageRecord>> List() override { return records_.ListImages(); }

  Result<std::optional<ImageRecord>> Find(const Digest& digest) override {
    if (std::optional<ImageRecord> record = TRY(records_.FindImage(digest))) return record;
    // An index that we keep leads to the manifest, whichever index the image first came through.
    const std::optional<std::string> bytes = TRY(records_.FindBlob(digest));
    if (!bytes) return std::nullopt;
    const auto document = ParseManifest(*bytes, "");
    if (!document || !std::holds_alternative<Index>(*document)) return std::nullopt;
    const Result<Descriptor> manifest = SelectPlatform(std::get<Index>(*document));
    if (!manifest) return std::nullopt;
    std::optional<ImageRecord> record = TRY(records_.FindImage(manifest->digest));
    if (record) record->index = digest;
    return record;
  }

 private:
  RegistryClient ClientFor(const Reference& reference, const std::atomic<bool>* cancelled) const {
    return RegistryClient(reference, {.registries = &options_.registries, .cancelled = cancelled});
  }

  // The record, if the store still has every layer of it.
  Result<std::optional<ImageRecord>> FindUsable(const Digest& digest) {
    std::optional<ImageRecord> record = TRY(Find(digest));
    if (!record) return std::nullopt;
    for (const LayerName& layer : record->rootfs)
      if (!TRY(options_.store->HasLayer(layer))) return std::nullopt;
    return record;
  }

  Result<ImageRecord> PullFrom(const Reference& reference, const Digest& digest, const PullContext& context) {
    std::atomic<bool> stop = false;
    RegistryClient registry = ClientFor(reference, context.cancelled);
    FoundManifest found = TRY(FindManifest(registry, digest));
    const KeyLocks::Lock lock = TRY(locks_.Acquire("image-" + found.digest.hex(), context.cancelled));
    const FoundConfig config = TRY(FindConfig(registry, found.manifest));
    RegistryClient layer_registry = ClientFor(reference, &stop);
    const std::vector<LayerPuller::Layer> layers =
        TRY(PullLayers(layer_registry, found.manifest, config.parsed, context, stop));
    // Only here, where every part is known to be this repository's own to give.
    if (std::optional<ImageRecord> record = TRY(FindUsable(found.digest))) {
      TRY(KeepBlobs(reference, digest, found, config.bytes));
      record->index = digest;
      return *std::move(record);
    }
    MergedImage merged = TRY(layers_.Merge(layers, context.cancelled));
    TRY(KeepBlobs(reference, digest, found, config.bytes));
    const ImageRecord record = MakeRecord(reference, digest, found, config.parsed, layers, std::move(merged));
    TRY(records_.PutImage(record));  // last: whoever finds it finds everything
    return record;
  }

  // Fetches the manifest, and the index that leads to it, in any case: that the registry sends the very bytes of a
  // digest is what makes the image ours to use. That it names the digest, or says that it has it, is not.
  Result<FoundManifest> FindManifest(RegistryClient& registry, const Digest& digest) {
    FoundManifest found;
    ManifestBytes manifest = TRY(registry.GetManifest(digest));
    auto document = TRY_IN("manifest", ParseManifest(manifest.bytes, manifest.content_type));
    found.digest = digest;
    if (const Index* index = std::get_if<Index>(&document)) {
      const Descriptor chosen = TRY_IN("index", SelectPlatform(*index));
      found.index_bytes = std::move(manifest.bytes);
      manifest = TRY(GetPlatformManifest(registry, chosen));
      document = TRY_IN("manifest", ParseManifest(manifest.bytes, chosen.media_type));
      found.digest = chosen.digest;
    }
    if (!std::holds_alternative<Manifest>(document))
      return Fail(ErrorCode::kInvalid, "index: its entry is an index again");
    found.manifest = std::get<Manifest>(std::move(document));
    found.bytes = std::move(manifest.bytes);
    return found;
  }

  Result<ManifestBytes> GetPlatformManifest(RegistryClient& registry, const Descriptor& chosen) {
    ManifestBytes manifest = TRY(registry.GetManifest(chosen.digest));
    TRY_IN("manifest", ParseManifest(manifest.bytes, manifest.content_type));  // the registry's word on it, too
    if (manifest.bytes.size() != chosen.size)
      return Fail(ErrorCode::kCorrupt, "manifest {} has {} bytes, its index says {}", chosen.digest.ToString(),
                  manifest.bytes.size(), chosen.size);
    return manifest;
  }

  Result<FoundConfig> FindConfig(RegistryClient& registry, const Manifest& manifest) {
    FoundConfig config;
    std::optional<std::string> kept;
    if (TRY(records_.WasServed(manifest.config.digest, registry.repository())))
      kept = TRY(records_.FindBlob(manifest.config.digest));
    config.bytes = kept ? *std::move(kept) : TRY_IN("config", registry.GetBlobBytes(manifest.config));
    config.parsed = TRY_IN("config", ParseImageConfig(config.bytes));
    if (config.parsed.diff_ids.size() != manifest.layers.size())
      return Fail(ErrorCode::kCorrupt, "config: it has {} diff_ids, the manifest has {} layers",
                  config.parsed.diff_ids.size(), manifest.layers.size());
    return config;
  }

  Result<std::vector<LayerPuller::Layer>> PullLayers(RegistryClient& registry, const Manifest& manifest,
                                                     const ParsedConfig& config, const PullContext& context,
                                                     std::atomic<bool>& stop) {
    uint64_t total = 0;
    for (const LayerDescriptor& layer : manifest.layers) total += layer.descriptor.size;
    Progress progress(context, total);
    std::vector<LayerPuller::Layer> layers(manifest.layers.size());
    TRY(RunInParallel(layers.size(), context.cancelled, stop, [&](size_t i) -> Result<void> {
      const LayerDescriptor& layer = manifest.layers[i];
      const auto on_bytes = [&progress](uint64_t bytes) { progress.Add(bytes); };
      layers[i] = {layer.descriptor.digest, TRY(layers_.Ensure(registry, layer, config.diff_ids[i], on_bytes, &stop))};
      return {};
    }));
    return layers;
  }

  Result<void> KeepBlobs(const Reference& reference, const Digest& top, const FoundManifest& found,
                         const std::string& config) {
    if (!found.index_bytes.empty()) TRY(KeepBlob(reference, top, found.index_bytes));
    TRY(KeepBlob(reference, found.digest, found.bytes));
    return KeepBlob(reference, found.manifest.config.digest, config);
  }

  // Whoever calls has the bytes from the repository of `reference`, now or by its record.
  Result<void> KeepBlob(const Reference& reference, const Digest& digest, const std::string& bytes) {
    const std::string repository = reference.repository();
    const KeyLocks::Lock lock = TRY(locks_.Acquire("blob-" + digest.hex(), nullptr));  // held for two small writes
    if (!TRY(records_.FindBlob(digest))) TRY(records_.PutBlob(digest, bytes));
    if (!TRY(records_.WasServed(digest, repository))) TRY(records_.PutServed(digest, repository));
    return {};
  }

  ImageRecord MakeRecord(const Reference& reference, const Digest& index, const FoundManifest& found,
                         const ParsedConfig& config, const std::vector<LayerPuller::Layer>& layers,
                         MergedImage merged) const {
    ImageRecord record;
    record.reference = reference.ToString();
    record.repository = reference.repository();
    record.manifest = found.digest;
    record.index = index;
    record.config = config.config;
    for (size_t i = 0; i < layers.size(); ++i)
      record.layers.push_back({layers[i].digest, layers[i].report.diff_id, found.manifest.layers[i].descriptor.size,
                               layers[i].report.unpacked_bytes, layers[i].report.entries});
    record.fixup = merged.fixup;
    record.rootfs = std::move(merged.rootfs);
    for (const auto& [path, attributes] : merged.report.directories)
      record.directories[path] = {attributes.mode, attributes.uid, attributes.gid};
    record.passwd = std::move(merged.report.passwd);
    record.group = std::move(merged.report.group);
    record.warnings = WarningsOf(layers);
    record.pulled_at = options_.clock->NowMs();
    return record;
  }

  const ImageStoreOptions options_;
  const Records records_;
  KeyLocks locks_;
  LayerPuller layers_;
};

}  // namespace

std::string_view ToString(PullPolicy policy) {
  switch (policy) {
    case PullPolicy::kAlways: return "always";
    case PullPolicy::kIfMissing: return "if-missing";
    case PullPolicy::kNever: return "never";
  }
  return "";
}

std::optional<PullPolicy> ParsePullPolicy(std::string_view text) {
  for (const PullPolicy policy : {PullPolicy::kAlways, PullPolicy::kIfMissing, PullPolicy::kNever})
    if (text == ToString(policy)) return policy;
  return std::nullopt;
}

std::string_view ToString(LayerProgress::State state) {
  switch (state) {
    case LayerProgress::kWaiting: return "waiting";
    case LayerProgress::kDownloading: return "downloading";
    case LayerProgress::kUnpacking: return "unpacking";
    case LayerProgress::kDone: return "done";
    case LayerProgress::kCached: return "cached";
  }
  return "";
}

bool ImageVerdict::ok() const {
  return std::all_of(layers.begin(), layers.end(),
                     [](const LayerVerdict& layer) { return layer.state == LayerVerdict::kOk; });
}

Result<std::unique_ptr<ImageStore>> OpenImageStore(const ImageStoreOptions& options) {
  CHECK(options.store);
  Records records = TRY_IN("open the image store", Records::Open(options.directory));
  TRY_IN("open the image store", MakeDirectories(options.directory + "/locks", 0700));
  ::signal(SIGPIPE, SIG_IGN);  // a worker that refuses its layer ends while we write to it
  return std::make_unique<RegistryImageStore>(options, std::move(records));
}

}  // namespace caisson::image
