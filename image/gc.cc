// SPDX-License-Identifier: Apache-2.0
#include "image/gc.h"

#include <algorithm>

#include "base/log.h"
#include "image/manifest.h"

namespace caisson::image {
namespace {

constexpr std::chrono::hours kUploadKept{24}, kUploadKeptWhenTight{1};
constexpr int kMaxIndexes = 32;            // kept of one image: any tenant may make more that lead to it
constexpr std::chrono::hours kTagKept{1};  // though it leads nowhere: a pull may be about to bring its image

LayerName NameOf(const Digest& digest) { return LayerName::Of(digest); }

// Every name of the layer tree that the image needs. Layers below an opaque root are not part of the root file system,
// but a pull of the image would look for them.
std::set<LayerName> LayersOf(const ImageRecord& image) {
  std::set<LayerName> names(image.rootfs.begin(), image.rootfs.end());
  for (const LayerRecord& layer : image.layers) names.insert(NameOf(layer.digest));
  names.insert(image.fixup);
  return names;
}

}  // namespace

struct Collector::Stock {
  std::vector<ImageRecord> images;  // the least recently used first
  std::map<LayerName, StoredLayer> layers;
  std::map<LayerName, int> needed;        // by so many images
  std::map<LayerName, uint64_t> entries;  // of layers, where they are known
  std::set<Digest> held;                  // manifests of images that somebody imported
  // The launcher knows of layers alone. Each root file system has a fix-up layer, and images of the same layers share
  // it: while another one needs it, this one's record may go, since the layers stay.
  bool InUse(const ImageRecord& image, const std::map<LayerName, int>& needed_now) const {
    const auto fixup = layers.find(image.fixup);
    const auto count = needed_now.find(image.fixup);
    return fixup != layers.end() && fixup->second.in_use && (count == needed_now.end() || count->second <= 1);
  }
  uint64_t UnneededBytes() const {
    uint64_t bytes = 0;
    for (const auto& [name, layer] : layers)
      if (!needed.contains(name) && !layer.in_use) bytes += layer.bytes;
    return bytes;
  }
};

Collector::~Collector() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void Collector::Start(std::chrono::milliseconds interval) {
  thread_ = std::thread([this, interval] { Loop(interval); });
}

void Collector::Wake() {
  const Result<SpaceInfo> space = parts_.space.Now();
  if (!space || space->used_percent() <= parts_.high_percent) return;
  const std::lock_guard lock(mutex_);
  woken_ = true;
  changed_.notify_all();
}

void Collector::Loop(std::chrono::milliseconds interval) {
  while (!stop_) {
    const Result<CollectReport> report = Collect({});
    if (!report) {
      LogWarn("images_not_collected", {{"error", report.error().message}, {"effect", "tried again later"}});
    } else if (report->images > 0 || report->layers > 0) {
      LogInfo("images_collected", {{"images", report->images}, {"layers", report->layers}, {"bytes", report->bytes}});
    }
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, interval, [this] { return stop_ || woken_; });
    woken_ = false;
  }
}

// ---- Collect ----------------------------------------------------------------------------------------------------

Result<CollectReport> Collector::Collect(const CollectOptions& options) {
  CollectReport report;
  {
    const std::lock_guard lock(collecting_);
    parts_.pins.BeginCollection();  // before anything is read: see LayerPins
    // What was uploaded and not imported goes before anybody's image.
    const bool tight = options.bytes_needed > 0 || !Amount{}.covers(TRY(OverLowMark()));
    TRY(parts_.uploads.RemoveOld(tight ? kUploadKeptWhenTight : kUploadKept));
    Stock stock = TRY(TakeStock());
    for (const ImageRecord& image : TRY(ChooseFor(stock, options)))
      if (!stop_ && !stock.InUse(image, stock.needed) && TRY(DropImage(stock, image))) ++report.images;
    TRY(Sweep(stock, report));
  }
  if (parts_.on_collected) parts_.on_collected();
  return report;
}

