// SPDX-License-Identifier: Apache-2.0
// LogReader: a job's output, byte for byte, from the API's event stream to two descriptors. A broken connection is
// taken up where it broke: each byte is written once. Blocks; belongs to one thread.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/result.h"
#include "cli/api_client.h"
#include "cli/console.h"
#include "cli/patience.h"

namespace caisson::cli {

struct LogRequest {
  std::string job_id;
  std::string stream;   // "stdout", "stderr", or empty for both
  bool follow = false;  // until the job is final; else up to the present end
};

class LogReader {
 public:
  // `before_output` runs before each write (it clears a progress line); it may be empty. Both are borrowed.
  LogReader(ApiClient& client, const Console& console, std::function<void()> before_output = {})
      : client_(client), console_(console), before_output_(std::move(before_output)) {}

  // Returns when the server said that this was all. While the daemon is away it tries again, for as long as Patience
  // lasts. Nothing is written when `discard`.
  Result<void> Read(const LogRequest& request, bool discard = false);
  // What the server said at the end: output past the log's cap, of the whole job.
  int64_t dropped_bytes() const { return dropped_bytes_; }

 private:
  Result<void> TakeEvent(const SseEvent& event, bool discard);

  ApiClient& client_;
  const Console& console_;
  std::function<void()> before_output_;
  Patience patience_;
  std::optional<std::string> position_;  // Last-Event-ID: the end of what was written
  std::optional<Error> output_error_;    // the terminal or pipe went away: no reason to reconnect
  bool ended_ = false;
  int64_t dropped_bytes_ = 0;
};

}  // namespace caisson::cli
