// SPDX-License-Identifier: Apache-2.0
// What a job is. JobSpec is what the user asked for and never changes; JobRecord is the durable truth about it, as the
// store gives it. Plain values.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/digest.h"
#include "base/result.h"

namespace caisson::queue {

// 24 lowercase hex digits: 48 bits of milliseconds, 48 random. A valid hostname; sorts by age.
struct JobId {
  std::string value;
  static Result<JobId> Parse(std::string_view text);
  static JobId New(UnixMillis now);
  auto operator<=>(const JobId&) const = default;
};

struct TenantId {
  int64_t value = 1;
  auto operator<=>(const TenantId&) const = default;
};

// Numbers as stored: never renumbered.
enum class JobState : int {
  kBlocked = 0,
  kScheduled = 1,
  kQueued = 2,
  kPreparing = 3,
  kRunning = 4,
  kSucceeded = 5,
  kFailed = 6,
  kCancelled = 7,
};
std::string_view ToString(JobState state);
std::optional<JobState> ParseJobState(std::string_view text);
inline bool IsFinal(JobState state) { return state >= JobState::kSucceeded; }

// How an attempt, and in the end the job, came out: the `reason` of a final state. Numbers as stored.
enum class Reason : int {
  kNone = 0,
  kExited = 1,
  kSignaled = 2,
  kTimedOut = 3,
  kOomKilled = 4,
  kDiskFull = 5,
  kForeignAbi = 6,
  kImageError = 7,
  kSetupError = 8,
  kLost = 9,
  kExpired = 10,
  kCancelled = 11,
};
std::string_view ToString(Reason reason);

struct Resources {
  uint32_t cpu_millis = 1000;
  uint64_t memory_bytes = 512ULL << 20;
  uint32_t pids = 512;
  uint64_t disk_bytes = 256ULL << 20;
};

struct JobSpec {
  std::string image;
  std::optional<std::vector<std::string>> entrypoint;  // replaces the image's; then the image's CMD is dropped
  std::optional<std::vector<std::string>> command;     // replaces the image's CMD
  std::vector<std::pair<std::string, std::string>> env;
  std::string working_dir;  // empty: the image's
  std::string user;         // empty: the image's
  uint32_t timeout_seconds = 3600;
  uint32_t grace_seconds = 10;
  uint32_t max_attempts = 1;
  uint32_t retry_delay_seconds = 10;
  Resources resources;
  std::vector<std::pair<std::string, std::string>> labels;
  bool has_payload = false;
  std::string pull_policy;  // "always", "if-missing" or "never"; empty: the node's default
};

struct Usage {
  std::optional<double> cpu_seconds;
  std::optional<uint64_t> memory_peak_bytes;
  std::optional<uint64_t> pids_peak;
};

// How one attempt ended, as the executor judged it: what Finish() writes.
struct Outcome {
  Reason reason = Reason::kNone;
  std::optional<int> exit_code;
  std::optional<int> signal;
  std::string message;     // for people; empty where the facts say all
  bool transient = false;  // of kImageError: the registry was down, so the platform's budget applies
  Usage usage;
};

struct JobRecord {
  JobId id;
  TenantId tenant;
  std::string tenant_name;
  JobState state = JobState::kQueued;
  Reason reason = Reason::kNone;
  JobSpec spec;
  std::optional<int> exit_code;
  std::optional<int> signal;
  std::string message;
  int attempts = 0;  // counts every execution, of both budgets
  int user_failures = 0;
  int platform_failures = 0;
  std::optional<Digest> image_digest;
  std::vector<std::string> unenforced;
  UnixMillis created_at = 0;
  std::optional<UnixMillis> run_at;       // of kScheduled
  std::optional<UnixMillis> started_at;   // of the newest attempt's payload
  std::optional<UnixMillis> finished_at;  // of the job
  bool cancel_requested = false;
  Usage usage;
  uint64_t log_bytes = 0;    // position of the log's end once the newest attempt ended
  uint64_t log_dropped = 0;  // bytes past the cap
};

}  // namespace caisson::queue
