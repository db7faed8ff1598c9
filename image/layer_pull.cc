// SPDX-License-Identifier: Apache-2.0
#include "image/layer_pull.h"

#include <algorithm>
#include <set>

#include "base/crypto/crypto.h"
#include "base/log.h"
#include "image/layer/limits.h"
#include "image/worker_stream.h"

namespace caisson::image {
namespace {

// Part of a fix-up layer's name: another way of merging makes other layers.
constexpr std::string_view kMergeVersion = "caisson fix-up layer 1\n";

LayerName FixupName(std::span<const LayerName> top_first) {
  std::string text(kMergeVersion);
  for (const LayerName& name : top_first) text += name.hex() + "\n";
  return LayerName::Of(Sha256Of(text));
}

// The directories that get overlayfs' opaque attribute. The root's has no effect there: see EffectiveLayers.
std::vector<std::string> OpaqueDirectories(const LayerFacts& facts) {
  std::set<std::string> paths(facts.opaque.begin(), facts.opaque.end());
  paths.insert(facts.replaced.begin(), facts.replaced.end());
  paths.erase("");
  return {paths.begin(), paths.end()};
}

bool HasOpaqueRoot(const LayerFacts& facts) { return std::binary_search(facts.opaque.begin(), facts.opaque.end(), ""); }

// The layers that show, base first: none below one whose root is opaque, and of one that comes twice the upper, which
// covers all that the lower one says (overlayfs takes no directory twice).
std::vector<PulledLayer> EffectiveLayers(std::span<const PulledLayer> layers) {
  std::vector<PulledLayer> top_first;
  std::set<Digest> seen;
  for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer) {
    if (!seen.insert(layer->digest).second) continue;
    top_first.push_back(*layer);
    if (HasOpaqueRoot(layer->report->facts)) break;
  }
  return {top_first.rbegin(), top_first.rend()};
}

// Whether other bytes, from another place, could have made a difference.
bool MayBeTheBytes(ErrorCode code) {
  return code != ErrorCode::kCancelled && code != ErrorCode::kExhausted && code != ErrorCode::kConflict;
}

void Say(const LayerListener& listener, LayerProgress::State state) {
  if (listener.on_state) listener.on_state(state);
}

}  // namespace

MergePlan PlanMerge(std::span<const PulledLayer> layers) {
  MergePlan plan;
  const std::vector<PulledLayer> effective = EffectiveLayers(layers);
  for (const PulledLayer& layer : effective) plan.order.layers.push_back(layer.report->facts);
  for (auto layer = effective.rbegin(); layer != effective.rend(); ++layer)
    plan.top_first.push_back(LayerName::Of(layer->digest));
  return plan;
}

// A record that cannot be read proves nothing: what it stood for is fetched again.
template <typename Record>
Result<std::optional<Record>> LayerPuller::UnlessDamaged(Result<std::optional<Record>> record) const {
  if (record || record.error().code != ErrorCode::kCorrupt) return record;
  LogWarn("layer_record_damaged", {{"error", record.error().message}, {"action", "fetch it again"}});
  return std::optional<Record>();
}

size_t MergeBytesOf(const UnpackReport& report) {
  size_t bytes = 0;
  for (const auto* paths :
       {&report.facts.implicit, &report.facts.opaque, &report.facts.replaced, &report.facts.whiteouts})
    for (const std::string& path : *paths) bytes += path.size() + sizeof(std::string);
  return bytes;
}

// Only with our own record of its diff_id, and only while the tree is there.
Result<std::optional<UnpackReport>> LayerPuller::FindStored(const Digest& digest) {
  std::optional<UnpackReport> known = TRY(UnlessDamaged(records_.FindLayer(digest)));
  if (known && !TRY(store_.HasLayer(LayerName::Of(digest)))) known.reset();
  return known;
}

// What is held while a registry is waited for is the repository's own: a registry that never ends holds up nobody who
// wants the same digest from another one.
std::string FetchLock(const ImageSource& source, const Digest& digest) {
  return "fetch-" + Sha256Of(source.repository() + "\n" + digest.hex()).hex();
}

