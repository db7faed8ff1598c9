// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/service_images.h"
#include "tests/image/fake_image_store.h"
#include "tests/queue/temporary_directory.h"

namespace caisson::daemon {
namespace {

using ::testing::ElementsAre, ::testing::IsEmpty;

constexpr queue::TenantId kDefault{1}, kOther{2};

Digest DigestOf(char digit) { return Digest::Parse("sha256:" + std::string(64, digit)).value(); }

// A cache with fixed content.
class FakeImageStore final : public testing::FakeImageStore {
 public:
  std::vector<image::ImageRecord> records;

  Result<std::vector<image::ImageRecord>> List() override { return records; }
};

class ImagesTest : public ::testing::Test {
 protected:
  void AddRecord(const std::string& repository, const std::string& tag, char digit) {
    image::ImageRecord record;
    record.repository = repository;
    record.manifest = record.index = DigestOf(digit);
    record.reference = repository + ":" + tag + "@" + record.manifest.ToString();
    store_.records.push_back(record);
  }
  std::vector<std::string> References(queue::TenantId tenant) {
    std::vector<std::string> references;
    const std::vector<api::ImageSummary> images = images_.ListImages(tenant).value();
    for (const api::ImageSummary& image : images) references.push_back(image.reference);
    return references;
  }

  testing::TemporaryDirectory directory_;
  std::unique_ptr<queue::JobStore> jobs_ = queue::OpenSqliteStore({.path = directory_.path() + "/db"}).value();
  FakeImageStore store_;
  Images images_{store_, *jobs_};
};

TEST_F(ImagesTest, TenantSeesOnlyWhatItHadARightTo) {
  AddRecord("host/mine", "1", 'a');
  AddRecord("host/secret-project", "1", 'b');
  ASSERT_TRUE(jobs_->GrantImage(kDefault, "host/mine", DigestOf('a')));
  EXPECT_THAT(References(kDefault), ElementsAre("host/mine:1@" + DigestOf('a').ToString()));
  EXPECT_THAT(References(kOther), IsEmpty());
}

TEST_F(ImagesTest, NameUnderWhichAnotherTenantPulledItIsNotShown) {
  AddRecord("host/secret-project", "1", 'a');
  ASSERT_TRUE(jobs_->GrantImage(kDefault, "host/mine", DigestOf('a')));
  EXPECT_THAT(References(kDefault), ElementsAre("host/mine@" + DigestOf('a').ToString()));
}

}  // namespace
}  // namespace caisson::daemon
