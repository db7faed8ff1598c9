// SPDX-License-Identifier: Apache-2.0
// The store against a model in memory: random operations of three nodes under a clock that jumps, each answer and each
// record compared. What must hold throughout: no accepted job is lost, a final state never changes, fences only grow,
// an attempt ends once.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "queue/store.h"
#include "tests/queue/fake_clock.h"
#include "tests/queue/temporary_directory.h"

namespace caisson::queue {
namespace {

using caisson::testing::FakeClock;
using caisson::testing::TemporaryDirectory;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr TenantId kTenant{1};
constexpr int64_t kLeaseMs = 30'000;

struct ModelJob {
  JobSpec spec;
  JobState state = JobState::kQueued;
  Reason reason = Reason::kNone;
  int64_t queue_place = 0;
  int64_t run_at = 0;
  int64_t lease_until = 0;
  int64_t fence = 0;
  int attempts = 0, user_failures = 0, platform_failures = 0;
  bool cancel_requested = false;

  bool IsLeased() const { return state == JobState::kPreparing || state == JobState::kRunning; }
};

// The rules once more, in the plainest words; it shares Decide() with the store, which has its own test.
class Model {
 public:
  void Submit(const JobId& id, const JobSpec& spec) { jobs[id] = {.spec = spec, .queue_place = ++places_}; }

  const JobId* NextToClaim() const {
    const JobId* next = nullptr;
    for (const auto& [id, job] : jobs) {
      if (job.state == JobState::kQueued && (!next || job.queue_place < jobs.at(*next).queue_place)) next = &id;
    }
    return next;
  }
  void Claim(const JobId& id, int64_t fence, int64_t now) {
    ModelJob& job = jobs.at(id);
    job.state = JobState::kPreparing;
    job.fence = fence;
    job.attempts += 1;
    job.lease_until = now + kLeaseMs;
  }
  bool Holds(const ClaimRef& claim) const {
    const ModelJob& job = jobs.at(claim.id);
    return job.IsLeased() && job.fence == claim.fence;
  }
  void End(const JobId& id, const Outcome& outcome, int64_t now) {
    ModelJob& job = jobs.at(id);
    const Disposition d = Decide(outcome, job.spec, {job.user_failures, job.platform_failures}, job.cancel_requested);
    job.user_failures += d.counts_for_user;
    job.platform_failures += d.counts_for_platform;
    if (d.kind == Disposition::Kind::kDone) {
      job.state = d.state;
      job.reason = d.state == JobState::kCancelled ? Reason::kCancelled : outcome.reason;
    } else if (d.kind == Disposition::Kind::kRetry) {
      job.state = JobState::kScheduled;
      job.run_at = now + d.delay.count();
    } else {
      Requeue(job);
    }
  }
  void Release(const JobId& id) {
    ModelJob& job = jobs.at(id);
    if (job.cancel_requested) {
      job.state = JobState::kCancelled;
      job.reason = Reason::kCancelled;
    } else {
      Requeue(job);
    }
  }
  CancelResult Cancel(const JobId& id) {
    ModelJob& job = jobs.at(id);
    if (IsFinal(job.state)) return CancelResult::kAlreadyFinal;
    job.cancel_requested = true;
    if (job.IsLeased()) return CancelResult::kStopping;
    job.state = JobState::kCancelled;
    job.reason = Reason::kCancelled;
    return CancelResult::kCancelled;
  }
  // In the store's order: due jobs by time, then expired leases by time.
  int Tick(int64_t now) {
    std::multimap<int64_t, JobId> due, expired;
    for (const auto& [id, job] : jobs) {
      if (job.state == JobState::kScheduled && job.run_at <= now) due.emplace(job.run_at, id);
      if (job.IsLeased() && job.lease_until <= now) expired.emplace(job.lease_until, id);
    }
    for (const auto& [at, id] : due) Requeue(jobs.at(id));
    for (const auto& [at, id] : expired) Lose(id, now);
    return static_cast<int>(due.size() + expired.size());
  }
  int Recover(int64_t now) {
    std::multimap<int64_t, JobId> leased;
    for (const auto& [id, job] : jobs) {
      if (job.IsLeased()) leased.emplace(job.lease_until, id);
    }
    for (const auto& [at, id] : leased) Lose(id, now);
    return static_cast<int>(leased.size());
  }

