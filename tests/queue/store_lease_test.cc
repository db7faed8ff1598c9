// SPDX-License-Identifier: Apache-2.0
// What every JobStore promises about leases and cancelling: the table of races. The stores are named in
// store_contract_test.cc.

#include "tests/queue/job_store_fixture.h"

namespace caisson::queue {
namespace {

// ---- Leases -----------------------------------------------------------------------------------------------------

TEST_P(JobStoreTest, ExpiredLeaseReturnsJobToQueue) {
  const JobId id = Submit();
  ClaimOne();
  clock_.Advance(milliseconds(29'999));
  EXPECT_EQ(store_->Tick().value(), 0);
  EXPECT_EQ(StateOf(id), JobState::kPreparing);
  clock_.Advance(milliseconds(1));
  EXPECT_EQ(store_->Tick().value(), 1);
  EXPECT_EQ(StateOf(id), JobState::kQueued);
  EXPECT_EQ(Get(id).platform_failures, 1);
}

TEST_P(JobStoreTest, RenewedLeaseLives) {
  const JobId id = Submit();
  const Claim claim = ClaimOne();
  for (int i = 0; i < 10; ++i) {
    clock_.Advance(seconds(10));
    EXPECT_TRUE(store_->Renew({Ref(claim)}).value().empty());
    EXPECT_EQ(store_->Tick().value(), 0);
  }
  EXPECT_EQ(StateOf(id), JobState::kPreparing);
}

TEST_P(JobStoreTest, RenewNamesTheClaimsThatAreGone) {
  Submit();
  Submit();
  const Claim kept = ClaimOne();
  const Claim finished = ClaimOne();
  ASSERT_TRUE(store_->Finish(Ref(finished), Exited(0), 0, 0));
  const std::vector<ClaimRef> gone = store_->Renew({Ref(kept), Ref(finished)}).value();
  ASSERT_EQ(gone.size(), 1u);
  EXPECT_EQ(gone[0].id, finished.id);
}

TEST_P(JobStoreTest, StepOfTheWallClockEndsNoLease) {
  const JobId id = Submit();
  ClaimOne();
  clock_.StepWallClock(hours(24));
  EXPECT_EQ(store_->Tick().value(), 0);
  EXPECT_EQ(StateOf(id), JobState::kPreparing);
}

TEST_P(JobStoreTest, JobThatIsAlwaysLostFailsInTheEnd) {
  const JobId id = Submit();
  for (int i = 0; i < 5; ++i) {
    ClaimOne();
    clock_.Advance(seconds(31));
    ASSERT_EQ(store_->Tick().value(), 1);
  }
  EXPECT_EQ(StateOf(id), JobState::kFailed);
  EXPECT_EQ(Get(id).reason, Reason::kLost);
}

TEST_P(JobStoreTest, RecoverLosesEveryLeaseOfTheServiceBefore) {
  const JobId preparing = Submit();
  const JobId running = Submit();
  const JobId queued = Submit();
  ClaimOne();
  ASSERT_TRUE(store_->SetRunning(Ref(ClaimOne()), 1, {}));
  Open();
  EXPECT_EQ(store_->RecoverLeases().value(), 2);
  for (const JobId& id : {preparing, running, queued}) EXPECT_EQ(StateOf(id), JobState::kQueued);
  EXPECT_EQ(Get(running).platform_failures, 1);
  EXPECT_EQ(Get(queued).platform_failures, 0);
  EXPECT_EQ(ClaimOne().id, queued);  // lost jobs went to the queue's end
}

// ---- Cancel -----------------------------------------------------------------------------------------------------

TEST_P(JobStoreTest, CancelEndsAWaitingJobAtOnce) {
  const JobId queued = Submit();
  EXPECT_EQ(Cancel(queued), CancelResult::kCancelled);
  EXPECT_EQ(StateOf(queued), JobState::kCancelled);
  EXPECT_EQ(Get(queued).reason, Reason::kCancelled);
  EXPECT_EQ(Get(queued).finished_at, clock_.NowMs());
  EXPECT_TRUE(NothingToClaim());

  const JobId scheduled = Submit();
  ASSERT_TRUE(store_->Finish(Ref(ClaimOne()), RegistryDown(), 0, 0));
  ASSERT_EQ(StateOf(scheduled), JobState::kScheduled);
  EXPECT_EQ(Cancel(scheduled), CancelResult::kCancelled);
  clock_.Advance(hours(1));
  EXPECT_EQ(store_->Tick().value(), 0);
  EXPECT_EQ(StateOf(scheduled), JobState::kCancelled);
}

TEST_P(JobStoreTest, CancelOfARunningJobIsARequest) {
  const JobId id = Submit();
  const Claim claim = ClaimOne();
  EXPECT_EQ(Cancel(id), CancelResult::kStopping);
  EXPECT_EQ(StateOf(id), JobState::kPreparing);
  EXPECT_TRUE(Get(id).cancel_requested);
  ASSERT_TRUE(store_->SetRunning(Ref(claim), 1, {}));
  EXPECT_EQ(Cancel(id), CancelResult::kStopping);
  EXPECT_EQ(StateOf(id), JobState::kRunning);
  ASSERT_TRUE(store_->Finish(Ref(claim), Ended(Reason::kCancelled), 0, 0));
  EXPECT_EQ(StateOf(id), JobState::kCancelled);
}

TEST_P(JobStoreTest, SuccessThatCommitsBeforeTheCancelStays) {
  const JobId id = Submit();
  ASSERT_TRUE(store_->Finish(Ref(ClaimOne()), Exited(0), 0, 0));
  EXPECT_EQ(Cancel(id), CancelResult::kAlreadyFinal);
  EXPECT_EQ(StateOf(id), JobState::kSucceeded);
  EXPECT_FALSE(Get(id).cancel_requested);
}

TEST_P(JobStoreTest, FailureAfterACancelRequestIsCancelledAndNotRetried) {
  JobSpec spec;
  spec.max_attempts = 5;
  const JobId id = Submit(spec);
  const Claim claim = ClaimOne();
  Cancel(id);
  ASSERT_TRUE(store_->Finish(Ref(claim), Exited(143), 0, 0));
  EXPECT_EQ(StateOf(id), JobState::kCancelled);
  EXPECT_EQ(Get(id).reason, Reason::kCancelled);
}

TEST_P(JobStoreTest, LeaseThatExpiresAfterACancelRequestIsCancelledAndNotRequeued) {
  const JobId id = Submit();
  ClaimOne();
  Cancel(id);
  clock_.Advance(seconds(31));
  EXPECT_EQ(store_->Tick().value(), 1);
  EXPECT_EQ(StateOf(id), JobState::kCancelled);
}

TEST_P(JobStoreTest, ReleaseAfterACancelRequestIsCancelled) {
  const JobId id = Submit();
  const Claim claim = ClaimOne();
  Cancel(id);
  ASSERT_TRUE(store_->Release(Ref(claim), 0, 0));
  EXPECT_EQ(StateOf(id), JobState::kCancelled);
}

TEST_P(JobStoreTest, CancelOfAFinalJobChangesNothing) {
  const JobId failed = Submit();
  ASSERT_TRUE(store_->Finish(Ref(ClaimOne()), Exited(1), 0, 0));
  const JobId cancelled = Submit();
  Cancel(cancelled);
  const UnixMillis at = clock_.NowMs();
  clock_.Advance(seconds(1));
  EXPECT_EQ(Cancel(failed), CancelResult::kAlreadyFinal);
  EXPECT_EQ(Cancel(cancelled), CancelResult::kAlreadyFinal);
  EXPECT_EQ(StateOf(failed), JobState::kFailed);
  EXPECT_EQ(Get(cancelled).finished_at, at);
}

}  // namespace
}  // namespace caisson::queue
