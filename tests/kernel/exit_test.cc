// SPDX-License-Identifier: Apache-2.0
// How a sandbox's end is told: exit codes, signals, exec failures, the stop sequence, and that nobody survives.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "sandbox/init/exec_search.h"
#include "tests/kernel/sandbox_host.h"

namespace caisson::sandbox {
namespace {

using Kind = ExitReport::Kind;
using testing::HasSubstr;

constexpr std::string_view kExitZero = "\xb8\x3c\x00\x00\x00\x31\xff\x0f\x05";  // mov $60,%eax; xor %edi,%edi; syscall
// mov $20,%eax (getpid of i386); int $0x80
const std::string kInt80 = std::string("\xb8\x14\x00\x00\x00\xcd\x80", 7);
// mov $0x40000027,%eax (getpid of x32); syscall
const std::string kX32 = std::string("\xb8\x27\x00\x00\x40\x0f\x05", 7);

TEST(ExitTest, ExitCodeIsThePayloads) {
  SandboxHost& host = SandboxHost::Get();
  for (const int code : {0, 7, 255}) {
    const RunResult result = host.Run(host.Shell(fmt::format("echo hello; exit {}", code)));
    EXPECT_EQ(result.report.kind, Kind::kExited) << result.err;
    EXPECT_EQ(result.report.status, code);
    EXPECT_EQ(result.out, "hello\n") << result.err;
    EXPECT_TRUE(result.executed);
  }
}

TEST(ExitTest, SignalIsThePayloads) {
  SandboxHost& host = SandboxHost::Get();
  for (const int signal : {SIGKILL, SIGSEGV, SIGUSR1, SIGRTMIN + 3}) {
    const RunResult result = host.Run(host.Shell(fmt::format("kill -{} $$", signal)));
    EXPECT_EQ(result.report.kind, Kind::kSignaled);
    EXPECT_EQ(result.report.status, signal);
    EXPECT_FALSE(result.report.foreign_abi);
  }
}

TEST(ExitTest, AProgramWithoutLibcRuns) {
  SandboxHost& host = SandboxHost::Get();
  const Layer layer = host.MakeLayer();
  layer.File("true", MakeProgram(std::string(kExitZero.data(), 9)), 0755);
  SandboxSpec spec = host.Shell("");
  spec.argv = {"/true"};
  const RunResult result = host.Run(spec, {layer.directory()});
  EXPECT_EQ(result.report.kind, Kind::kExited);
  EXPECT_EQ(result.report.status, 0);
}

// How this host itself takes int $0x80: a kernel without 32-bit emulation answers with SIGSEGV.
bool HostHas32BitCalls() {
  const pid_t child = ::fork();
  if (child == 0) {
    long result = 20;  // getpid
    asm volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status);
}

TEST(ExitTest, ForeignAbiEndsWithSigsys) {
  SandboxHost& host = SandboxHost::Get();
  for (const std::string& code : {kInt80, kX32}) {
    const bool refused_by_kernel = code == kInt80 && !HostHas32BitCalls();
    const Layer layer = host.MakeLayer();
    layer.File("foreign", MakeProgram(code), 0755);
    SandboxSpec spec = host.Shell("");
    spec.argv = {"/foreign"};
    const RunResult result = host.Run(spec, {layer.directory()});
    EXPECT_EQ(result.report.kind, Kind::kSignaled);
    EXPECT_EQ(result.report.status, refused_by_kernel ? SIGSEGV : SIGSYS);
    EXPECT_EQ(result.report.foreign_abi, !refused_by_kernel);
  }
}

struct ExecCase {
  std::vector<std::string> argv;
  int error;
};

TEST(ExitTest, ExecFailureCarriesItsErrno) {
  SandboxHost& host = SandboxHost::Get();
  const Layer layer = host.MakeLayer();
  layer.File("bin/notexecutable", "#!/bin/sh\n", 0644);
  layer.File("bin/empty", "", 0755);
  layer.File("bin/text", "just words\n", 0755);
  layer.File("bin/lostinterpreter", "#!/no/such\n", 0755);
  layer.Directory("bin/directory");
  layer.Fifo("bin/fifo");
  const ExecCase cases[] = {
      {{"nosuchcommand"}, ENOENT},
      {{"/bin/nosuchcommand"}, ENOENT},
      {{"/bin/sh/x"}, ENOTDIR},
      {{"notexecutable"}, EACCES},
      {{"/bin/notexecutable"}, EACCES},
      {{"/bin/directory"}, EACCES},
      {{"directory"}, EACCES},
      {{"/bin/empty"}, ENOEXEC},
      {{"text"}, ENOEXEC},
      {{"/bin/lostinterpreter"}, ENOENT},
      {{"/bin/fifo"}, EACCES},
  };
  for (const ExecCase& one : cases) {
    SandboxSpec spec = host.Shell("");
    spec.argv = one.argv;
    const RunResult result = host.Run(spec, {layer.directory()});
    EXPECT_EQ(result.report.kind, Kind::kExecFailed) << one.argv[0];
    EXPECT_EQ(result.report.status, one.error) << one.argv[0];
    EXPECT_FALSE(result.executed);
  }
}

TEST(ExitTest, CommandIsSearchedInPathOfItsEnvironment) {
  SandboxHost& host = SandboxHost::Get();
  const Layer layer = host.MakeLayer();
  layer.File("opt/a/tool", "#!/bin/sh\necho from a\n", 0644);  // may not be executed: the search goes on
  layer.File("opt/b/tool", "#!/bin/sh\necho from b\n", 0755);
  SandboxSpec spec = host.Shell("");
  spec.argv = {"tool"};
  spec.env = {"PATH=/nowhere:/opt/a:/opt/b"};
  EXPECT_EQ(host.Run(spec, {layer.directory()}).out, "from b\n");
  spec.env = {};
  spec.argv = {"echo", "default path"};
  EXPECT_EQ(host.Run(spec).out, "default path\n");
}

TEST(ExitTest, OnlySoManyEntriesOfPathAreSearched) {
  SandboxHost& host = SandboxHost::Get();
  SandboxSpec spec = host.Shell("");
  spec.argv = {"echo", "found"};
  const auto path_with = [](int entries_before) {
    std::string path = "PATH=";
    for (int i = 0; i < entries_before; ++i) path += "/nowhere:";
    return path + "/bin";
  };
  spec.env = {path_with(kMaxPathEntries - 1)};
  EXPECT_EQ(host.Run(spec).out, "found\n");
  spec.env = {path_with(kMaxPathEntries)};
  const RunResult beyond = host.Run(spec);
  EXPECT_EQ(beyond.report.kind, ExitReport::Kind::kExecFailed);
  EXPECT_EQ(beyond.report.status, ENOENT);
}

TEST(ExitTest, StopSignalReachesThePayload) {
  SandboxHost& host = SandboxHost::Get();
  SandboxSpec spec = host.Shell("trap 'echo stopped; exit 3' INT; echo ready; sleep 1000 & wait");
  spec.stop_signal = SIGINT;
  const RunResult result = host.Run(spec, {}, -1, [](Sandbox& sandbox) {
    sandbox.SendStopSignal();
    sandbox.SendStopSignal();
  });
  EXPECT_EQ(result.report.kind, Kind::kExited);
  EXPECT_EQ(result.report.status, 3);
  EXPECT_EQ(result.out, "ready\nstopped\n");
}

TEST(ExitTest, StopSignalWithoutHandlerEndsThePayload) {
  SandboxHost& host = SandboxHost::Get();
  for (const int signal : {SIGTERM, SIGKILL}) {
    SandboxSpec spec = host.Shell("echo ready; while :; do :; done");
    spec.stop_signal = signal;
    const RunResult result = host.Run(spec, {}, -1, [](Sandbox& sandbox) { sandbox.SendStopSignal(); });
    EXPECT_EQ(result.report.kind, Kind::kSignaled);
    EXPECT_EQ(result.report.status, signal);
  }
}

TEST(ExitTest, StopSignalRightAfterLaunchIsNotLost) {
  SandboxHost& host = SandboxHost::Get();
  for (int i = 0; i < 20; ++i) {
    Result<Sandbox> sandbox = host.Launch(host.Shell("while :; do :; done"));
    ASSERT_TRUE(sandbox.has_value()) << sandbox.error().message;
    sandbox->SendStopSignal();
    const RunResult result = host.Finish(*std::move(sandbox));
    EXPECT_EQ(result.report.kind, Kind::kSignaled);
    EXPECT_EQ(result.report.status, SIGTERM);
  }
}

TEST(ExitTest, KillEndsAPayloadThatIgnoresTheStopSignal) {
  SandboxHost& host = SandboxHost::Get();
  const RunResult result =
      host.Run(host.Shell("trap '' TERM INT HUP; echo ready; while :; do :; done"), {}, -1, [](Sandbox& sandbox) {
        sandbox.SendStopSignal();
        sandbox.Kill();
      });
  EXPECT_EQ(result.report.kind, Kind::kKilled);
}

TEST(ExitTest, NobodySurvivesThePayload) {
  SandboxHost& host = SandboxHost::Get();
  const Footprint before = host.Measure();
  // Its own session, re-parented to pid 1, all signals ignored, with the output pipe open.
  const std::string daemon = "(setsid sh -c 'trap \"\" TERM HUP INT; setsid sleep 1000 & sleep 1000' &) ";
  const RunResult exited = host.Run(host.Shell(daemon + "; exit 5"));  // comes back: the pipes are closed
  EXPECT_EQ(exited.report.status, 5);
  const RunResult killed =
      host.Run(host.Shell(daemon + "; echo ready; sleep 1000"), {}, -1, [](Sandbox& sandbox) { sandbox.Kill(); });
  EXPECT_EQ(killed.report.kind, Kind::kKilled);
  EXPECT_EQ(host.Measure(), before);
}

TEST(ExitTest, OrphansAreReaped) {
  SandboxHost& host = SandboxHost::Get();
  const RunResult result = host.Run(host.Shell(
      "for i in 1 2 3 4 5 6 7 8; do (sh -c 'exit 0' &) ; done; (sleep 0.3); grep -l 'State:.Z' /proc/[0-9]*/status"));
  EXPECT_EQ(result.out, "");
}

TEST(ExitTest, PidOneIgnoresTheJob) {
  SandboxHost& host = SandboxHost::Get();
  const RunResult result = host.Run(host.Shell("kill -KILL 1; kill -STOP 1; kill -HUP 1; kill -SEGV 1; exit 6"));
  EXPECT_EQ(result.report.kind, Kind::kExited);
  EXPECT_EQ(result.report.status, 6);
}

TEST(ExitTest, DestroyedSandboxLeavesNothing) {
  SandboxHost& host = SandboxHost::Get();
  const Footprint before = host.Measure();
  {
    Result<Sandbox> sandbox = host.Launch(host.Shell("sleep 1000"));
    ASSERT_TRUE(sandbox.has_value()) << sandbox.error().message;
  }
  EXPECT_EQ(host.Measure(), before);
}

TEST(ExitTest, UsageAndTimingsAreReported) {
  SandboxHost& host = SandboxHost::Get();
  const RunResult result = host.Run(host.Shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"));
  ASSERT_TRUE(result.report.usage.cpu_micros.has_value());
  EXPECT_GT(*result.report.usage.cpu_micros, 1000U);
  ASSERT_TRUE(result.report.usage.memory_peak_bytes.has_value());
  EXPECT_GT(*result.report.usage.memory_peak_bytes, 100U << 10);
  EXPECT_LT(*result.report.usage.memory_peak_bytes, 64U << 20);
  std::vector<std::string> steps;
  for (const StepTiming& timing : result.report.timings) steps.push_back(timing.step);
  EXPECT_THAT(steps, testing::IsSupersetOf({"make cgroup", "assemble overlay", "pivot root", "install seccomp"}));
}

TEST(ExitTest, AnInvalidSpecIsRefusedBeforeAnythingIsMade) {
  SandboxHost& host = SandboxHost::Get();
  SandboxSpec spec = host.Shell("true");
  spec.limits.memory_bytes = kMinMemoryBytes - 1;
  const Result<Sandbox> sandbox = host.Launch(spec);
  ASSERT_FALSE(sandbox.has_value());
  EXPECT_EQ(sandbox.error().code, ErrorCode::kInvalid);
  EXPECT_THAT(sandbox.error().message, HasSubstr("memory"));
}

// A host without any cgroup2, whatever this one has.
class WithoutCgroupsTest : public testing::Test {
 protected:
  void SetUp() override { std::swap(host_.environment().cgroups, cgroups_); }
  void TearDown() override {
    std::swap(host_.environment().cgroups, cgroups_);
    host_.environment().options.best_effort = true;
  }
  SandboxHost& host_ = SandboxHost::Get();
  Cgroups cgroups_;
};

TEST_F(WithoutCgroupsTest, StrictIsolationRefusesWhatCannotBeEnforced) {
  host_.environment().options.best_effort = false;
  const Result<Sandbox> sandbox = host_.Launch(host_.Shell("true"));
  ASSERT_FALSE(sandbox.has_value());
  EXPECT_EQ(sandbox.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(sandbox.error().message, HasSubstr("memory, pids, cpu"));
}

TEST_F(WithoutCgroupsTest, BestEffortRunsAndSaysWhatIsMissing) {
  Result<Sandbox> sandbox = host_.Launch(host_.Shell("grep 'Max data' /proc/self/limits | tr -s ' '"));
  ASSERT_TRUE(sandbox.has_value()) << sandbox.error().message;
  EXPECT_EQ(sandbox->unenforced(), kUnenforcedMemory | kUnenforcedPids | kUnenforcedCpu);
  EXPECT_EQ(host_.Finish(*std::move(sandbox)).out, "Max data size 67108864 67108864 bytes \n");
}

TEST_F(WithoutCgroupsTest, KillEndsTheWholeTree) {
  const RunResult result = host_.Run(host_.Shell("trap '' TERM; setsid sleep 1000 & echo ready; sleep 1000"), {}, -1,
                                     [](Sandbox& sandbox) { sandbox.Kill(); });  // comes back: all ends are closed
  EXPECT_EQ(result.report.kind, Kind::kKilled);
  EXPECT_TRUE(result.report.usage.cpu_micros.has_value());
}

}  // namespace
}  // namespace caisson::sandbox
