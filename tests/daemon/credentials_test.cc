// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/encoding.h"
#include "base/io.h"
#include "daemon/service_credentials.h"
#include "queue/sqlite.h"
#include "tests/queue/temporary_directory.h"

namespace caisson::daemon {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr queue::TenantId kDefault{1}, kOther{2};
constexpr char kPassword[] = "correct horse battery";

class CredentialsTest : public ::testing::Test {
 protected:
  CredentialsTest() {
    const std::string path = directory_.file("store.db");
    { EXPECT_TRUE(queue::OpenSqliteStore({.path = path})); }
    EXPECT_TRUE(queue::Database::Open(path, 1000)
                    .value()
                    ->Execute("INSERT INTO tenants(id, name, created_at) VALUES(2, 'other', 1)"));
    store_ = queue::OpenSqliteStore({.path = path}).value();
    credentials_ = Make('a').value();
  }
  Result<std::unique_ptr<Credentials>> Make(char digit) {
    const std::string auth = R"({"auths":{"node.example":{"username":"node","password":"pw"},)"
                             R"("both.example":{"username":"node","password":"pw"}}})";
    return Credentials::Make(*store_, Secret(auth), Secret(std::string(64, digit)));
  }
  Result<api::RegistryLogin> Put(const std::string& registry, const std::string& user,
                                 const std::string& password = kPassword) {
    return credentials_->PutLogin(default_, registry, {user, Secret(password), Secret()});
  }
  std::string UserFor(const std::string& tenant, const std::string& repository) {
    const auto found = credentials_->Find(tenant, repository);
    return found ? found->username : found.error().message;
  }

  caisson::testing::TemporaryDirectory directory_;
  std::unique_ptr<queue::JobStore> store_;
  std::unique_ptr<Credentials> credentials_;
  const api::Tenant default_{kDefault, "default"}, other_{kOther, "other"};
};

TEST_F(CredentialsTest, TenantsOwnLoginGoesBeforeTheNodes) {
  ASSERT_TRUE(Put("both.example/team", "mine"));
  EXPECT_EQ(UserFor("default", "both.example/team/app"), "mine");
  EXPECT_EQ(UserFor("default", "both.example/teams"), "node");
  EXPECT_EQ(UserFor("other", "both.example/team/app"), "node");
  EXPECT_EQ(UserFor("default", "node.example/x"), "node");
  EXPECT_TRUE(credentials_->Find("default", "elsewhere.example/x")->anonymous());
  EXPECT_EQ(credentials_->Find("default", "both.example/team/app")->password.Expose(), kPassword);
}

TEST_F(CredentialsTest, LongestPrefixOfTheTenantsWins) {
  ASSERT_TRUE(Put("r.example", "host"));
  ASSERT_TRUE(Put("r.example/team", "team"));
  EXPECT_EQ(UserFor("default", "r.example/other"), "host");
  EXPECT_EQ(UserFor("default", "r.example/team/app"), "team");
}

TEST_F(CredentialsTest, IdentityTokenComesBackAsOne) {
  ASSERT_TRUE(credentials_->PutLogin(default_, "r.example", {"", Secret(), Secret("refresh")}));
  const auto found = credentials_->Find("default", "r.example/x");
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->identity_token.Expose(), "refresh");
  EXPECT_TRUE(found->password.empty());
}

TEST_F(CredentialsTest, ListHasNamesAndNoSecrets) {
  const auto stored = Put("https://index.docker.io/v1/", "me");
  ASSERT_TRUE(stored) << stored.error().message;
  EXPECT_EQ(stored->registry, "docker.io");
  EXPECT_GT(stored->created_at, 0);
  const auto logins = credentials_->ListLogins(default_).value();
  ASSERT_EQ(logins.size(), 1u);
  EXPECT_EQ(logins[0].registry, "docker.io");
  EXPECT_EQ(logins[0].username, "me");
  EXPECT_THAT(credentials_->ListLogins(other_).value(), IsEmpty());
}

TEST_F(CredentialsTest, SecretIsNowhereInTheStoresFiles) {
  ASSERT_TRUE(Put("r.example", "me"));
  for (const char* name : {"store.db", "store.db-wal"})
    EXPECT_THAT(ReadFile(directory_.file(name), 64 << 20).value(), Not(HasSubstr(kPassword))) << name;
}

TEST_F(CredentialsTest, DeletedLoginIsNotUsed) {
  ASSERT_TRUE(Put("r.example", "me"));
  EXPECT_EQ(credentials_->DeleteLogin(other_, "r.example").error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(credentials_->DeleteLogin(default_, "https://r.example/"));
  EXPECT_TRUE(credentials_->Find("default", "r.example/x")->anonymous());
  EXPECT_EQ(credentials_->DeleteLogin(default_, "r.example").error().code, ErrorCode::kNotFound);
}

TEST_F(CredentialsTest, LoginThatIsMovedOrSealedUnderAnotherKeyIsAnErrorNotAnonymous) {
  ASSERT_TRUE(Put("r.example", "me"));
  queue::RegistryLogin row = store_->FindRegistryLogin(kDefault, "r.example").value().value();
  ASSERT_TRUE(store_->PutRegistryLogin(kOther, row));
  const auto moved = credentials_->Find("other", "r.example/x");
  ASSERT_FALSE(moved);
  EXPECT_EQ(moved.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(moved.error().message, HasSubstr("caisson registry login r.example"));
  row.registry = "evil.example";
  ASSERT_TRUE(store_->PutRegistryLogin(kDefault, row));
  EXPECT_FALSE(credentials_->Find("default", "evil.example/x"));
  credentials_ = Make('b').value();
  EXPECT_FALSE(credentials_->Find("default", "r.example/x"));
}

TEST_F(CredentialsTest, LoginThatNoRegistryCouldTakeIsRefused) {
  EXPECT_EQ(Put("r.example", "").error().code, ErrorCode::kInvalid);
  EXPECT_EQ(Put("r.example", "a:b").error().code, ErrorCode::kInvalid);
  EXPECT_EQ(Put("r.example", "a\nb").error().code, ErrorCode::kInvalid);
  EXPECT_EQ(Put("r.example", "me", "").error().code, ErrorCode::kInvalid);
  EXPECT_EQ(Put("nohost", "me").error().code, ErrorCode::kInvalid);
  EXPECT_EQ(Put("r.example", "me", std::string(17 << 10, 'x')).error().code, ErrorCode::kTooLarge);
  EXPECT_FALSE(credentials_->PutLogin(default_, "r.example", {"me", Secret("a"), Secret("b")}));
  EXPECT_THAT(credentials_->ListLogins(default_).value(), IsEmpty());
}

TEST_F(CredentialsTest, WhatCannotBeReadIsSaidWithoutItsText) {
  const auto damaged = Credentials::Make(*store_, Secret("{\"auths\": hunter2}"), Secret(std::string(64, 'a')));
  ASSERT_FALSE(damaged);
  EXPECT_THAT(damaged.error().message, HasSubstr("auth_file"));
  EXPECT_THAT(damaged.error().message, Not(HasSubstr("hunter2")));
  EXPECT_THAT(Credentials::Make(*store_, Secret(), Secret("xyz")).error().message,
              ::testing::AllOf(HasSubstr("node_key_file"), Not(HasSubstr("xyz"))));
}

}  // namespace
}  // namespace caisson::daemon
