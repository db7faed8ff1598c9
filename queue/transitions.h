// SPDX-License-Identifier: Apache-2.0
// Every change of a job's state in the embedded store, each a function within one transaction of the writer. What
// belongs to a claim is guarded by its fencing token; what ends an attempt goes through Decide().
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "queue/job_rows.h"
#include "queue/writer.h"

namespace caisson::queue {

struct LogEnd {
  uint64_t bytes = 0;
  uint64_t dropped = 0;
};

Result<JobRow> InsertJob(Transaction& transaction, const NewJob& job, const std::string& spec_json);

// The next queued job of the first tenant after `*last_tenant` that has one, around the ring; moved to preparing.
Result<std::optional<JobRow>> ClaimJob(Transaction& transaction, std::chrono::milliseconds lease, int64_t* last_tenant);

Result<void> StoreImageDigest(Transaction& transaction, const ClaimRef& claim, const Digest& digest);
Result<void> StartJob(Transaction& transaction, const ClaimRef& claim, UnixMillis started_at,
                      const std::string& unenforced);
Result<JobRow> FinishJob(Transaction& transaction, const ClaimRef& claim, const Outcome& outcome, const LogEnd& log);
Result<void> ReleaseJob(Transaction& transaction, const ClaimRef& claim, const LogEnd& log);
// False: the claim is no longer the caller's.
Result<bool> RenewLease(Transaction& transaction, const ClaimRef& claim, std::chrono::milliseconds lease);

Result<CancelResult> CancelJob(Transaction& transaction, TenantId tenant, const JobId& id,
                               std::optional<uint32_t> grace_seconds);

// At most `limit` jobs each; they return how many they changed.
Result<int> QueueDueJobs(Transaction& transaction, int limit);
Result<int> LoseExpiredJobs(Transaction& transaction, int limit);
// All leases, expired or not: their holder is gone.
Result<int> LoseLeasedJobs(Transaction& transaction, int limit);

}  // namespace caisson::queue
