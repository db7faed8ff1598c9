// SPDX-License-Identifier: Apache-2.0
#include "image/image_check.h"

#include <fmt/format.h>

#include <map>
#include <memory>

#include "image/layer/framed_output.h"
#include "image/layer_pull.h"
#include "image/worker_stream.h"

namespace caisson::image {
namespace {

// What was recorded when the layer was made; nullopt where that is gone or cannot be read.
Result<std::optional<TreeSum>> RecordedSum(const Records& records, const ImageRecord& image, const LayerName& name) {
  std::optional<TreeSum> sum;
  if (name == image.fixup) {
    const Result<std::optional<MergeReport>> merge = records.FindMerge(name);
    if (!merge && merge.error().code != ErrorCode::kCorrupt) return tl::unexpected(merge.error());
    if (merge && *merge) sum = (*merge)->tree_sum;
  } else {
    const Result<std::optional<UnpackReport>> layer = records.FindLayer(Digest{name.bytes});
    if (!layer && layer.error().code != ErrorCode::kCorrupt) return tl::unexpected(layer.error());
    if (layer && *layer) sum = (*layer)->tree_sum;
  }
  return sum;
}

Result<VerifyReport> ReadTree(StorePort& store, const LayerName& name, const std::atomic<bool>* cancelled) {
  WorkerStream::WorkerEnds ends;
  const std::unique_ptr<WorkerStream> stream = TRY(WorkerStream::Make(ends, cancelled));
  const std::unique_ptr<StoreWorker> worker = TRY(store.StartVerify(ends.input.get(), ends.report.get(), name));
  ends = {};
  return OutcomeOf(*worker, stream->FinishAndReadReport(), DecodeVerifyReport);
}

Result<LayerVerdict> VerifyLayer(StorePort& store, const Records& records, const ImageRecord& image,
                                 const LayerName& name, const std::atomic<bool>* cancelled) {
  if (!TRY(store.HasLayer(name))) return LayerVerdict{name, LayerVerdict::kMissing, "the store does not have it"};
  const std::optional<TreeSum> recorded = TRY(RecordedSum(records, image, name));
  if (!recorded) return LayerVerdict{name, LayerVerdict::kDamaged, "the record of its checksum is missing or damaged"};
  const Result<VerifyReport> report = ReadTree(store, name, cancelled);
  if (!report) {
    if (report.error().code == ErrorCode::kNotFound)
      return LayerVerdict{name, LayerVerdict::kMissing, report.error().message};
    // Damage is what a whole report says. A worker that was ended (by its memory limit, say) says nothing of the tree,
    // and a repair on its word would take a sound layer away from all who share it.
    return tl::unexpected(report.error());
  }
  if (!report->unreadable.empty())
    return LayerVerdict{name, LayerVerdict::kDamaged,
                        fmt::format("\"{}\" cannot be read{}", report->unreadable.front(),
                                    report->unreadable.size() > 1 ? ", and others" : "")};
  if (report->tree_sum != *recorded)
    return LayerVerdict{name, LayerVerdict::kDamaged, "its files are not those that were unpacked"};
  return LayerVerdict{name, LayerVerdict::kOk, ""};
}

// The layers as they were pulled, from the records alone.
Result<std::vector<PulledLayer>> LayersOf(const Records& records, const ImageRecord& image) {
  std::vector<PulledLayer> layers;
  std::map<Digest, std::shared_ptr<const UnpackReport>> reports;  // one may come twice
  for (const LayerRecord& layer : image.layers) {
    std::shared_ptr<const UnpackReport>& report = reports[layer.digest];
    if (!report) {
      std::optional<UnpackReport> found = TRY(records.FindLayer(layer.digest));
      if (!found)
        return Fail(ErrorCode::kCorrupt, "the record of layer {} is missing: try \"caisson image verify --repair\"",
                    layer.digest.ToString());
      report = std::make_shared<const UnpackReport>(*std::move(found));
    }
    layers.push_back({layer.digest, report});
  }
  return layers;
}

}  // namespace

Result<ImageVerdict> VerifyImage(StorePort& store, const Records& records, LayerPins& pins, const ImageRecord& image,
                                 const PullContext& context) {
  const LayerPins::Pin pin = TRY(pins.Take(image.rootfs, context.cancelled));
  ImageVerdict verdict;
  for (const LayerName& name : image.rootfs) {
    if (context.cancelled && context.cancelled->load()) return Fail(ErrorCode::kCancelled, "cancelled");
    verdict.layers.push_back(
        TRY_IN("verify layer " + name.hex(), VerifyLayer(store, records, image, name, context.cancelled)));
  }
  return verdict;
}

Result<void> ExportImage(StorePort& store, const Records& records, LayerPins& pins, const ImageRecord& image,
                         const ImageStore::Sink& sink, const std::atomic<bool>* cancelled) {
  const LayerPins::Pin pin = TRY(pins.Take(image.rootfs, cancelled));
  const MergePlan plan = PlanMerge(TRY(LayersOf(records, image)));
  WorkerStream::WorkerEnds ends;
  const std::unique_ptr<WorkerStream> stream = TRY(WorkerStream::Make(ends, cancelled));
  const std::unique_ptr<StoreWorker> worker =
      TRY(store.StartExport(ends.input.get(), ends.report.get(), plan.top_first));
  ends = {};
  FramedReader reader(sink);
  const Result<void> sent = stream->Write(EncodeMergeOrder(plan.order));
  if (!sent && !stream->worker_ended()) return sent;
  TRY(stream->FinishAndReadOutput([&reader](std::string_view bytes) { return reader.Feed(bytes); }));
  const Result<void> ended = worker->Wait();
  TRY(reader.Finish());  // first: the worker's own words
  return ended;
}

}  // namespace caisson::image
