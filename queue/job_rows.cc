// SPDX-License-Identifier: Apache-2.0
#include "queue/job_rows.h"

#include "queue/spec_codec.h"

namespace caisson::queue {
namespace {

enum Column {
  kN,
  kId,
  kTenant,
  kTenantName,
  kState,
  kReason,
  kRunAt,
  kFence,
  kClaimedAt,
  kAttempts,
  kUserFailures,
  kPlatformFailures,
  kMaxAttempts,
  kRetryDelay,
  kCancelRequested,
  kImageDigest,
  kUnenforced,
  kExitCode,
  kSignal,
  kMessage,
  kCpuSeconds,
  kMemoryPeak,
  kPidsPeak,
  kLogBytes,
  kLogDropped,
  kCreatedAt,
  kStartedAt,
  kFinishedAt,
  kSpec,
};

// In the order of Column.
constexpr std::string_view kSelect =
    "SELECT n, id, tenant, (SELECT name FROM tenants t WHERE t.id = jobs.tenant), state, reason, run_at, fence, "
    "claimed_at, attempts, user_failures, platform_failures, max_attempts, retry_delay_seconds, cancel_requested, "
    "image_digest, unenforced, exit_code, signal, message, cpu_seconds, memory_peak_bytes, pids_peak, log_bytes, "
    "log_dropped, created_at, started_at, finished_at, spec FROM jobs ";

std::vector<std::string> SplitNames(const std::string& text) {
  std::vector<std::string> names;
  for (size_t begin = 0; begin < text.size();) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    names.push_back(text.substr(begin, comma - begin));
    begin = comma + 1;
  }
  return names;
}

std::optional<int> ToOptionalInt(std::optional<int64_t> value) {
  return value ? std::optional(static_cast<int>(*value)) : std::nullopt;
}

std::optional<uint64_t> ToOptionalU64(std::optional<int64_t> value) {
  return value ? std::optional(static_cast<uint64_t>(*value)) : std::nullopt;
}

}  // namespace

std::string SelectJobs(std::string_view rest) { return std::string(kSelect).append(rest); }

JobRow JobRowOf(const Query& query) {
  JobRow row;
  row.n = query.Int(kN);
  row.fence = query.Int(kFence);
  row.claimed_at = query.OptionalInt(kClaimedAt);
  row.max_attempts = static_cast<uint32_t>(query.Int(kMaxAttempts));
  row.retry_delay_seconds = static_cast<uint32_t>(query.Int(kRetryDelay));
  row.spec_json = query.Text(kSpec);
  JobRecord& record = row.record;
  record.id = JobId{query.Text(kId)};
  record.tenant = TenantId{query.Int(kTenant)};
  record.tenant_name = query.Text(kTenantName);
  record.state = static_cast<JobState>(query.Int(kState));
  record.reason = static_cast<Reason>(query.Int(kReason));
  record.exit_code = ToOptionalInt(query.OptionalInt(kExitCode));
  record.signal = ToOptionalInt(query.OptionalInt(kSignal));
  record.message = query.Text(kMessage);
  record.attempts = static_cast<int>(query.Int(kAttempts));
  record.user_failures = static_cast<int>(query.Int(kUserFailures));
  record.platform_failures = static_cast<int>(query.Int(kPlatformFailures));
  if (auto digest = Digest::Parse(query.Text(kImageDigest))) record.image_digest = *digest;
  record.unenforced = SplitNames(query.Text(kUnenforced));
  record.created_at = query.Int(kCreatedAt);
  record.run_at = query.OptionalInt(kRunAt);
  record.started_at = query.OptionalInt(kStartedAt);
  record.finished_at = query.OptionalInt(kFinishedAt);
  record.cancel_requested = query.Int(kCancelRequested) != 0;
  record.usage.cpu_seconds = query.OptionalReal(kCpuSeconds);
  record.usage.memory_peak_bytes = ToOptionalU64(query.OptionalInt(kMemoryPeak));
  record.usage.pids_peak = ToOptionalU64(query.OptionalInt(kPidsPeak));
  record.log_bytes = static_cast<uint64_t>(query.Int(kLogBytes));
  record.log_dropped = static_cast<uint64_t>(query.Int(kLogDropped));
  return row;
}

Result<JobRecord> ToRecord(JobRow row) {
  row.record.spec = TRY_IN(row.record.id.value, SpecFromJson(row.spec_json));
  return std::move(row.record);
}

std::string JoinNames(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text.append(text.empty() ? "" : ",").append(name);
  return text;
}

}  // namespace caisson::queue
