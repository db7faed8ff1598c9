// SPDX-License-Identifier: Apache-2.0
#include "image/layer_pull.h"

#include <algorithm>
#include <set>

#include "base/crypto/crypto.h"
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
std::vector<LayerPuller::Layer> EffectiveLayers(std::span<const LayerPuller::Layer> layers) {
  std::vector<LayerPuller::Layer> top_first;
  std::set<Digest> seen;
  for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer) {
    if (!seen.insert(layer->digest).second) continue;
    top_first.push_back(*layer);
    if (HasOpaqueRoot(layer->report.facts)) break;
  }
  return {top_first.rbegin(), top_first.rend()};
}

// The worker's own words where it has some; else how it ended. `report` is what it wrote, an Error if that could not
// be read.
template <typename Report>
Result<Report> Outcome(StoreWorker& worker, Result<std::string> report, Result<Report> (*decode)(std::string_view)) {
  if (!report) return tl::unexpected(std::move(report).error());
  const Result<void> ended = worker.Wait();
  Result<Report> decoded = decode(*report);
  if (!ended && (decoded || report->empty())) return tl::unexpected(ended.error());
  return decoded;
}

}  // namespace

Result<UnpackReport> LayerPuller::Ensure(RegistryClient& registry, const LayerDescriptor& layer, const Digest& diff_id,
                                         const OnBytes& on_bytes, const std::atomic<bool>* cancelled) {
  const Digest& digest = layer.descriptor.digest;
  const KeyLocks::Lock lock = TRY(locks_.Acquire(digest.hex(), cancelled));
  const std::string context = "layer " + digest.ToString();
  if (std::optional<UnpackReport> known = TRY(records_.FindLayer(digest));
      known && TRY(store_.HasLayer(LayerName::Of(digest)))) {
    TRY_IN(context, ProveServed(registry, layer.descriptor, on_bytes));  // first: our record is no business of others
    if (known->diff_id != diff_id)
      return Fail(ErrorCode::kCorrupt, "{} has the diff_id {}, the image's config says {}", context,
                  known->diff_id.ToString(), diff_id.ToString());
    return *std::move(known);
  }
  UnpackReport report = TRY_IN(context, Download(registry, layer, diff_id, on_bytes, cancelled));
  TRY(records_.PutLayer(digest, report));
  TRY(records_.PutServed(digest, registry.repository()));
  return report;
}

// A stored layer that came from another repository is fetched from this one once, to be compared and thrown away.
Result<void> LayerPuller::ProveServed(RegistryClient& registry, const Descriptor& layer, const OnBytes& on_bytes) {
  if (TRY(records_.WasServed(layer.digest, registry.repository()))) {
    on_bytes(layer.size);
    return {};
  }
  TRY(registry.GetBlob(layer, [&on_bytes](std::string_view piece) -> Result<void> {
    on_bytes(piece.size());
    return {};
  }));
  return records_.PutServed(layer.digest, registry.repository());
}

Result<UnpackReport> LayerPuller::Download(RegistryClient& registry, const LayerDescriptor& layer,
                                           const Digest& diff_id, const OnBytes& on_bytes,
                                           const std::atomic<bool>* cancelled) {
  WorkerStream::WorkerEnds ends;
  const std::unique_ptr<WorkerStream> stream = TRY(WorkerStream::Make(ends, cancelled));
  const std::unique_ptr<StoreWorker> worker = TRY(store_.StartUnpack(ends.input.get(), ends.report.get()));
  ends = {};
  Result<void> sent = stream->Write(EncodeUnpackOrder({layer.compression, layer.descriptor.size}));
  if (sent) {
    sent = registry.GetBlob(layer.descriptor, [&](std::string_view piece) -> Result<void> {
      TRY(stream->Write(piece));
      on_bytes(piece.size());
      return {};
    });
  }
  // A worker that has refused the layer reads no further: what counts then is its reason, not our failed write.
  if (!sent && !stream->worker_ended()) return tl::unexpected(std::move(sent).error());
  const UnpackReport report = TRY(Outcome(*worker, stream->FinishAndReadReport(), DecodeUnpackReport));
  if (!sent) return Fail(ErrorCode::kInternal, "the store worker ended before the layer did");
  if (report.diff_id != diff_id)
    return Fail(ErrorCode::kCorrupt, "it unpacks to {}, the image's config says {}", report.diff_id.ToString(),
                diff_id.ToString());
  TRY(worker->Commit(LayerName::Of(layer.descriptor.digest), OpaqueDirectories(report.facts)));
  return report;
}

Result<MergedImage> LayerPuller::Merge(std::span<const Layer> layers, const std::atomic<bool>* cancelled) {
  const std::vector<Layer> effective = EffectiveLayers(layers);
  std::vector<LayerName> top_first;
  for (auto layer = effective.rbegin(); layer != effective.rend(); ++layer)
    top_first.push_back(LayerName::Of(layer->digest));
  MergedImage merged;
  merged.fixup = FixupName(top_first);
  const KeyLocks::Lock lock = TRY(locks_.Acquire(merged.fixup.hex(), cancelled));
  std::optional<MergeReport> known = TRY(records_.FindMerge(merged.fixup));
  if (known && TRY(store_.HasLayer(merged.fixup))) {
    merged.report = *std::move(known);
  } else {
    merged.report = TRY_IN("merge layers", RunMerge(effective, top_first, merged.fixup, cancelled));
    TRY(records_.PutMerge(merged.fixup, merged.report));
  }
  merged.rootfs = std::move(top_first);
  merged.rootfs.insert(merged.rootfs.begin(), merged.fixup);
  return merged;
}

Result<MergeReport> LayerPuller::RunMerge(std::span<const Layer> layers, std::span<const LayerName> top_first,
                                          const LayerName& fixup, const std::atomic<bool>* cancelled) {
  MergeOrder order;
  for (const Layer& layer : layers) order.layers.push_back(layer.report.facts);
  const std::string bytes = EncodeMergeOrder(order);
  if (bytes.size() > kMaxMergeOrderBytes)
    return Fail(ErrorCode::kTooLarge, "the layers change too many directories of each other");
  WorkerStream::WorkerEnds ends;
  const std::unique_ptr<WorkerStream> stream = TRY(WorkerStream::Make(ends, cancelled));
  const std::unique_ptr<StoreWorker> worker = TRY(store_.StartMerge(ends.input.get(), ends.report.get(), top_first));
  ends = {};
  Result<void> sent = stream->Write(bytes);
  if (!sent && !stream->worker_ended()) return tl::unexpected(std::move(sent).error());
  MergeReport report = TRY(Outcome(*worker, stream->FinishAndReadReport(), DecodeMergeReport));
  TRY(worker->Commit(fixup, {}));
  return report;
}

}  // namespace caisson::image
