// SPDX-License-Identifier: Apache-2.0
#include "image/worker_slots.h"

#include <chrono>

namespace caisson::image {
namespace {
constexpr std::chrono::milliseconds kLookAtCaller{100};  // whether it has cancelled
}  // namespace

WorkerSlots::Slot::~Slot() {
  if (!slots_) return;
  const std::lock_guard lock(slots_->mutex_);
  --slots_->taken_;
  if (--slots_->by_tenant_[tenant_] == 0) slots_->by_tenant_.erase(tenant_);
  slots_->changed_.notify_all();
}

Result<WorkerSlots::Slot> WorkerSlots::Take(const std::string& tenant, const std::atomic<bool>* cancelled) {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (cancelled && cancelled->load()) return Fail(ErrorCode::kCancelled, "cancelled");
    const auto own = by_tenant_.find(tenant);
    if (taken_ < total_ && (own == by_tenant_.end() || own->second < of_tenant_)) break;
    changed_.wait_for(lock, kLookAtCaller);
  }
  ++taken_;
  ++by_tenant_[tenant];
  return Slot(this, tenant);
}

}  // namespace caisson::image
