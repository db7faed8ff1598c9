// SPDX-License-Identifier: Apache-2.0
#include "executor/judge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

namespace caisson::executor {
namespace {

using queue::Outcome;
using queue::Reason;
using Report = sandbox::ExitReport;
using Kind = sandbox::ExitReport::Kind;
using ::testing::HasSubstr;

Report Ended(Kind kind, int status) {
  Report report;
  report.kind = kind;
  report.status = status;
  return report;
}

Outcome JudgeOf(const Report& report, bool cancelled = false) { return Judge(report, {}, "/bin/tool", cancelled); }

TEST(JudgeTest, ExitAndSignalAreTheFacts) {
  EXPECT_EQ(JudgeOf(Ended(Kind::kExited, 0)).reason, Reason::kExited);
  EXPECT_EQ(JudgeOf(Ended(Kind::kExited, 0)).exit_code, 0);
  EXPECT_EQ(JudgeOf(Ended(Kind::kExited, 7)).exit_code, 7);
  const Outcome killed = JudgeOf(Ended(Kind::kSignaled, 11));
  EXPECT_EQ(killed.reason, Reason::kSignaled);
  EXPECT_EQ(killed.signal, 11);
  EXPECT_FALSE(killed.exit_code);
}

TEST(JudgeTest, UsageGoesAlong) {
  Report report = Ended(Kind::kExited, 0);
  report.usage = {.cpu_micros = 1'500'000, .memory_peak_bytes = 5, .pids_peak = 2};
  EXPECT_EQ(JudgeOf(report).usage.cpu_seconds, 1.5);
  EXPECT_EQ(JudgeOf(report).usage.memory_peak_bytes, 5u);
  EXPECT_FALSE(JudgeOf(Ended(Kind::kExited, 0)).usage.cpu_seconds);
}

TEST(JudgeTest, ExecFailureIsASetupErrorWithTheShellsExitCode) {
  const Outcome missing = JudgeOf(Ended(Kind::kExecFailed, ENOENT));
  EXPECT_EQ(missing.reason, Reason::kSetupError);
  EXPECT_EQ(missing.exit_code, 127);
  EXPECT_THAT(missing.message, HasSubstr("/bin/tool"));
  for (const int error : {EACCES, ENOEXEC, EISDIR, ELOOP, ENOTDIR, E2BIG, EPERM}) {
    const Outcome outcome = JudgeOf(Ended(Kind::kExecFailed, error));
    EXPECT_EQ(outcome.reason, Reason::kSetupError) << error;
    EXPECT_EQ(outcome.exit_code, 126) << error;
    EXPECT_THAT(outcome.message, HasSubstr("/bin/tool")) << error;
  }
}

TEST(JudgeTest, HostileCommandNameIsEscapedInTheMessage) {
  const Outcome outcome = Judge(Ended(Kind::kExecFailed, ENOENT), {}, "x\x1b[2J\n", false);
  EXPECT_EQ(outcome.message.find('\x1b'), std::string::npos);
  EXPECT_EQ(outcome.message.find('\n'), std::string::npos);
  EXPECT_THAT(outcome.message, HasSubstr("PATH"));
}

TEST(JudgeTest, TimeOutWinsOverTheCodeThatAnsweredIt) {
  for (Report report : {Ended(Kind::kExited, 0), Ended(Kind::kSignaled, 15), Ended(Kind::kKilled, 0)}) {
    report.timed_out = true;
    EXPECT_EQ(JudgeOf(report).reason, Reason::kTimedOut);
  }
}

TEST(JudgeTest, OutOfMemoryCountsUnlessTheJobSucceeded) {
  for (Report report : {Ended(Kind::kExited, 1), Ended(Kind::kSignaled, 9), Ended(Kind::kKilled, 0),
                        Ended(Kind::kSetupFailed, ENOMEM), Ended(Kind::kExecFailed, ENOMEM)}) {
    report.oom = true;
    EXPECT_EQ(JudgeOf(report).reason, Reason::kOomKilled);
  }
  Report fine = Ended(Kind::kExited, 0);
  fine.oom = true;
  EXPECT_EQ(JudgeOf(fine).reason, Reason::kExited);
}

TEST(JudgeTest, FullDiskCountsOnlyWhereTheJobFailed) {
  for (Report report : {Ended(Kind::kExited, 1), Ended(Kind::kSignaled, 6)}) {
    report.disk_full = true;
    EXPECT_EQ(JudgeOf(report).reason, Reason::kDiskFull);
  }
  Report fine = Ended(Kind::kExited, 0);
  fine.disk_full = true;
  EXPECT_EQ(JudgeOf(fine).reason, Reason::kExited);
}

TEST(JudgeTest, ForeignAbiIsNamed) {
  Report report = Ended(Kind::kSignaled, 31);
  report.foreign_abi = true;
  EXPECT_EQ(JudgeOf(report).reason, Reason::kForeignAbi);
  EXPECT_EQ(JudgeOf(report).signal, 31);
}

TEST(JudgeTest, StopIsACancelOnlyWhereACancelWasAskedFor) {
  Report report = Ended(Kind::kSignaled, 15);
  report.stopped = true;
  EXPECT_EQ(JudgeOf(report, true).reason, Reason::kCancelled);
  EXPECT_EQ(JudgeOf(report, false).reason, Reason::kSignaled);
  report.stopped = false;  // it ended before the stop reached it
  EXPECT_EQ(JudgeOf(report, true).reason, Reason::kSignaled);
}

TEST(JudgeTest, EndWithoutAStatusIsLost) {
  EXPECT_EQ(JudgeOf(Ended(Kind::kKilled, 0)).reason, Reason::kLost);
  Report setup = Ended(Kind::kSetupFailed, EPERM);
  setup.step = "mount proc";
  EXPECT_EQ(JudgeOf(setup).reason, Reason::kSetupError);
  EXPECT_THAT(JudgeOf(setup).message, HasSubstr("mount proc: Operation not permitted"));
}

TEST(JudgeTest, OnlyWhatMayGetBetterIsATransientImageError) {
  for (const ErrorCode code : {ErrorCode::kUnavailable, ErrorCode::kTimedOut, ErrorCode::kExhausted}) {
    EXPECT_TRUE(JudgeImageError({code, "x"}).transient) << ToString(code);
  }
  for (const ErrorCode code :
       {ErrorCode::kNotFound, ErrorCode::kDenied, ErrorCode::kCorrupt, ErrorCode::kInvalid, ErrorCode::kTooLarge}) {
    const Outcome outcome = JudgeImageError({code, "x"});
    EXPECT_EQ(outcome.reason, Reason::kImageError) << ToString(code);
    EXPECT_FALSE(outcome.transient) << ToString(code);
    EXPECT_EQ(outcome.message, "x");
  }
  EXPECT_EQ(JudgeImageError({ErrorCode::kCancelled, ""}).reason, Reason::kCancelled);
}

TEST(JudgeTest, LaunchErrors) {
  const auto reason = [](ErrorCode code, std::string message) {
    return JudgeLaunchError({code, std::move(message)}, {}).reason;
  };
  EXPECT_EQ(reason(ErrorCode::kInternal, "mount proc: EPERM"), Reason::kSetupError);
  EXPECT_EQ(reason(ErrorCode::kUnsupported, "memory cannot be enforced"), Reason::kSetupError);
  EXPECT_EQ(reason(ErrorCode::kInvalid, "enter working directory: ENOTDIR"), Reason::kImageError);
  EXPECT_EQ(reason(ErrorCode::kUnavailable, "channel closed"), Reason::kLost);
  EXPECT_EQ(reason(ErrorCode::kExhausted, "no id range is free"), Reason::kLost);
  EXPECT_EQ(reason(ErrorCode::kExhausted, "memory limit met at mount root"), Reason::kOomKilled);
}

}  // namespace
}  // namespace caisson::executor
