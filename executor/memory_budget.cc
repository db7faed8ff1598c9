// SPDX-License-Identifier: Apache-2.0
#include "executor/memory_budget.h"

#include <algorithm>

#include "base/check.h"

namespace caisson::executor {

MemoryBudget::Share::~Share() {
  if (!budget_) return;
  const std::lock_guard lock(budget_->mutex_);
  budget_->taken_ -= bytes_;
  budget_->changed_.notify_all();
}

std::optional<MemoryBudget::Share> MemoryBudget::Take(uint64_t bytes, const std::function<bool()>& given_up) {
  CHECK(CanEverHave(bytes));
  std::unique_lock lock(mutex_);
  const uint64_t ticket = ++last_ticket_;
  waiting_.push_back(ticket);
  bool fits = false;
  changed_.wait(lock, [&] {
    fits = waiting_.front() == ticket && (total_ == 0 || bytes <= total_ - taken_);
    return fits || given_up();
  });
  waiting_.erase(std::find(waiting_.begin(), waiting_.end(), ticket));
  changed_.notify_all();  // the next one's turn
  if (!fits) return std::nullopt;
  taken_ += bytes;
  return Share(*this, bytes);
}

void MemoryBudget::Wake() {
  const std::lock_guard lock(mutex_);
  changed_.notify_all();
}

}  // namespace caisson::executor