  std::map<JobId, ModelJob> jobs;

 private:
  void Requeue(ModelJob& job) {
    job.state = JobState::kQueued;
    job.queue_place = ++places_;
  }
  void Lose(const JobId& id, int64_t now) {
    Outcome outcome;
    outcome.reason = Reason::kLost;
    End(id, outcome, now);
  }
  int64_t places_ = 0;
};

Outcome RandomOutcome(std::mt19937& random) {
  Outcome outcome;
  constexpr Reason kReasons[] = {Reason::kExited,     Reason::kExited,     Reason::kExited,     Reason::kSignaled,
                                 Reason::kTimedOut,   Reason::kOomKilled,  Reason::kDiskFull,   Reason::kForeignAbi,
                                 Reason::kImageError, Reason::kImageError, Reason::kSetupError, Reason::kCancelled,
                                 Reason::kLost};
  outcome.reason = kReasons[random() % std::size(kReasons)];
  if (outcome.reason == Reason::kExited) outcome.exit_code = static_cast<int>(random() % 3);
  if (outcome.reason == Reason::kImageError) outcome.transient = random() % 2 == 0;
  return outcome;
}

class StoreModelTest : public ::testing::TestWithParam<unsigned> {
 protected:
  void Open() {
    store_.reset();
    store_ = OpenSqliteStore({.path = directory_.file("store.db"), .lease = milliseconds(kLeaseMs), .clock = &clock_})
                 .value();
  }
  int64_t Now() const { return clock_.NowMs() - 1'700'000'000'000; }

  void Step();
  void Submit();
  void Claim();
  void EndSome();
  void Compare();
  ClaimRef AnyClaim() { return claims_[random_() % claims_.size()]; }
  JobId AnyJob() { return std::next(model_.jobs.begin(), static_cast<long>(random_() % model_.jobs.size()))->first; }

