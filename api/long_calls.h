// SPDX-License-Identifier: Apache-2.0
// LongCalls: threads for calls that take as long as a registry or a disk takes (pulls, exports), a bounded number of
// them, so that they never take the pool's threads away from calls that are quick. Owned by the handlers; safe on any
// thread.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <set>

#include "api/http_types.h"
#include "api/shares.h"
#include "api/worker_pool.h"

namespace caisson::api {

// What ends a long call before its time: the client went away, or the server stops. Any thread.
class CallToken {
 public:
  // `on_cancel` wakes the call where it may be asleep; it runs at most once.
  explicit CallToken(std::function<void()> on_cancel = {}) : on_cancel_(std::move(on_cancel)) {}
  void Cancel() {
    if (!cancelled_.exchange(true) && on_cancel_) on_cancel_();
  }
  const std::atomic<bool>* cancelled() const { return &cancelled_; }

 private:
  const std::function<void()> on_cancel_;
  std::atomic<bool> cancelled_{false};
};

class LongCalls {
 public:
  explicit LongCalls(size_t most) : shares_(most), pool_(most, most) {}
  ~LongCalls() { Stop(); }

  // False: as many as may be are under way; nothing ran.
  bool Start(queue::TenantId tenant, const std::shared_ptr<CallToken>& token, std::function<void()> work);
  // Cancels what runs and waits for its end.
  void Stop();

 private:
  void Ended(queue::TenantId tenant, const std::shared_ptr<CallToken>& token);

  Shares shares_;
  std::mutex mutex_;
  bool stopping_ = false;  // these are guarded by mutex_
  std::set<std::shared_ptr<CallToken>> running_;
  WorkerPool pool_;
};

// An answer that a long call will give. The call sets it; the session takes it, and cancels the call by dropping it
// untaken.
class PendingAnswer {
 public:
  explicit PendingAnswer(std::shared_ptr<CallToken> token) : token_(std::move(token)) {}
  void Set(Response response);
  // What the session waits for. Once; the call keeps its own reference to `pending`.
  static Response ResponseOf(const std::shared_ptr<PendingAnswer>& pending);

 private:
  class Waiting;
  const std::shared_ptr<CallToken> token_;
  std::mutex mutex_;
  std::optional<Response> response_;  // these are guarded by mutex_
  std::function<void()> notify_;
};

}  // namespace caisson::api
