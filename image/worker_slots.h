// SPDX-License-Identifier: Apache-2.0
// WorkerSlots bounds the store workers that the service has at once, each of which may take memory and a core: so many
// on the node, and no more than a share of them for one tenant, so that no tenant's pulls keep out another's. Safe on
// any thread; outlives its slots.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "base/result.h"

namespace caisson::image {

class WorkerSlots {
 public:
  WorkerSlots(int total, int of_tenant) : total_(total), of_tenant_(of_tenant) {}

  class Slot {
   public:
    Slot(Slot&& other) noexcept : slots_(std::exchange(other.slots_, nullptr)), tenant_(std::move(other.tenant_)) {}
    Slot& operator=(Slot&&) = delete;
    ~Slot();

   private:
    friend class WorkerSlots;
    Slot(WorkerSlots* slots, std::string tenant) : slots_(slots), tenant_(std::move(tenant)) {}
    WorkerSlots* slots_;
    std::string tenant_;
  };
  // Waits for one; kCancelled when `cancelled` (may be null) becomes true meanwhile.
  Result<Slot> Take(const std::string& tenant, const std::atomic<bool>* cancelled);

 private:
  const int total_, of_tenant_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int taken_ = 0;
  std::map<std::string, int> by_tenant_;
};

}  // namespace caisson::image
