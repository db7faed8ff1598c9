// SPDX-License-Identifier: Apache-2.0
// What is the embedded store's own: its file, its lock, its schema, its writer, and what is left after kill -9.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <mutex>
#include <set>
#include <thread>

#include "base/io.h"
#include "queue/job_rows.h"
#include "queue/schema.h"
#include "queue/sqlite.h"
#include "queue/store.h"
#include "queue/transitions.h"
#include "queue/writer.h"
#include "tests/queue/temporary_directory.h"

namespace caisson::queue {
namespace {

using caisson::testing::TemporaryDirectory;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr TenantId kDefault{1};

class SqliteStoreTest : public ::testing::Test {
 protected:
  StoreOptions Options() const { return {.path = directory_.file("store.db")}; }
  std::unique_ptr<JobStore> Open() { return OpenSqliteStore(Options()).value(); }
  std::unique_ptr<Database> OpenDatabase() { return Database::Open(Options().path, 1000).value(); }
  static JobSpec Spec() {
    JobSpec spec;
    spec.image = "image";
    return spec;
  }

  TemporaryDirectory directory_;
};

// ---- The file ---------------------------------------------------------------------------------------------------

TEST_F(SqliteStoreTest, FilesAreForNobodyElse) {
  const auto store = Open();
  store->Submit({kDefault, Spec(), std::nullopt}).value();
  for (const char* name : {"store.db", "store.db-wal", "store.db-shm", "store.db.lock"}) {
    struct stat info {};
    ASSERT_EQ(::stat(directory_.file(name).c_str(), &info), 0) << name;
    EXPECT_EQ(info.st_mode & 0777, 0600u) << name;
  }
}

TEST_F(SqliteStoreTest, SecondOpenIsRefused) {
  auto first = Open();
  const auto second = OpenSqliteStore(Options());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kConflict);
  EXPECT_THAT(second.error().message, HasSubstr("second caissond"));
  first.reset();
  EXPECT_TRUE(OpenSqliteStore(Options()));
}

TEST_F(SqliteStoreTest, NewerSchemaIsRefusedWithBothVersions) {
  Open();
  ASSERT_TRUE(OpenDatabase()->Execute("PRAGMA user_version=99"));
  const auto store = OpenSqliteStore(Options());
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(store.error().message, HasSubstr("schema 99"));
}

TEST_F(SqliteStoreTest, DatabaseOfAnotherProgramIsLeftAlone) {
  ASSERT_TRUE(OpenDatabase()->Execute("CREATE TABLE theirs(x)"));
  const auto store = OpenSqliteStore(Options());
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(store.error().message, HasSubstr("another program"));
}

TEST_F(SqliteStoreTest, FileThatIsNoDatabaseIsSaid) {
  {
    const Fd file = OpenAt(AT_FDCWD, Options().path, O_WRONLY | O_CREAT, 0600).value();
    ASSERT_TRUE(WriteAll(file.get(), std::string(8192, 'x')));
  }
  const auto store = OpenSqliteStore(Options());
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::kCorrupt);
}

TEST_F(SqliteStoreTest, EveryCommitIsSynchronous) {
  Open();
  const auto database = OpenDatabase();
  const auto pragma = [&](const char* sql) {
    Query query = database->Ask(sql).value();
    EXPECT_TRUE(query.Next().value());
    return query.Text(0);
  };
  EXPECT_EQ(pragma("PRAGMA journal_mode"), "wal");
  EXPECT_EQ(pragma("PRAGMA synchronous"), "2");
  EXPECT_EQ(pragma("PRAGMA foreign_keys"), "1");
  EXPECT_EQ(pragma("PRAGMA auto_vacuum"), "2");
}

TEST_F(SqliteStoreTest, TokensAreStoredAsHashesAlone) {
  std::string secret;
  {
    const auto store = Open();
    secret = store->CreateToken("default").value().secret.Expose();
  }
  for (const char* name : {"store.db", "store.db-wal"}) {
    const auto bytes = ReadFile(directory_.file(name), 64 << 20);
    if (bytes) {
      EXPECT_THAT(*bytes, Not(HasSubstr(secret.substr(4)))) << name;
    }
  }
}

// ---- The schema -------------------------------------------------------------------------------------------------

TEST_F(SqliteStoreTest, SchemaHasAllEightStatesAndNoMore) {
  Open();
  const auto database = OpenDatabase();
  for (int state = -1; state <= 8; ++state) {
    Query insert = database
                       ->Ask(
                           "INSERT INTO jobs(id, tenant, state, queue_seq, max_attempts, retry_delay_seconds, "
                           "created_at, spec) VALUES(?,1,?,0,1,0,0,'{}')",
                           {std::to_string(state), state})
                       .value();
    EXPECT_EQ(insert.Run().has_value(), state >= 0 && state <= 7) << state;
  }
}

TEST_F(SqliteStoreTest, FinalStatesNeverChangeWhateverAStatementSays) {
  {
    const auto store = Open();
    const JobId id = store->Submit({kDefault, Spec(), std::nullopt}).value().id;
    ASSERT_TRUE(store->Cancel(kDefault, id, std::nullopt));
  }
  const auto database = OpenDatabase();
  EXPECT_FALSE(database->Execute("UPDATE jobs SET state = 2"));
}

