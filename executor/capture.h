// SPDX-License-Identifier: Apache-2.0
// Capture: copies what a sandbox prints into its log. The launcher owns the pipes and takes bytes out of them only when
// told that the log holds them (tee, append, Drained), so that a service that dies loses and doubles nothing; once the
// log is full, or the sandbox was reported as exited, the bytes are taken out here. Belongs to the attempt's thread.
#pragma once

#include <array>
#include <chrono>
#include <string>

#include "base/io.h"
#include "executor/launcher_port.h"
#include "queue/log_store.h"

namespace caisson::executor {

class Capture {
 public:
  // Takes the pipes out of `launched`; `log` and `launcher` are borrowed.
  static Result<Capture> Open(sandbox::Launched& launched, queue::LogWriter& log, LauncherPort& launcher);

  // Copies until `exited` (an eventfd) is readable.
  Result<void> CopyUntil(int exited);
  // After the exit: what is left in the pipes, to their end. A process that outlived the kill could hold them open, so
  // not longer than `wait` without an end.
  Result<void> CopyRest(std::chrono::milliseconds wait);

 private:
  struct Source {
    Fd pipe;  // empty: ended
    sandbox::Stream stream = sandbox::Stream::kStdout;
    uint64_t logged = 0;   // bytes of this stream that were handed to the log
    uint64_t drained = 0;  // of these, the launcher has taken out
  };
  enum class Got { kBytes, kNothing, kEnd };

  Capture(queue::LogWriter& log, LauncherPort& launcher, sandbox::SandboxHandle handle)
      : log_(&log), launcher_(&launcher), handle_(handle) {}
  Result<Got> Copy(Source& source);
  Result<Got> Fetch(Source& source, bool take);
  Result<void> TellDrained(Source& source);
  void Append(const Source& source, std::string_view bytes);

  queue::LogWriter* log_;
  LauncherPort* launcher_;
  sandbox::SandboxHandle handle_;
  std::array<Source, 2> sources_;
  Pipe own_;  // what tee and splice copy into
  std::string buffer_;
  bool alone_ = false;       // the launcher has reported the exit: the pipes are ours
  bool log_failed_ = false;  // said once
};

}  // namespace caisson::executor
