// SPDX-License-Identifier: Apache-2.0
// MemoryBudget: the memory that a node's jobs may be given together. A job starts once what it may use at most fits
// beside what runs, in the order of asking, so that no job can make the kernel take memory back from another tenant's.
// Owned by the executor; safe on any thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>

namespace caisson::executor {

class MemoryBudget {
 public:
  explicit MemoryBudget(uint64_t total_bytes) : total_(total_bytes) {}  // 0: without bound

  // Memory that is taken as long as it lives. Move-only.
  class Share {
   public:
    Share(Share&& other) noexcept : budget_(std::exchange(other.budget_, nullptr)), bytes_(other.bytes_) {}
    Share& operator=(Share&&) = delete;
    ~Share();

   private:
    friend class MemoryBudget;
    Share(MemoryBudget& budget, uint64_t bytes) : budget_(&budget), bytes_(bytes) {}
    MemoryBudget* budget_;
    uint64_t bytes_;
  };

  bool CanEverHave(uint64_t bytes) const { return total_ == 0 || bytes <= total_; }
  uint64_t total() const { return total_; }

  // Blocks until `bytes` fit (they must be able to, ever); nothing once they do not and `given_up()` says so, which is
  // asked at once and after each Wake().
  std::optional<Share> Take(uint64_t bytes, const std::function<bool()>& given_up);
  void Wake();

 private:
  const uint64_t total_;
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t taken_ = 0;
  uint64_t last_ticket_ = 0;
  std::deque<uint64_t> waiting_;  // tickets, first come first
};

}  // namespace caisson::executor
