// SPDX-License-Identifier: Apache-2.0
#include "executor/capture.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"

namespace caisson::executor {
namespace {

constexpr size_t kStepBytes = 64 << 10;  // what a pipe holds: one noisy stream waits for the other after each

}  // namespace

Result<Capture> Capture::Open(sandbox::Launched& launched, queue::LogWriter& log, LauncherPort& launcher) {
  Capture capture(log, launcher, launched.handle);
  capture.sources_[0] = {std::move(launched.stdout_pipe), sandbox::Stream::kStdout};
  capture.sources_[1] = {std::move(launched.stderr_pipe), sandbox::Stream::kStderr};
  capture.own_ = TRY_IN("capture output", MakePipe(O_NONBLOCK));
  capture.buffer_.resize(kStepBytes);
  return capture;
}

Result<void> Capture::CopyUntil(int exited) {
  for (;;) {
    pollfd ready[] = {{exited, POLLIN, 0}, {sources_[0].pipe.get(), POLLIN, 0}, {sources_[1].pipe.get(), POLLIN, 0}};
    if (::poll(ready, 3, -1) < 0 && errno != EINTR) return FailErrno(errno, "wait for output");
    if (ready[0].revents) return {};
    for (size_t i = 0; i < sources_.size(); ++i) {
      if (ready[i + 1].revents && TRY(Copy(sources_[i])) == Got::kEnd) sources_[i].pipe.reset();
    }
  }
}

Result<void> Capture::CopyRest(std::chrono::milliseconds wait) {
  const auto deadline = std::chrono::steady_clock::now() + wait;
  alone_ = true;
  while (sources_[0].pipe || sources_[1].pipe) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) {
      LogWarn("output_held_open", {{"sandbox", handle_.value}, {"effect", "what comes later is not kept"}});
      return {};
    }
    pollfd ready[] = {{sources_[0].pipe.get(), POLLIN, 0}, {sources_[1].pipe.get(), POLLIN, 0}};
    if (::poll(ready, 2, static_cast<int>(left.count())) < 0 && errno != EINTR)
      return FailErrno(errno, "wait for output");
    for (size_t i = 0; i < sources_.size(); ++i) {
      if (ready[i].revents && TRY(Copy(sources_[i])) == Got::kEnd) sources_[i].pipe.reset();
    }
  }
  return {};
}

// One step: what is in the pipe now, at most kStepBytes.
Result<Capture::Got> Capture::Copy(Source& source) {
  const bool full = log_->state().dropped > 0;
  const bool take = alone_ || full;
  const Got got = TRY(Fetch(source, take));
  if (got != Got::kBytes) return got;
  const ssize_t size = ::read(own_.read.get(), buffer_.data(), buffer_.size());
  if (size <= 0) return FailErrno(size < 0 ? errno : EIO, "read captured output");
  std::string_view bytes(buffer_.data(), static_cast<size_t>(size));
  if (!take) {
    Append(source, bytes);
    source.logged += bytes.size();
    TRY(TellDrained(source));
    return got;
  }
  // What the log holds already but the launcher did not come to take out.
  const size_t known = static_cast<size_t>(std::min<uint64_t>(source.logged - source.drained, bytes.size()));
  source.drained += bytes.size();
  bytes.remove_prefix(known);
  source.logged += bytes.size();
  Append(source, bytes);
  return got;
}

// Into our own pipe, and never waiting: the job can read its own pipe too, so that what poll saw may be gone.
Result<Capture::Got> Capture::Fetch(Source& source, bool take) {
  for (;;) {
    const ssize_t size =
        take ? ::splice(source.pipe.get(), nullptr, own_.write.get(), nullptr, kStepBytes, SPLICE_F_NONBLOCK)
             : ::tee(source.pipe.get(), own_.write.get(), kStepBytes, SPLICE_F_NONBLOCK);
    if (size > 0) return Got::kBytes;
    if (size == 0) return Got::kEnd;
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return Got::kNothing;
    return FailErrno(errno, "copy output");
  }
}

Result<void> Capture::TellDrained(Source& source) {
  const auto told = launcher_->Drained(handle_, source.stream, source.logged);
  if (told) {
    source.drained = source.logged;
    return {};
  }
  if (told.error().code != ErrorCode::kNotFound) return told;
  alone_ = true;  // it has been reported as exited: the event is on its way to us
  return {};
}

void Capture::Append(const Source& source, std::string_view bytes) {
  const auto stream = source.stream == sandbox::Stream::kStdout ? queue::LogStream::kStdout : queue::LogStream::kStderr;
  const auto appended = log_->Append(stream, bytes);
  if (appended || log_failed_) return;
  log_failed_ = true;
  LogError("log_not_written", {{"sandbox", handle_.value}, {"error", appended.error().message}});
}

}  // namespace caisson::executor
