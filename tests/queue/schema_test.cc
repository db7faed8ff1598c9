// SPDX-License-Identifier: Apache-2.0
// Files that older versions wrote are opened and keep what they hold.
#include "queue/schema.h"

#include <gtest/gtest.h>

#include "queue/sqlite.h"
#include "queue/store.h"
#include "tests/queue/schema_version_1.h"
#include "tests/queue/temporary_directory.h"

namespace caisson::queue {
namespace {

constexpr TenantId kDefault{1};

class SchemaTest : public ::testing::Test {
 protected:
  std::string path() const { return directory_.file("store.db"); }

  // As the first version made it, with one job, one token and one right.
  void WriteVersion1() {
    const auto database = Database::Open(path(), 1000).value();
    ASSERT_TRUE(database->Execute(kSchemaVersion1));
    const std::string rows =
        "INSERT INTO tenants(id, name, created_at) VALUES(1, 'default', 1);"
        "INSERT INTO tokens VALUES('tok_1', 1, x'00', 1);"
        "INSERT INTO jobs(id, tenant, state, queue_seq, max_attempts, retry_delay_seconds, created_at, spec) "
        "VALUES('0123456789abcdef01234567', 1, 2, 1, 1, 10, 5, '{\"image\":\"host/app:1\",\"command\":[\"true\"]}');"
        "INSERT INTO payloads VALUES(1, x'6869');"
        "INSERT INTO image_grants VALUES(1, 'host/app', 'sha256:" +
        std::string(64, 'a') +
        "', 4000000000000);"
        "INSERT INTO sequence VALUES('queue', 1);"
        "PRAGMA application_id=1129532977;"
        "PRAGMA user_version=1";
    ASSERT_TRUE(database->Execute(rows.c_str()));
  }

  caisson::testing::TemporaryDirectory directory_;
};

TEST_F(SchemaTest, FileOfTheFirstVersionKeepsItsJobsAndRights) {
  WriteVersion1();
  const auto store = OpenSqliteStore({.path = path()});
  ASSERT_TRUE(store) << store.error().message;
  const Digest digest = Digest::Parse("sha256:" + std::string(64, 'a')).value();
  EXPECT_TRUE((*store)->MayUseImage(kDefault, "host/app", digest).value());
  const std::vector<ImageGrant> grants = (*store)->ImageGrants(kDefault).value();
  ASSERT_EQ(grants.size(), 1u);
  EXPECT_FALSE(grants[0].permanent);
  const auto claim = (*store)->ClaimNext();
  ASSERT_TRUE(claim && *claim) << claim.error().message;
  EXPECT_EQ((*claim)->id.value, "0123456789abcdef01234567");
  EXPECT_EQ((*claim)->tenant_name, "default");
  EXPECT_EQ((*claim)->spec.image, "host/app:1");
  EXPECT_EQ((*claim)->spec.pull_policy, "");
  EXPECT_EQ((*store)->Payload((*claim)->id).value(), "hi");
  EXPECT_TRUE((*store)->PutRegistryLogin(kDefault, {"host", "me", "sealed", 0}));
}

TEST_F(SchemaTest, FileIsBroughtUpOnceAndStaysSo) {
  WriteVersion1();
  ASSERT_TRUE(OpenSqliteStore({.path = path()}));
  const auto again = OpenSqliteStore({.path = path()});
  EXPECT_TRUE(again) << again.error().message;
  const auto database = Database::Open(path(), 1000).value();
  Query version = database->Ask("PRAGMA user_version").value();
  ASSERT_TRUE(version.Next().value());
  EXPECT_EQ(version.Int(0), 2);
}

// What a new file gets and what an old one becomes must be the same, or a fault shows on old hosts alone.
TEST_F(SchemaTest, OldFileBecomesWhatANewOneIs) {
  const auto schema_of = [](const std::string& file) {
    const auto database = Database::Open(file, 1000).value();
    Query query =
        database->Ask("SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY 1").value();
    std::vector<std::string> rows;
    while (query.Next().value()) rows.push_back(query.Text(0));
    return rows;
  };
  WriteVersion1();
  ASSERT_TRUE(OpenSqliteStore({.path = path()}));
  ASSERT_TRUE(OpenSqliteStore({.path = directory_.file("new.db")}));
  EXPECT_EQ(schema_of(path()), schema_of(directory_.file("new.db")));
}

}  // namespace
}  // namespace caisson::queue
