// SPDX-License-Identifier: Apache-2.0
// Images whose parts are each in order and do not fit together, through the store and the real worker.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/crypto/crypto.h"
#include "image/image_store.h"
#include "tests/image/scripted_registry.h"
#include "tests/image/tar_builder.h"
#include "tests/image/temporary.h"
#include "tests/image/worker_store.h"

namespace caisson::image {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

class HostileImagesTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    worker_store_ = std::make_unique<WorkerStore>(directory_.path() + "/data");
    ImageStoreOptions options{.directory = directory_.path() + "/service", .store = worker_store_.get()};
    options.registries[registry_.address()] = {.plain_http = true};
    store_ = *OpenImageStore(options);
  }
  Result<ImageRecord> Pull(const ScriptedImage& image) {
    PutImage(registry_, "1", image);
    const std::string name = registry_.address() + "/team/app:1";
    return store_->Pull(TRY(store_->Resolve(name, PullPolicy::kAlways, {})), false, {});
  }
  void ExpectRefused(const ScriptedImage& image, std::initializer_list<const char*> words) {
    const Result<ImageRecord> record = Pull(image);
    ASSERT_FALSE(record);
    for (const char* word : words) EXPECT_THAT(record.error().message, HasSubstr(word));
    EXPECT_THAT(worker_store_->TemporaryNames(), IsEmpty());
    EXPECT_TRUE(std::filesystem::is_empty(directory_.path() + "/service/images"));
  }
  static std::string Tar(const std::string& path) { return TarBuilder().File(path, path).Finish(); }
  static std::string IdOf(const std::string& tar) { return Sha256Of(tar).ToString(); }

  TemporaryDirectory directory_;
  ScriptedRegistry registry_;
  std::unique_ptr<WorkerStore> worker_store_;
  std::unique_ptr<ImageStore> store_;
  const std::string one_ = Tar("one"), two_ = Tar("two");
};

TEST_F(HostileImagesTest, FewerDiffIdsThanLayers) {
  ScriptedImage image = ImageOf({one_, two_});
  image.diff_ids = {IdOf(one_)};
  ExpectRefused(image, {"1 diff_ids", "2 layers"});
}

TEST_F(HostileImagesTest, MoreDiffIdsThanLayers) {
  ScriptedImage image = ImageOf({one_});
  image.diff_ids = {IdOf(one_), IdOf(two_)};
  ExpectRefused(image, {"2 diff_ids", "1 layers"});
}

TEST_F(HostileImagesTest, DiffIdsInAnotherOrder) {
  ScriptedImage image = ImageOf({one_, two_});
  image.diff_ids = {IdOf(two_), IdOf(one_)};
  ExpectRefused(image, {"layer sha256:"});
}

TEST_F(HostileImagesTest, ALayerOfAnotherCompressionThanItsMediaType) {
  ScriptedImage image = ImageOf({one_});
  image.layer_types = {"application/vnd.oci.image.layer.v1.tar+zstd"};
  ExpectRefused(image, {"zstd", "gzip"});
}

TEST_F(HostileImagesTest, AConfigForAnotherArchitecture) {
  ScriptedImage image = ImageOf({one_});
  image.architecture = "s390x";
  ExpectRefused(image, {"linux/s390x", "this host runs"});
}

TEST_F(HostileImagesTest, TheSameLayerTwiceIsFetchedOnce) {
  const Result<ImageRecord> record = Pull(ImageOf({one_, one_}));
  ASSERT_TRUE(record) << record.error().message;
  EXPECT_EQ(record->layers.size(), 2u);
  EXPECT_EQ(registry_.CountRequests("GET", Sha256Of(ImageOf({one_}).layers[0]).ToString()), 1);
}

}  // namespace
}  // namespace caisson::image
