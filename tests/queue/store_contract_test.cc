// SPDX-License-Identifier: Apache-2.0
// What every JobStore promises about submitting, reading, claiming and finishing. A further store joins by one more
// line at the end; leases and cancelling are in store_lease_test.cc.
#include <algorithm>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "queue/sqlite.h"
#include "tests/queue/job_store_fixture.h"

namespace caisson::queue {
namespace {

// ---- Submit, read, list -----------------------------------------------------------------------------------------

TEST_P(JobStoreTest, SubmittedJobIsQueuedAndReadsBack) {
  JobSpec spec;
  spec.image = "busybox:1";
  spec.command = std::vector<std::string>{"echo", "hi"};
  spec.labels = {{"a", "b"}};
  const JobRecord submitted = store_->Submit({kDefault, spec, "payload"}).value();
  const JobRecord read = Get(submitted.id);
  for (const JobRecord& record : {submitted, read}) {
    EXPECT_EQ(record.state, JobState::kQueued);
    EXPECT_EQ(record.reason, Reason::kNone);
    EXPECT_EQ(record.tenant_name, "default");
    EXPECT_EQ(record.spec.image, "busybox:1");
    EXPECT_EQ(record.spec.command, spec.command);
    EXPECT_EQ(record.spec.labels, spec.labels);
    EXPECT_TRUE(record.spec.has_payload);
    EXPECT_EQ(record.attempts, 0);
    EXPECT_EQ(record.created_at, clock_.NowMs());
    EXPECT_FALSE(record.started_at || record.finished_at || record.run_at || record.exit_code || record.signal);
  }
}

TEST_P(JobStoreTest, PayloadKeepsEveryByte) {
  std::string payload;
  for (int i = 0; i < 1 << 20; ++i) payload.push_back(static_cast<char>(i * 7));
  const JobRecord job = store_->Submit({kDefault, {}, payload}).value();
  EXPECT_EQ(store_->Payload(job.id).value(), payload);
}

TEST_P(JobStoreTest, EmptyPayloadIsNotNoPayload) {
  const JobRecord with = store_->Submit({kDefault, {}, ""}).value();
  EXPECT_TRUE(with.spec.has_payload);
  EXPECT_EQ(store_->Payload(with.id).value(), "");
  EXPECT_CODE(store_->Payload(Submit()), ErrorCode::kNotFound);
}

TEST_P(JobStoreTest, UnknownJobIsNotFound) {
  EXPECT_CODE(store_->Get(kDefault, JobId{std::string(24, '0')}), ErrorCode::kNotFound);
  EXPECT_CODE(store_->Cancel(kDefault, JobId{std::string(24, '0')}, std::nullopt), ErrorCode::kNotFound);
}

TEST_P(JobStoreTest, TenantsDoNotSeeEachOther) {
  const TenantId other = AddTenant("other");
  const JobId id = Submit();
  EXPECT_CODE(store_->Get(other, id), ErrorCode::kNotFound);
  EXPECT_CODE(store_->Cancel(other, id, std::nullopt), ErrorCode::kNotFound);
  EXPECT_TRUE(store_->List({.tenant = other}).value().items.empty());
  EXPECT_EQ(StateOf(id), JobState::kQueued);
}

TEST_P(JobStoreTest, ListGivesNewestFirstInPages) {
  std::vector<JobId> submitted;
  for (int i = 0; i < 25; ++i) submitted.push_back(Submit());
  std::reverse(submitted.begin(), submitted.end());
  std::vector<JobId> listed;
  ListFilter filter{.tenant = kDefault, .limit = 10};
  std::vector<size_t> sizes;
  do {
    const JobPage page = store_->List(filter).value();
    for (const JobRecord& job : page.items) listed.push_back(job.id);
    sizes.push_back(page.items.size());
    filter.cursor = page.next_cursor;
  } while (!filter.cursor.empty());
  EXPECT_EQ(listed, submitted);
  EXPECT_THAT(sizes, ::testing::ElementsAre(10, 10, 5));
}

TEST_P(JobStoreTest, ListPagesStayStableUnderNewJobs) {
  const JobId oldest = Submit();
  const JobId middle = Submit();
  const JobId newest = Submit();
  const JobPage first = store_->List({.tenant = kDefault, .limit = 2}).value();
  Submit();
  const JobPage second = store_->List({.tenant = kDefault, .limit = 2, .cursor = first.next_cursor}).value();
  ASSERT_EQ(first.items.size(), 2u);
  EXPECT_EQ(first.items[0].id, newest);
  EXPECT_EQ(first.items[1].id, middle);
  ASSERT_EQ(second.items.size(), 1u);
  EXPECT_EQ(second.items[0].id, oldest);
  EXPECT_TRUE(second.next_cursor.empty());
}

TEST_P(JobStoreTest, ListFiltersByStates) {
  const JobId first = Submit();
  const JobId second = Submit();
  const JobId third = Submit();
  Cancel(second);
  ASSERT_EQ(ClaimOne().id, first);
  const auto ids = [&](std::vector<JobState> states, int limit = 50) {
    const JobPage page = store_->List({.tenant = kDefault, .states = std::move(states), .limit = limit}).value();
    std::vector<JobId> found;
    for (const JobRecord& job : page.items) found.push_back(job.id);
    return found;
  };
  EXPECT_THAT(ids({JobState::kPreparing}), ::testing::ElementsAre(first));
  EXPECT_THAT(ids({JobState::kCancelled, JobState::kQueued}), ::testing::ElementsAre(third, second));
  EXPECT_THAT(ids({JobState::kCancelled, JobState::kQueued, JobState::kQueued}, 1), ::testing::ElementsAre(third));
  EXPECT_TRUE(ids({JobState::kRunning}).empty());
}

TEST_P(JobStoreTest, ForeignCursorIsInvalid) {
  for (const char* cursor : {"x", "' OR 1=1", "AAAA", "MDEyMzQ1Njc4OWFi"}) {
    EXPECT_CODE(store_->List({.tenant = kDefault, .cursor = cursor}), ErrorCode::kInvalid);
  }
}

TEST_P(JobStoreTest, CountsFollowEveryTransition) {
  const TenantId other = AddTenant("other");
  Submit();
  Submit();
  Submit({}, other);
  const Claim claim = ClaimOne();
  ASSERT_TRUE(store_->Finish(Ref(claim), Exited(0), 0, 0));
  std::map<std::pair<std::string, JobState>, int64_t> counts;
  const std::vector<StateCount> states = store_->CountByState().value();
  for (const StateCount& count : states) counts[{count.tenant, count.state}] = count.jobs;
  EXPECT_EQ(counts.size(), 3u);
  EXPECT_EQ((counts[{"default", JobState::kQueued}]), 1);
  EXPECT_EQ((counts[{"default", JobState::kSucceeded}]), 1);
  EXPECT_EQ((counts[{"other", JobState::kQueued}]), 1);
}

// ---- Claims -----------------------------------------------------------------------------------------------------

TEST_P(JobStoreTest, ClaimGivesTheOldestJobUnderANewFence) {
  const JobId first = Submit();
  const JobId second = Submit();
  const Claim claim = ClaimOne();
  EXPECT_EQ(claim.id, first);
  EXPECT_EQ(claim.attempt, 1);
  EXPECT_GT(claim.fence, 0);
  EXPECT_EQ(claim.spec.image, "image");
  EXPECT_EQ(StateOf(first), JobState::kPreparing);
  EXPECT_EQ(Get(first).attempts, 1);
  EXPECT_EQ(ClaimOne().id, second);
  EXPECT_TRUE(NothingToClaim());
}

TEST_P(JobStoreTest, TenantsTakeTurns) {
  const TenantId other = AddTenant("other");
  const TenantId third = AddTenant("third");
  for (int i = 0; i < 4; ++i) Submit();
  for (int i = 0; i < 2; ++i) Submit({}, other);
  Submit({}, third);
  std::vector<int64_t> order;
  for (int i = 0; i < 7; ++i) order.push_back(ClaimOne().tenant.value);
  const int64_t a = kDefault.value, b = other.value, c = third.value;
  EXPECT_THAT(order, ::testing::ElementsAre(a, b, c, a, b, a, a));
}

TEST_P(JobStoreTest, ConcurrentClaimsNeverShareAJob) {
  constexpr int kJobs = 200;
  for (int i = 0; i < kJobs; ++i) Submit();
  std::mutex mutex;
  std::multiset<JobId> claimed;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      while (auto claim = store_->ClaimNext().value()) {
        const std::lock_guard lock(mutex);
        claimed.insert(claim->id);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(claimed.size(), static_cast<size_t>(kJobs));
  EXPECT_EQ(std::set<JobId>(claimed.begin(), claimed.end()).size(), static_cast<size_t>(kJobs));
}

TEST_P(JobStoreTest, DigestIsKeptForLaterAttempts) {
  JobSpec spec;
  spec.max_attempts = 2;
  spec.retry_delay_seconds = 0;
  const JobId id = Submit(spec);
  const Claim first = ClaimOne();
  EXPECT_FALSE(first.image_digest);
  ASSERT_TRUE(store_->SetImageDigest(Ref(first), DigestOf('a')));
  EXPECT_EQ(Get(id).image_digest, DigestOf('a'));
  ASSERT_TRUE(store_->Finish(Ref(first), Exited(1), 5, 1));
  ASSERT_EQ(store_->Tick().value(), 1);
  const Claim second = ClaimOne();
  EXPECT_EQ(second.image_digest, DigestOf('a'));
  EXPECT_EQ(second.attempt, 2);
  EXPECT_EQ(second.log_bytes, 5u);
  EXPECT_EQ(second.log_dropped, 1u);
  EXPECT_EQ(second.failures.by_user, 1);
}

TEST_P(JobStoreTest, RunningJobShowsItsStartAndWhatIsNotEnforced) {
  const JobId id = Submit();
  ASSERT_TRUE(store_->SetRunning(Ref(ClaimOne()), 1234, {"memory", "cpu"}));
  const JobRecord job = Get(id);
  EXPECT_EQ(job.state, JobState::kRunning);
  EXPECT_EQ(job.started_at, 1234);
  EXPECT_THAT(job.unenforced, ::testing::ElementsAre("memory", "cpu"));
}

// ---- Ends of attempts -------------------------------------------------------------------------------------------

TEST_P(JobStoreTest, FinishWritesHowItEnded) {
  const JobId id = Submit();
  const Claim claim = ClaimOne();
  ASSERT_TRUE(store_->SetRunning(Ref(claim), clock_.NowMs(), {}));
  clock_.Advance(seconds(5));
  Outcome outcome = Exited(3);
  outcome.message = "why";
  outcome.usage = {.cpu_seconds = 1.5, .memory_peak_bytes = 4096, .pids_peak = 2};
  const JobRecord finished = store_->Finish(Ref(claim), outcome, 100, 7).value();
  for (const JobRecord& job : {finished, Get(id)}) {
    EXPECT_EQ(job.state, JobState::kFailed);
    EXPECT_EQ(job.reason, Reason::kExited);
    EXPECT_EQ(job.exit_code, 3);
    EXPECT_EQ(job.message, "why");
    EXPECT_EQ(job.finished_at, clock_.NowMs());
    EXPECT_EQ(job.usage.cpu_seconds, 1.5);
    EXPECT_EQ(job.usage.memory_peak_bytes, 4096u);
    EXPECT_EQ(job.usage.pids_peak, 2u);
    EXPECT_EQ(job.log_bytes, 100u);
    EXPECT_EQ(job.log_dropped, 7u);
    EXPECT_EQ(job.user_failures, 1);
  }
}

TEST_P(JobStoreTest, AnAttemptFinishesOnce) {
  const JobId id = Submit();
  const Claim claim = ClaimOne();
  ASSERT_TRUE(store_->Finish(Ref(claim), Exited(0), 0, 0));
  EXPECT_CODE(store_->Finish(Ref(claim), Exited(1), 0, 0), ErrorCode::kConflict);
  EXPECT_CODE(store_->Release(Ref(claim), 0, 0), ErrorCode::kConflict);
  EXPECT_CODE(store_->SetRunning(Ref(claim), 1, {}), ErrorCode::kConflict);
  EXPECT_CODE(store_->SetImageDigest(Ref(claim), DigestOf('b')), ErrorCode::kConflict);
  EXPECT_EQ(StateOf(id), JobState::kSucceeded);
}

TEST_P(JobStoreTest, OldFenceChangesNothing) {
  const JobId id = Submit();
  const Claim lost = ClaimOne();
  clock_.Advance(seconds(31));
  ASSERT_EQ(store_->Tick().value(), 1);
  EXPECT_CODE(store_->Finish(Ref(lost), Exited(0), 0, 0), ErrorCode::kConflict);
  const Claim current = ClaimOne();
  EXPECT_EQ(current.id, id);
  EXPECT_GT(current.fence, lost.fence);
  EXPECT_CODE(store_->Finish(Ref(lost), Exited(0), 0, 0), ErrorCode::kConflict);
  EXPECT_CODE(store_->SetRunning(Ref(lost), 1, {}), ErrorCode::kConflict);
  EXPECT_CODE(store_->SetImageDigest(Ref(lost), DigestOf('b')), ErrorCode::kConflict);
  EXPECT_CODE(store_->Release(Ref(lost), 0, 0), ErrorCode::kConflict);
  EXPECT_EQ(StateOf(id), JobState::kPreparing);
  EXPECT_FALSE(Get(id).image_digest);
  EXPECT_TRUE(store_->Finish(Ref(current), Exited(0), 0, 0));
}

TEST_P(JobStoreTest, RacingFinishesHaveOneWinner) {
  Submit();
  const Claim claim = ClaimOne();
  std::atomic<int> won = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&] { won += store_->Finish(Ref(claim), Exited(0), 0, 0).has_value(); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(won, 1);
}

TEST_P(JobStoreTest, FailureIsRetriedAfterItsDelay) {
  JobSpec spec;
  spec.max_attempts = 2;
  spec.retry_delay_seconds = 10;
  const JobId id = Submit(spec);
  const JobRecord waiting = store_->Finish(Ref(ClaimOne()), Exited(1), 0, 0).value();
  EXPECT_EQ(waiting.state, JobState::kScheduled);
  EXPECT_EQ(waiting.reason, Reason::kNone);
  EXPECT_FALSE(waiting.exit_code || waiting.finished_at);
  EXPECT_EQ(waiting.run_at, clock_.NowMs() + 10'000);
  clock_.Advance(milliseconds(9'999));
  EXPECT_EQ(store_->Tick().value(), 0);
  EXPECT_TRUE(NothingToClaim());
  clock_.Advance(milliseconds(1));
  EXPECT_EQ(store_->Tick().value(), 1);
  EXPECT_FALSE(Get(id).run_at);
  const Claim second = ClaimOne();
  EXPECT_EQ(second.attempt, 2);
  EXPECT_EQ(store_->Finish(Ref(second), Exited(1), 0, 0).value().state, JobState::kFailed);
  EXPECT_EQ(Get(id).attempts, 2);
}

TEST_P(JobStoreTest, RegistryThatStaysDownEndsInImageError) {
  const JobId id = Submit();
  for (const int delay_s : {2, 4, 8, 16}) {
    const JobRecord waiting = store_->Finish(Ref(ClaimOne()), RegistryDown(), 0, 0).value();
    EXPECT_EQ(waiting.state, JobState::kScheduled);
    EXPECT_EQ(waiting.run_at, clock_.NowMs() + delay_s * 1000);
    EXPECT_EQ(waiting.message, "registry is down");
    clock_.Advance(seconds(delay_s));
    ASSERT_EQ(store_->Tick().value(), 1);
  }
  const JobRecord ended = store_->Finish(Ref(ClaimOne()), RegistryDown(), 0, 0).value();
  EXPECT_EQ(ended.state, JobState::kFailed);
  EXPECT_EQ(ended.reason, Reason::kImageError);
  EXPECT_EQ(Get(id).attempts, 5);
  EXPECT_EQ(Get(id).user_failures, 0);
  EXPECT_EQ(Get(id).platform_failures, 5);
}

TEST_P(JobStoreTest, ReleaseGivesTheJobBackWithoutUsingABudget) {
  const JobId id = Submit();
  for (int i = 1; i <= 8; ++i) {
    const Claim claim = ClaimOne();
    EXPECT_EQ(claim.attempt, i);
    ASSERT_TRUE(store_->SetRunning(Ref(claim), 1, {}));
    ASSERT_TRUE(store_->Release(Ref(claim), 10, 2));
    EXPECT_EQ(StateOf(id), JobState::kQueued);
  }
  EXPECT_EQ(Get(id).user_failures, 0);
  EXPECT_EQ(Get(id).platform_failures, 0);
  EXPECT_EQ(Get(id).log_bytes, 10u);
}

// ---- Tokens and grants ------------------------------------------------------------------------------------------

TEST_P(JobStoreTest, TokenIsFoundByItsSecretAlone) {
  const NewToken created = store_->CreateToken("default").value();
  EXPECT_THAT(created.secret.Expose(), ::testing::MatchesRegex("csn_[A-Za-z0-9_-]+"));
  EXPECT_EQ(created.secret.Expose().size(), 4u + 43u);
  const Token found = store_->FindToken(created.secret).value();
  EXPECT_EQ(found.id, created.token.id);
  EXPECT_EQ(found.tenant, kDefault);
  EXPECT_EQ(found.tenant_name, "default");
  EXPECT_CODE(store_->FindToken(Secret("csn_" + std::string(43, 'A'))), ErrorCode::kDenied);
  EXPECT_CODE(store_->FindToken(Secret("")), ErrorCode::kDenied);
  EXPECT_NE(store_->CreateToken("default").value().secret.Expose(), created.secret.Expose());
}

TEST_P(JobStoreTest, TokenNeedsATenant) {
  EXPECT_CODE(store_->CreateToken("nobody"), ErrorCode::kNotFound);
  EXPECT_CODE(store_->FindTenant("nobody"), ErrorCode::kNotFound);
  EXPECT_EQ(store_->FindTenant("default").value(), kDefault);
}

TEST_P(JobStoreTest, ImageGrantIsOfOneTenantRepositoryAndDigestForADay) {
  const TenantId other = AddTenant("other");
  ASSERT_TRUE(store_->GrantImage(kDefault, "host/a", DigestOf('a')));
  EXPECT_TRUE(store_->MayUseImage(kDefault, "host/a", DigestOf('a')).value());
  EXPECT_FALSE(store_->MayUseImage(other, "host/a", DigestOf('a')).value());
  EXPECT_FALSE(store_->MayUseImage(kDefault, "host/b", DigestOf('a')).value());
  EXPECT_FALSE(store_->MayUseImage(kDefault, "host/a", DigestOf('b')).value());
  clock_.Advance(hours(23));
  EXPECT_TRUE(store_->MayUseImage(kDefault, "host/a", DigestOf('a')).value());
  ASSERT_TRUE(store_->GrantImage(kDefault, "host/a", DigestOf('a')));
  clock_.Advance(hours(23));
  EXPECT_TRUE(store_->MayUseImage(kDefault, "host/a", DigestOf('a')).value());
  clock_.Advance(hours(1));
  EXPECT_FALSE(store_->MayUseImage(kDefault, "host/a", DigestOf('a')).value());
}

TEST_P(JobStoreTest, ImageGrantsAreOfOneTenantAndOutliveTheirValidity) {
  const TenantId other = AddTenant("other");
  ASSERT_TRUE(store_->GrantImage(kDefault, "host/b", DigestOf('a')));
  ASSERT_TRUE(store_->GrantImage(kDefault, "host/a", DigestOf('b')));
  ASSERT_TRUE(store_->GrantImage(kDefault, "host/a", DigestOf('b')));
  ASSERT_TRUE(store_->GrantImage(other, "host/c", DigestOf('c')));
  clock_.Advance(hours(48));
  const std::vector<ImageGrant> grants = store_->ImageGrants(kDefault).value();
  ASSERT_EQ(grants.size(), 2u);
  EXPECT_EQ(grants[0].repository, "host/a");
  EXPECT_EQ(grants[0].manifest, DigestOf('b'));
  EXPECT_EQ(grants[1].repository, "host/b");
  EXPECT_EQ(grants[1].manifest, DigestOf('a'));
  EXPECT_EQ(store_->ImageGrants(other).value().size(), 1u);
}

// ---- Listener, readiness ----------------------------------------------------------------------------------------

TEST_P(JobStoreTest, ListenerHearsOfEveryChangeBeforeItsCaller) {
  std::vector<std::pair<JobId, JobState>> heard;
  store_->SetListener([&](const JobId& id, JobState state) { heard.emplace_back(id, state); });
  const JobId id = Submit();
  const Claim claim = ClaimOne();
  ASSERT_TRUE(store_->SetRunning(Ref(claim), 1, {}));
  ASSERT_TRUE(store_->Finish(Ref(claim), Exited(0), 0, 0));
  Cancel(id);  // nothing changes
  using Pair = std::pair<JobId, JobState>;
  EXPECT_THAT(heard, ::testing::ElementsAre(Pair{id, JobState::kQueued}, Pair{id, JobState::kPreparing},
                                            Pair{id, JobState::kRunning}, Pair{id, JobState::kSucceeded}));
  store_->SetListener({});
  Submit();
  EXPECT_EQ(heard.size(), 4u);
}

TEST_P(JobStoreTest, PingSaysThatTheStoreCanWrite) {
  EXPECT_TRUE(store_->Ping());
  clock_.Advance(seconds(2));
  EXPECT_TRUE(store_->Ping());
}

TEST_P(JobStoreTest, ManySubmittersEachGetTheirJob) {
  constexpr int kThreads = 64, kEach = 20;
  std::vector<std::vector<JobId>> ids(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (int k = 0; k < kEach; ++k) {
        JobSpec spec;
        spec.image = "image-" + std::to_string(i) + "-" + std::to_string(k);
        ids[i].push_back(store_->Submit({kDefault, spec, std::nullopt}).value().id);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<JobId> all;
  for (int i = 0; i < kThreads; ++i) {
    for (int k = 0; k < kEach; ++k) {
      all.insert(ids[i][k]);
      EXPECT_EQ(Get(ids[i][k]).spec.image, "image-" + std::to_string(i) + "-" + std::to_string(k));
    }
  }
  EXPECT_EQ(all.size(), static_cast<size_t>(kThreads * kEach));
}

TEST_P(JobStoreTest, EverythingSurvivesAReopen) {
  JobSpec spec;
  spec.max_attempts = 2;
  const JobId id = Submit(spec);
  const NewToken token = store_->CreateToken("default").value();
  const Claim claim = ClaimOne();
  ASSERT_TRUE(store_->SetImageDigest(Ref(claim), DigestOf('c')));
  ASSERT_TRUE(store_->Finish(Ref(claim), Exited(9), 11, 0));
  Open();
  const JobRecord job = Get(id);
  EXPECT_EQ(job.state, JobState::kScheduled);
  EXPECT_EQ(job.image_digest, DigestOf('c'));
  EXPECT_EQ(job.log_bytes, 11u);
  EXPECT_TRUE(store_->FindToken(token.secret));
  clock_.Advance(seconds(10));
  EXPECT_EQ(store_->Tick().value(), 1);
  EXPECT_GT(ClaimOne().fence, claim.fence);
}

// ---- The stores -------------------------------------------------------------------------------------------------

TenantId AddSqliteTenant(const std::string& path, const std::string& name) {
  const auto database = Database::Open(path, 1000).value();
  Query insert = database->Ask("INSERT INTO tenants(name, created_at) VALUES(?, 0)", {name}).value();
  insert.Run().value();
  return TenantId{database->last_insert_rowid()};
}

INSTANTIATE_TEST_SUITE_P(Sqlite, JobStoreTest, ::testing::Values(StoreKind{"Sqlite", OpenSqliteStore, AddSqliteTenant}),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace caisson::queue
