// SPDX-License-Identifier: Apache-2.0
// Exits: reports of ended sandboxes on their way from the launcher's event thread to the attempts that wait for them. A
// report may come before the launch's own reply has reached its thread, so unknown ones are kept while a launch is in
// flight. Safe on any thread.
#pragma once

#include <sys/eventfd.h>

#include <map>
#include <mutex>
#include <optional>

#include "sandbox/launcher_client.h"
#include "sandbox/spec.h"

namespace caisson::executor {

class Exits {
 public:
  void Report(sandbox::SandboxHandle handle, sandbox::ExitReport report) {
    const std::lock_guard lock(mutex_);
    const auto waiter = waiters_.find(handle.value);
    if (waiter == waiters_.end() && in_flight_ == 0) return;  // of a service before us
    reports_[handle.value] = std::move(report);
    if (waiter != waiters_.end()) ::eventfd_write(waiter->second, 1);
  }

  void BeginLaunch() {
    const std::lock_guard lock(mutex_);
    ++in_flight_;
  }
  // `handle`: what was launched, whose exit is to be written to `eventfd` (borrowed until Take()); none where it
  // failed.
  void EndLaunch(std::optional<sandbox::SandboxHandle> handle, int eventfd) {
    const std::lock_guard lock(mutex_);
    --in_flight_;
    if (handle) {
      waiters_[handle->value] = eventfd;
      if (reports_.contains(handle->value)) ::eventfd_write(eventfd, 1);
    }
    if (in_flight_ > 0) return;
    std::erase_if(reports_, [&](const auto& entry) { return !waiters_.contains(entry.first); });
  }

  // Ends the wait. Nothing where no report has come.
  std::optional<sandbox::ExitReport> Take(sandbox::SandboxHandle handle) {
    const std::lock_guard lock(mutex_);
    waiters_.erase(handle.value);
    const auto found = reports_.find(handle.value);
    if (found == reports_.end()) return std::nullopt;
    sandbox::ExitReport report = std::move(found->second);
    reports_.erase(found);
    return report;
  }

 private:
  std::mutex mutex_;
  int in_flight_ = 0;
  std::map<uint64_t, int> waiters_;  // handle to eventfd
  std::map<uint64_t, sandbox::ExitReport> reports_;
};

}  // namespace caisson::executor
