// SPDX-License-Identifier: Apache-2.0
// ChangeFeed: who wants to know that a job changed. Any thread; callbacks run on the thread that reports the change.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "queue/job.h"

namespace caisson::api {

class ChangeFeed : public std::enable_shared_from_this<ChangeFeed> {
 public:
  // `notify` must be quick and is called until the handle is destroyed. Never from inside Subscribe().
  std::shared_ptr<void> Subscribe(const queue::JobId& id, std::function<void()> notify);
  void Report(const queue::JobId& id);

 private:
  struct Subscription;
  std::mutex mutex_;
  std::multimap<queue::JobId, Subscription*> subscriptions_;  // guarded by mutex_
};

}  // namespace caisson::api
