// SPDX-License-Identifier: Apache-2.0
// The part of the contract about rights to images and logins at registries.
#include "tests/queue/job_store_fixture.h"

namespace caisson::queue {
namespace {

constexpr char kRepository[] = "host/app";

TEST_P(JobStoreTest, PermanentImageGrantOutlivesTheDayAndALaterOrdinaryOne) {
  ASSERT_TRUE(store_->GrantImage(kDefault, kRepository, DigestOf('a'), true));
  ASSERT_TRUE(store_->GrantImage(kDefault, kRepository, DigestOf('a')));
  clock_.Advance(hours(24 * 400));
  EXPECT_TRUE(store_->MayUseImage(kDefault, kRepository, DigestOf('a')).value());
  EXPECT_EQ(store_->PruneImageGrants().value(), 0);
  const std::vector<ImageGrant> grants = store_->ImageGrants(kDefault).value();
  ASSERT_EQ(grants.size(), 1u);
  EXPECT_TRUE(grants[0].permanent);
  EXPECT_LT(grants[0].granted_at, clock_.NowMs());
}

TEST_P(JobStoreTest, RevokedImageIsOfNoUseToItsTenantAlone) {
  const TenantId other = AddTenant("other");
  ASSERT_TRUE(store_->GrantImage(kDefault, "host/a", DigestOf('a'), true));
  ASSERT_TRUE(store_->GrantImage(kDefault, "host/b", DigestOf('a')));
  ASSERT_TRUE(store_->GrantImage(kDefault, "host/a", DigestOf('b')));
  ASSERT_TRUE(store_->GrantImage(other, "host/a", DigestOf('a')));
  EXPECT_EQ(store_->ImageHolders(DigestOf('a')).value(), 2);
  EXPECT_EQ(store_->RevokeImage(kDefault, DigestOf('a')).value(), 2);
  EXPECT_EQ(store_->RevokeImage(kDefault, DigestOf('a')).value(), 0);
  EXPECT_FALSE(store_->MayUseImage(kDefault, "host/a", DigestOf('a')).value());
  EXPECT_FALSE(store_->MayUseImage(kDefault, "host/b", DigestOf('a')).value());
  EXPECT_TRUE(store_->MayUseImage(kDefault, "host/a", DigestOf('b')).value());
  EXPECT_TRUE(store_->MayUseImage(other, "host/a", DigestOf('a')).value());
  EXPECT_EQ(store_->ImageHolders(DigestOf('a')).value(), 1);
}

TEST_P(JobStoreTest, ImageHoldersAreThoseWhoseRightLasts) {
  const TenantId other = AddTenant("other");
  ASSERT_TRUE(store_->GrantImage(kDefault, "host/a", DigestOf('a')));
  ASSERT_TRUE(store_->GrantImage(kDefault, "host/b", DigestOf('a')));
  ASSERT_TRUE(store_->GrantImage(other, "import@other", DigestOf('a'), true));
  EXPECT_EQ(store_->ImageHolders(DigestOf('a')).value(), 2);
  EXPECT_EQ(store_->ImageHolders(DigestOf('b')).value(), 0);
  clock_.Advance(hours(25));
  EXPECT_EQ(store_->ImageHolders(DigestOf('a')).value(), 1);
}

TEST_P(JobStoreTest, EndedImageGrantIsForgottenAfterThirtyDays) {
  ASSERT_TRUE(store_->GrantImage(kDefault, "host/a", DigestOf('a')));
  clock_.Advance(hours(24 * 30));
  ASSERT_TRUE(store_->GrantImage(kDefault, "host/a", DigestOf('b')));
  EXPECT_EQ(store_->PruneImageGrants().value(), 0);
  clock_.Advance(hours(24));
  EXPECT_EQ(store_->PruneImageGrants().value(), 1);
  ASSERT_EQ(store_->ImageGrants(kDefault).value().size(), 1u);
  EXPECT_EQ(store_->ImageGrants(kDefault).value()[0].manifest, DigestOf('b'));
}

TEST_P(JobStoreTest, RegistryLoginsAreOfOneTenantAndReplaceTheirKind) {
  const TenantId other = AddTenant("other");
  const std::string sealed("\0\xff sealed", 9);
  ASSERT_TRUE(store_->PutRegistryLogin(kDefault, {"host/b", "me", "old", 0}));
  ASSERT_TRUE(store_->PutRegistryLogin(kDefault, {"host/b", "you", sealed, 0}));
  ASSERT_TRUE(store_->PutRegistryLogin(kDefault, {"host", "me", "x", 0}));
  ASSERT_TRUE(store_->PutRegistryLogin(other, {"host", "other", "y", 0}));
  const std::vector<RegistryLogin> logins = store_->ListRegistryLogins(kDefault).value();
  ASSERT_EQ(logins.size(), 2u);
  EXPECT_EQ(logins[0].registry, "host");
  EXPECT_EQ(logins[1].registry, "host/b");
  EXPECT_EQ(logins[1].username, "you");
  EXPECT_EQ(logins[1].sealed, sealed);
  EXPECT_EQ(logins[1].created_at, clock_.NowMs());
  EXPECT_EQ(store_->FindRegistryLogin(kDefault, "host/b").value()->username, "you");
  EXPECT_FALSE(store_->FindRegistryLogin(other, "host/b").value().has_value());
}

TEST_P(JobStoreTest, DeletedRegistryLoginIsGone) {
  const TenantId other = AddTenant("other");
  ASSERT_TRUE(store_->PutRegistryLogin(kDefault, {"host", "me", "x", 0}));
  EXPECT_CODE(store_->DeleteRegistryLogin(other, "host"), ErrorCode::kNotFound);
  EXPECT_TRUE(store_->DeleteRegistryLogin(kDefault, "host"));
  EXPECT_CODE(store_->DeleteRegistryLogin(kDefault, "host"), ErrorCode::kNotFound);
  EXPECT_TRUE(store_->ListRegistryLogins(kDefault).value().empty());
}

TEST_P(JobStoreTest, RegistryLoginsOfATenantAreBounded) {
  for (size_t i = 0; i < kMaxRegistryLogins; ++i)
    ASSERT_TRUE(store_->PutRegistryLogin(kDefault, {"host/" + std::to_string(i), "me", "x", 0}));
  EXPECT_CODE(store_->PutRegistryLogin(kDefault, {"one/more", "me", "x", 0}), ErrorCode::kExhausted);
  EXPECT_TRUE(store_->PutRegistryLogin(kDefault, {"host/0", "me", "changed", 0}));
}

TEST_P(JobStoreTest, ClaimBringsTheTenantsNameAndThePullPolicy) {
  const TenantId other = AddTenant("other");
  JobSpec spec;
  spec.pull_policy = "if-missing";
  Submit(spec, other);
  const Claim claim = ClaimOne();
  EXPECT_EQ(claim.tenant_name, "other");
  EXPECT_EQ(claim.spec.pull_policy, "if-missing");
}

}  // namespace
}  // namespace caisson::queue
