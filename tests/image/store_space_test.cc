// SPDX-License-Identifier: Apache-2.0
// A disk that is full before a pull, becomes full meanwhile, or is full for real.
#include <sys/mount.h>
#include <unistd.h>

#include "tests/image/store_fixture.h"

namespace caisson::image {
namespace {

using testing::AllOf, testing::HasSubstr, testing::IsEmpty, testing::SizeIs;

class StoreSpaceTest : public StoreTest {
 protected:
  void ExpectNothingLeft() {
    EXPECT_EQ(layers_.size(), 0u);
    for (const char* kind : {"images", "layers", "blobs/sha256", "locks"})
      EXPECT_THAT(FilesIn(kind), IsEmpty()) << kind;
  }
};

TEST_F(StoreSpaceTest, PullThatDoesNotFitIsRefusedBeforeAnythingIsWritten) {
  PutImage(registry_, "1", PlainImageOf({std::string(3 << 20, 'x')}));
  free_bytes_ = (3 << 20) + 99;  // the floor is 100
  const Error error = Pull("1").error();
  EXPECT_EQ(error.code, ErrorCode::kExhausted);
  EXPECT_THAT(error.message, AllOf(HasSubstr("needs about 3 MiB"), HasSubstr("3 MiB are free"),
                                   HasSubstr("caisson image gc"), HasSubstr("min_free_bytes")));
  EXPECT_EQ(layers_.started("unpack"), 0);
  ExpectNothingLeft();
  free_bytes_ = (3 << 20) + 100;
  EXPECT_TRUE(Pull("1"));
}

TEST_F(StoreSpaceTest, CompressedLayersCountFourTimesAndCachedOnesNot) {
  ScriptedImage image = ImageOf({"tar"});
  image.layers[0].resize(1000, '\0');
  PutImage(registry_, "1", image);
  free_bytes_ = 4099;
  EXPECT_EQ(Pull("1").error().code, ErrorCode::kExhausted);
  MustPull("base", {std::string(3000, 'x')});
  PutImage(registry_, "2", PlainImageOf({std::string(3000, 'x'), std::string(1000, 'y')}));
  free_bytes_ = 1100;
  EXPECT_TRUE(Pull("2"));
}

TEST_F(StoreSpaceTest, UnusedImagesMakeRoomForAPull) {
  const ImageRecord old = MustPull("old", {std::string(5000, 'o')});
  const ImageRecord used = MustPull("used", {std::string(5000, 'u')});
  layers_.SetInUse(used.fixup, true);
  PutImage(registry_, "new", PlainImageOf({std::string(4000, 'n')}));
  free_bytes_ = 1000;
  layers_.SetOnStep([&](std::string_view step, const LayerName& name) -> Result<void> {
    if (step == "remove" && name == LayerName::Of(old.layers[0].digest)) free_bytes_ += 5000;
    return {};
  });
  const Result<ImageRecord> image = Pull("new");
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_FALSE(store_->Find(old.manifest).value());
  EXPECT_TRUE(store_->Find(used.manifest).value());
}

TEST_F(StoreSpaceTest, PullThatWouldNotFitEvenThenEvictsNothing) {
  const ImageRecord old = MustPull("old", {std::string(5000, 'o')});
  PutImage(registry_, "new", PlainImageOf({std::string(9000, 'n')}));
  free_bytes_ = 1000;
  EXPECT_EQ(Pull("new").error().code, ErrorCode::kExhausted);
  EXPECT_TRUE(store_->Find(old.manifest).value());
  EXPECT_EQ(layers_.started("remove"), 0);
}

TEST_F(StoreSpaceTest, DiskThatFillsDuringAPullStopsIt) {
  const std::string layer(1 << 20, 'x');
  PutImage(registry_, "1", PlainImageOf({layer}));
  total_bytes_ = free_bytes_ = 10 << 20;
  std::atomic<bool> answered = false;
  registry_.SetScript([&](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.path.find(Sha256Of(layer).ToString()) == std::string::npos) return std::nullopt;
    free_bytes_ = 50;  // somebody else has taken it
    answered = true;
    return ScriptedAnswer{.body = "x", .endless = true};
  });
  const Error error = Pull("1").error();
  EXPECT_TRUE(answered);
  EXPECT_EQ(error.code, ErrorCode::kExhausted) << error.message;
  EXPECT_THAT(error.message, HasSubstr("became too full"));
  ExpectNothingLeft();
}

TEST_F(StoreSpaceTest, LayerThatMeetsAFullDiskSaysWhatToDo) {
  PutImage(registry_, "1", PlainImageOf({"layer"}));
  layers_.SetOnStep([](std::string_view step, const LayerName&) -> Result<void> {
    if (step == "commit") return FailErrno(ENOSPC, "sync layer");
    return {};
  });
  const Error error = Pull("1").error();
  EXPECT_EQ(error.code, ErrorCode::kExhausted);
  EXPECT_THAT(error.message, AllOf(HasSubstr("No space left"), HasSubstr("caisson image gc")));
  ExpectNothingLeft();
  layers_.SetOnStep({});
  EXPECT_TRUE(Pull("1"));
}

// On a real file system of 4 MiB: the records do not fit.
TEST_F(StoreSpaceTest, RealFileSystemThatIsFullGivesOneErrorAndLeavesNothing) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const std::string small = directory_.path() + "/small";
  std::filesystem::create_directory(small);
  ASSERT_EQ(::mount("tmpfs", small.c_str(), "tmpfs", 0, "size=4m"), 0);
  options_.directory = small + "/service";
  options_.space = {};
  options_.min_free_bytes = 1 << 20;
  Open();
  PutImage(registry_, "large", PlainImageOf({std::string(4 << 20, 'x')}));
  PutImage(registry_, "fits", PlainImageOf({std::string(1 << 20, 'x')}));
  EXPECT_EQ(Pull("large").error().code, ErrorCode::kExhausted);
  ExpectNothingLeft();
  EXPECT_TRUE(Pull("fits"));
  // An upload of everything that is left, and more.
  const std::string blob(8 << 20, 'u');
  Result<std::unique_ptr<BlobUpload>> upload = store_->StartUpload("t", Sha256Of(blob));
  ASSERT_TRUE(upload) << upload.error().message;
  const Result<void> written = (*upload)->Write(blob);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, ErrorCode::kExhausted);
  upload->reset();
  EXPECT_TRUE(Pull("fits"));
  store_.reset();
  EXPECT_EQ(::umount2(small.c_str(), MNT_DETACH), 0);
}

}  // namespace
}  // namespace caisson::image
