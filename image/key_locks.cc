// SPDX-License-Identifier: Apache-2.0
#include "image/key_locks.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "base/io.h"

namespace caisson::image {
namespace {

constexpr std::chrono::milliseconds kLook{100};  // at `cancelled`, and at a file that another process holds

bool IsCancelled(const std::atomic<bool>* cancelled) { return cancelled && cancelled->load(); }

// Whether the path still is this file: its last holder may have removed it while we waited.
bool IsCurrent(int file, const std::string& path) {
  struct stat ours {
  }, there{};
  return ::fstat(file, &ours) == 0 && ::stat(path.c_str(), &there) == 0 && ours.st_ino == there.st_ino &&
         ours.st_dev == there.st_dev;
}

}  // namespace

KeyLocks::Lock::~Lock() {
  if (!locks_) return;
  ::unlink((locks_->directory_ + "/" + name_).c_str());  // while it is still locked: who waits sees that it is gone
  file_.reset();
  locks_->Release(name_);
}

Result<KeyLocks::Lock> KeyLocks::Acquire(const std::string& name, const std::atomic<bool>* cancelled) {
  {
    std::unique_lock lock(mutex_);
    while (held_.contains(name)) {
      if (IsCancelled(cancelled)) return Fail(ErrorCode::kCancelled, "cancelled");
      released_.wait_for(lock, kLook);
    }
    held_.insert(name);
  }
  Result<Fd> file = LockFile(name, cancelled);
  if (!file) {
    Release(name);
    return tl::unexpected(std::move(file).error());
  }
  return Lock(this, name, std::move(*file));
}

Result<Fd> KeyLocks::LockFile(const std::string& name, const std::atomic<bool>* cancelled) {
  const std::string path = directory_ + "/" + name;
  for (;;) {
    Fd file = TRY(OpenAt(AT_FDCWD, path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
    while (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK && errno != EINTR) return FailErrno(errno, "lock {}", path);
      if (IsCancelled(cancelled)) return Fail(ErrorCode::kCancelled, "cancelled");
      std::unique_lock lock(mutex_);
      released_.wait_for(lock, kLook);
    }
    if (IsCurrent(file.get(), path)) return file;
  }
}

void KeyLocks::Release(const std::string& name) {
  const std::lock_guard lock(mutex_);
  held_.erase(name);
  released_.notify_all();
}

}  // namespace caisson::image
