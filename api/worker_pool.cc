// SPDX-License-Identifier: Apache-2.0
#include "api/worker_pool.h"

#include <pthread.h>

#include <system_error>
#include <utility>

namespace caisson::api {

bool WorkerPool::Run(std::function<void()> work) {
  const std::lock_guard lock(mutex_);
  if (stopping_ || waiting_.size() >= max_waiting_) return false;
  waiting_.push_back(std::move(work));
  if (waiting_.size() > idle_ && threads_.size() < max_threads_ && !StartThread() && threads_.empty()) {
    waiting_.pop_back();
    return false;
  }
  changed_.notify_one();
  return true;
}

bool WorkerPool::StartThread() {
  try {
    threads_.emplace_back([this] { Serve(); });
    return true;
  } catch (const std::system_error&) {  // no more threads for this user: those that run go on
    return false;
  }
}

void WorkerPool::Serve() {
  ::pthread_setname_np(::pthread_self(), "api-worker");
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    --idle_;
    if (waiting_.empty()) return;
    std::function<void()> work = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    work();
    work = nullptr;  // what it holds is released here, outside the lock
    lock.lock();
  }
}

void WorkerPool::Stop() {
  std::vector<std::thread> threads;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    threads.swap(threads_);
  }
  changed_.notify_all();
  for (std::thread& thread : threads) thread.join();
}

}  // namespace caisson::api