  TemporaryDirectory directory_;
  FakeClock clock_;
  std::unique_ptr<JobStore> store_;
  Model model_;
  std::mt19937 random_{GetParam()};
  std::vector<ClaimRef> claims_;  // every one that was ever given out
  std::map<JobId, JobState> final_;
  std::map<JobId, int64_t> last_fence_;
};

void StoreModelTest::Submit() {
  clock_.Advance(milliseconds(1));
  JobSpec spec;
  spec.image = "image";
  spec.max_attempts = 1 + random_() % 3;
  spec.retry_delay_seconds = random_() % 20;
  model_.Submit(store_->Submit({kTenant, spec, std::nullopt}).value().id, spec);
}

void StoreModelTest::Claim() {
  clock_.Advance(milliseconds(1));  // so that no two leases end at once
  const JobId* expected = model_.NextToClaim();
  const auto claim = store_->ClaimNext().value();
  ASSERT_EQ(claim.has_value(), expected != nullptr);
  if (!claim) return;
  ASSERT_EQ(claim->id, *expected);
  ASSERT_GT(claim->fence, last_fence_[claim->id]);
  last_fence_[claim->id] = claim->fence;
  model_.Claim(claim->id, claim->fence, Now());
  ASSERT_EQ(claim->attempt, model_.jobs.at(claim->id).attempts);
  claims_.push_back({claim->id, claim->fence});
}

void StoreModelTest::EndSome() {
  if (claims_.empty()) return;
  const ClaimRef claim = AnyClaim();
  const bool held = model_.Holds(claim);
  clock_.Advance(milliseconds(1));
  switch (random_() % 6) {
    case 0: {
      const auto set = store_->SetRunning(claim, Now(), {});
      ASSERT_EQ(set.has_value(), held);
      if (held) model_.jobs.at(claim.id).state = JobState::kRunning;
      return;
    }
    case 1: {
      ASSERT_EQ(store_->Release(claim, 0, 0).has_value(), held);
      if (held) model_.Release(claim.id);
      return;
    }
    case 2: {
      ASSERT_EQ(store_->Renew({claim}).value().empty(), held);
      if (held) model_.jobs.at(claim.id).lease_until = Now() + kLeaseMs;
      return;
    }
    default: {
      const Outcome outcome = RandomOutcome(random_);
      const auto finished = store_->Finish(claim, outcome, 0, 0);
      ASSERT_EQ(finished.has_value(), held);
      if (held) {
        model_.End(claim.id, outcome, Now());
      } else {
        ASSERT_EQ(finished.error().code, ErrorCode::kConflict);
      }
      return;
    }
  }
}

void StoreModelTest::Step() {
  switch (random_() % 12) {
    case 0:
    case 1: Submit(); return;
    case 2:
    case 3:
    case 4: Claim(); return;
    case 5:
    case 6:
    case 7: EndSome(); return;
    case 8:
      if (!model_.jobs.empty()) {
        const JobId id = AnyJob();
        ASSERT_EQ(store_->Cancel(kTenant, id, std::nullopt).value(), model_.Cancel(id));
      }
      return;
    case 9: clock_.Advance(milliseconds(random_() % 12'000)); return;
    case 10: ASSERT_EQ(store_->Tick().value(), model_.Tick(Now())); return;
    default:
      if (random_() % 8 != 0) return;
      Open();  // the service was killed and another one came
      ASSERT_EQ(store_->RecoverLeases().value(), model_.Recover(Now()));
      return;
  }
}

void StoreModelTest::Compare() {
  ListFilter filter{.tenant = kTenant, .limit = 200};
  size_t seen = 0;
  do {
    const JobPage page = store_->List(filter).value();
    for (const JobRecord& record : page.items) {
      ++seen;
      const ModelJob& job = model_.jobs.at(record.id);
      ASSERT_EQ(record.state, job.state) << record.id.value;
      ASSERT_EQ(record.reason, job.reason) << record.id.value;
      ASSERT_EQ(record.attempts, job.attempts);
      ASSERT_EQ(record.user_failures, job.user_failures);
      ASSERT_EQ(record.platform_failures, job.platform_failures);
      ASSERT_EQ(record.cancel_requested, job.cancel_requested);
      const auto [final, is_new] = final_.try_emplace(record.id, record.state);
      if (!is_new && IsFinal(final->second)) {
        ASSERT_EQ(record.state, final->second);
      }
      final->second = record.state;
    }
    filter.cursor = page.next_cursor;
  } while (!filter.cursor.empty());
  ASSERT_EQ(seen, model_.jobs.size());

  std::map<JobState, int64_t> counts;
  for (const auto& [id, job] : model_.jobs) ++counts[job.state];
  const std::vector<StateCount> stored = store_->CountByState().value();
  ASSERT_EQ(stored.size(), counts.size());
  for (const StateCount& count : stored) ASSERT_EQ(count.jobs, counts[count.state]);
}

TEST_P(StoreModelTest, EveryAnswerIsTheModels) {
  Open();
  for (int step = 0; step < 600; ++step) {
    Step();
    if (HasFatalFailure()) FAIL() << "at step " << step;
    if (step % 50 == 0) Compare();
    if (HasFatalFailure()) FAIL() << "at step " << step;
  }
  // In the end everything that was accepted reaches a final state.
  for (int i = 0; i < 10'000 && model_.NextToClaim(); ++i) {
    Claim();
    if (HasFatalFailure()) return;
    Outcome outcome;
    outcome.reason = Reason::kExited;
    outcome.exit_code = 0;
    ASSERT_TRUE(store_->Finish(claims_.back(), outcome, 0, 0));
    model_.End(claims_.back().id, outcome, Now());
    clock_.Advance(seconds(60));
    ASSERT_EQ(store_->Tick().value(), model_.Tick(Now()));
  }
  Compare();
  for (const auto& [id, job] : model_.jobs) EXPECT_TRUE(IsFinal(job.state)) << ToString(job.state);
}

INSTANTIATE_TEST_SUITE_P(Seeds, StoreModelTest, ::testing::Range(1U, 9U));

}  // namespace
}  // namespace caisson::queue
