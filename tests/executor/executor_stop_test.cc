// SPDX-License-Identifier: Apache-2.0
// How attempts end before their time: cancelled, drained, lost, left over from a service before.
#include <thread>

#include "executor/attempt.h"
#include "tests/executor/executor_fixture.h"

namespace caisson::executor {
namespace {

// ---- Cancel -----------------------------------------------------------------------------------------------------

TEST_F(ExecutorTest, CancelOfARunningJobStopsItWithItsGrace) {
  launcher_.program = [](ProgramContext& program) { return program.WaitForStop() ? StoppedBy(15) : Exited(1); };
  Start();
  JobSpec spec;
  spec.max_attempts = 5;
  const JobId id = Submit(spec);
  WaitFor(id, JobState::kRunning);
  EXPECT_EQ(store_->Cancel(kTenant, id, 3).value(), queue::CancelResult::kStopping);
  executor_->Stop(id, 3);
  const JobRecord job = WaitFor(id, JobState::kCancelled);
  EXPECT_EQ(job.reason, Reason::kCancelled);
  EXPECT_EQ(launcher_.last_grace(), seconds(3));
  EXPECT_EQ(job.attempts, 1);
}

TEST_F(ExecutorTest, CancelOfAPullEndsIt) {
  images_.on_pull = [](const auto&, bool, const image::PullContext& context) -> Result<void> {
    while (!*context.cancelled) std::this_thread::yield();
    return Fail(ErrorCode::kCancelled, "cancelled");
  };
  Start();
  const JobId id = Submit();
  WaitUntil([&] { return images_.pulls().size() == 1; });
  store_->Cancel(kTenant, id, std::nullopt).value();
  executor_->Stop(id, std::nullopt);
  EXPECT_EQ(WaitFor(id, JobState::kCancelled).reason, Reason::kCancelled);
  EXPECT_EQ(launcher_.launches(), 0);
}

TEST_F(ExecutorTest, CancelThatCouldNotYetBeToldToTheAttemptIsSeen) {
  const JobId id = Submit();
  AttemptContext context{
      {.store = store_.get(), .logs = logs_.get(), .images = &images_, .launcher = &launcher_}, options_, {}};
  const auto attempt = Attempt::Make(store_->ClaimNext().value().value(), context).value();
  store_->Cancel(kTenant, id, std::nullopt).value();  // committed; who is told of it, does not know the attempt yet
  attempt->Run();
  EXPECT_EQ(Get(id).state, JobState::kCancelled);
  EXPECT_EQ(images_.resolves(), 0);
}

TEST_F(ExecutorTest, CancelledJobThatSucceedsFirstStaysSucceeded) {
  std::atomic<bool> go_on = false;
  launcher_.program = [&](ProgramContext&) {
    go_on.wait(false);
    return Exited(0);
  };
  Start();
  const JobId id = Submit();
  WaitFor(id, JobState::kRunning);
  store_->Cancel(kTenant, id, std::nullopt).value();
  Set(go_on);  // it ends by itself, before the stop reaches it
  EXPECT_EQ(WaitFor(id, JobState::kSucceeded).exit_code, 0);
}

// ---- Drain ------------------------------------------------------------------------------------------------------

TEST_F(ExecutorTest, DrainLetsARunningJobFinish) {
  std::atomic<bool> go_on = false;
  launcher_.program = [&](ProgramContext&) {
    go_on.wait(false);
    return Exited(0);
  };
  Start(1);
  const JobId running = Submit();
  WaitFor(running, JobState::kRunning);
  const JobId waiting = Submit();
  std::thread drain([&] { executor_->Drain(kPatience); });
  Set(go_on);
  drain.join();
  EXPECT_EQ(Get(running).state, JobState::kSucceeded);
  EXPECT_EQ(Get(waiting).state, JobState::kQueued);
  EXPECT_EQ(launcher_.stops(), 0);
}

TEST_F(ExecutorTest, DrainStopsWhatDoesNotEndAndGivesItBack) {
  launcher_.program = [](ProgramContext& program) { return program.WaitForStop() ? StoppedBy(15) : Exited(1); };
  Start(1);
  const JobId id = Submit();
  WaitFor(id, JobState::kRunning);
  executor_->Drain(milliseconds(0));
  const JobRecord job = Get(id);
  EXPECT_EQ(job.state, JobState::kQueued);
  EXPECT_EQ(job.user_failures, 0);
  EXPECT_EQ(job.platform_failures, 0);
  EXPECT_EQ(launcher_.running(), 0);
  EXPECT_EQ(executor_->busy(), 0);
}

TEST_F(ExecutorTest, SecondSignalSkipsTheDrainsWait) {
  launcher_.program = [](ProgramContext& program) { return program.WaitForStop() ? StoppedBy(15) : Exited(1); };
  Start(1);
  const JobId id = Submit();
  WaitFor(id, JobState::kRunning);
  std::thread drain([&] { executor_->Drain(std::chrono::hours(24 * 365)); });
  executor_->SkipDrainWait();
  drain.join();
  EXPECT_EQ(Get(id).state, JobState::kQueued);
}

TEST_F(ExecutorTest, DrainGivesAPullBackAtOnce) {
  images_.on_pull = [](const auto&, bool, const image::PullContext& context) -> Result<void> {
    while (!*context.cancelled) std::this_thread::yield();
    return Fail(ErrorCode::kCancelled, "cancelled");
  };
  Start(1);
  const JobId id = Submit();
  WaitUntil([&] { return images_.pulls().size() == 1; });
  executor_->Drain(std::chrono::hours(24));
  EXPECT_EQ(Get(id).state, JobState::kQueued);
  EXPECT_EQ(Get(id).platform_failures, 0);
}

TEST_F(ExecutorTest, CancelDuringADrainIsACancel) {
  launcher_.program = [](ProgramContext& program) { return program.WaitForStop() ? StoppedBy(15) : Exited(1); };
  Start(1);
  const JobId id = Submit();
  WaitFor(id, JobState::kRunning);
  std::thread drain([&] { executor_->Drain(kPatience); });
  store_->Cancel(kTenant, id, std::nullopt).value();
  executor_->Stop(id, std::nullopt);
  drain.join();
  EXPECT_EQ(Get(id).state, JobState::kCancelled);
}

// ---- Leases -----------------------------------------------------------------------------------------------------

TEST_F(ExecutorTest, LostLeaseKillsTheSandboxAndDropsItsResult) {
  std::atomic<int> runs = 0;
  launcher_.program = [&](ProgramContext& program) {
    if (++runs > 1) return Exited(0);
    program.WaitForStop();
    return Exited(55);
  };
  Start(2);
  const JobId id = Submit();
  WaitFor(id, JobState::kRunning);
  ASSERT_EQ(store_->RecoverLeases().value(), 1);  // as if another had taken it over
  const JobRecord job = WaitFor(id, JobState::kSucceeded);
  EXPECT_EQ(job.exit_code, 0);
  EXPECT_EQ(job.attempts, 2);
  EXPECT_EQ(job.platform_failures, 1);
  EXPECT_EQ(launcher_.kills(), 1);
  EXPECT_EQ(launcher_.greatest_beside_itself(), 1);  // never beside itself
}

TEST_F(ExecutorTest, LeasesAreRenewedAsLongAsTheJobRuns) {
  store_.reset();
  store_ = queue::OpenSqliteStore({.path = directory_.file("store.db"), .lease = milliseconds(300)}).value();
  std::atomic<bool> go_on = false;
  launcher_.program = [&](ProgramContext&) {
    go_on.wait(false);
    return Exited(0);
  };
  Start(1);
  const JobId id = Submit();
  WaitFor(id, JobState::kRunning);
  // Three leases pass: a job that ticks in another queue tells the time without a sleep.
  const auto until = std::chrono::steady_clock::now() + milliseconds(900);
  WaitUntil([&] { return std::chrono::steady_clock::now() >= until; });
  Set(go_on);
  const JobRecord job = WaitFor(id, JobState::kSucceeded);
  EXPECT_EQ(job.attempts, 1);
}

TEST_F(ExecutorTest, SandboxesOfTheServiceBeforeAreKilledAndTheirJobsGivenBack) {
  const JobId id = Submit();
  ASSERT_TRUE(store_->ClaimNext().value());
  launcher_.AddForeign(id.value);
  Start(1);
  EXPECT_EQ(launcher_.kills(), 1);
  const JobRecord job = WaitFor(id, JobState::kSucceeded);
  EXPECT_EQ(job.attempts, 2);
  EXPECT_EQ(job.platform_failures, 1);
}

}  // namespace
}  // namespace caisson::executor
