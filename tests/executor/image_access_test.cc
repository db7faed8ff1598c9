// SPDX-License-Identifier: Apache-2.0
// Rights and pulls together: what opens the cache, and what a name means.
#include "executor/image_access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/executor/fakes.h"
#include "tests/queue/temporary_directory.h"

namespace caisson::executor {
namespace {

using image::PullPolicy;
using testing::DigestOf;
using ::testing::ElementsAre;

constexpr queue::TenantId kTenant{1};

class ImageAccessTest : public ::testing::Test {
 protected:
  Result<BroughtImage> Bring(PullPolicy policy, bool imports_win = true, std::optional<Digest> pinned = {}) {
    return access_.Bring(
        {.tenant = kTenant, .reference = "host/app:1", .pinned = pinned, .policy = policy, .imports_win = imports_win},
        {.tenant = "default"});
  }

  testing::TemporaryDirectory directory_;
  std::unique_ptr<queue::JobStore> jobs_ = queue::OpenSqliteStore({.path = directory_.file("db")}).value();
  testing::FakeImages images_;
  ImageAccess access_{*jobs_, images_};
};

TEST_F(ImageAccessTest, OnlyAStoredRightOpensTheCacheAndAPullMakesOne) {
  images_.record.manifest = DigestOf('b');  // through the index a
  images_.record.index = DigestOf('a');
  ASSERT_TRUE(Bring(PullPolicy::kAlways));
  ASSERT_TRUE(Bring(PullPolicy::kAlways));
  EXPECT_THAT(images_.pulls(), ElementsAre(false, true));
  EXPECT_TRUE(jobs_->MayUseImage(kTenant, "docker.io/host/app", DigestOf('b')).value());
}

TEST_F(ImageAccessTest, NameOfAnImportIsTheImportUnderEveryPolicy) {
  images_.tag = image::RememberedTag{.digest = DigestOf('a'), .imported = true};
  ASSERT_TRUE(Bring(PullPolicy::kAlways));
  ASSERT_TRUE(Bring(PullPolicy::kIfMissing));
  ASSERT_TRUE(Bring(PullPolicy::kAlways, /*imports_win=*/false));
  EXPECT_THAT(images_.policies(), ElementsAre(PullPolicy::kNever, PullPolicy::kNever, PullPolicy::kAlways));
}

TEST_F(ImageAccessTest, PolicyOfTheCallerHoldsForOtherNames) {
  images_.tag = image::RememberedTag{.digest = DigestOf('a')};
  ASSERT_TRUE(Bring(PullPolicy::kAlways));
  ASSERT_TRUE(Bring(PullPolicy::kIfMissing));
  EXPECT_THAT(images_.policies(), ElementsAre(PullPolicy::kAlways, PullPolicy::kIfMissing));
}

TEST_F(ImageAccessTest, DigestOfAnEarlierAttemptIsPulledWithoutAskingForTheTag) {
  ASSERT_TRUE(Bring(PullPolicy::kAlways, true, DigestOf('a')));
  EXPECT_EQ(images_.resolves(), 0);
  EXPECT_THAT(images_.pulled_digests(), ElementsAre(DigestOf('a')));
}

TEST_F(ImageAccessTest, NothingIsGrantedForAPullThatFails) {
  images_.on_pull = [](const image::ResolvedReference&, bool, const image::PullContext&) -> Result<void> {
    return Fail(ErrorCode::kExhausted, "the disk is full");
  };
  EXPECT_EQ(Bring(PullPolicy::kAlways).error().code, ErrorCode::kExhausted);
  EXPECT_TRUE(jobs_->ImageGrants(kTenant).value().empty());
}

}  // namespace
}  // namespace caisson::executor
