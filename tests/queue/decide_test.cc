// SPDX-License-Identifier: Apache-2.0
#include "queue/decide.h"

#include <gtest/gtest.h>

namespace caisson::queue {
namespace {

using Kind = Disposition::Kind;
using std::chrono::milliseconds;

Outcome Ended(Reason reason) {
  Outcome outcome;
  outcome.reason = reason;
  return outcome;
}

Outcome Exited(int code) {
  Outcome outcome = Ended(Reason::kExited);
  outcome.exit_code = code;
  return outcome;
}

Outcome RegistryDown() {
  Outcome outcome = Ended(Reason::kImageError);
  outcome.transient = true;
  return outcome;
}

JobSpec Attempts(uint32_t max_attempts, uint32_t delay_seconds = 10) {
  JobSpec spec;
  spec.max_attempts = max_attempts;
  spec.retry_delay_seconds = delay_seconds;
  return spec;
}

constexpr FailureCount kNoFailures{};

TEST(DecideTest, ExitZeroSucceeds) {
  const Disposition disposition = Decide(Exited(0), Attempts(3), kNoFailures, false);
  EXPECT_EQ(disposition.kind, Kind::kDone);
  EXPECT_EQ(disposition.state, JobState::kSucceeded);
  EXPECT_FALSE(disposition.counts_for_user);
  EXPECT_FALSE(disposition.counts_for_platform);
}

class UserFailureTest : public ::testing::TestWithParam<Outcome> {};

TEST_P(UserFailureTest, IsRetriedAfterTheFixedDelayWhileAttemptsLast) {
  for (int failures = 0; failures < 2; ++failures) {
    const Disposition disposition = Decide(GetParam(), Attempts(3, 7), {failures, 4}, false);
    EXPECT_EQ(disposition.kind, Kind::kRetry) << failures;
    EXPECT_EQ(disposition.delay, milliseconds(7000));
    EXPECT_TRUE(disposition.counts_for_user);
    EXPECT_FALSE(disposition.counts_for_platform);
  }
  const Disposition last = Decide(GetParam(), Attempts(3, 7), {2, 0}, false);
  EXPECT_EQ(last.kind, Kind::kDone);
  EXPECT_EQ(last.state, JobState::kFailed);
  EXPECT_TRUE(last.counts_for_user);
}

TEST_P(UserFailureTest, IsFinalWithOneAttempt) {
  const Disposition disposition = Decide(GetParam(), Attempts(1), kNoFailures, false);
  EXPECT_EQ(disposition.kind, Kind::kDone);
  EXPECT_EQ(disposition.state, JobState::kFailed);
}

TEST_P(UserFailureTest, IsCancelledAfterACancelRequest) {
  const Disposition disposition = Decide(GetParam(), Attempts(3), kNoFailures, true);
  EXPECT_EQ(disposition.kind, Kind::kDone);
  EXPECT_EQ(disposition.state, JobState::kCancelled);
}

INSTANTIATE_TEST_SUITE_P(All, UserFailureTest,
                         ::testing::Values(Exited(1), Exited(255), Ended(Reason::kSignaled), Ended(Reason::kTimedOut),
                                           Ended(Reason::kOomKilled), Ended(Reason::kDiskFull)),
                         [](const auto& tested) {
                           return std::string(ToString(tested.param.reason)) +
                                  std::to_string(tested.param.exit_code.value_or(0));
                         });

TEST(DecideTest, WhatCannotGetBetterIsNeverRetried) {
  for (const Reason reason : {Reason::kForeignAbi, Reason::kImageError, Reason::kSetupError, Reason::kExpired}) {
    const Disposition disposition = Decide(Ended(reason), Attempts(10), kNoFailures, false);
    EXPECT_EQ(disposition.kind, Kind::kDone) << ToString(reason);
    EXPECT_EQ(disposition.state, JobState::kFailed) << ToString(reason);
    EXPECT_FALSE(disposition.counts_for_user) << ToString(reason);
  }
}

TEST(DecideTest, RegistryFaultIsRetriedAfterDoublingDelays) {
  const int64_t delays_ms[] = {2000, 4000, 8000, 16000};
  for (int failures = 0; failures < 4; ++failures) {
    const Disposition disposition = Decide(RegistryDown(), Attempts(1), {0, failures}, false);
    EXPECT_EQ(disposition.kind, Kind::kRetry);
    EXPECT_EQ(disposition.delay, milliseconds(delays_ms[failures]));
    EXPECT_TRUE(disposition.counts_for_platform);
    EXPECT_FALSE(disposition.counts_for_user);
  }
  const Disposition last = Decide(RegistryDown(), Attempts(1), {0, 4}, false);
  EXPECT_EQ(last.kind, Kind::kDone);
  EXPECT_EQ(last.state, JobState::kFailed);
}

TEST(DecideTest, LostAttemptGoesBackToTheQueueAtOnceWhileThePlatformsBudgetLasts) {
  for (int failures = 0; failures < 4; ++failures) {
    const Disposition disposition = Decide(Ended(Reason::kLost), Attempts(1), {0, failures}, false);
    EXPECT_EQ(disposition.kind, Kind::kRequeue);
    EXPECT_TRUE(disposition.counts_for_platform);
    EXPECT_FALSE(disposition.counts_for_user);
  }
  const Disposition last = Decide(Ended(Reason::kLost), Attempts(1), {0, 4}, false);
  EXPECT_EQ(last.kind, Kind::kDone);
  EXPECT_EQ(last.state, JobState::kFailed);
}

TEST(DecideTest, PlatformFaultsDoNotUseUpTheUsersAttempts) {
  const Disposition disposition = Decide(Ended(Reason::kLost), Attempts(2), {1, 0}, false);
  EXPECT_EQ(disposition.kind, Kind::kRequeue);
  const Disposition user = Decide(Exited(1), Attempts(2), {0, 4}, false);
  EXPECT_EQ(user.kind, Kind::kRetry);
}

TEST(DecideTest, NothingIsRetriedAfterACancelRequest) {
  for (const Outcome& outcome : {Ended(Reason::kLost), RegistryDown(), Ended(Reason::kSetupError),
                                 Ended(Reason::kCancelled), Ended(Reason::kForeignAbi)}) {
    const Disposition disposition = Decide(outcome, Attempts(3), kNoFailures, true);
    EXPECT_EQ(disposition.kind, Kind::kDone) << ToString(outcome.reason);
    EXPECT_EQ(disposition.state, JobState::kCancelled) << ToString(outcome.reason);
  }
}

TEST(DecideTest, SuccessWinsOverACancelRequest) {
  EXPECT_EQ(Decide(Exited(0), Attempts(1), kNoFailures, true).state, JobState::kSucceeded);
}

TEST(DecideTest, CancelledOutcomeIsFinal) {
  const Disposition disposition = Decide(Ended(Reason::kCancelled), Attempts(5), kNoFailures, false);
  EXPECT_EQ(disposition.kind, Kind::kDone);
  EXPECT_EQ(disposition.state, JobState::kCancelled);
}

}  // namespace
}  // namespace caisson::queue
