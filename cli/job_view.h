// SPDX-License-Identifier: Apache-2.0
// JobView: a job as the API shows it, in the shape that this program needs. Fields that a newer server adds are
// ignored, fields that an older one lacks stay at their default. Plain value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json/json.h"
#include "base/result.h"

namespace caisson::cli {

struct PullProgress {
  uint64_t bytes_done = 0;
  uint64_t bytes_total = 0;
};

struct JobView {
  std::string id;
  std::string image;
  std::vector<std::string> command;
  std::string state;   // as the API names it
  std::string reason;  // empty before the job is final
  std::optional<int64_t> exit_code;
  std::optional<int64_t> signal;
  std::string message;
  int64_t attempts = 0;
  std::string image_digest;
  std::string created_at, started_at, finished_at;  // RFC 3339, empty where not yet
  std::vector<std::string> unenforced;
  int64_t log_dropped_bytes = 0;
  std::optional<PullProgress> progress;  // while preparing

  bool is_final() const { return state == "succeeded" || state == "failed" || state == "cancelled"; }
};

// kInvalid when the answer is no job: another program listens there.
Result<JobView> ParseJob(const Json& json);

// Milliseconds since 1970 of "2026-11-24T20:28:26.123Z", nullopt for anything else.
std::optional<UnixMillis> ParseTime(std::string_view text);

}  // namespace caisson::cli
