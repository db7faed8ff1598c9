// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/service_images.h"
#include "queue/sqlite.h"
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

  std::vector<Digest> removed, forgotten;
  std::vector<std::pair<std::string, Digest>> names;
  bool in_use = false;

  Result<std::vector<image::ImageRecord>> List() override { return records; }
  Result<std::optional<image::ImageRecord>> Find(const Digest& digest) override {
    for (const image::ImageRecord& record : records)
      if (record.manifest == digest || record.index == digest) return std::optional(record);
    return std::optional<image::ImageRecord>();
  }
  Result<std::optional<image::RememberedTag>> FindTag(const std::string&, const std::string&) override {
    return std::optional<image::RememberedTag>();
  }
  Result<std::vector<std::pair<std::string, Digest>>> Names(const std::string& tenant) override {
    return tenant == "default" ? names : std::vector<std::pair<std::string, Digest>>();
  }
  Result<image::CollectReport> Remove(const Digest& digest) override {
    if (in_use) return Fail(ErrorCode::kConflict, "a job runs from it");
    removed.push_back(digest);
    return image::CollectReport{.images = 1};
  }
  Result<void> ForgetTags(const std::string&, const std::vector<Digest>& digests) override {
    forgotten = digests;
    return {};
  }
  Result<std::vector<Digest>> MissingBlobs(const image::ImportRequest&) override { return std::vector<Digest>(); }
  Result<image::ImageRecord> Import(const image::ImportRequest& request, const image::PullContext&) override {
    TRY(request.on_record(records[0]));
    return records[0];
  }
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
  // With a second tenant.
  std::unique_ptr<queue::JobStore> OpenJobs() {
    const std::string path = directory_.path() + "/db";
    queue::OpenSqliteStore({.path = path}).value().reset();
    EXPECT_TRUE(queue::Database::Open(path, 1000)
                    .value()
                    ->Execute("INSERT INTO tenants(id, name, created_at) VALUES(2, 'other', 1)"));
    return queue::OpenSqliteStore({.path = path}).value();
  }
  std::vector<std::string> References(const api::Tenant& tenant) {
    std::vector<std::string> references;
    const std::vector<api::ImageSummary> images = images_.ListImages(tenant).value();
    for (const api::ImageSummary& image : images) references.push_back(image.reference);
    return references;
  }

  testing::TemporaryDirectory directory_;
  std::unique_ptr<queue::JobStore> jobs_ = OpenJobs();
  FakeImageStore store_;
  Images images_{store_, *jobs_};
};

TEST_F(ImagesTest, TenantSeesOnlyWhatItHadARightTo) {
  AddRecord("host/mine", "1", 'a');
  AddRecord("host/secret-project", "1", 'b');
  ASSERT_TRUE(jobs_->GrantImage(kDefault, "host/mine", DigestOf('a')));
  EXPECT_THAT(References({kDefault, "default"}), ElementsAre("host/mine@" + DigestOf('a').ToString()));
  EXPECT_THAT(References({kOther, "other"}), IsEmpty());
}

TEST_F(ImagesTest, NameUnderWhichAnotherTenantPulledItIsNotShown) {
  AddRecord("host/secret-project", "1", 'a');
  ASSERT_TRUE(jobs_->GrantImage(kDefault, "host/mine", DigestOf('a')));
  EXPECT_THAT(References({kDefault, "default"}), ElementsAre("host/mine@" + DigestOf('a').ToString()));
}