Result<CollectReport> Collector::Remove(const ImageRecord& image) {
  CollectReport report;
  const std::lock_guard lock(collecting_);
  parts_.pins.BeginCollection();
  Stock stock = TRY(TakeStock());
  if (stock.InUse(image, stock.needed))
    return Fail(ErrorCode::kConflict, "a job runs from image {}: wait for its end, or cancel it",
                image.manifest.ToString());
  if (!TRY(DropImage(stock, image)))
    return Fail(ErrorCode::kConflict, "image {} is being pulled right now", image.manifest.ToString());
  report.images = 1;
  TRY(Sweep(stock, report));
  return report;
}

// Records are read before layers are listed: an image that comes in between is pinned.
Result<Collector::Stock> Collector::TakeStock() {
  Stock stock;
  stock.images = TRY(parts_.catalogue.List());
  std::sort(stock.images.begin(), stock.images.end(),
            [](const ImageRecord& a, const ImageRecord& b) { return a.used_at < b.used_at; });
  for (const ImageRecord& image : stock.images)
    for (const LayerName& name : LayersOf(image)) ++stock.needed[name];
  for (const ImageRecord& image : stock.images)
    for (const LayerRecord& layer : image.layers) stock.entries[NameOf(layer.digest)] = layer.entries;
  for (const TagRecord& tag : TRY(parts_.records.ListTags()))
    if (tag.imported)
      if (const std::optional<ImageRecord> image = TRY(parts_.catalogue.Find(tag.digest)))
        stock.held.insert(image->manifest);
  for (const StoredLayer& layer : TRY(parts_.store.ListLayers())) stock.layers[layer.name] = layer;
  return stock;
}

Collector::Choice Collector::Choose(const Stock& stock, const Amount& wanted) const {
  Choice choice;
  Amount freed{.bytes = stock.UnneededBytes()};
  std::map<LayerName, int> needed = stock.needed;
  for (const ImageRecord& image : stock.images) {
    if (freed.covers(wanted)) break;
    if (stock.InUse(image, needed) || stock.held.contains(image.manifest)) continue;
    choice.images.push_back(image);
    for (const LayerName& name : LayersOf(image)) {
      const auto layer = stock.layers.find(name);
      if (--needed[name] > 0 || layer == stock.layers.end() || layer->second.in_use) continue;
      freed.bytes += layer->second.bytes;
      if (const auto entries = stock.entries.find(name); entries != stock.entries.end())
        freed.inodes += entries->second;
    }
  }
  choice.enough = freed.covers(wanted);
  return choice;
}

// What has to become free so that so many bytes fit above the floor.
Result<uint64_t> Collector::MissingFor(uint64_t bytes_needed) const {
  const SpaceInfo space = TRY(parts_.space.Now());
  const uint64_t wanted = bytes_needed + parts_.space.floor_bytes();
  return wanted > space.free_bytes ? wanted - space.free_bytes : 0;
}

Result<Collector::Amount> Collector::OverLowMark() const {
  const SpaceInfo space = TRY(parts_.space.Now());
  if (space.used_percent() <= parts_.high_percent) return Amount{};
  const auto over = [&](uint64_t free, uint64_t total) {
    const uint64_t free_at_low = total / 100 * static_cast<uint64_t>(100 - parts_.low_percent);
    return free_at_low > free ? free_at_low - free : 0;
  };
  return Amount{over(space.free_bytes, space.total_bytes), over(space.free_inodes, space.total_inodes)};
}

Result<bool> Collector::CouldFree(uint64_t bytes) {
  const std::lock_guard lock(collecting_);
  return Choose(TRY(TakeStock()), {.bytes = TRY(MissingFor(bytes))}).enough;
}

// For the marks, and for a pull; but for a pull that cannot be helped nothing goes.
Result<std::vector<ImageRecord>> Collector::ChooseFor(const Stock& stock, const CollectOptions& options) const {
  if (options.all) return Choose(stock, {.bytes = UINT64_MAX}).images;
  Choice choice = Choose(stock, TRY(OverLowMark()));
  if (options.bytes_needed > 0) {
    Choice room = Choose(stock, {.bytes = TRY(MissingFor(options.bytes_needed))});
    if (room.enough && room.images.size() > choice.images.size()) choice = std::move(room);
  }
  return std::move(choice.images);
}

