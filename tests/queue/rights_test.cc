// SPDX-License-Identifier: Apache-2.0
#include "queue/rights.h"

#include <gtest/gtest.h>

#include "queue/schema.h"
#include "tests/queue/temporary_directory.h"

namespace caisson::queue {
namespace {

constexpr TenantId kDefault{1}, kOther{2};

Digest DigestOf(char digit) { return Digest::Parse("sha256:" + std::string(64, digit)).value(); }

TEST(RightsTest, RightsOfATenantAreBoundedAndTheOldestEndFirst) {
  const caisson::testing::TemporaryDirectory directory;
  const auto database = Database::Open(directory.file("store.db"), 1000).value();
  ASSERT_TRUE(MigrateSchema(*database, "store.db", 1));
  ASSERT_TRUE(database->Execute("INSERT INTO tenants(id, name, created_at) VALUES(2, 'other', 1)"));
  Transaction transaction{*database, 0, 0, {}};
  auto grant = [&, now = UnixMillis{0}](char digit, bool permanent = false, TenantId tenant = kDefault) mutable {
    ASSERT_TRUE(StoreImageGrant(transaction, tenant, {"host/a", DigestOf(digit), ++now, permanent}, 3));
  };
  const auto has = [&](char digit, TenantId tenant = kDefault) {
    return HasImageGrant(*database, tenant, "host/a", DigestOf(digit), 0).value();
  };
  grant('9', false, kOther);
  grant('a', true);
  grant('b');
  grant('c');
  grant('b');
  grant('d');
  EXPECT_TRUE(has('a')) << "permanent";
  EXPECT_TRUE(has('b')) << "granted anew";
  EXPECT_FALSE(has('c')) << "the oldest";
  EXPECT_TRUE(has('d'));
  EXPECT_TRUE(has('9', kOther)) << "another tenant's";
}

}  // namespace
}  // namespace caisson::queue
