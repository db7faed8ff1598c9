// SPDX-License-Identifier: Apache-2.0
// The framed output of a worker that sends more than a report: pieces of data, then one report that says whether they
// are all of it. Without the frame a reader could not tell an archive's end from its worker's death. A frame is a
// 32-bit little-endian number and so many bytes of data (1 to kMaxFrameBytes); the number 0 ends the data, and a report
// without contents, or a refusal, follows until the end of the stream (image/layer/report.h).
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace caisson::image {

// The worker's end. Owned by one thread.
class FramedWriter {
 public:
  explicit FramedWriter(int fd) : fd_(fd) {}  // borrowed
  // Collects small pieces.
  Result<void> Write(std::string_view bytes);
  // All was said: what is collected and the end of the data. The caller then writes the report.
  Result<void> End();

 private:
  Result<void> Flush();
  int fd_;
  std::string collected_;
};

// The service's end; treats the worker as hostile. Owned by one thread.
class FramedReader {
 public:
  using Sink = std::function<Result<void>(std::string_view)>;
  explicit FramedReader(Sink sink) : sink_(std::move(sink)) {}

  // Takes bytes as they come, in pieces of any size, and gives the data to the sink at once. An error of the sink is
  // passed on; kCorrupt where the frames are damaged.
  Result<void> Feed(std::string_view bytes);
  // After the last byte. The worker's refusal as the Error; kCorrupt where the output was cut off: what the sink got
  // is then not the whole.
  Result<void> Finish() const;

 private:
  Sink sink_;
  std::string header_;
  size_t left_ = 0;  // of the frame's data
  bool ended_ = false;
  std::string report_;
};

}  // namespace caisson::image
