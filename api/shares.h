// SPDX-License-Identifier: Apache-2.0
// Shares: how many of something may be under way at once, of which one tenant gets at most half: nobody locks the
// others out. Any thread.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>

#include "queue/job.h"

namespace caisson::api {

class Shares {
 public:
  explicit Shares(size_t most) : most_(most) {}

  // False: there are none left, or none for this tenant.
  bool Take(queue::TenantId tenant) {
    const std::lock_guard lock(mutex_);
    const auto found = taken_by_.find(tenant);
    const size_t of_tenant = found == taken_by_.end() ? 0 : found->second;
    if (taken_ >= most_ || of_tenant >= (most_ + 1) / 2) return false;
    ++taken_;
    taken_by_[tenant] = of_tenant + 1;
    return true;
  }
  void Return(queue::TenantId tenant) {
    const std::lock_guard lock(mutex_);
    --taken_;
    if (--taken_by_[tenant] == 0) taken_by_.erase(tenant);
  }
  size_t most() const { return most_; }

 private:
  const size_t most_;
  std::mutex mutex_;
  size_t taken_ = 0;  // these are guarded by mutex_
  std::map<queue::TenantId, size_t> taken_by_;
};

}  // namespace caisson::api
