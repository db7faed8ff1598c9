// SPDX-License-Identifier: Apache-2.0
// ImagePuller brings one image into the store, from a registry or an import: manifest, config, layers in parallel, the
// fix-up layer, the blobs, and its record last. Whatever it needs is pinned before it is asked for, and the disk's
// floor is watched while bytes come. Safe on any thread; owned by the ImageStore.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "image/catalogue.h"
#include "image/image.h"
#include "image/image_source.h"
#include "image/image_store.h"
#include "image/key_locks.h"
#include "image/layer_pins.h"
#include "image/layer_pull.h"
#include "image/manifest.h"
#include "image/records.h"
#include "image/reference.h"
#include "image/space_keeper.h"
#include "image/store_space.h"
#include "image/worker_slots.h"

namespace caisson::image {

// Makes the source of one pull; it polls `cancelled`.
using MakeSource = std::function<std::unique_ptr<ImageSource>(const std::atomic<bool>* cancelled)>;

struct PullOrder {
  Reference reference;  // what the record shows
  Digest digest;        // of the manifest or index
  MakeSource make_source;
  // Asked with the manifest's digest before anything but manifests is fetched. Its error ends the pull.
  std::function<Result<void>(const Digest& manifest)> admit;
  // Told of the record while nothing of the image can be collected. Its error ends the pull.
  std::function<Result<void>(const ImageRecord&)> on_record;
};

class ImagePuller {
 public:
  struct Parts {
    StorePort& store;
    const Records& records;
    const Catalogue& catalogue;
    KeyLocks& locks;
    LayerPins& pins;
    const StoreSpace& space;
    // For a pull of so many bytes, or why there is no room for it.
    std::function<Result<std::unique_ptr<SpaceKeeper>>(uint64_t bytes, const std::atomic<bool>* cancelled)> keep_space;
    WorkerSlots& slots;
    const Clock& clock;
  };
  explicit ImagePuller(const Parts& parts) : parts_(parts), layers_(parts.store, parts.records, parts.locks) {}

  Result<ImageRecord> Pull(const PullOrder& order, const PullContext& context);
  // Fetches these layers of a stored image anew, in the place of what is there, and makes the fix-up layer anew where
  // that is among them.
  Result<void> Replace(const PullOrder& order, const ImageRecord& record, const std::vector<LayerName>& damaged,
                       const PullContext& context);

 private:
  struct Found;  // the documents of an image
  struct PulledLayers;
  enum class Mode { kEnsure, kReplace };

  Result<Found> FindDocuments(ImageSource& source, const PullOrder& order);
  Result<void> FindConfig(ImageSource& source, Found& found);
  Result<ImageRecord> PutRecord(const PullOrder& order, const Found& found, const std::vector<PulledLayer>& layers,
                                MergedImage merged);
  Result<LayerPins::Pin> PinAll(const Found& found, const std::atomic<bool>* cancelled);
  Result<uint64_t> BytesToCome(const ImageSource& source, const Manifest& manifest);
  Result<void> PullLayer(ImageSource& source, const Found& found, size_t i, Mode mode, const LayerListener& listener,
                         PulledLayers& pulled, const std::string& tenant, const std::atomic<bool>* stop);
  Result<std::vector<PulledLayer>> PullLayers(ImageSource& source, const PullOrder& order, const Found& found,
                                              const std::function<Mode(const Digest&)>& mode,
                                              const PullContext& context);
  Result<void> KeepBlobs(const std::string& repository, const Found& found);
  Result<void> KeepBlob(const std::string& repository, const Digest& digest, const std::string& bytes);
  ImageRecord MakeRecord(const PullOrder& order, const Found& found, const std::vector<PulledLayer>& layers,
                         MergedImage merged) const;

  const Parts parts_;
  LayerPuller layers_;
};

}  // namespace caisson::image
