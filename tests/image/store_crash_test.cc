// SPDX-License-Identifier: Apache-2.0
// A service that dies between any two steps of a pull or a removal: the next one uses nothing half-made, needs no hand,
// and gets back what the dead one had taken.
#include "tests/image/store_fixture.h"

namespace caisson::image {
namespace {

using testing::IsEmpty, testing::SizeIs;

class StoreCrashTest : public StoreTest {
 protected:
  // From step number `last` on every step fails, as for a process that is no more; then another service opens the
  // store.
  void DieAfter(int last, const std::function<void()>& work) {
    std::atomic<int> steps = 0;
    layers_.SetOnStep([&](std::string_view, const LayerName&) -> Result<void> {
      if (++steps > last) return Fail(ErrorCode::kInternal, "dead");
      return {};
    });
    work();
    died_ = steps > last;
    layers_.SetOnStep({});
    Open();
  }
  void ExpectWhole(const ImageRecord& image) { EXPECT_TRUE(store_->Verify(image.manifest, {})->ok()); }
  bool died_ = true;
};

TEST_F(StoreCrashTest, PullThatDiesAnywhereIsDoneAgainAndLeavesNothing) {
  PutImage(registry_, "1", PlainImageOf({"base", "top"}));
  for (int last = 0; died_; ++last) {
    DieAfter(last, [&] { (void)Pull("1"); });
    if (died_) {
      EXPECT_THAT(*store_->List(), IsEmpty()) << "record before its layers, step " << last;
    }
    EXPECT_THAT(FilesIn("locks"), IsEmpty());
    const Result<ImageRecord> image = Pull("1", PullPolicy::kAlways, /*may_use_cached=*/true);
    ASSERT_TRUE(image) << "after step " << last << ": " << image.error().message;
    ExpectWhole(*image);
    ASSERT_TRUE(store_->Remove(image->manifest));
    EXPECT_EQ(layers_.size(), 0u) << "after step " << last;
    for (const char* kind : {"images", "layers", "merges", "blobs/sha256", "served"})
      EXPECT_THAT(FilesIn(kind), IsEmpty()) << kind << " after step " << last;
    ASSERT_LT(last, 100);
  }
}

TEST_F(StoreCrashTest, RemovalThatDiesAnywhereIsFinishedByTheNextCollection) {
  const ImageRecord other = MustPull("other", {"base", "of other"});
  for (int last = 0; died_; ++last) {
    const ImageRecord image = MustPull("1", {"base", "top"});
    DieAfter(last, [&] { (void)store_->Remove(image.manifest); });
    const std::optional<ImageRecord> left = *store_->Find(image.manifest);
    if (left) {
      ExpectWhole(*left);
      ASSERT_TRUE(store_->Remove(image.manifest));
    } else {
      ASSERT_TRUE(store_->Collect({}));
    }
    EXPECT_EQ(layers_.size(), 3u) << "after step " << last;  // the other image's
    ExpectWhole(other);
    ASSERT_LT(last, 100);
  }
}

TEST_F(StoreCrashTest, TemporaryFilesOfRecordsAreSweptAtStart) {
  const ImageRecord image = MustPull("1", {"layer"});
  for (const char* kind : {"images", "layers", "tags"}) {
    const std::string half = options_.directory + "/" + kind + "/" + std::string(64, 'a') + ".new";
    std::filesystem::copy_file(options_.directory + "/images/" + image.manifest.hex() + ".json", half);
  }
  Open();
  EXPECT_THAT(FilesIn("images"), SizeIs(1));
  EXPECT_THAT(FilesIn("layers"), SizeIs(1));
  EXPECT_THAT(FilesIn("tags"), SizeIs(1));
}

}  // namespace
}  // namespace caisson::image
