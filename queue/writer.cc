// SPDX-License-Identifier: Apache-2.0
#include "queue/writer.h"

#include "base/check.h"

namespace caisson::queue {
namespace {

constexpr size_t kMaxBatch = 256;

int64_t SteadyMs(const Clock& clock) {
  using std::chrono::duration_cast, std::chrono::milliseconds;
  return duration_cast<milliseconds>(clock.Steady().time_since_epoch()).count();
}

}  // namespace

Writer::Writer(std::unique_ptr<Database> database, const Clock& clock)
    : database_(std::move(database)), clock_(clock), thread_([this] { Loop(); }) {}

Writer::~Writer() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    waiting_.notify_all();
  }
  thread_.join();
}

void Writer::SetListener(Changed listener) {
  const std::lock_guard lock(listener_mutex_);
  listener_ = std::move(listener);
}

std::optional<int64_t> Writer::last_commit_ms() const {
  const std::lock_guard lock(mutex_);
  return last_commit_ms_;
}

size_t Writer::waiting() const {
  const std::lock_guard lock(mutex_);
  return queue_.size();
}

void Writer::Enqueue(Operation& operation) {
  std::unique_lock lock(mutex_);
  CHECK(!closing_);
  queue_.push_back(&operation);
  waiting_.notify_one();
  operation.finished.wait(lock, [&] { return operation.done; });
}

// Empty when the writer is to end.
std::vector<Writer::Operation*> Writer::Take() {
  std::unique_lock lock(mutex_);
  waiting_.wait(lock, [&] { return closing_ || !queue_.empty(); });
  std::vector<Operation*> batch;
  while (!queue_.empty() && batch.size() < kMaxBatch) {
    batch.push_back(queue_.front());
    queue_.pop_front();
  }
  return batch;
}

void Writer::Loop() {
  for (;;) {
    const std::vector<Operation*> batch = Take();
    if (batch.empty()) return;
    Commit(batch);
    // Under the lock, since an operation lives on its caller's stack: the caller cannot go on, and destroy it, before
    // the lock is free again.
    const std::lock_guard lock(mutex_);
    for (Operation* operation : batch) {
      operation->done = true;
      operation->finished.notify_one();
    }
  }
}

void Writer::Commit(const std::vector<Operation*>& batch) {
  Transaction transaction{*database_, clock_.NowMs(), SteadyMs(clock_), {}};
  const int64_t changes_before = database_->total_changes();
  Result<void> committed = Attempt(transaction, batch, /*one_by_one=*/false);
  if (!committed) committed = Attempt(transaction, batch, /*one_by_one=*/true);
  if (!committed) {
    for (Operation* operation : batch) operation->Fail(committed.error());
    return;
  }
  if (database_->total_changes() != changes_before) {
    const std::lock_guard lock(mutex_);
    last_commit_ms_ = transaction.steady_ms;
  }
  const std::lock_guard lock(listener_mutex_);
  if (!listener_) return;
  for (const auto& [id, state] : transaction.changes) listener_(id, state);
}

// One transaction with the whole batch. An error means that nothing of it happened.
Result<void> Writer::Attempt(Transaction& transaction, const std::vector<Operation*>& batch, bool one_by_one) {
  Database& database = transaction.database;
  transaction.changes.clear();
  const auto run = [&]() -> Result<void> {
    TRY(database.Execute("BEGIN IMMEDIATE"));
    for (Operation* operation : batch) {
      if (one_by_one) {
        TRY(ApplyAlone(transaction, *operation));
        continue;
      }
      const uint64_t failures = database.failures();
      operation->Apply(transaction);
      if (database.failures() != failures) return Fail(ErrorCode::kInternal, "a statement of the batch failed");
    }
    return database.Execute("COMMIT");
  };
  Result<void> result = run();
  // SQLite may have rolled back by itself (disk full, input/output error).
  if (!result && database.in_transaction()) (void)database.Execute("ROLLBACK");
  return result;
}

Result<void> Writer::ApplyAlone(Transaction& transaction, Operation& operation) {
  Database& database = transaction.database;
  TRY(database.Execute("SAVEPOINT operation"));
  const size_t changes = transaction.changes.size();
  if (!operation.Apply(transaction)) {
    transaction.changes.resize(changes);
    if (!database.in_transaction()) return Fail(ErrorCode::kInternal, "the database ended the transaction");
    TRY(database.Execute("ROLLBACK TO operation"));
  }
  return database.Execute("RELEASE operation");
}

}  // namespace caisson::queue
