// SPDX-License-Identifier: Apache-2.0
// WorkerPool: threads for calls that block (store, logs, images), so that the loop never does. A thread is started
// when work comes and none is free, up to `max_threads`, and then kept: the store commits waiting submits together, so
// many that wait are cheap, and a daemon that is asked little has few. Owned by the server; Run() is safe on any
// thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace caisson::api {

class WorkerPool {
 public:
  WorkerPool(size_t max_threads, size_t max_waiting) : max_threads_(max_threads), max_waiting_(max_waiting) {}
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;
  ~WorkerPool() { Stop(); }

  // False when `max_waiting` calls wait already, or after Stop(): the caller says 503.
  [[nodiscard]] bool Run(std::function<void()> work);

  // Finishes what was accepted, then joins the threads.
  void Stop();

 private:
  bool StartThread();
  void Serve();

  const size_t max_threads_;
  const size_t max_waiting_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;  // guarded by mutex_, as all below
  std::vector<std::thread> threads_;
  size_t idle_ = 0;
  bool stopping_ = false;
};

}  // namespace caisson::api
