// SPDX-License-Identifier: Apache-2.0
#include "image/image_pull.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "image/image_config.h"
#include "image/layer/limits.h"
#include "image/pull_progress.h"

namespace caisson::image {
namespace {

constexpr size_t kParallelLayers = 3;              // each costs a connection, a worker and its memory
constexpr std::chrono::milliseconds kLookAt{100};  // the caller, who may cancel, and the disk, which may fill
constexpr uint64_t kInflation = 4;                 // bytes on disk for a compressed one, as layers go

// Runs `work(i)` for each i below `count` on a few threads. The first error ends it, of the work or of `watch`, which
// is called every now and then: `stop` becomes true, which the work is expected to heed.
Result<void> RunInParallel(size_t count, std::atomic<bool>& stop, const std::function<Result<void>()>& watch,
                           const std::function<Result<void>(size_t)>& work) {
  std::mutex mutex;
  std::condition_variable changed;
  size_t next = 0, running = std::min(count, kParallelLayers);
  std::optional<Error> first_error;
  const auto note = [&](Error error) {
    if (!first_error) first_error = std::move(error);
    stop = true;
  };
  const auto run = [&] {
    std::unique_lock lock(mutex);
    while (next < count && !stop) {
      const size_t item = next++;
      lock.unlock();
      Result<void> result = work(item);
      lock.lock();
      if (!result) note(std::move(result).error());
    }
    --running;
    changed.notify_all();
  };
  std::vector<std::thread> threads;
  for (size_t i = running; i > 0; --i) threads.emplace_back(run);
  {
    std::unique_lock lock(mutex);
    while (running > 0) {
      changed.wait_for(lock, kLookAt);
      if (stop || running == 0) continue;
      lock.unlock();  // it may take its time
      Result<void> watched = watch();
      lock.lock();
      if (!watched) note(std::move(watched).error());
    }
  }
  for (std::thread& thread : threads) thread.join();
  if (first_error) return tl::unexpected(*std::move(first_error));
  return {};
}

size_t BytesOf(const ImageConfig& config) {
  size_t bytes = config.user.size() + config.working_dir.size() + config.stop_signal.size();
  for (const auto* texts : {&config.entrypoint, &config.command, &config.env})
    for (const std::string& text : *texts) bytes += text.size() + sizeof(std::string);
  return bytes;
}

void AddWarning(std::vector<std::string>& warnings, uint64_t count, std::string_view what) {
  if (count > 0) warnings.push_back(fmt::format("{} {}", count, what));
}

std::vector<std::string> WarningsOf(const std::vector<PulledLayer>& layers) {
  uint64_t devices = 0, ids = 0, xattrs = 0;
  for (const PulledLayer& layer : layers) {
    devices += layer.report->devices_skipped;
    ids += layer.report->ids_changed;
    xattrs += layer.report->xattrs_dropped;
  }
  std::vector<std::string> warnings;
  AddWarning(warnings, devices, "device nodes skipped");
  AddWarning(warnings, ids, "files with an owner above 65535, stored as 65534 without set-id bits");
  AddWarning(warnings, xattrs, "extended attributes dropped");
  return warnings;
}

}  // namespace

struct ImagePuller::Found {
  Digest top;  // what was asked for: the index, or the manifest itself
  Digest digest;
  std::string bytes;  // of the manifest
  Manifest manifest;
  std::string index_bytes;  // empty where there was no index
  std::string config_bytes;
  ParsedConfig config;
};

struct ImagePuller::PulledLayers {
  std::vector<PulledLayer> layers;
  std::atomic<size_t> merge_bytes = 0;
};

// The order of the steps is the order in which a crash may end it: layers and blobs without a record are collected,
// and whoever finds the record finds everything. No lock that another repository's pull could want is held while a
// registry is waited for.
Result<ImageRecord> ImagePuller::Pull(const PullOrder& order, const PullContext& context) {
  const std::unique_ptr<ImageSource> source = order.make_source(context.cancelled);
  Found found = TRY(FindDocuments(*source, order));
  if (order.admit) TRY(order.admit(found.digest));
  LayerPins::Pin pin = TRY(PinAll(found, context.cancelled));
  TRY(FindConfig(*source, found));
  const std::vector<PulledLayer> layers = TRY(PullLayers(
      *source, order, found, [](const Digest&) { return Mode::kEnsure; }, context));
  std::optional<WorkerSlots::Slot> slot = TRY(parts_.slots.Take(context.tenant, context.cancelled));
  MergedImage merged = TRY(layers_.Merge(layers, pin, /*replace=*/false, context.cancelled));
  slot.reset();
  const KeyLocks::Lock lock = TRY(parts_.locks.Acquire("image-" + found.digest.hex(), context.cancelled));
  TRY(pin.Add(RecordPin(found.digest), context.cancelled));
  TRY(KeepBlobs(source->repository(), found));
  const ImageRecord record = TRY(PutRecord(order, found, layers, std::move(merged)));
  if (order.on_record) TRY(order.on_record(record));
  return record;
}

// Only here, where every part is known to be this source's own to give, does a stored record count.
Result<ImageRecord> ImagePuller::PutRecord(const PullOrder& order, const Found& found,
                                           const std::vector<PulledLayer>& layers, MergedImage merged) {
  if (std::optional<ImageRecord> record = TRY(parts_.catalogue.FindUsable(found.digest))) {
    TRY(parts_.records.TouchImage(found.digest, parts_.clock.NowMs()));
    record->index = found.top;
    return *std::move(record);
  }
  const ImageRecord record = MakeRecord(order, found, layers, std::move(merged));
  TRY(parts_.records.PutImage(record));
  return record;
}

Result<void> ImagePuller::Replace(const PullOrder& order, const ImageRecord& record,
                                  const std::vector<LayerName>& damaged, const PullContext& context) {
  const std::unique_ptr<ImageSource> source = order.make_source(context.cancelled);
  Found found = TRY(FindDocuments(*source, order));
  if (found.digest != record.manifest)
    return Fail(ErrorCode::kConflict, "{} leads to another image than the stored one", order.digest.ToString());
  if (order.admit) TRY(order.admit(found.digest));
  LayerPins::Pin pin = TRY(PinAll(found, context.cancelled));
  TRY(FindConfig(*source, found));
  const std::set<LayerName> anew(damaged.begin(), damaged.end());
  const auto mode = [&](const Digest& layer) {
    return anew.contains(LayerName::Of(layer)) ? Mode::kReplace : Mode::kEnsure;
  };
  const std::vector<PulledLayer> layers = TRY(PullLayers(*source, order, found, mode, context));
  const WorkerSlots::Slot slot = TRY(parts_.slots.Take(context.tenant, context.cancelled));
  TRY(layers_.Merge(layers, pin, /*replace=*/anew.contains(record.fixup), context.cancelled));
  return {};
}

// Fetches the manifest, and the index that leads to it, in any case: that the source sends the very bytes of a digest
// is what makes the image the caller's to use. That it names the digest, or says that it has it, is not.
Result<ImagePuller::Found> ImagePuller::FindDocuments(ImageSource& source, const PullOrder& order) {
  Found found{.top = order.digest, .digest = order.digest};
  ManifestBytes manifest = TRY(source.GetManifest(order.digest));
  auto document = TRY_IN("manifest", ParseManifest(manifest.bytes, manifest.content_type));
  if (const Index* index = std::get_if<Index>(&document)) {
    const Descriptor chosen = TRY_IN("index", SelectPlatform(*index));
    found.index_bytes = std::move(manifest.bytes);
    manifest = TRY(source.GetManifest(chosen.digest));
    TRY_IN("manifest", ParseManifest(manifest.bytes, manifest.content_type));  // the source's word on it, too
    if (manifest.bytes.size() != chosen.size)
      return Fail(ErrorCode::kCorrupt, "manifest {} has {} bytes, its index says {}", chosen.digest.ToString(),
                  manifest.bytes.size(), chosen.size);
    document = TRY_IN("manifest", ParseManifest(manifest.bytes, chosen.media_type));
    found.digest = chosen.digest;
  }
  if (!std::holds_alternative<Manifest>(document))
    return Fail(ErrorCode::kInvalid, "index: its entry is an index again");
  found.manifest = std::get<Manifest>(std::move(document));
  found.bytes = std::move(manifest.bytes);
  return found;
}

Result<void> ImagePuller::FindConfig(ImageSource& source, Found& found) {
  const Descriptor& config = found.manifest.config;
  std::optional<std::string> kept;
  if (TRY(parts_.records.WasServed(config.digest, source.repository())))
    kept = TRY(parts_.records.FindBlob(config.digest));
  found.config_bytes = kept ? *std::move(kept) : TRY_IN("config", source.GetBlobBytes(config));
  found.config = TRY_IN("config", ParseImageConfig(found.config_bytes));
  if (BytesOf(found.config.config) > kMaxKeptConfigBytes)
    return Fail(ErrorCode::kTooLarge, "config: environment, command and the like have more than {} bytes",
                kMaxKeptConfigBytes);
  if (found.config.diff_ids.size() != found.manifest.layers.size())
    return Fail(ErrorCode::kCorrupt, "config: it has {} diff_ids, the manifest has {} layers",
                found.config.diff_ids.size(), found.manifest.layers.size());
  return {};
}

// Everything whose name is known by now; the fix-up layer follows.
Result<LayerPins::Pin> ImagePuller::PinAll(const Found& found, const std::atomic<bool>* cancelled) {
  std::vector<LayerName> names;
  for (const Digest& digest : {found.top, found.digest, found.manifest.config.digest}) names.push_back(BlobPin(digest));
  for (const LayerDescriptor& layer : found.manifest.layers) names.push_back(LayerName::Of(layer.descriptor.digest));
  return parts_.pins.Take(names, cancelled);
}

// What the layers may take that this source has not given us yet: whether the store has another's is not its business.
Result<uint64_t> ImagePuller::BytesToCome(const ImageSource& source, const Manifest& manifest) {
  uint64_t bytes = 0;
  std::set<Digest> seen;
  for (const LayerDescriptor& layer : manifest.layers) {
    const Digest& digest = layer.descriptor.digest;
    if (!seen.insert(digest).second) continue;
    if (TRY(parts_.records.WasServed(digest, source.repository())) && TRY(parts_.store.HasLayer(LayerName::Of(digest))))
      continue;
    bytes += layer.descriptor.size * (layer.compression == Compression::kNone ? 1 : kInflation);
  }
  return bytes;
}

// One layer, as often as the image has it.
Result<void> ImagePuller::PullLayer(ImageSource& source, const Found& found, size_t i, Mode mode,
                                    const LayerListener& listener, PulledLayers& pulled, const std::string& tenant,
                                    const std::atomic<bool>* stop) {
  const WorkerSlots::Slot slot = TRY(parts_.slots.Take(tenant, stop));
  const LayerDescriptor& layer = found.manifest.layers[i];
  const auto bring = mode == Mode::kReplace ? &LayerPuller::Replace : &LayerPuller::Ensure;
  pulled.layers[i].report = std::make_shared<const UnpackReport>(
      TRY((layers_.*bring)(source, layer, found.config.diff_ids[i], listener, stop)));
  if ((pulled.merge_bytes += MergeBytesOf(*pulled.layers[i].report)) > kMaxMergeOrderBytes)
    return Fail(ErrorCode::kTooLarge, "the layers change too many directories of each other");
  return {};
}

Result<std::vector<PulledLayer>> ImagePuller::PullLayers(ImageSource& source, const PullOrder& order,
                                                         const Found& found,
                                                         const std::function<Mode(const Digest&)>& mode,
                                                         const PullContext& context) {
  const std::unique_ptr<SpaceKeeper> space =
      TRY(parts_.keep_space(TRY(BytesToCome(source, found.manifest)), context.cancelled));
  std::atomic<bool> stop = false;
  const std::unique_ptr<ImageSource> layer_source = order.make_source(&stop);
  LayersProgress progress(context, found.manifest);
  PulledLayers pulled{.layers = std::vector<PulledLayer>(found.manifest.layers.size())};
  std::map<Digest, size_t> first;  // of each digest
  std::vector<size_t> work;
  for (size_t i = 0; i < pulled.layers.size(); ++i) {
    pulled.layers[i].digest = found.manifest.layers[i].descriptor.digest;
    if (first.emplace(pulled.layers[i].digest, i).second) work.push_back(i);
  }
  const auto watch = [&]() -> Result<void> {
    if (context.cancelled && context.cancelled->load()) return Fail(ErrorCode::kCancelled, "cancelled");
    return space->Look();
  };
  Result<void> done = RunInParallel(work.size(), stop, watch, [&](size_t item) {
    const size_t i = work[item];
    return PullLayer(*layer_source, found, i, mode(pulled.layers[i].digest), progress.ListenerOf(i), pulled,
                     context.tenant, &stop);
  });
  if (context.cancelled && context.cancelled->load()) return Fail(ErrorCode::kCancelled, "cancelled");
  if (!done) return tl::unexpected(parts_.space.Explain(std::move(done).error()));
  for (size_t i = 0; i < pulled.layers.size(); ++i) {
    if (pulled.layers[i].report) continue;
    pulled.layers[i].report = pulled.layers[first.at(pulled.layers[i].digest)].report;
    if (pulled.layers[i].report->diff_id != found.config.diff_ids[i])
      return Fail(ErrorCode::kCorrupt, "layer {}: the image's config gives it two diff_ids",
                  pulled.layers[i].digest.ToString());
    progress.ListenerOf(i).on_state(LayerProgress::kCached);
  }
  return std::move(pulled.layers);
}

Result<void> ImagePuller::KeepBlobs(const std::string& repository, const Found& found) {
  if (!found.index_bytes.empty()) TRY(KeepBlob(repository, found.top, found.index_bytes));
  TRY(KeepBlob(repository, found.digest, found.bytes));
  return KeepBlob(repository, found.manifest.config.digest, found.config_bytes);
}

// Whoever calls has the bytes from `repository`, now or by its record.
Result<void> ImagePuller::KeepBlob(const std::string& repository, const Digest& digest, const std::string& bytes) {
  const Records& records = parts_.records;
  const KeyLocks::Lock lock = TRY(parts_.locks.Acquire("blob-" + digest.hex(), nullptr));  // for two small writes
  if (!TRY(records.FindBlob(digest))) TRY(records.PutBlob(digest, bytes));
  if (!TRY(records.WasServed(digest, repository))) TRY(records.PutServed(digest, repository));
  return {};
}

ImageRecord ImagePuller::MakeRecord(const PullOrder& order, const Found& found, const std::vector<PulledLayer>& layers,
                                    MergedImage merged) const {
  ImageRecord record;
  record.reference = order.reference.ToString();
  record.repository = order.reference.repository();
  record.manifest = found.digest;
  record.index = found.top;
  record.config = found.config.config;
  for (size_t i = 0; i < layers.size(); ++i)
    record.layers.push_back({layers[i].digest, layers[i].report->diff_id, found.manifest.layers[i].descriptor.size,
                             layers[i].report->unpacked_bytes, layers[i].report->entries});
  record.fixup = merged.fixup;
  record.rootfs = std::move(merged.rootfs);
  for (const auto& [path, attributes] : merged.report.directories)
    record.directories[path] = {attributes.mode, attributes.uid, attributes.gid};
  record.passwd = std::move(merged.report.passwd);
  record.group = std::move(merged.report.group);
  record.warnings = WarningsOf(layers);
  record.pulled_at = record.used_at = parts_.clock.NowMs();
  return record;
}

}  // namespace caisson::image
