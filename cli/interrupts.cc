// SPDX-License-Identifier: Apache-2.0
#include "cli/interrupts.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "base/check.h"

namespace caisson::cli {
namespace {

// A shell starts background jobs of a script with SIGINT ignored, and nohup does so with others: whoever presses Ctrl-C
// then does not mean us.
bool IsIgnored(int signal) {
  struct sigaction action {};
  return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

Result<std::unique_ptr<CancelOnInterrupt>> CancelOnInterrupt::Start(Endpoint endpoint, Identity identity,
                                                                    const Console& console) {
  std::unique_ptr<CancelOnInterrupt> self(new CancelOnInterrupt(std::move(endpoint), std::move(identity), console));
  sigemptyset(&self->signals_);
  for (const int signal : {SIGINT, SIGTERM})
    if (!IsIgnored(signal)) sigaddset(&self->signals_, signal);
  CHECK(pthread_sigmask(SIG_BLOCK, &self->signals_, &self->old_mask_) == 0);
  self->signal_fd_ = Fd(signalfd(-1, &self->signals_, SFD_CLOEXEC | SFD_NONBLOCK));
  self->stop_fd_ = Fd(eventfd(0, EFD_CLOEXEC));
  if (!self->signal_fd_ || !self->stop_fd_) return FailErrno(errno, "watch for interrupts");
  self->thread_ = std::thread([raw = self.get()] { raw->Run(); });
  return self;
}

CancelOnInterrupt::~CancelOnInterrupt() {
  if (thread_.joinable()) {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    CHECK(eventfd_write(stop_fd_.get(), 1) == 0);
    thread_.join();
  }
  pthread_sigmask(SIG_SETMASK, &old_mask_, nullptr);
}

void CancelOnInterrupt::JobIs(const std::string& id) {
  {
    const std::lock_guard lock(mutex_);
    job_id_ = id;
  }
  changed_.notify_all();
}

void CancelOnInterrupt::Run() {
  if (!WaitForSignal()) return;
  interrupted_ = true;
  // From here on the signals have their default action, in this thread: the kernel picks it, since all others block.
  pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stopping_ || !job_id_.empty(); });
    if (stopping_) return;
  }
  Cancel();
  // This thread stays until the end: it is the one that a second signal can reach.
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return stopping_.load(); });
}

// False when the program comes to its end without one.
bool CancelOnInterrupt::WaitForSignal() {
  for (;;) {
    pollfd fds[] = {{signal_fd_.get(), POLLIN, 0}, {stop_fd_.get(), POLLIN, 0}};
    if (poll(fds, 2, -1) < 0) {
      CHECK(errno == EINTR);
      continue;
    }
    signalfd_siginfo info;
    if (fds[0].revents && read(signal_fd_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) return true;
    if (fds[1].revents) return false;
  }
}

void CancelOnInterrupt::Cancel() {
  console_.Say("cancelling job " + job_id_ + "; press Ctrl-C again to leave it behind");
  // A service that is being restarted comes back: the request must not be lost to that.
  for (std::chrono::milliseconds delay(100);; delay = std::min(delay * 2, std::chrono::milliseconds(2000))) {
    const Result<Json> answer = client_.Post("/v1/jobs/" + UrlEncode(job_id_) + "/cancel", "{}", &stopping_);
    if (answer || answer.error().code == ErrorCode::kCancelled) return;
    if (answer.error().code != ErrorCode::kUnavailable) return console_.Say("cannot cancel: " + answer.error().message);
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, delay, [&] { return stopping_.load(); })) return;
  }
}

}  // namespace caisson::cli
