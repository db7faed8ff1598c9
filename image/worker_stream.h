// SPDX-License-Identifier: Apache-2.0
// WorkerStream: the service's ends of a store worker's pipes. It writes the worker's input while it takes in the
// report as it comes, so that neither waits for the other; the report is bounded. Owned by one pull, on its thread.
// The process must ignore SIGPIPE: a worker that refuses its layer ends while we write.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/io.h"
#include "base/result.h"

namespace caisson::image {

class WorkerStream {
 public:
  // The worker's ends; to be dropped as soon as the worker has its duplicates.
  struct WorkerEnds {
    Fd input;
    Fd report;
  };
  static Result<std::unique_ptr<WorkerStream>> Make(WorkerEnds& worker, const std::atomic<bool>* cancelled);

  // kCancelled; kConflict once the worker takes no more: its report then says why.
  Result<void> Write(std::string_view bytes);
  bool worker_ended() const { return worker_ended_; }
  // Ends the input and waits for the whole report.
  Result<std::string> FinishAndReadReport();
  // The same for output that is no report and has no bound: `sink` takes it as it comes, never kept whole. While it
  // does not return, nothing more is read and the worker waits.
  Result<void> FinishAndReadOutput(const std::function<Result<void>(std::string_view)>& sink);

 private:
  WorkerStream(Fd input, Fd report, const std::atomic<bool>* cancelled)
      : input_(std::move(input)), report_(std::move(report)), cancelled_(cancelled) {}
  // Waits until the input takes bytes (if `for_input`), or the report has some, which are then read.
  Result<void> WaitAndRead(bool for_input);

  Fd input_;
  Fd report_;  // closed at its end
  const std::atomic<bool>* cancelled_;
  std::string report_bytes_;
  bool worker_ended_ = false;
};

}  // namespace caisson::image
