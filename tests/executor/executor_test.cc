// SPDX-License-Identifier: Apache-2.0
// What becomes of a claimed job: image, launch, output, judgement. Stops and leases are in executor_stop_test.cc.
#include <cerrno>
#include <map>
#include <random>

#include "tests/executor/executor_fixture.h"

namespace caisson::executor {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// ---- The main line ----------------------------------------------------------------------------------------------

TEST_F(ExecutorTest, JobRunsAndItsOutputAndEndAreStored) {
  launcher_.program = [](ProgramContext& program) {
    program.Print("hello ");
    program.PrintError("oops");
    sandbox::ExitReport report = Exited(3);
    report.usage.memory_peak_bytes = 77;
    return report;
  };
  Start();
  const JobRecord job = RunOne();
  EXPECT_EQ(job.state, JobState::kFailed);
  EXPECT_EQ(job.reason, Reason::kExited);
  EXPECT_EQ(job.exit_code, 3);
  EXPECT_EQ(job.attempts, 1);
  EXPECT_EQ(job.image_digest, DigestOf('a'));
  EXPECT_EQ(job.usage.memory_peak_bytes, 77u);
  EXPECT_TRUE(job.started_at);
  EXPECT_EQ(job.log_bytes, 10u);
  EXPECT_EQ(Log(job.id, queue::LogStream::kStdout), "hello ");
  EXPECT_EQ(Log(job.id, queue::LogStream::kStderr), "oops");
  EXPECT_FALSE(logs_->State(job.id).value().open);
  WaitUntil([&] { return executor_->busy() == 0; });
  EXPECT_EQ(launcher_.open_rootfs(), 0);
}

TEST_F(ExecutorTest, ProgramGetsItsPayloadSealed) {
  std::mutex mutex;
  std::map<std::string, std::optional<std::string>> seen;
  launcher_.program = [&](ProgramContext& program) {
    const std::lock_guard lock(mutex);
    seen[program.spec.id] = program.has_payload ? std::optional(program.payload) : std::nullopt;
    return Exited(0);
  };
  Start();
  const JobId with = Submit({}, std::string("a\0b", 3));
  const JobId empty = Submit({}, "");
  const JobId without = Submit();
  for (const JobId& id : {with, empty, without}) WaitFor(id, JobState::kSucceeded);
  EXPECT_EQ(seen[with.value], std::string("a\0b", 3));
  EXPECT_EQ(seen[empty.value], "");
  EXPECT_EQ(seen[without.value], std::nullopt);
}

TEST_F(ExecutorTest, ManyJobsOnFewSlotsAllEnd) {
  std::atomic<int> now = 0, most = 0;
  launcher_.program = [&](ProgramContext& program) {
    const int running = ++now;
    for (int seen = most; running > seen && !most.compare_exchange_weak(seen, running);) {
    }
    program.Print(program.spec.id);
    --now;
    return Exited(0);
  };
  Start(3);
  std::vector<JobId> ids;
  for (int i = 0; i < 60; ++i) ids.push_back(Submit());
  for (const JobId& id : ids) WaitFor(id, JobState::kSucceeded);
  for (const JobId& id : ids) EXPECT_EQ(Log(id), id.value);
  EXPECT_LE(most, 3);
  EXPECT_EQ(launcher_.launches(), 60);
}

TEST_F(ExecutorTest, FailureIsRetriedAndSucceeds) {
  launcher_.program = [](ProgramContext& program) {
    const auto& env = program.spec.env;
    const bool first = std::find(env.begin(), env.end(), "CAISSON_ATTEMPT=1") != env.end();
    program.Print(first ? "one\n" : "two\n");
    return Exited(first ? 1 : 0);
  };
  Start();
  JobSpec spec;
  spec.max_attempts = 2;
  spec.retry_delay_seconds = 0;
  const JobRecord job = RunOne(spec);
  EXPECT_EQ(job.state, JobState::kSucceeded);
  EXPECT_EQ(job.attempts, 2);
  EXPECT_EQ(Log(job.id), "one\ntwo\n");
  EXPECT_EQ(images_.resolves(), 1);  // the retry runs the same bytes
}

TEST_F(ExecutorTest, UnenforcedLimitsAreOnTheJob) {
  launcher_.unenforced = sandbox::kUnenforcedMemory | sandbox::kUnenforcedCpu;
  Start();
  EXPECT_THAT(RunOne().unenforced, ElementsAre("memory", "cpu"));
}

// ---- Images -----------------------------------------------------------------------------------------------------

TEST_F(ExecutorTest, TagIsLookedUpAgainAndOpensTheCacheOnlyUnderAGrant) {
  Start(1);
  RunOne();
  RunOne();
  // A tag is looked up each time. That its registry names a digest is no right to it: the first run has to pull.
  EXPECT_EQ(images_.resolves(), 2);
  EXPECT_THAT(images_.pulls(), ElementsAre(false, true));
}

TEST_F(ExecutorTest, DigestIsUsedFromTheCacheOnlyUnderAGrant) {
  Start(1);
  JobSpec spec;
  spec.image = "registry.example/tool@" + DigestOf('a').ToString();
  RunOne(spec);
  RunOne(spec);
  EXPECT_THAT(images_.pulls(), ElementsAre(false, true));
}

TEST_F(ExecutorTest, PlatformsManifestIsStoredOnTheJobAndGrantedToo) {
  images_.record.index = DigestOf('b');
  Start(1);
  const JobRecord job = RunOne();
  EXPECT_EQ(job.image_digest, DigestOf('a'));
  EXPECT_TRUE(store_->MayUseImage(kTenant, "registry.example/tool", DigestOf('a')).value());
  EXPECT_TRUE(store_->MayUseImage(kTenant, "registry.example/tool", DigestOf('b')).value());
}

TEST_F(ExecutorTest, DigestIsOnTheJobBeforeAnythingIsPulled) {
  std::optional<Digest> seen;
  JobId id;
  images_.on_pull = [&](const auto&, bool, const auto&) -> Result<void> {
    seen = Get(id).image_digest;
    return {};
  };
  id = Submit();
  Start(1);
  WaitFor(id, JobState::kSucceeded);
  EXPECT_EQ(seen, DigestOf('a'));
}

TEST_F(ExecutorTest, MissingImageIsFinal) {
  images_.on_resolve = [](const auto&, const auto&) -> Result<Digest> {
    return Fail(ErrorCode::kNotFound, "registry.example has no tool:1");
  };
  Start();
  const JobRecord job = RunOne();
  EXPECT_EQ(job.state, JobState::kFailed);
  EXPECT_EQ(job.reason, Reason::kImageError);
  EXPECT_EQ(job.message, "registry.example has no tool:1");
  EXPECT_EQ(job.attempts, 1);
  EXPECT_EQ(launcher_.launches(), 0);
}

TEST_F(ExecutorTest, RegistryThatIsDownIsAskedAgainLater) {
  images_.on_resolve = [](const auto&, const auto&) -> Result<Digest> {
    return Fail(ErrorCode::kUnavailable, "connection refused");
  };
  Start();
  const JobId id = Submit();
  const JobRecord job = WaitFor(id, JobState::kScheduled);
  EXPECT_EQ(job.message, "connection refused");
  EXPECT_EQ(job.platform_failures, 1);
  EXPECT_EQ(job.user_failures, 0);
  EXPECT_GE(*job.run_at, job.created_at + 2000);
}

TEST_F(ExecutorTest, MissingLayerIsPulledAgainOnce) {
  std::atomic<int> opens = 0;
  launcher_.on_open_rootfs = [&](auto) -> Result<void> {
    if (++opens == 2) return Fail(ErrorCode::kNotFound, "layer 11.. is not in the store");
    return {};
  };
  Start(1);
  RunOne();
  EXPECT_EQ(RunOne().state, JobState::kSucceeded);
  EXPECT_THAT(images_.pulls(), ElementsAre(false, true, false));
}

TEST_F(ExecutorTest, LayerThatStaysMissingFails) {
  launcher_.on_open_rootfs = [](auto) -> Result<void> {
    return Fail(ErrorCode::kNotFound, "layer is not in the store");
  };
  Start();
  const JobRecord job = RunOne();
  EXPECT_EQ(job.reason, Reason::kSetupError);
  EXPECT_EQ(images_.pulls().size(), 2u);
}

TEST_F(ExecutorTest, ProgressOfAPullIsSeen) {
  std::atomic<bool> go_on = false;
  images_.on_pull = [&](const auto&, bool, const image::PullContext& context) -> Result<void> {
    context.progress({.bytes_done = 5, .bytes_total = 10});
    go_on.wait(false);
    return {};
  };
  Start();
  const JobId id = Submit();
  WaitUntil([&] {
    const auto progress = executor_->Progress(id);
    return progress && progress->bytes_done == 5 && progress->bytes_total == 10;
  });
  Set(go_on);
  WaitFor(id, JobState::kSucceeded);
  EXPECT_FALSE(executor_->Progress(id));
}

// ---- Failures of the launch -------------------------------------------------------------------------------------

TEST_F(ExecutorTest, CommandThatIsNotThereSaysSo) {
  launcher_.program = [](ProgramContext& program) {
    sandbox::ExitReport report;
    report.kind = sandbox::ExitReport::Kind::kExecFailed;
    report.status = program.spec.argv[0] == "missing" ? ENOENT : EACCES;
    return report;
  };
  Start();
  JobSpec spec;
  spec.max_attempts = 3;
  spec.command = {"missing"};
  JobRecord job = RunOne(spec);
  EXPECT_EQ(job.reason, Reason::kSetupError);
  EXPECT_EQ(job.exit_code, 127);
  EXPECT_THAT(job.message, HasSubstr("\"missing\""));
  EXPECT_EQ(job.attempts, 1);
  spec.command = {"/etc"};
  job = RunOne(spec);
  EXPECT_EQ(job.exit_code, 126);
}

TEST_F(ExecutorTest, SetUpThatFailsIsASetupError) {
  launcher_.launch_error = Error{ErrorCode::kInternal, "mount proc: EPERM"};
  Start();
  const JobRecord job = RunOne();
  EXPECT_EQ(job.state, JobState::kFailed);
  EXPECT_EQ(job.reason, Reason::kSetupError);
  EXPECT_EQ(job.message, "mount proc: EPERM");
  WaitUntil([&] { return launcher_.open_rootfs() == 0; });
}

TEST_F(ExecutorTest, JobThatCannotBePlannedLaunchesNothing) {
  images_.record.config.command.clear();
  Start();
  const JobRecord job = RunOne();
  EXPECT_EQ(job.reason, Reason::kImageError);
  EXPECT_EQ(launcher_.launches(), 0);
}

TEST_F(ExecutorTest, LauncherThatIsGoneUsesThePlatformsBudget) {
  launcher_.launch_error = Error{ErrorCode::kUnavailable, "channel closed"};
  Start();
  const JobRecord job = RunOne();
  EXPECT_EQ(job.reason, Reason::kLost);
  EXPECT_EQ(job.attempts, 5);
  EXPECT_EQ(job.user_failures, 0);
}

TEST_F(ExecutorTest, ExitThatIsToldBeforeTheLaunchsReplyIsNotLost) {
  launcher_.report_before_reply = true;
  launcher_.program = [](ProgramContext& program) {
    program.Print("quick");
    return Exited(0);
  };
  Start();
  for (int i = 0; i < 20; ++i) {
    const JobRecord job = RunOne();
    EXPECT_EQ(job.state, JobState::kSucceeded);
    EXPECT_EQ(Log(job.id), "quick");
  }
}

// ---- Output -----------------------------------------------------------------------------------------------------

TEST_F(ExecutorTest, HundredMegabytesArriveBitExactUpToTheCap) {
  constexpr size_t kTotal = 100 << 20, kCap = 10 << 20;
  OpenLogs(kCap);
  std::string block(1 << 20, '\0');
  std::mt19937_64 random(1);
  for (size_t i = 0; i < block.size(); i += 8) {
    const uint64_t word = random();
    block.replace(i, 8, reinterpret_cast<const char*>(&word), 8);
  }
  launcher_.program = [&](ProgramContext& program) {
    for (size_t i = 0; i < kTotal / block.size(); ++i) {
      block[0] = static_cast<char>(i);
      program.Print(block);
    }
    return Exited(0);
  };
  Start();
  const JobRecord job = RunOne();
  EXPECT_EQ(job.state, JobState::kSucceeded);
  EXPECT_EQ(job.log_bytes, kCap);
  EXPECT_EQ(job.log_dropped, kTotal - kCap);
  std::string expected;
  for (size_t i = 0; i < kCap / block.size(); ++i) {
    block[0] = static_cast<char>(i);
    expected += block;
  }
  EXPECT_TRUE(Log(job.id) == expected);
  EXPECT_LE(launcher_.drained(sandbox::Stream::kStdout), kCap + (64 << 10));  // past the cap we take it out ourselves
}

TEST_F(ExecutorTest, BothStreamsInTurnsLoseAndDoubleNothing) {
  launcher_.program = [](ProgramContext& program) {
    for (int i = 0; i < 3000; ++i) {
      program.Print("o" + std::to_string(i) + "\n");
      if (i % 3 == 0) program.PrintError("e" + std::to_string(i) + "\n");
    }
    return Exited(0);
  };
  Start();
  const JobRecord job = RunOne();
  std::string out, err;
  for (int i = 0; i < 3000; ++i) {
    out += "o" + std::to_string(i) + "\n";
    if (i % 3 == 0) err += "e" + std::to_string(i) + "\n";
  }
  EXPECT_EQ(Log(job.id, queue::LogStream::kStdout), out);
  EXPECT_EQ(Log(job.id, queue::LogStream::kStderr), err);
}

// The last piece is in the log, and the launcher, which has reported the exit, no longer takes it out of the pipe.
TEST_F(ExecutorTest, OutputThatTheLauncherDidNotTakeOutIsNotDoubled) {
  launcher_.refuse_drained = true;
  std::string expected;
  for (int i = 0; i < 50'000; ++i) expected += std::to_string(i) + "\n";
  launcher_.program = [&](ProgramContext& program) {
    program.PrintError("first");
    program.Print(expected);
    program.PrintError(" last");
    return Exited(0);
  };
  Start();
  const JobRecord job = RunOne();
  EXPECT_TRUE(Log(job.id, queue::LogStream::kStdout) == expected);
  EXPECT_EQ(Log(job.id, queue::LogStream::kStderr), "first last");
  EXPECT_EQ(job.log_bytes, expected.size() + 10);
}

TEST_F(ExecutorTest, OutputThatIsHeldOpenDoesNotHoldTheJob) {
  launcher_.keep_pipes_open = true;
  options_.output_wait = milliseconds(50);
  launcher_.program = [](ProgramContext& program) {
    program.Print("said");
    return Exited(0);
  };
  Start();
  const JobRecord job = RunOne();
  EXPECT_EQ(job.state, JobState::kSucceeded);
  EXPECT_EQ(Log(job.id), "said");
}

TEST_F(ExecutorTest, OutputIsSeenWhileTheJobRuns) {
  launcher_.program = [](ProgramContext& program) {
    program.Print("early");
    return program.WaitForStop() ? StoppedBy(15) : Exited(1);
  };
  Start();
  const JobId id = Submit();
  EXPECT_TRUE(logs_->WaitBeyond(id, 4, kPatience));
  EXPECT_EQ(Log(id), "early");
  store_->Cancel(kTenant, id, std::nullopt).value();
  executor_->Stop(id, std::nullopt);
  WaitFor(id, JobState::kCancelled);
}

}  // namespace
}  // namespace caisson::executor
