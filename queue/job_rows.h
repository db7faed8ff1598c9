// SPDX-License-Identifier: Apache-2.0
// Rows of the table `jobs` as values. Functions of the thread that owns the Database.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "queue/job.h"
#include "queue/sqlite.h"
#include "queue/store.h"

namespace caisson::queue {

// A row. `record.spec` is not filled: parsing it is the caller's work, outside the writer's transaction.
struct JobRow {
  int64_t n = 0;
  int64_t fence = 0;
  JobRecord record;
  std::string spec_json;
  uint32_t max_attempts = 1;
  uint32_t retry_delay_seconds = 0;
  std::optional<int64_t> claimed_at;
};

// "SELECT <columns> FROM jobs JOIN tenants": a WHERE may follow. For JobRowOf().
std::string SelectJobs(std::string_view rest);
JobRow JobRowOf(const Query& query);

// The record with its spec parsed. kCorrupt where the stored text is damaged.
Result<JobRecord> ToRecord(JobRow row);

std::string JoinNames(const std::vector<std::string>& names);

}  // namespace caisson::queue
