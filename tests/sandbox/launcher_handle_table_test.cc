// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/handle_table.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace caisson::sandbox {
namespace {

using Table = HandleTable<std::string>;

uint64_t Add(Table& table, const char* text) { return table.Insert(std::make_unique<std::string>(text)); }

TEST(HandleTableTest, AHandleFindsWhatItWasGivenFor) {
  Table table(10);
  const uint64_t a = Add(table, "a");
  const uint64_t b = Add(table, "b");
  EXPECT_EQ(*table.Find(a), "a");
  EXPECT_EQ(*table.Find(b), "b");
  EXPECT_EQ(table.size(), 2U);
}

TEST(HandleTableTest, AClosedHandleNeverNamesItsSuccessor) {
  Table table(10);
  std::set<uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t handle = Add(table, "x");
    EXPECT_TRUE(seen.insert(handle).second);
    EXPECT_TRUE(table.Take(handle));
    EXPECT_EQ(table.Find(handle), nullptr);
    EXPECT_FALSE(table.Take(handle));
  }
}

TEST(HandleTableTest, NumbersThatWereNeverGivenOutFindNothing) {
  Table table(10);
  const uint64_t handle = Add(table, "x");
  for (const uint64_t guess : std::vector<uint64_t>{0, ~0ULL, handle + 1, handle + (1ULL << 32), handle & 0xffffffff})
    EXPECT_EQ(table.Find(guess), nullptr) << guess;
}

TEST(HandleTableTest, AFullTableTakesNothingMore) {
  Table table(2);
  const uint64_t first = Add(table, "a");
  EXPECT_NE(Add(table, "b"), 0U);
  EXPECT_TRUE(table.full());
  EXPECT_EQ(Add(table, "c"), 0U);
  EXPECT_TRUE(table.Take(first));
  EXPECT_NE(Add(table, "c"), 0U);
}

TEST(HandleTableTest, HandlesListsWhatIsThere) {
  Table table(5);
  const uint64_t a = Add(table, "a");
  const uint64_t b = Add(table, "b");
  const uint64_t c = Add(table, "c");
  EXPECT_TRUE(table.Take(b));
  EXPECT_EQ(table.Handles(), (std::vector<uint64_t>{a, c}));
}

}  // namespace
}  // namespace caisson::sandbox