// A registry of anybody may say that a tag of its own means this digest.
TEST_F(ImagesTest, EveryNameOfTheTenantIsShownAndNoneThatGaveNoRight) {
  AddRecord("h.example/mine", "1", 'a');
  store_.records[0].index = DigestOf('b');
  ASSERT_TRUE(jobs_->GrantImage(kDefault, "h.example/mine", DigestOf('a')));
  ASSERT_TRUE(jobs_->GrantImage(kDefault, "h.example/mine", DigestOf('b')));
  store_.names = {
      {"h.example/mine:2", DigestOf('b')}, {"h.example/mine:1", DigestOf('a')}, {"evil.host/mine:1", DigestOf('a')}};
  const auto images = images_.ListImages({kDefault, "default"});
  ASSERT_TRUE(images) << images.error().message;
  ASSERT_EQ(images->size(), 1u);
  EXPECT_EQ(images->front().reference, "h.example/mine:1");
  EXPECT_THAT(images->front().names, ElementsAre("h.example/mine:1", "h.example/mine:2"));
}

TEST_F(ImagesTest, FirstDigitsOfADigestAreEnoughWhereTheyMeanOneImage) {
  AddRecord("host/mine", "1", 'a');
  ASSERT_TRUE(jobs_->GrantImage(kDefault, "host/mine", DigestOf('a')));
  const api::Tenant mine{kDefault, "default"};
  EXPECT_TRUE(images_.Inspect(mine, "sha256:aaaaaaaaaaaa"));
  EXPECT_EQ(images_.Inspect(mine, "sha256:bbbbbbbbbbbb").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(images_.Inspect(mine, "sha256:aaaa").error().code, ErrorCode::kInvalid);
  EXPECT_EQ(images_.Inspect({kOther, "other"}, "sha256:aaaaaaaaaaaa").error().code, ErrorCode::kNotFound);
}

TEST_F(ImagesTest, DataGoesWithTheLastRight) {
  AddRecord("host/app", "1", 'a');
  const std::string image = DigestOf('a').ToString();
  const api::Tenant mine{kDefault, "default"}, other{kOther, "other"};
  ASSERT_TRUE(jobs_->GrantImage(kDefault, "host/app", DigestOf('a')));
  ASSERT_TRUE(jobs_->GrantImage(kOther, "host/app", DigestOf('a')));
  ASSERT_TRUE(images_.Remove(mine, image));
  EXPECT_THAT(store_.removed, IsEmpty());
  EXPECT_THAT(store_.forgotten, ElementsAre(DigestOf('a')));
  EXPECT_EQ(images_.Remove(mine, image).error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(images_.Remove(other, image));
  EXPECT_THAT(store_.removed, ElementsAre(DigestOf('a')));
}

TEST_F(ImagesTest, ImageThatAJobRunsFromKeepsItsRight) {
  AddRecord("host/app", "1", 'a');
  ASSERT_TRUE(jobs_->GrantImage(kDefault, "host/app", DigestOf('a')));
  store_.in_use = true;
  EXPECT_EQ(images_.Remove({kDefault, "default"}, DigestOf('a').ToString()).error().code, ErrorCode::kConflict);
  EXPECT_TRUE(jobs_->MayUseImage(kDefault, "host/app", DigestOf('a')).value());
}

TEST_F(ImagesTest, TenantWithoutARightLearnsNothingOfAnImage) {
  AddRecord("host/app", "1", 'a');
  const api::Tenant other{kOther, "other"};
  const std::string image = DigestOf('a').ToString();
  EXPECT_EQ(images_.Inspect(other, image).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(images_.Remove(other, image).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(images_.Verify(other, image, true, {}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(images_.Export(other, image, {}, {}).error().code, ErrorCode::kNotFound);
}

TEST_F(ImagesTest, ImportIsHeldForGood) {
  AddRecord("docker.io/local/app", "1", 'a');
  const auto imported = images_.Import({kDefault, "default"}, {.reference = "local/app:1", .manifest = "{}"}, {});
  ASSERT_TRUE(imported) << imported.error().message;
  const std::vector<queue::ImageGrant> grants = jobs_->ImageGrants(kDefault).value();
  ASSERT_EQ(grants.size(), 1u);
  EXPECT_TRUE(grants[0].permanent);
  EXPECT_EQ(grants[0].repository, "docker.io/local/app");
}

}  // namespace
}  // namespace caisson::daemon
