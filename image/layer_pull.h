// SPDX-License-Identifier: Apache-2.0
// LayerPuller brings layers into the store: one download and one worker for a digest of a repository, however many
// pulls want it, and none where the store has it and this repository has sent it before: naming the digest of another's
// layer gives it to nobody. A stored layer counts only with our own record of its diff_id: what an image's config
// claims of a digest proves nothing. Safe on any thread; owned by the ImageStore.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "image/image.h"
#include "image/image_source.h"
#include "image/image_store.h"
#include "image/key_locks.h"
#include "image/layer_pins.h"
#include "image/manifest.h"
#include "image/records.h"
#include "image/store_port.h"

namespace caisson::image {

struct MergedImage {
  LayerName fixup;
  std::vector<LayerName> rootfs;  // top first, with the fix-up layer
  MergeReport report;
};

// Who hears of one layer on its way. Both may be empty. A download that begins anew says kDownloading again: its bytes
// count from zero then.
struct LayerListener {
  std::function<void(LayerProgress::State)> on_state;
  std::function<void(uint64_t)> on_bytes;  // compressed bytes that came
};

// Layers base first, a layer that comes twice included twice (with one report: a report may have megabytes).
struct PulledLayer {
  Digest digest;
  std::shared_ptr<const UnpackReport> report;
};
// What the report takes in the merging worker's order, about: the sum over an image is bounded.
size_t MergeBytesOf(const UnpackReport& report);

// The order that the merging and the exporting worker get, and the layers that they get to see: those that show.
struct MergePlan {
  MergeOrder order;                  // base first
  std::vector<LayerName> top_first;  // without the fix-up layer
};
MergePlan PlanMerge(std::span<const PulledLayer> layers);

class LayerPuller {
 public:
  LayerPuller(StorePort& store, const Records& records, KeyLocks& locks)
      : store_(store), records_(records), locks_(locks) {}

  // What we verified of `layer`, which the store has when this returns, and which `source` has sent us at least once.
  // kCorrupt where its diff_id is not `diff_id`. The caller has pinned it.
  Result<UnpackReport> Ensure(ImageSource& source, const LayerDescriptor& layer, const Digest& diff_id,
                              const LayerListener& listener, const std::atomic<bool>* cancelled);
  // Fetches it in any case and puts it in the place of the stored one: the new tree is complete before the old one
  // goes. kConflict while a job uses that.
  Result<UnpackReport> Replace(ImageSource& source, const LayerDescriptor& layer, const Digest& diff_id,
                               const LayerListener& listener, const std::atomic<bool>* cancelled);

  // The fix-up layer is in the store, and pinned by `pin`, when this returns. With `replace` it is made anew.
  Result<MergedImage> Merge(std::span<const PulledLayer> layers, LayerPins::Pin& pin, bool replace,
                            const std::atomic<bool>* cancelled);

 private:
  enum class Place { kFree, kReplace };
  Result<bool> ProveServed(ImageSource& source, const Descriptor& layer, const LayerListener& listener);
  Result<UnpackReport> Fetch(ImageSource& source, const LayerDescriptor& layer, const Digest& diff_id, Place place,
                             const LayerListener& listener, const std::atomic<bool>* cancelled);
  Result<UnpackReport> Download(ImageSource& source, const LayerDescriptor& layer, const Digest& diff_id, Place place,
                                const LayerListener& listener, const std::atomic<bool>* cancelled);
  Result<MergeReport> RunMerge(const MergePlan& plan, const LayerName& fixup, Place place,
                               const std::atomic<bool>* cancelled);
  Result<UnpackReport> Keep(StoreWorker& worker, const Digest& digest, UnpackReport report, Place place,
                            const std::atomic<bool>* cancelled);
  Result<void> Commit(StoreWorker& worker, const LayerName& name, std::span<const std::string> opaque, Place place);
  Result<std::optional<UnpackReport>> FindStored(const Digest& digest);
  template <typename Record>
  Result<std::optional<Record>> UnlessDamaged(Result<std::optional<Record>> record) const;

  StorePort& store_;
  const Records& records_;
  KeyLocks& locks_;
};

// The worker's own words where it has some; else how it ended. `report` is what it wrote, an Error if that could not
// be read.
template <typename Report>
Result<Report> OutcomeOf(StoreWorker& worker, Result<std::string> report, Result<Report> (*decode)(std::string_view)) {
  if (!report) return tl::unexpected(std::move(report).error());
  const Result<void> ended = worker.Wait();
  Result<Report> decoded = decode(*report);
  if (!ended && (decoded || report->empty())) return tl::unexpected(ended.error());
  return decoded;
}

}  // namespace caisson::image