// The record goes first: whoever finds a record finds its layers, and what a crash leaves is unneeded layers.
Result<bool> Collector::DropImage(Stock& stock, const ImageRecord& image) {
  {
    const std::optional<LayerPins::Removal> removal = parts_.pins.BeginRemoval(RecordPin(image.manifest));
    if (!removal) return false;
    TRY(parts_.records.RemoveImage(image.manifest));
  }
  for (const LayerName& name : LayersOf(image))
    if (const auto entry = stock.needed.find(name); entry != stock.needed.end() && --entry->second == 0)
      stock.needed.erase(entry);
  std::erase_if(stock.images, [&](const ImageRecord& other) { return other.manifest == image.manifest; });
  return true;
}

// ---- Sweep ------------------------------------------------------------------------------------------------------

Result<void> Collector::Sweep(const Stock& stock, CollectReport& report) {
  TRY(SweepLayers(stock, report));
  if (stop_) return {};
  TRY(SweepBlobs(stock));
  return SweepTags();
}

Result<void> Collector::SweepLayers(const Stock& stock, CollectReport& report) {
  std::map<LayerName, uint64_t> unneeded;
  for (const auto& [name, layer] : stock.layers)
    if (!stock.needed.contains(name) && !layer.in_use) unneeded[name] = layer.bytes;
  // Records of layers that the tree does not have.
  for (const std::vector<LayerName>& names : {TRY(parts_.records.ListLayers()), TRY(parts_.records.ListMerges())})
    for (const LayerName& name : names)
      if (!stock.needed.contains(name) && !stock.layers.contains(name)) unneeded[name] = 0;
  for (const auto& [name, bytes] : unneeded) {
    if (stop_) return {};
    TRY(SweepLayer(name, bytes, report));
  }
  return {};
}

// The tree first, then what we know of it: a layer without a record is nobody's, a record without its layer is only
// one more download.
Result<void> Collector::SweepLayer(const LayerName& name, uint64_t bytes, CollectReport& report) {
  const std::optional<LayerPins::Removal> removal = parts_.pins.BeginRemoval(name);
  if (!removal) return {};
  const Result<void> removed = parts_.store.RemoveLayer(name);
  if (!removed && removed.error().code == ErrorCode::kConflict) return {};  // in use by now
  if (!removed && removed.error().code != ErrorCode::kNotFound) return removed;
  if (removed) {
    ++report.layers;
    report.bytes += bytes;
  }
  TRY(parts_.records.RemoveLayer(Digest{name.bytes}));
  return parts_.records.RemoveMerge(name);
}

// Manifests and configs of the images, and every index that leads to one of them; then the marks of what is gone.
Result<void> Collector::SweepBlobs(const Stock& stock) {
  std::set<Digest> needed, manifests;
  std::map<Digest, int> indexes;  // of each manifest, beside the one that its record names
  for (const ImageRecord& image : stock.images) {
    manifests.insert(image.manifest);
    needed.insert({image.manifest, image.index});
    const std::optional<std::string> bytes = TRY(parts_.records.FindBlob(image.manifest));
    if (!bytes) continue;
    const auto document = ParseManifest(*bytes, "");
    if (document && std::holds_alternative<Manifest>(*document))
      needed.insert(std::get<Manifest>(*document).config.digest);
  }
  for (const Digest& digest : TRY(parts_.records.ListBlobs())) {
    if (stop_) return {};
    if (needed.contains(digest)) continue;
    const std::optional<ImageRecord> image = TRY(parts_.catalogue.Find(digest));
    if (image && manifests.contains(image->manifest) && ++indexes[image->manifest] <= kMaxIndexes) {
      needed.insert(digest);
      continue;
    }
    if (const auto removal = parts_.pins.BeginRemoval(BlobPin(digest))) TRY(parts_.records.RemoveBlob(digest));
  }
  return parts_.records.RemoveMarksUnless([&](const Digest& digest) {
    return needed.contains(digest) || stock.needed.contains(NameOf(digest)) || parts_.pins.IsPinned(NameOf(digest));
  });
}

Result<void> Collector::SweepTags() {
  const UnixMillis limit = parts_.clock.NowMs() - std::chrono::milliseconds(kTagKept).count();
  for (const TagRecord& tag : TRY(parts_.records.ListTags()))
    if (tag.written_at < limit && !TRY(parts_.catalogue.Find(tag.digest))) TRY(parts_.records.RemoveTag(tag));
  return {};
}

}  // namespace caisson::image
