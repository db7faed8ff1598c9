// SPDX-License-Identifier: Apache-2.0
// Writer: the one thread that writes the store. It takes all operations that wait (at most 256) into one transaction
// and answers them after its COMMIT, so that one fsync serves them all. There is no delay to collect more: the fsync
// in progress is the window in which the next batch gathers. An operation that the database refuses takes the others
// not with it: the batch is rolled back and done again with a savepoint for each.
//
// Run() may be called on any thread; it blocks until the effect is on disk, so the queue holds at most one operation
// a caller. Owned by the store.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "queue/job.h"
#include "queue/sqlite.h"

namespace caisson::queue {

// What an operation sees. It may run twice (see above), so it keeps no state of its own; it checks before it writes,
// and an operation that returns an error has written nothing.
struct Transaction {
  Database& database;
  UnixMillis now;
  int64_t steady_ms;
  std::vector<std::pair<JobId, JobState>> changes;  // told to the listener after the commit
};

class Writer {
 public:
  using Changed = std::function<void(const JobId&, JobState)>;

  Writer(std::unique_ptr<Database> database, const Clock& clock);
  ~Writer();  // ends what waits, then stops

  template <typename T, typename Work>
  Result<T> Run(Work work) {
    TypedOperation<T, Work> operation(std::move(work));
    Enqueue(operation);
    return std::move(*operation.result);
  }

  // Waits for a call of the old one to end. Not from a listener.
  void SetListener(Changed listener);
  // When a change was last committed, on the steady clock.
  std::optional<int64_t> last_commit_ms() const;
  size_t waiting() const;  // operations that the thread has not taken yet

 private:
  struct Operation {
    virtual ~Operation() = default;
    virtual bool Apply(Transaction& transaction) = 0;  // false: refused
    virtual void Fail(const Error& error) = 0;
    std::condition_variable finished;
    bool done = false;  // guarded by mutex_
  };
  template <typename T, typename Work>
  struct TypedOperation final : Operation {
    explicit TypedOperation(Work w) : work(std::move(w)) {}
    bool Apply(Transaction& transaction) override {
      result.emplace(work(transaction));
      return result->has_value();
    }
    void Fail(const Error& error) override { result.emplace(tl::unexpected(error)); }
    Work work;
    std::optional<Result<T>> result;
  };

  void Enqueue(Operation& operation);
  std::vector<Operation*> Take();
  void Loop();
  void Commit(const std::vector<Operation*>& batch);
  Result<void> Attempt(Transaction& transaction, const std::vector<Operation*>& batch, bool one_by_one);
  Result<void> ApplyAlone(Transaction& transaction, Operation& operation);

  std::unique_ptr<Database> database_;  // used by the thread alone
  const Clock& clock_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable waiting_;
  std::deque<Operation*> queue_;
  bool closing_ = false;
  std::optional<int64_t> last_commit_ms_;

  std::mutex listener_mutex_;  // held while the listener runs
  Changed listener_;

  std::thread thread_;  // last: starts when everything else is there
};

}  // namespace caisson::queue
