// SPDX-License-Identifier: Apache-2.0
// KeyLocks: one holder at a time for a name, among this process's threads and against an older service that is still
// ending (flock on a file a name, which the kernel releases when its process dies). Safe on any thread; outlives its
// locks.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace caisson::image {

class KeyLocks {
 public:
  explicit KeyLocks(std::string directory) : directory_(std::move(directory)) {}

  class Lock {
   public:
    Lock(Lock&& other) noexcept
        : locks_(std::exchange(other.locks_, nullptr)), name_(std::move(other.name_)), file_(std::move(other.file_)) {}
    Lock& operator=(Lock&&) = delete;
    ~Lock();

   private:
    friend class KeyLocks;
    Lock(KeyLocks* locks, std::string name, Fd file) : locks_(locks), name_(std::move(name)), file_(std::move(file)) {}
    KeyLocks* locks_;
    std::string name_;
    Fd file_;
  };

  // Waits for the name; kCancelled when `cancelled` (may be null) becomes true meanwhile.
  Result<Lock> Acquire(const std::string& name, const std::atomic<bool>* cancelled);

 private:
  Result<Fd> LockFile(const std::string& name, const std::atomic<bool>* cancelled);
  void Release(const std::string& name);

  const std::string directory_;
  std::mutex mutex_;
  std::condition_variable released_;
  std::set<std::string> held_;
};

}  // namespace caisson::image