// The claim, and what time does, must not slow down with what waits or has finished: each is one search in an index.
TEST_F(SqliteStoreTest, HotStatementsSearchTheirIndexes) {
  Open();
  const auto database = OpenDatabase();
  const std::pair<const char*, const char*> cases[] = {
      {"WHERE state = 2 AND tenant > 1 ORDER BY tenant, queue_seq LIMIT 1", "SEARCH jobs USING INDEX jobs_queued"},
      {"WHERE state = 1 AND run_at <= 1 ORDER BY run_at LIMIT 1", "SEARCH jobs USING INDEX jobs_scheduled"},
      {"WHERE state IN (3, 4) AND lease_until <= 1 ORDER BY lease_until LIMIT 1",
       "SEARCH jobs USING INDEX jobs_leased"},
      {"WHERE state IN (3, 4) ORDER BY lease_until LIMIT 1", "USING INDEX jobs_leased"},
      {"WHERE id = 'x' AND fence = 1 AND state IN (3, 4)", "SEARCH jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)"},
      {"WHERE id IN (SELECT * FROM (SELECT id FROM jobs WHERE tenant = 1 AND id < 'g' AND state = 4 ORDER BY id DESC "
       "LIMIT 1)) ORDER BY id DESC LIMIT 1",
       "SEARCH jobs USING COVERING INDEX jobs_by_state (tenant=? AND state=? AND id<?)"},
  };
  for (const auto& [where, expected] : cases) {
    Query query = database->Ask("EXPLAIN QUERY PLAN " + SelectJobs(where)).value();
    std::string plan;
    while (query.Next().value()) plan += query.Text(3) + "\n";
    EXPECT_THAT(plan, HasSubstr(expected)) << where;
    EXPECT_THAT(plan, Not(HasSubstr("TEMP B-TREE"))) << where;
  }
}

TEST_F(SqliteStoreTest, EveryAttemptHasItsLine) {
  {
    const auto store = Open();
    JobSpec spec = Spec();
    spec.max_attempts = 2;
    spec.retry_delay_seconds = 0;
    store->Submit({kDefault, spec, std::nullopt}).value();
    Outcome failed;
    failed.reason = Reason::kSignaled;
    failed.signal = 9;
    Outcome fine;
    fine.reason = Reason::kExited;
    fine.exit_code = 0;
    const auto claim = [&] {
      EXPECT_TRUE(store->Tick());
      const Claim claimed = store->ClaimNext().value().value();
      return ClaimRef{claimed.id, claimed.fence};
    };
    ASSERT_TRUE(store->Finish(claim(), failed, 0, 0));
    ASSERT_TRUE(store->Release(claim(), 0, 0));
    ASSERT_TRUE(store->Finish(claim(), fine, 0, 0));
  }
  const auto database = OpenDatabase();
  Query query = database->Ask("SELECT number, reason, signal, exit_code FROM attempts ORDER BY number").value();
  std::vector<std::tuple<int64_t, int64_t, std::optional<int64_t>, std::optional<int64_t>>> lines;
  while (query.Next().value()) {
    lines.emplace_back(query.Int(0), query.Int(1), query.OptionalInt(2), query.OptionalInt(3));
  }
  using Line = decltype(lines)::value_type;
  EXPECT_THAT(lines, ::testing::ElementsAre(Line{1, 2, 9, std::nullopt}, Line{2, 0, std::nullopt, std::nullopt},
                                            Line{3, 1, std::nullopt, 0}));
}

TEST_F(SqliteStoreTest, JobWithADamagedSpecFailsAndDoesNotStopTheQueue) {
  JobId damaged, next;
  {
    const auto store = Open();
    damaged = store->Submit({kDefault, Spec(), std::nullopt}).value().id;
    next = store->Submit({kDefault, Spec(), std::nullopt}).value().id;
  }
  {
    const auto database = OpenDatabase();
    Query update = database->Ask("UPDATE jobs SET spec = '{' WHERE id = ?", {damaged.value}).value();
    ASSERT_EQ(update.Run().value(), 1);
  }
  const auto store = Open();
  EXPECT_EQ(store->ClaimNext().value().value().id, next);
  const std::vector<StateCount> counts = store->CountByState().value();
  EXPECT_TRUE(
      std::any_of(counts.begin(), counts.end(), [](const StateCount& c) { return c.state == JobState::kFailed; }));
}

// ---- The writer -------------------------------------------------------------------------------------------------

class WriterTest : public SqliteStoreTest {
 protected:
  WriterTest() {
    auto database = OpenDatabase();
    EXPECT_TRUE(database->Execute("CREATE TABLE t(x INTEGER PRIMARY KEY) STRICT"));
    writer_ = std::make_unique<Writer>(std::move(database), SystemClock());
  }
  Result<void> Insert(int x) {
    return writer_->Run<void>([&](Transaction& transaction) -> Result<void> {
      Query insert = TRY(transaction.database.Ask("INSERT INTO t VALUES(?)", {x}));
      TRY(insert.Run());
      return {};
    });
  }
  int64_t Count() {
    Query query = reader_->Ask("SELECT count(*) FROM t").value();
    EXPECT_TRUE(query.Next().value());
    return query.Int(0);
  }