Result<UnpackReport> LayerPuller::Ensure(ImageSource& source, const LayerDescriptor& layer, const Digest& diff_id,
                                         const LayerListener& listener, const std::atomic<bool>* cancelled) {
  const Digest& digest = layer.descriptor.digest;
  const KeyLocks::Lock lock = TRY(locks_.Acquire(FetchLock(source, digest), cancelled));
  const std::string context = "layer " + digest.ToString();
  if (std::optional<UnpackReport> known = TRY(FindStored(digest))) {
    // First: our record is no business of others.
    const bool fetched = TRY_IN(context, ProveServed(source, layer.descriptor, listener));
    if (known->diff_id != diff_id)
      return Fail(ErrorCode::kCorrupt, "{} has the diff_id {}, the image's config says {}", context,
                  known->diff_id.ToString(), diff_id.ToString());
    // To who had to fetch it, it looks like any other that it fetched.
    if (fetched) Say(listener, LayerProgress::kUnpacking);
    Say(listener, fetched ? LayerProgress::kDone : LayerProgress::kCached);
    return *std::move(known);
  }
  return TRY_IN(context, Fetch(source, layer, diff_id, Place::kFree, listener, cancelled));
}

Result<UnpackReport> LayerPuller::Replace(ImageSource& source, const LayerDescriptor& layer, const Digest& diff_id,
                                          const LayerListener& listener, const std::atomic<bool>* cancelled) {
  const Digest& digest = layer.descriptor.digest;
  const KeyLocks::Lock lock = TRY(locks_.Acquire(FetchLock(source, digest), cancelled));
  return TRY_IN("layer " + digest.ToString(), Fetch(source, layer, diff_id, Place::kReplace, listener, cancelled));
}

// A stored layer that came from another repository is fetched from this one once, to be compared and thrown away.
// Returns whether it was.
Result<bool> LayerPuller::ProveServed(ImageSource& source, const Descriptor& layer, const LayerListener& listener) {
  if (TRY(records_.WasServed(layer.digest, source.repository()))) return false;
  for (;;) {
    Say(listener, LayerProgress::kDownloading);
    Result<void> got = source.GetBlob(layer, [&listener](std::string_view piece) -> Result<void> {
      if (listener.on_bytes) listener.on_bytes(piece.size());
      return {};
    });
    if (got) break;
    if (!MayBeTheBytes(got.error().code) || !source.MayHaveBetter(layer.digest))
      return tl::unexpected(std::move(got).error());
  }
  TRY(records_.PutServed(layer.digest, source.repository()));
  return true;
}

// As often as the source has another place to ask: a mirror's bytes are as good as their digest. The mark comes last: a
// crash before it leaves a layer that nobody was given.
Result<UnpackReport> LayerPuller::Fetch(ImageSource& source, const LayerDescriptor& layer, const Digest& diff_id,
                                        Place place, const LayerListener& listener,
                                        const std::atomic<bool>* cancelled) {
  const Digest& digest = layer.descriptor.digest;
  Result<UnpackReport> report = Download(source, layer, diff_id, place, listener, cancelled);
  while (!report && MayBeTheBytes(report.error().code) && source.MayHaveBetter(digest))
    report = Download(source, layer, diff_id, place, listener, cancelled);
  if (!report) return report;
  TRY(records_.PutServed(digest, source.repository()));
  Say(listener, LayerProgress::kDone);
  return report;
}

Result<UnpackReport> LayerPuller::Download(ImageSource& source, const LayerDescriptor& layer, const Digest& diff_id,
                                           Place place, const LayerListener& listener,
                                           const std::atomic<bool>* cancelled) {
  Say(listener, LayerProgress::kDownloading);
  WorkerStream::WorkerEnds ends;
  const std::unique_ptr<WorkerStream> stream = TRY(WorkerStream::Make(ends, cancelled));
  const std::unique_ptr<StoreWorker> worker = TRY(store_.StartUnpack(ends.input.get(), ends.report.get()));
  ends = {};
  Result<void> sent = stream->Write(EncodeUnpackOrder({layer.compression, layer.descriptor.size}));
  if (sent) {
    sent = source.GetBlob(layer.descriptor, [&](std::string_view piece) -> Result<void> {
      TRY(stream->Write(piece));
      if (listener.on_bytes) listener.on_bytes(piece.size());
      return {};
    });
  }
  // A worker that has refused the layer reads no further: what counts then is its reason, not our failed write.
  if (!sent && !stream->worker_ended()) return tl::unexpected(std::move(sent).error());
  Say(listener, LayerProgress::kUnpacking);
  UnpackReport report = TRY(OutcomeOf(*worker, stream->FinishAndReadReport(), DecodeUnpackReport));
  if (!sent) return Fail(ErrorCode::kInternal, "the store worker ended before the layer did");
  if (report.diff_id != diff_id)
    return Fail(ErrorCode::kCorrupt, "it unpacks to {}, the image's config says {}", report.diff_id.ToString(),
                diff_id.ToString());
  return Keep(*worker, layer.descriptor.digest, std::move(report), place, cancelled);
}

