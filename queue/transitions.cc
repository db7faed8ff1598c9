// SPDX-License-Identifier: Apache-2.0
#include "queue/transitions.h"

#include "base/check.h"

namespace caisson::queue {
namespace {

constexpr int kMaxMessageBytes = 2000;  // messages carry text of registries and images

int64_t Number(JobState state) { return static_cast<int64_t>(state); }
int64_t Number(Reason reason) { return static_cast<int64_t>(reason); }

Result<std::optional<JobRow>> FindOne(Transaction& transaction, std::string_view where,
                                      std::initializer_list<Value> values) {
  Query query = TRY(transaction.database.Ask(SelectJobs(where), values));
  if (!TRY(query.Next())) return std::optional<JobRow>();
  return std::optional(JobRowOf(query));
}

Result<void> Change(Transaction& transaction, std::string_view sql, std::initializer_list<Value> values) {
  Query query = TRY(transaction.database.Ask(sql, values));
  const int changed = TRY(query.Run());
  CHECK(changed == 1);  // the row was read in this transaction
  return {};
}

tl::unexpected<Error> LostClaim(const ClaimRef& claim) {
  return Fail(ErrorCode::kConflict, "job {}: this claim (fence {}) was taken over or has ended", claim.id.value,
              claim.fence);
}

// The row of a claim that is still its holder's.
Result<JobRow> FindClaimed(Transaction& transaction, const ClaimRef& claim) {
  std::optional<JobRow> row =
      TRY(FindOne(transaction, "WHERE id = ? AND fence = ? AND state IN (3, 4)", {claim.id.value, claim.fence}));
  if (!row) return LostClaim(claim);
  return std::move(*row);
}

// A new place at the queue's end.
Result<int64_t> NextQueueSeq(Transaction& transaction) {
  Query query = TRY(transaction.database.Ask(
      "INSERT INTO sequence(name, value) VALUES('queue', 1) ON CONFLICT(name) DO UPDATE SET value = value + 1 "
      "RETURNING value"));
  CHECK(TRY(query.Next()));
  const int64_t value = query.Int(0);
  TRY(query.Run());
  return value;
}

void Changed(Transaction& transaction, const JobRow& row) {
  transaction.changes.emplace_back(row.record.id, row.record.state);
}

// The attempt's own line, written once when it ends.
Result<void> InsertAttempt(Transaction& transaction, const JobRow& row, const Outcome& outcome) {
  return Change(transaction,
                "INSERT INTO attempts(job, number, fence, claimed_at, started_at, finished_at, reason, exit_code, "
                "signal, message, cpu_seconds, memory_peak_bytes, pids_peak) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)",
                {row.n, row.record.attempts, row.fence, row.claimed_at, row.record.started_at, transaction.now,
                 Number(outcome.reason), outcome.exit_code, outcome.signal, outcome.message, outcome.usage.cpu_seconds,
                 outcome.usage.memory_peak_bytes, outcome.usage.pids_peak});
}

// Writes what a transition changed in `row`. The lease ends with it.
Result<void> UpdateEnded(Transaction& transaction, const JobRow& row, int64_t queue_seq) {
  const JobRecord& r = row.record;
  TRY(Change(transaction,
             "UPDATE jobs SET state=?, reason=?, queue_seq=?, run_at=?, lease_until=NULL, user_failures=?, "
             "platform_failures=?, exit_code=?, signal=?, message=?, cpu_seconds=?, memory_peak_bytes=?, pids_peak=?, "
             "log_bytes=?, log_dropped=?, finished_at=? WHERE n=?",
             {Number(r.state), Number(r.reason), queue_seq, r.run_at, r.user_failures, r.platform_failures, r.exit_code,
              r.signal, r.message, r.usage.cpu_seconds, r.usage.memory_peak_bytes, r.usage.pids_peak, r.log_bytes,
              r.log_dropped, r.finished_at, row.n}));
  return {};
}

Result<int64_t> QueueSeqFor(Transaction& transaction, const JobRow& row) {
  if (row.record.state != JobState::kQueued) return int64_t{0};
  return NextQueueSeq(transaction);
}

// Ends the attempt of a claimed row: its own line, and what Decide() makes of the job.
Result<JobRow> EndAttempt(Transaction& transaction, JobRow row, Outcome outcome) {
  if (outcome.message.size() > kMaxMessageBytes) outcome.message.resize(kMaxMessageBytes);
  TRY(InsertAttempt(transaction, row, outcome));
  JobRecord& record = row.record;
  JobSpec spec;
  spec.max_attempts = row.max_attempts;
  spec.retry_delay_seconds = row.retry_delay_seconds;
  const Disposition disposition =
      Decide(outcome, spec, {record.user_failures, record.platform_failures}, record.cancel_requested);
  record.user_failures += disposition.counts_for_user;
  record.platform_failures += disposition.counts_for_platform;
  record.usage = outcome.usage;
  record.message = outcome.message;
  switch (disposition.kind) {
    case Disposition::Kind::kDone:
      record.state = disposition.state;
      record.reason = disposition.state == JobState::kCancelled ? Reason::kCancelled : outcome.reason;
      record.exit_code = outcome.exit_code;
      record.signal = outcome.signal;
      record.finished_at = transaction.now;
      break;
    case Disposition::Kind::kRetry:
      record.state = JobState::kScheduled;
      record.run_at = transaction.now + disposition.delay.count();
      break;
    case Disposition::Kind::kRequeue: record.state = JobState::kQueued; break;
  }
  TRY(UpdateEnded(transaction, row, TRY(QueueSeqFor(transaction, row))));
  Changed(transaction, row);
  return row;
}

// Ends the attempts of the rows that `where` finds as lost.
Result<int> LoseJobs(Transaction& transaction, std::string_view where, std::initializer_list<Value> values,
                     std::string_view message) {
  std::vector<JobRow> rows;
  {
    Query query = TRY(transaction.database.Ask(SelectJobs(where), values));
    while (TRY(query.Next())) rows.push_back(JobRowOf(query));
  }
  const int count = static_cast<int>(rows.size());
  for (JobRow& row : rows) {
    Outcome outcome;
    outcome.reason = Reason::kLost;
    outcome.message = message;
    TRY(EndAttempt(transaction, std::move(row), std::move(outcome)));
  }
  return count;
}

}  // namespace

Result<JobRow> InsertJob(Transaction& transaction, const NewJob& job, const std::string& spec_json) {
  const JobId id = JobId::New(transaction.now);
  const int64_t queue_seq = TRY(NextQueueSeq(transaction));
  TRY(Change(transaction,
             "INSERT INTO jobs(id, tenant, state, queue_seq, max_attempts, retry_delay_seconds, created_at, spec) "
             "VALUES(?,?,?,?,?,?,?,?)",
             {id.value, job.tenant.value, Number(JobState::kQueued), queue_seq, job.spec.max_attempts,
              job.spec.retry_delay_seconds, transaction.now, spec_json}));
  const int64_t n = transaction.database.last_insert_rowid();
  if (job.payload) {
    TRY(Change(transaction, "INSERT INTO payloads(job, body) VALUES(?,?)", {n, Blob{*job.payload}}));
  }
  JobRow row = TRY(FindOne(transaction, "WHERE n = ?", {n})).value();
  Changed(transaction, row);
  return row;
}

Result<std::optional<JobRow>> ClaimJob(Transaction& transaction, std::chrono::milliseconds lease,
                                       int64_t* last_tenant) {
  constexpr std::string_view kNext = "WHERE state = 2 AND tenant > ? ORDER BY tenant, queue_seq LIMIT 1";
  std::optional<JobRow> row = TRY(FindOne(transaction, kNext, {*last_tenant}));
  if (!row) row = TRY(FindOne(transaction, kNext, {int64_t{-1}}));  // around the ring
  if (!row) return std::optional<JobRow>();
  *last_tenant = row->record.tenant.value;
  TRY(Change(transaction,
             "UPDATE jobs SET state=3, fence=fence+1, attempts=attempts+1, lease_until=?, claimed_at=?, "
             "started_at=NULL, run_at=NULL, message='', unenforced='' WHERE n=?",
             {transaction.steady_ms + lease.count(), transaction.now, row->n}));
  row->fence += 1;
  row->record.attempts += 1;
  row->record.state = JobState::kPreparing;
  Changed(transaction, *row);
  return row;
}

Result<void> StoreImageDigest(Transaction& transaction, const ClaimRef& claim, const Digest& digest) {
  const JobRow row = TRY(FindClaimed(transaction, claim));
  TRY(Change(transaction, "UPDATE jobs SET image_digest=? WHERE n=?", {digest.ToString(), row.n}));
  Changed(transaction, row);
  return {};
}

Result<void> StartJob(Transaction& transaction, const ClaimRef& claim, UnixMillis started_at,
                      const std::string& unenforced) {
  JobRow row = TRY(FindClaimed(transaction, claim));
  TRY(Change(transaction, "UPDATE jobs SET state=4, started_at=?, unenforced=? WHERE n=?",
             {started_at, unenforced, row.n}));
  row.record.state = JobState::kRunning;
  Changed(transaction, row);
  return {};
}

Result<JobRow> FinishJob(Transaction& transaction, const ClaimRef& claim, const Outcome& outcome, const LogEnd& log) {
  JobRow row = TRY(FindClaimed(transaction, claim));
  row.record.log_bytes = log.bytes;
  row.record.log_dropped = log.dropped;
  return EndAttempt(transaction, std::move(row), outcome);
}

Result<void> ReleaseJob(Transaction& transaction, const ClaimRef& claim, const LogEnd& log) {
  JobRow row = TRY(FindClaimed(transaction, claim));
  Outcome given_back;
  given_back.message = "given back to the queue: the service was stopping";
  JobRecord& record = row.record;
  record.log_bytes = log.bytes;
  record.log_dropped = log.dropped;
  if (record.cancel_requested) {
    given_back.reason = Reason::kCancelled;
    given_back.message.clear();
    TRY(EndAttempt(transaction, std::move(row), given_back));
    return {};
  }
  TRY(InsertAttempt(transaction, row, given_back));
  record.state = JobState::kQueued;
  TRY(UpdateEnded(transaction, row, TRY(QueueSeqFor(transaction, row))));
  Changed(transaction, row);
  return {};
}

Result<bool> RenewLease(Transaction& transaction, const ClaimRef& claim, std::chrono::milliseconds lease) {
  Query query = TRY(transaction.database.Ask("UPDATE jobs SET lease_until=? WHERE id=? AND fence=? AND state IN (3, 4)",
                                             {transaction.steady_ms + lease.count(), claim.id.value, claim.fence}));
  return TRY(query.Run()) == 1;
}

Result<CancelResult> CancelJob(Transaction& transaction, TenantId tenant, const JobId& id,
                               std::optional<uint32_t> grace_seconds) {
  std::optional<JobRow> row = TRY(FindOne(transaction, "WHERE id = ? AND tenant = ?", {id.value, tenant.value}));
  if (!row) return Fail(ErrorCode::kNotFound, "there is no job {}", id.value);
  JobRecord& record = row->record;
  if (IsFinal(record.state)) return CancelResult::kAlreadyFinal;
  if (record.state == JobState::kPreparing || record.state == JobState::kRunning) {
    TRY(Change(transaction,
               "UPDATE jobs SET cancel_requested=1, cancel_grace_seconds=coalesce(?, cancel_grace_seconds) WHERE n=?",
               {grace_seconds, row->n}));
    Changed(transaction, *row);
    return CancelResult::kStopping;
  }
  TRY(Change(transaction,
             "UPDATE jobs SET state=7, reason=?, cancel_requested=1, run_at=NULL, message='', finished_at=? WHERE n=?",
             {Number(Reason::kCancelled), transaction.now, row->n}));
  record.state = JobState::kCancelled;
  Changed(transaction, *row);
  return CancelResult::kCancelled;
}

Result<int> QueueDueJobs(Transaction& transaction, int limit) {
  std::vector<JobRow> rows;
  {
    Query query = TRY(transaction.database.Ask(SelectJobs("WHERE state = 1 AND run_at <= ? ORDER BY run_at LIMIT ?"),
                                               {transaction.now, limit}));
    while (TRY(query.Next())) rows.push_back(JobRowOf(query));
  }
  for (JobRow& row : rows) {
    TRY(Change(transaction, "UPDATE jobs SET state=2, run_at=NULL, queue_seq=? WHERE n=?",
               {TRY(NextQueueSeq(transaction)), row.n}));
    row.record.state = JobState::kQueued;
    Changed(transaction, row);
  }
  return static_cast<int>(rows.size());
}

Result<int> LoseExpiredJobs(Transaction& transaction, int limit) {
  return LoseJobs(transaction, "WHERE state IN (3, 4) AND lease_until <= ? ORDER BY lease_until LIMIT ?",
                  {transaction.steady_ms, limit}, "the attempt was lost: its lease ran out");
}

Result<int> LoseLeasedJobs(Transaction& transaction, int limit) {
  return LoseJobs(transaction, "WHERE state IN (3, 4) ORDER BY lease_until LIMIT ?", {limit},
                  "the attempt was lost: the service that ran it ended");
}

}  // namespace caisson::queue
