// SPDX-License-Identifier: Apache-2.0
// What the store keeps and what it lets go: by use, by need and by what is under way.
#include <thread>

#include "image/layer_pins.h"
#include "tests/image/store_fixture.h"

namespace caisson::image {
namespace {

using testing::IsEmpty, testing::SizeIs;

class StoreCollectTest : public StoreTest {
 protected:
  std::vector<std::string> Stored() {
    std::vector<std::string> references;
    const std::vector<ImageRecord> records = store_->List().value();
    for (const ImageRecord& record : records)
      references.push_back(record.reference.substr(0, record.reference.find('@')));
    return references;
  }
  // Above the high mark: so many bytes have to become free for the low one.
  void FillUntil(uint64_t bytes_over_low) {
    total_bytes_ = 100'000;
    free_bytes_ = 25'000 - bytes_over_low;
    options_.gc_high_percent = 75;
    Open();
  }
};

TEST_F(StoreCollectTest, LeastRecentlyUsedGoesFirstAndOnlyAsManyAsNeeded) {
  MustPull("a", {std::string(1000, 'a')});
  MustPull("b", {std::string(1000, 'b')});
  MustPull("c", {std::string(1000, 'c')});
  ASSERT_TRUE(Pull("a", PullPolicy::kAlways, /*may_use_cached=*/true));  // b is the oldest now
  FillUntil(900);
  const CollectReport report = store_->Collect({}).value();
  EXPECT_EQ(report.images, 1u);
  EXPECT_EQ(report.bytes, 1006u);  // with its fix-up layer
  EXPECT_THAT(Stored(), testing::UnorderedElementsAre(Name("a"), Name("c")));
  EXPECT_EQ(layers_.size(), 4u);
}

TEST_F(StoreCollectTest, FewInodesCountLikeAFullDisk) {
  MustPull("a", {"layer a"});
  MustPull("b", {"layer b"});
  total_inodes_ = 1000;
  free_inodes_ = 149;
  EXPECT_EQ(store_->Collect({}).value().images, 2u);  // each layer has one entry
  free_inodes_ = 49;
  PutImage(registry_, "c", PlainImageOf({"layer c"}));
  const Error error = Pull("c").error();
  EXPECT_EQ(error.code, ErrorCode::kExhausted);
  EXPECT_THAT(error.message, testing::HasSubstr("too many files"));
}

TEST_F(StoreCollectTest, NothingGoesBelowTheHighMark) {
  MustPull("a", {"layer"});
  EXPECT_EQ(store_->Collect({}).value().images, 0u);
  EXPECT_THAT(Stored(), SizeIs(1));
}

TEST_F(StoreCollectTest, ImageThatAJobRunsFromStays) {
  const ImageRecord image = MustPull("a", {"layer"});
  layers_.SetInUse(image.fixup, true);
  EXPECT_EQ(store_->Collect({.all = true}).value().images, 0u);
  EXPECT_EQ(store_->Remove(image.manifest).error().code, ErrorCode::kConflict);
  layers_.SetInUse(image.fixup, false);
  EXPECT_EQ(store_->Collect({.all = true}).value().images, 1u);
  EXPECT_EQ(layers_.size(), 0u);
}

TEST_F(StoreCollectTest, ImageOfTheSameLayersIsRemovedThoughTheOtherRuns) {
  const ImageRecord a = MustPull("a", {"layer"});
  ScriptedImage same = PlainImageOf({"layer"});
  PutImage(registry_, "b", same);
  std::string manifest = registry_.Usual({.method = "GET", .path = "/manifests/b"}).body;
  registry_.PutManifest("b", manifest + " ", "application/vnd.oci.image.manifest.v1+json");  // another digest
  const ImageRecord b = Pull("b").value();
  ASSERT_EQ(a.fixup, b.fixup);
  layers_.SetInUse(a.fixup, true);
  EXPECT_TRUE(store_->Remove(b.manifest));
  for (const LayerName& name : a.rootfs) EXPECT_TRUE(layers_.Has(name));
  EXPECT_EQ(store_->Remove(a.manifest).error().code, ErrorCode::kConflict);
  ASSERT_TRUE(Pull("b"));
  EXPECT_EQ(store_->Collect({.all = true}).value().images, 1u);  // one of the two keeps the layers
  EXPECT_TRUE(layers_.Has(a.fixup));
}

TEST_F(StoreCollectTest, RemovingOneImageKeepsWhatAnotherNeeds) {
  const ImageRecord a = MustPull("a", {"base", "of a"});
  const ImageRecord b = MustPull("b", {"base", "of b"});
  EXPECT_EQ(store_->Remove(a.manifest).value().layers, 2u);  // its own and the fix-up layer
  for (const LayerName& name : b.rootfs) EXPECT_TRUE(layers_.Has(name));
  EXPECT_FALSE(layers_.Has(LayerName::Of(a.layers[1].digest)));
  EXPECT_TRUE(store_->Find(b.manifest).value());
  EXPECT_THAT(FilesIn("blobs/sha256"), SizeIs(2));  // manifest and config of b
  EXPECT_THAT(FilesIn("served"), SizeIs(4));        // those and two layers
  EXPECT_EQ(store_->Remove(a.manifest).error().code, ErrorCode::kNotFound);
}

TEST_F(StoreCollectTest, LayersOfNoRecordGoAndTheirRecordsToo) {
  const ImageRecord image = MustPull("a", {"layer"});
  std::filesystem::remove(options_.directory + "/images/" + image.manifest.hex() +
                          ".json");  // a crash before the record
  const CollectReport report = store_->Collect({}).value();
  EXPECT_EQ(report.layers, 2u);
  for (const char* kind : {"layers", "merges", "blobs/sha256", "served"}) EXPECT_THAT(FilesIn(kind), IsEmpty()) << kind;
}

// The collection waits in the middle, between reading the records and removing layers; the pull ends meanwhile.
TEST_F(StoreCollectTest, ImageThatComesDuringACollectionIsWhole) {
  PutImage(registry_, "new", PlainImageOf({"one", "two"}));
  std::atomic<bool> listed = false, pulled = false;
  layers_.SetOnStep([&](std::string_view step, const LayerName&) -> Result<void> {
    if (step == "list" && !listed.exchange(true)) {
      listed.notify_all();
      pulled.wait(false);
    }
    return {};
  });
  std::thread collection([&] { EXPECT_TRUE(store_->Collect({.all = true})); });
  listed.wait(false);
  const Result<ImageRecord> image = Pull("new");
  pulled = true;
  pulled.notify_all();
  collection.join();
  ASSERT_TRUE(image) << image.error().message;
  for (const LayerName& name : image->rootfs) EXPECT_TRUE(layers_.Has(name));
  EXPECT_TRUE(Pull("new", PullPolicy::kNever, /*may_use_cached=*/true));
}

// A pull that began before the collection and ends after it: its layers are pinned without any record.
TEST_F(StoreCollectTest, LayersOfAPullThatIsUnderWayStay) {
  PutImage(registry_, "new", PlainImageOf({"one", "two"}));
  std::atomic<bool> merging = false, collected = false;
  layers_.SetOnStep([&](std::string_view step, const LayerName&) -> Result<void> {
    if (step == "merge") {
      merging = true;
      merging.notify_all();
      collected.wait(false);
    }
    return {};
  });
  Result<ImageRecord> image = Fail(ErrorCode::kInternal, "");
  std::thread pull([&] { image = Pull("new"); });
  merging.wait(false);
  EXPECT_EQ(store_->Collect({.all = true}).value().layers, 0u);
  collected = true;
  collected.notify_all();
  pull.join();
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ(layers_.started("unpack"), 2);
}

TEST_F(StoreCollectTest, PullWaitsForTheRemovalOfALayerAndFetchesItAgain) {
  const ImageRecord image = MustPull("a", {"layer"});
  const LayerName layer = LayerName::Of(image.layers[0].digest);
  std::atomic<bool> removing = false, go_on = false;
  layers_.SetOnStep([&](std::string_view step, const LayerName& name) -> Result<void> {
    if (step == "remove" && name == layer) {
      removing = true;
      removing.notify_all();
      go_on.wait(false);
    }
    return {};
  });
  std::thread removal([&] { EXPECT_TRUE(store_->Remove(image.manifest)); });
  removing.wait(false);
  Result<ImageRecord> again = Fail(ErrorCode::kInternal, "");
  std::thread pull([&] { again = Pull("a"); });
  go_on = true;
  go_on.notify_all();
  removal.join();
  pull.join();
  ASSERT_TRUE(again) << again.error().message;
  for (const LayerName& name : again->rootfs) EXPECT_TRUE(layers_.Has(name));
}

TEST_F(StoreCollectTest, DamagedRecordIsSetAsideAndHidesNoOther) {
  const ImageRecord damaged = MustPull("a", {"layer a"});
  const ImageRecord sound = MustPull("b", {"layer b"});
  std::filesystem::resize_file(options_.directory + "/images/" + damaged.manifest.hex() + ".json", 20);
  const Result<std::vector<ImageRecord>> list = store_->List();
  ASSERT_TRUE(list) << list.error().message;
  ASSERT_THAT(*list, SizeIs(1));
  EXPECT_EQ((*list)[0].manifest, sound.manifest);
  EXPECT_THAT(FilesIn("damaged"), SizeIs(1));
  EXPECT_TRUE(Pull("a", PullPolicy::kAlways, /*may_use_cached=*/true));  // and is made anew
  EXPECT_THAT(*store_->List(), SizeIs(2));
}

TEST(LayerPinsTest, WhatWasPinnedSinceTheCollectionBeganIsSpared) {
  LayerPins pins;
  const LayerName name = LayerName::Of(Sha256Of("a")), other = LayerName::Of(Sha256Of("b"));
  pins.BeginCollection();
  { const auto pin = pins.Take(std::vector{name}, nullptr); }
  EXPECT_FALSE(pins.BeginRemoval(name));
  EXPECT_TRUE(pins.BeginRemoval(other));
  pins.BeginCollection();
  EXPECT_TRUE(pins.BeginRemoval(name));
}

// What a manifest of anybody calls a layer is no other image's record.
TEST_F(StoreCollectTest, PullThatNamesAnotherImageAsItsLayerDoesNotKeepItFromRemoval) {
  const ImageRecord image = MustPull("1", {"layer"});
  ScriptedImage thief = PlainImageOf({"x"});
  PutImage(registry_, "2", thief);
  std::string manifest = registry_.Usual({.method = "GET", .path = "/manifests/2"}).body;
  const std::string own = Sha256Of("x").ToString();
  manifest.replace(manifest.find(own), own.size(), image.manifest.ToString());
  registry_.PutManifest("2", manifest, "application/vnd.oci.image.manifest.v1+json");
  std::atomic<bool> asked = false, go_on = false;
  registry_.SetScript([&](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.path.find("/blobs/" + image.manifest.ToString()) == std::string::npos) return std::nullopt;
    asked = true;
    asked.notify_all();
    go_on.wait(false);
    return ScriptedAnswer{.status = 404};
  });
  std::thread pull([&] { EXPECT_FALSE(Pull("2")); });
  asked.wait(false);
  EXPECT_TRUE(store_->Remove(image.manifest));
  go_on = true;
  go_on.notify_all();
  pull.join();
}

TEST(LayerPinsTest, CancelledCallerDoesNotWaitForARemoval) {
  LayerPins pins;
  const LayerName name = LayerName::Of(Sha256Of("a"));
  const auto removal = pins.BeginRemoval(name);
  const std::atomic<bool> cancelled = true;
  EXPECT_EQ(pins.Take(std::vector{name}, &cancelled).error().code, ErrorCode::kCancelled);
}

}  // namespace
}  // namespace caisson::image