// Whoever has unpacked the layer first, of those that fetched it from different repositories, has made what all of them
// use. The record comes after the tree: a crash in between leaves a tree that nobody believes in.
Result<UnpackReport> LayerPuller::Keep(StoreWorker& worker, const Digest& digest, UnpackReport report, Place place,
                                       const std::atomic<bool>* cancelled) {
  const KeyLocks::Lock lock = TRY(locks_.Acquire(digest.hex(), cancelled));
  if (std::optional<UnpackReport> known = TRY(FindStored(digest)); known && place == Place::kFree) {
    if (known->diff_id == report.diff_id) return *std::move(known);
    return Fail(ErrorCode::kCorrupt, "it unpacks to {}, and to {} in the store: try \"caisson image verify --repair\"",
                report.diff_id.ToString(), known->diff_id.ToString());
  }
  TRY(Commit(worker, LayerName::Of(digest), OpaqueDirectories(report.facts), place));
  TRY(records_.PutLayer(digest, report));
  return report;
}

// Of two trees of one name the store keeps the first, so a damaged one has to go before its successor comes.
Result<void> LayerPuller::Commit(StoreWorker& worker, const LayerName& name, std::span<const std::string> opaque,
                                 Place place) {
  if (place == Place::kReplace) {
    const Result<void> removed = store_.RemoveLayer(name);
    if (!removed && removed.error().code == ErrorCode::kConflict)
      return Fail(ErrorCode::kConflict, "a running job uses it, so that it cannot be replaced now: try again later");
    if (!removed && removed.error().code != ErrorCode::kNotFound) return removed;
  }
  return worker.Commit(name, opaque);
}

Result<MergedImage> LayerPuller::Merge(std::span<const PulledLayer> layers, LayerPins::Pin& pin, bool replace,
                                       const std::atomic<bool>* cancelled) {
  MergePlan plan = PlanMerge(layers);
  MergedImage merged;
  merged.fixup = FixupName(plan.top_first);
  const KeyLocks::Lock lock = TRY(locks_.Acquire(merged.fixup.hex(), cancelled));
  TRY(pin.Add(merged.fixup, cancelled));
  std::optional<MergeReport> known = TRY(UnlessDamaged(records_.FindMerge(merged.fixup)));
  if (known && !replace && TRY(store_.HasLayer(merged.fixup))) {
    merged.report = *std::move(known);
  } else {
    merged.report =
        TRY_IN("merge layers", RunMerge(plan, merged.fixup, replace ? Place::kReplace : Place::kFree, cancelled));
    TRY(records_.PutMerge(merged.fixup, merged.report));
  }
  merged.rootfs = std::move(plan.top_first);
  merged.rootfs.insert(merged.rootfs.begin(), merged.fixup);
  return merged;
}

Result<MergeReport> LayerPuller::RunMerge(const MergePlan& plan, const LayerName& fixup, Place place,
                                          const std::atomic<bool>* cancelled) {
  const std::string bytes = EncodeMergeOrder(plan.order);
  if (bytes.size() > kMaxMergeOrderBytes)
    return Fail(ErrorCode::kTooLarge, "the layers change too many directories of each other");
  WorkerStream::WorkerEnds ends;
  const std::unique_ptr<WorkerStream> stream = TRY(WorkerStream::Make(ends, cancelled));
  const std::unique_ptr<StoreWorker> worker =
      TRY(store_.StartMerge(ends.input.get(), ends.report.get(), plan.top_first));
  ends = {};
  Result<void> sent = stream->Write(bytes);
  if (!sent && !stream->worker_ended()) return tl::unexpected(std::move(sent).error());
  MergeReport report = TRY(OutcomeOf(*worker, stream->FinishAndReadReport(), DecodeMergeReport));
  TRY(Commit(*worker, fixup, {}, place));
  return report;
}

}  // namespace caisson::image
