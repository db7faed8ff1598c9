// SPDX-License-Identifier: Apache-2.0
// CancelOnInterrupt: while it lives, the first Ctrl-C (SIGINT) or SIGTERM asks the daemon to cancel the job that this
// program follows, and the program goes on to report the end. After the first the default action is back: a second one
// ends the program and leaves the job. A signal that was ignored when the program started stays ignored. One thread of
// its own; created before any other thread, as the signals must be blocked in all of them.
#pragma once

#include <signal.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/fd.h"
#include "base/result.h"
#include "cli/api_client.h"
#include "cli/console.h"

namespace caisson::cli {

class CancelOnInterrupt {
 public:
  static Result<std::unique_ptr<CancelOnInterrupt>> Start(Endpoint endpoint, Identity identity, const Console& console);
  ~CancelOnInterrupt();
  CancelOnInterrupt(const CancelOnInterrupt&) = delete;
  CancelOnInterrupt& operator=(const CancelOnInterrupt&) = delete;

  // The submit was answered: an interrupt that came before is acted on now.
  void JobIs(const std::string& id);
  bool interrupted() const { return interrupted_.load(); }

 private:
  CancelOnInterrupt(Endpoint endpoint, Identity identity, const Console& console)
      : client_(std::move(endpoint), std::move(identity)), console_(console) {}
  void Run();
  bool WaitForSignal();
  void Cancel();

  ApiClient client_;  // the thread's
  const Console console_;
  sigset_t signals_{};
  sigset_t old_mask_{};
  Fd signal_fd_;
  Fd stop_fd_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string job_id_;  // guarded by mutex_
  std::atomic<bool> stopping_ = false;
  std::atomic<bool> interrupted_ = false;
  std::thread thread_;
};

}  // namespace caisson::cli