  std::unique_ptr<Writer> writer_;
  std::unique_ptr<Database> reader_ = OpenDatabase();
};

// Runs all of them as one batch: they gather while an operation before them holds the writer.
void RunTogether(Writer& writer, const std::vector<std::function<void()>>& operations) {
  std::atomic<bool> held = false, let_go = false;
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    EXPECT_TRUE(writer.Run<void>([&](Transaction&) -> Result<void> {
      held = true;
      held.notify_all();
      let_go.wait(false);
      return {};
    }));
  });
  held.wait(false);
  for (const auto& operation : operations) threads.emplace_back(operation);
  while (writer.waiting() < operations.size()) std::this_thread::yield();
  let_go = true;
  let_go.notify_all();
  for (std::thread& thread : threads) thread.join();
}

TEST_F(WriterTest, FailingStatementTakesNoOtherOperationOfItsBatchWithIt) {
  std::atomic<int> succeeded = 0, failed = 0;
  std::vector<std::function<void()>> operations;
  for (int i = 0; i < 40; ++i) {
    // Each tenth breaks the primary key.
    operations.emplace_back([&, i] { (Insert(i % 10 == 9 ? 0 : i) ? succeeded : failed) += 1; });
  }
  RunTogether(*writer_, operations);
  EXPECT_EQ(succeeded, 36);
  EXPECT_EQ(failed, 4);
  EXPECT_EQ(Count(), 36);
}

TEST_F(WriterTest, WaitingOperationsShareOneTransaction) {
  size_t largest = 0;  // the writer's thread
  const std::function<void()> operation = [&] {
    EXPECT_TRUE(writer_->Run<void>([&](Transaction& transaction) -> Result<void> {
      transaction.changes.emplace_back();
      largest = std::max(largest, transaction.changes.size());
      return {};
    }));
  };
  RunTogether(*writer_, std::vector(30, operation));
  EXPECT_EQ(largest, 30u);
}

TEST_F(WriterTest, RefusedOperationWritesNothingAndHarmsNobody) {
  EXPECT_TRUE(Insert(1));
  const auto refused =
      writer_->Run<void>([](Transaction&) -> Result<void> { return Fail(ErrorCode::kConflict, "no"); });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
  EXPECT_TRUE(Insert(2));
  EXPECT_EQ(Count(), 2);
}

TEST_F(WriterTest, OperationThatFailsAloneIsUndone) {
  const auto half = writer_->Run<void>([](Transaction& transaction) -> Result<void> {
    for (const int x : {7, 7}) {
      Query insert = TRY(transaction.database.Ask("INSERT INTO t VALUES(?)", {x}));
      TRY(insert.Run());
    }
    return {};
  });
  EXPECT_FALSE(half);
  EXPECT_EQ(Count(), 0);
}

// ---- kill -9 ----------------------------------------------------------------------------------------------------

// A child submits from many threads and says each id only after Submit() returned; then it is killed at some moment.
TEST_F(SqliteStoreTest, EverySubmitThatWasAnsweredSurvivesKillDashNine) {
  constexpr size_t kRounds = 5, kThreads = 16, kIdBytes = 24;
  std::set<std::string> answered;
  for (size_t round = 0; round < kRounds; ++round) {
    Pipe pipe = MakePipe().value();
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto store = OpenSqliteStore(Options());
      if (!store) ::_exit(1);
      std::vector<std::thread> threads;
      for (size_t i = 0; i < kThreads; ++i) {
        threads.emplace_back([&] {
          for (;;) {
            const auto job = (*store)->Submit({kDefault, Spec(), "payload"});
            if (!job) ::_exit(2);
            if (!WriteAll(pipe.write.get(), job->id.value)) ::_exit(3);  // whole: below PIPE_BUF
          }
        });
      }
      threads[0].join();
    }
    pipe.write.reset();
    std::string told;
    char buffer[4096];
    while (told.size() < (400 + 300 * round) * kIdBytes) {
      const ssize_t got = ::read(pipe.read.get(), buffer, sizeof buffer);
      ASSERT_GT(got, 0) << "the child ended by itself";
      told.append(buffer, static_cast<size_t>(got));
    }
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    told += ReadAll(pipe.read.get(), 64 << 20).value();
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    ASSERT_EQ(told.size() % kIdBytes, 0u);
    for (size_t at = 0; at < told.size(); at += kIdBytes) answered.insert(told.substr(at, kIdBytes));
  }
  const auto store = Open();
  for (const std::string& id : answered) {
    ASSERT_TRUE(store->Get(kDefault, JobId{id})) << id;
    ASSERT_EQ(store->Payload(JobId{id}).value(), "payload");
  }
  const auto database = OpenDatabase();
  Query check = database->Ask("PRAGMA integrity_check").value();
  ASSERT_TRUE(check.Next().value());
  EXPECT_EQ(check.Text(0), "ok");
}

}  // namespace
}  // namespace caisson::queue
