// SPDX-License-Identifier: Apache-2.0
#include "cli/job_view.h"

#include <time.h>

#include <cstdio>

namespace caisson::cli {
namespace {

std::optional<int64_t> OptionalInt(const Json& json, std::string_view key) {
  const Json* member = json.Find(key);
  if (!member || !member->AsInt()) return std::nullopt;
  return *member->AsInt();
}

std::vector<std::string> Strings(const Json& json, std::string_view key) {
  std::vector<std::string> strings;
  for (const Json& item : json.ArrayOrEmpty(key))
    if (item.AsString()) strings.push_back(*item.AsString());
  return strings;
}

}  // namespace

Result<JobView> ParseJob(const Json& json) {
  JobView job;
  job.id = json.StringOr("id", "");
  job.state = json.StringOr("state", "");
  if (job.id.empty() || job.state.empty())
    return Fail(ErrorCode::kInvalid, "the answer is not a job of caisson: it has no id or no state");
  job.image = json.StringOr("image", "");
  job.command = Strings(json, "command");
  job.reason = json.StringOr("reason", "");
  job.exit_code = OptionalInt(json, "exit_code");
  job.signal = OptionalInt(json, "signal");
  job.message = json.StringOr("message", "");
  job.attempts = json.IntOr("attempts", 0);
  job.image_digest = json.StringOr("image_digest", "");
  job.created_at = json.StringOr("created_at", "");
  job.started_at = json.StringOr("started_at", "");
  job.finished_at = json.StringOr("finished_at", "");
  job.unenforced = Strings(json, "unenforced");
  job.log_dropped_bytes = json.IntOr("log_dropped_bytes", 0);
  const Json* progress = json.Find("progress");
  if (progress && progress->AsObject())
    job.progress = PullProgress{static_cast<uint64_t>(progress->IntOr("bytes_done", 0)),
                                static_cast<uint64_t>(progress->IntOr("bytes_total", 0))};
  return job;
}

std::optional<UnixMillis> ParseTime(std::string_view text) {
  tm time{};
  int millis = 0;
  int end = 0;
  const std::string copy(text);
  // NOLINTNEXTLINE(cert-err34-c): every field is digits of a fixed width, so none can overflow
  const int fields = sscanf(copy.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &time.tm_year, &time.tm_mon, &time.tm_mday,
                            &time.tm_hour, &time.tm_min, &time.tm_sec, &millis, &end);
  if (fields != 7 || static_cast<size_t>(end) != copy.size()) return std::nullopt;
  time.tm_year -= 1900;
  time.tm_mon -= 1;
  return static_cast<UnixMillis>(timegm(&time)) * 1000 + millis;
}

}  // namespace caisson::cli
