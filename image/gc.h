// SPDX-License-Identifier: Apache-2.0
// Collector takes out of the image store what nothing needs. Roots are the image records, what pulls have pinned, and
// the layers that the launcher has open for jobs; never a time. Everything else goes: layers, fix-up layers, blobs,
// marks, tags that lead nowhere, old uploads. Images themselves go by last use when the disk is above the high mark,
// down to the low mark, or when a pull needs room; not those that a job runs from, nor those that a tenant imported
// and still calls by a name: no registry could be asked for them again. Safe on any thread; owned by the ImageStore.
// Its own thread collects now and then, and when it is woken.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "image/catalogue.h"
#include "image/image_store.h"
#include "image/layer_pins.h"
#include "image/records.h"
#include "image/store_port.h"
#include "image/store_space.h"
#include "image/uploads.h"

namespace caisson::image {

class Collector {
 public:
  struct Parts {
    StorePort& store;
    const Records& records;
    const Catalogue& catalogue;
    LayerPins& pins;
    Uploads& uploads;
    const StoreSpace& space;
    const Clock& clock;
    int high_percent = 0;
    int low_percent = 0;
    std::function<void()> on_collected;  // may be empty
  };
  explicit Collector(const Parts& parts) : parts_(parts) {}
  Collector(const Collector&) = delete;
  Collector& operator=(const Collector&) = delete;
  ~Collector();  // ends the thread at once: between two removals

  // Once. The thread collects now, then after each interval.
  void Start(std::chrono::milliseconds interval);
  // A pull has ended: collects soon if the disk is above the high mark.
  void Wake();

  Result<CollectReport> Collect(const CollectOptions& options);
  // Whether so many bytes would fit above the floor if every unused image went. Changes nothing.
  Result<bool> CouldFree(uint64_t bytes);
  // This image and what only it needs. kConflict while a job runs from it or a pull brings it.
  Result<CollectReport> Remove(const ImageRecord& image);

 private:
  struct Stock;  // what there is at one moment, and who needs it
  Result<Stock> TakeStock();
  // Unused images, the least recently used first, until so much becomes free with them: whether it does.
  struct Amount {
    uint64_t bytes = 0;
    uint64_t inodes = 0;
    bool covers(const Amount& other) const { return bytes >= other.bytes && inodes >= other.inodes; }
  };
  struct Choice {
    std::vector<ImageRecord> images;
    bool enough = false;
  };
  Choice Choose(const Stock& stock, const Amount& wanted) const;
  Result<Amount> OverLowMark() const;  // nothing below the high one
  Result<uint64_t> MissingFor(uint64_t bytes_needed) const;
  Result<std::vector<ImageRecord>> ChooseFor(const Stock& stock, const CollectOptions& options) const;
  Result<bool> DropImage(Stock& stock, const ImageRecord& image);
  Result<void> SweepLayers(const Stock& stock, CollectReport& report);
  Result<void> SweepLayer(const LayerName& name, uint64_t bytes, CollectReport& report);
  Result<void> SweepBlobs(const Stock& stock);
  Result<void> SweepTags();
  Result<void> Sweep(const Stock& stock, CollectReport& report);
  void Loop(std::chrono::milliseconds interval);

  const Parts parts_;
  std::mutex collecting_;  // one at a time

  std::mutex mutex_;  // guards the flags
  std::condition_variable changed_;
  bool woken_ = false;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace caisson::image
