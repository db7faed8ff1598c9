// SPDX-License-Identifier: Apache-2.0
#include "executor/memory_budget.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace caisson::executor {
namespace {

bool Never() { return false; }

bool AtOnce() { return true; }

TEST(MemoryBudgetTest, WhatDoesNotFitWaitsUntilSomethingIsGivenBack) {
  MemoryBudget budget(100);
  auto first = std::make_optional(budget.Take(60, Never));
  EXPECT_FALSE(budget.Take(41, AtOnce).has_value());
  EXPECT_TRUE(budget.Take(40, AtOnce).has_value());
  std::thread second([&] { EXPECT_TRUE(budget.Take(50, Never).has_value()); });
  first.reset();
  second.join();
  EXPECT_TRUE(budget.Take(100, AtOnce).has_value());
}

TEST(MemoryBudgetTest, WaitEndsWhenItIsGivenUp) {
  MemoryBudget budget(100);
  const auto all = budget.Take(100, AtOnce);
  std::atomic<bool> stop = false;
  std::thread waiter([&] { EXPECT_FALSE(budget.Take(1, [&] { return stop.load(); }).has_value()); });
  stop = true;
  budget.Wake();
  waiter.join();
}

TEST(MemoryBudgetTest, WithoutABoundEverythingFits) {
  MemoryBudget budget(0);
  EXPECT_TRUE(budget.CanEverHave(uint64_t{1} << 60));
  const auto one = budget.Take(uint64_t{1} << 60, Never);
  EXPECT_TRUE(budget.Take(uint64_t{1} << 60, Never).has_value());
}

TEST(MemoryBudgetTest, WhatIsLargerThanTheNodeNeverFits) { EXPECT_FALSE(MemoryBudget(100).CanEverHave(101)); }

}  // namespace
}  // namespace caisson::executor
