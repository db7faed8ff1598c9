// SPDX-License-Identifier: Apache-2.0
#include "image/worker_stream.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include "image/layer/limits.h"

namespace caisson::image {
namespace {
constexpr int kLookMs = 200;         // at `cancelled`
constexpr int kPipeBytes = 1 << 20;  // lets the download run ahead of the worker; less is fine
}  // namespace

Result<std::unique_ptr<WorkerStream>> WorkerStream::Make(WorkerEnds& worker, const std::atomic<bool>* cancelled) {
  Pipe input = TRY(MakePipe());
  Pipe report = TRY(MakePipe());
  // Only our ends: the flag belongs to the open file, and the worker reads and writes blockingly.
  for (const int fd : {input.write.get(), report.read.get()})
    if (::fcntl(fd, F_SETFL, O_NONBLOCK) != 0) return FailErrno(errno, "make a pipe");
  ::fcntl(input.write.get(), F_SETPIPE_SZ, kPipeBytes);
  worker.input = std::move(input.read);
  worker.report = std::move(report.write);
  return std::unique_ptr<WorkerStream>(new WorkerStream(std::move(input.write), std::move(report.read), cancelled));
}

Result<void> WorkerStream::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(input_.get(), bytes.data(), bytes.size());
    if (written >= 0) {
      bytes.remove_prefix(static_cast<size_t>(written));
    } else if (errno == EAGAIN) {
      TRY(WaitAndRead(true));
    } else if (errno == EPIPE) {
      worker_ended_ = true;
      return Fail(ErrorCode::kConflict, "the store worker takes no more bytes");
    } else if (errno != EINTR) {
      return FailErrno(errno, "write to the store worker");
    }
  }
  return {};
}

Result<std::string> WorkerStream::FinishAndReadReport() {
  input_.reset();
  while (report_) TRY(WaitAndRead(false));
  return std::move(report_bytes_);
}

Result<void> WorkerStream::FinishAndReadOutput(const std::function<Result<void>(std::string_view)>& sink) {
  input_.reset();
  for (;;) {
    if (!report_bytes_.empty()) TRY(sink(report_bytes_));
    report_bytes_.clear();
    if (!report_) return {};
    TRY(WaitAndRead(false));
  }
}

Result<void> WorkerStream::WaitAndRead(bool for_input) {
  if (cancelled_ && cancelled_->load()) return Fail(ErrorCode::kCancelled, "cancelled");
  pollfd fds[] = {{report_.get(), POLLIN, 0}, {for_input ? input_.get() : -1, POLLOUT, 0}};
  if (::poll(fds, 2, kLookMs) < 0 && errno != EINTR) return FailErrno(errno, "poll");
  if (fds[0].revents == 0) return {};
  char buffer[64 << 10];
  const ssize_t got = ::read(report_.get(), buffer, sizeof buffer);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  if (got < 0) return FailErrno(errno, "read the store worker's report");
  if (got == 0) {
    report_.reset();
    return {};
  }
  if (report_bytes_.size() + static_cast<size_t>(got) > kMaxReportBytes)
    return Fail(ErrorCode::kCorrupt, "the store worker's report has no end");
  report_bytes_.append(buffer, static_cast<size_t>(got));
  return {};
}

}  // namespace caisson::image
