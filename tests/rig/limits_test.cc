// SPDX-License-Identifier: Apache-2.0
// The limits that the kernel is to enforce: memory, processes, processor. Each test makes it refuse, so that a limit
// which was not written makes the test fail.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/io.h"
#include "tests/kernel/sandbox_host.h"

namespace caisson::sandbox {
namespace {

using testing::HasSubstr;
using Kind = ExitReport::Kind;

class LimitsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (host_.environment().cgroups.Unenforceable() != 0) {
      GTEST_SKIP() << host_.environment().cgroups.why();
    }
    host_.environment().options.best_effort = false;
    footprint_ = host_.Measure();
  }
  void TearDown() override {
    if (IsSkipped()) return;
    EXPECT_EQ(host_.Measure(), footprint_);
  }

  SandboxSpec Small(std::string_view script) const {
    SandboxSpec spec = host_.Shell(script);
    spec.limits.memory_bytes = 32 << 20;
    spec.limits.disk_bytes = 16 << 20;
    spec.limits.pids = 16;
    return spec;
  }

  SandboxHost& host_ = SandboxHost::Get();
  Footprint footprint_;
};

TEST_F(LimitsTest, StrictIsolationRunsHere) {
  const RunResult result = host_.Run(Small("exit 3"));
  EXPECT_EQ(result.report.status, 3) << result.err;
  EXPECT_FALSE(result.report.oom);
}

TEST_F(LimitsTest, MemoryBombIsKilledWhole) {
  // A helper that only waits, and one that eats: with memory.oom.group none of them survives.
  const RunResult result = host_.Run(Small("sleep 1000 & tail -c 200m /dev/zero | wc -c; echo survived; wait"));
  EXPECT_EQ(result.report.kind, Kind::kKilled);
  EXPECT_TRUE(result.report.oom);
  EXPECT_EQ(result.out, "");
}

TEST_F(LimitsTest, ScratchSpaceCountsAsMemory) {
  SandboxSpec spec = Small(
      "dd if=/dev/zero of=/fill bs=1M count=15; dd if=/dev/zero of=/tmp/fill bs=1M; "
      "dd if=/dev/zero of=/dev/shm/fill bs=1M; echo survived");
  const RunResult result = host_.Run(spec);
  EXPECT_EQ(result.report.kind, Kind::kKilled);
  EXPECT_TRUE(result.report.oom);
}

TEST_F(LimitsTest, PayloadIsChargedToTheJob) {
  // The payload's pages fit the disk and fill most of the memory: what comes on top is over the limit.
  const Fd payload = *MakeSealedMemfd("payload", std::string(14 << 20, 'x'));
  const RunResult result =
      host_.Run(Small("dd if=/dev/zero of=/dev/shm/fill bs=1M count=22; echo survived"), {}, payload.get());
  EXPECT_EQ(result.report.kind, Kind::kKilled);
  EXPECT_TRUE(result.report.oom);
  const RunResult alone = host_.Run(Small("dd if=/dev/zero of=/dev/shm/fill bs=1M count=22; echo survived"));
  EXPECT_EQ(alone.out, "survived\n") << alone.err;
  EXPECT_FALSE(alone.report.oom);
}

TEST_F(LimitsTest, PeakMemoryIsMeasured) {
  const RunResult result = host_.Run(Small("dd if=/dev/zero of=/dev/shm/fill bs=1M count=12; echo done"));
  EXPECT_EQ(result.out, "done\n");
  ASSERT_TRUE(result.report.usage.memory_peak_bytes.has_value());
  EXPECT_GE(*result.report.usage.memory_peak_bytes, 12U << 20);
  EXPECT_LE(*result.report.usage.memory_peak_bytes, 32U << 20);
}

TEST_F(LimitsTest, LeastMemoryIsEnoughToStart) {
  SandboxSpec spec = host_.Shell("echo started");
  spec.limits.memory_bytes = spec.limits.disk_bytes = kMinMemoryBytes;
  const RunResult result = host_.Run(spec);
  EXPECT_EQ(result.out, "started\n") << result.err;
}

TEST_F(LimitsTest, MemoryLimitMetWhileSettingUpIsTold) {
  // The payload fits the disk, but with the kernel's own memory for the job not the limit: pid 1 is killed filling it.
  const Fd payload = *MakeSealedMemfd("payload", std::string((8 << 20) - (64 << 10), 'x'));
  SandboxSpec spec = host_.Shell("echo started");
  spec.limits.memory_bytes = spec.limits.disk_bytes = kMinMemoryBytes;
  const RunResult result = host_.Run(spec, {}, payload.get());
  EXPECT_EQ(result.out, "");
  EXPECT_FALSE(result.executed);
  EXPECT_NE(result.report.kind, Kind::kExited);
  EXPECT_TRUE(result.report.oom);
}

TEST_F(LimitsTest, ProcessesAreCountedWithoutPidOne) {
  SandboxSpec spec = Small("");
  // The shell and as many as fit beside it; the rest cannot be forked.
  spec.argv[2] = "i=0; while [ $i -lt 40 ]; do sleep 1000 & i=$((i+1)); done; echo forked all";
  const RunResult result = host_.Run(spec);
  EXPECT_THAT(result.err, HasSubstr("fork"));
  EXPECT_EQ(result.out.find("forked all"), std::string::npos);
  ASSERT_TRUE(result.report.usage.pids_peak.has_value());
  EXPECT_EQ(*result.report.usage.pids_peak, 17U);
  spec.argv[2] = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do sleep 1000 & done; echo forked all";
  EXPECT_EQ(host_.Run(spec).out, "forked all\n");
}

TEST_F(LimitsTest, ProcessorTimeIsBounded) {
  SandboxSpec spec = Small("timeout 3 sh -c 'while :; do :; done'; exit 0");
  spec.limits.cpu_millis = 200;
  const RunResult result = host_.Run(spec);
  ASSERT_TRUE(result.report.usage.cpu_micros.has_value());
  EXPECT_GT(*result.report.usage.cpu_micros, 100'000U);
  EXPECT_LT(*result.report.usage.cpu_micros, 1'200'000U);  // 0.6 s of 3, and what setting up took
}

TEST_F(LimitsTest, KillEndsAForkBomb) {
  const RunResult result = host_.Run(Small("echo ready; bomb() { bomb & bomb & }; bomb; while :; do :; done"), {}, -1,
                                     [](Sandbox& sandbox) { sandbox.Kill(); });
  EXPECT_NE(result.report.kind, Kind::kSetupFailed);
}

TEST_F(LimitsTest, LimitsStandInTheCgroup) {
  Result<Cgroup> cgroup = host_.environment().cgroups.Make("limits", Small("").limits);
  ASSERT_TRUE(cgroup.has_value()) << cgroup.error().message;
  const auto read = [&](const char* name) {
    const Fd file = *OpenAt(cgroup->directory(), name, O_RDONLY);
    return *ReadAll(file.get(), 4096);
  };
  EXPECT_EQ(read("memory.max"), "33554432\n");
  EXPECT_EQ(read("memory.oom.group"), "1\n");
  EXPECT_EQ(read("pids.max"), "17\n");
  EXPECT_EQ(read("cpu.max"), "max 100000\n");  // the child of a launch runs without it, since the launcher waits
  ASSERT_TRUE(host_.environment().cgroups.LimitCpu(*cgroup, Small("").limits).has_value());
  EXPECT_EQ(read("cpu.max"), "100000 100000\n");
  EXPECT_TRUE(cgroup->Remove().has_value());
}

}  // namespace
}  // namespace caisson::sandbox
