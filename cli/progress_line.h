// SPDX-License-Identifier: Apache-2.0
// ProgressLine: one line on a terminal that says what a job waits for (its turn, its image) until its first output or
// its end. Asks the API twice a second on a thread of its own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "cli/api_client.h"
#include "cli/console.h"
#include "cli/job_view.h"

namespace caisson::cli {

class ProgressLine {
 public:
  ProgressLine(Endpoint endpoint, Identity identity, const Console& console, std::string job_id);
  ~ProgressLine() { Stop(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // Clears the line for good. Returns when nothing more will be written. Idempotent; one thread calls it.
  void Stop();

 private:
  void Run();
  void Show(const std::string& text);

  ApiClient client_;  // the thread's
  const Console console_;
  const std::string job_id_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<bool> stopping_ = false;
  std::string shown_;  // the thread's; Stop() reads it after the join
  std::thread thread_;
};

// What the line says; empty once there is nothing to wait for.
std::string ProgressText(const JobView& job);

}  // namespace caisson::cli
