// SPDX-License-Identifier: Apache-2.0
// A launch that fails or is killed at any of the child's steps, and a launcher that dies at any of them: nothing and
// nobody is left.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "base/io.h"
#include "sandbox/raw_syscall.h"
#include "tests/kernel/sandbox_host.h"

namespace caisson::sandbox {
namespace {

using testing::HasSubstr;

// A table like the real one, with the step `at` in place of another.
std::vector<ChildStep> StepsWith(size_t at, long (*run)(ChildContext&)) {
  std::vector<ChildStep> steps(ChildSteps().begin(), ChildSteps().end());
  steps[at].run = run;
  return steps;
}

long FailStep(ChildContext&) { return -EIO; }
long DieAtStep(ChildContext&) { return raw::Call(__NR_exit_group, 1); }

class LaunchFailureTest : public testing::Test {
 protected:
  void TearDown() override { host_.environment().child_steps = ChildSteps(); }
  SandboxHost& host_ = SandboxHost::Get();
};

TEST_F(LaunchFailureTest, AFailedStepIsNamedAndLeavesNothing) {
  const Footprint before = host_.Measure();
  for (size_t i = 0; i < ChildSteps().size(); ++i) {
    const std::vector<ChildStep> steps = StepsWith(i, FailStep);
    host_.environment().child_steps = steps;
    const Result<Sandbox> sandbox = host_.Launch(host_.Shell("true"));
    ASSERT_FALSE(sandbox.has_value()) << steps[i].name;
    EXPECT_THAT(sandbox.error().message, HasSubstr(steps[i].name));
    EXPECT_THAT(sandbox.error().message, HasSubstr("Input/output error"));
    EXPECT_EQ(host_.Measure(), before) << steps[i].name;
  }
}

TEST_F(LaunchFailureTest, AChildThatDiesAtAStepLeavesNothing) {
  const Footprint before = host_.Measure();
  for (size_t i = 0; i + 1 < ChildSteps().size(); ++i) {
    const std::vector<ChildStep> steps = StepsWith(i, DieAtStep);
    host_.environment().child_steps = steps;
    const Result<Sandbox> sandbox = host_.Launch(host_.Shell("true"));
    ASSERT_FALSE(sandbox.has_value()) << steps[i].name;
    EXPECT_THAT(sandbox.error().message, HasSubstr(steps[i].name));
    EXPECT_EQ(host_.Measure(), before) << steps[i].name;
  }
}

TEST_F(LaunchFailureTest, AFailureBeforeTheCloneLeavesNothing) {
  const Footprint before = host_.Measure();
  SandboxSpec spec = host_.Shell("true");
  const Result<Sandbox> without_layers = Sandbox::Launch(LaunchRequest{spec, {}, -1}, host_.environment());
  ASSERT_FALSE(without_layers.has_value());
  EXPECT_EQ(without_layers.error().code, ErrorCode::kInvalid);
  const int not_a_directory[] = {host_.environment().init_program.get()};
  const Result<Sandbox> bad_layer = Sandbox::Launch(LaunchRequest{spec, not_a_directory, -1}, host_.environment());
  ASSERT_FALSE(bad_layer.has_value());
  EXPECT_EQ(host_.Measure(), before);
}

TEST_F(LaunchFailureTest, AMountThatWasNotMadeByUsIsNoticed) {
  for (size_t i = 0; i < ChildSteps().size(); ++i) {
    if (std::string_view(ChildSteps()[i].name) != "protect sysctls") continue;
    const std::vector<ChildStep> steps = StepsWith(i, [](ChildContext&) -> long { return 0; });
    host_.environment().child_steps = steps;
    EXPECT_TRUE(host_.Launch(host_.Shell("true")).has_value());  // one less is what the table expects then
    const std::vector<ChildStep> extra = StepsWith(i, [](ChildContext& context) -> long {
      const long error = ProtectSysctls(context);
      --context.mount_count;
      return error;
    });
    host_.environment().child_steps = extra;
    const Result<Sandbox> sandbox = host_.Launch(host_.Shell("true"));
    ASSERT_FALSE(sandbox.has_value());
    EXPECT_THAT(sandbox.error().message, HasSubstr("verify mounts"));
    return;
  }
  FAIL() << "the step has another name now";
}

TEST_F(LaunchFailureTest, AShortageIsTheHostsAndOnlyABadPathTheImages) {
  static long error = 0;
  const bool has_memory = host_.environment().cgroups.has_memory();
  const std::pair<int, ErrorCode> cases[] = {
      {ENOENT, ErrorCode::kInvalid},     {ENOTDIR, ErrorCode::kInvalid},
      {EACCES, ErrorCode::kInvalid},     {ELOOP, ErrorCode::kInvalid},
      {EEXIST, ErrorCode::kInvalid},     {ENAMETOOLONG, ErrorCode::kInvalid},
      {EROFS, ErrorCode::kInvalid},      {ENOSPC, ErrorCode::kInvalid},
      {EMFILE, ErrorCode::kUnavailable}, {ENFILE, ErrorCode::kUnavailable},
      {EAGAIN, ErrorCode::kUnavailable}, {EPERM, ErrorCode::kInternal},
      {EIO, ErrorCode::kInternal},       {ENOMEM, has_memory ? ErrorCode::kExhausted : ErrorCode::kUnavailable}};
  for (size_t i = 0; i < ChildSteps().size(); ++i) {
    if (std::string_view(ChildSteps()[i].name).find("working directory") == std::string_view::npos) continue;
    const std::vector<ChildStep> steps = StepsWith(i, [](ChildContext&) -> long { return -error; });
    host_.environment().child_steps = steps;
    for (const auto& [number, code] : cases) {
      error = number;
      const Result<Sandbox> sandbox = host_.Launch(host_.Shell("true"));
      ASSERT_FALSE(sandbox.has_value());
      EXPECT_EQ(sandbox.error().code, code) << steps[i].name << ": " << sandbox.error().message;
    }
  }
}

TEST_F(LaunchFailureTest, ALauncherWithManyDescriptorsLaunchesAndTheJobGetsItsOwnLimit) {
  constexpr size_t kMany = 1200;  // above the soft limit of a job
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit room{before.rlim_max, before.rlim_max};
  ASSERT_GT(before.rlim_max, 2 * kMany);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &room), 0);
  {
    std::vector<Fd> held;
    for (size_t i = 0; i < kMany; ++i) held.push_back(*OpenAt(AT_FDCWD, "/proc/self", O_PATH | O_DIRECTORY));
    ASSERT_GT(held.back().get(), 1024);
    SandboxSpec spec = host_.Shell("ulimit -Sn; ulimit -Hn");
    spec.working_dir = "/new/place";
    const RunResult result = host_.Run(spec);
    EXPECT_EQ(result.out, fmt::format("1024\n{}\n", std::min<rlim_t>(before.rlim_max, 65536))) << result.err;
  }
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

// ---- The launcher's own death ------------------------------------------------------------------------------------

int g_reached = -1;  // the child writes here at its step,
int g_go_on = -1;    // and waits for the end of file here
long (*g_real_step)(ChildContext&) = nullptr;

long PauseAtStep(ChildContext& context) {
  char byte = 0;
  raw::Call(__NR_write, g_reached, &byte, 1);
  while (raw::Call(__NR_read, g_go_on, &byte, 1) == -EINTR) {
  }
  return g_real_step(context);
}

pid_t OnlyChildOf(pid_t parent) {
  const Result<std::string> children = ReadFile(fmt::format("/proc/{0}/task/{0}/children", parent), 4096);
  return children ? static_cast<pid_t>(std::strtol(children->c_str(), nullptr, 10)) : 0;
}

bool EndsSoon(int pidfd) {
  pollfd end{pidfd, POLLIN, 0};
  return ::poll(&end, 1, 10'000) == 1;
}

// A launcher of its own in a forked process; does what `body` does and never comes back.
pid_t ForkLauncher(Environment& environment, const std::function<void()>& body) {
  const pid_t launcher = ::fork();
  if (launcher != 0) return launcher;
  Result<Pipe> liveness = MakePipe();  // ours would stay open in the test itself
  if (!liveness) ::_exit(1);
  environment.liveness_read = std::move(liveness->read);
  environment.liveness_write = std::move(liveness->write);
  body();
  ::_exit(0);
}

TEST_F(LaunchFailureTest, ALauncherKilledAtAStepTakesTheChildWithIt) {
  for (size_t i = 0; i < ChildSteps().size(); ++i) {
    Pipe reached = *MakePipe();
    Pipe go_on = *MakePipe();
    const pid_t launcher = ForkLauncher(host_.environment(), [&] {
      go_on.write.reset();
      g_reached = reached.write.get();
      g_go_on = go_on.read.get();
      g_real_step = ChildSteps()[i].run;
      const std::vector<ChildStep> steps = StepsWith(i, PauseAtStep);
      host_.environment().child_steps = steps;
      (void)host_.Launch(host_.Shell("while :; do :; done"));
    });
    reached.write.reset();
    char byte = 0;
    ASSERT_EQ(::read(reached.read.get(), &byte, 1), 1) << ChildSteps()[i].name;
    const pid_t child = OnlyChildOf(launcher);
    ASSERT_GT(child, 0);
    const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
    ASSERT_EQ(::kill(launcher, SIGKILL), 0);
    ASSERT_EQ(::waitpid(launcher, nullptr, 0), launcher);
    go_on.write.reset();
    EXPECT_TRUE(EndsSoon(pidfd.get())) << ChildSteps()[i].name;
    host_.environment().cgroups.Sweep();  // as the next launcher does
  }
}

TEST_F(LaunchFailureTest, ALauncherKilledWhileAJobRunsTakesItWithIt) {
  Pipe running = *MakePipe();
  const pid_t launcher = ForkLauncher(host_.environment(), [&] {
    const RunResult never = host_.Run(host_.Shell("trap '' TERM HUP; setsid sleep 1000 & echo ready; sleep 1000"), {},
                                      -1, [&](Sandbox&) { (void)WriteAll(running.write.get(), "x"); });
  });
  running.write.reset();
  char byte = 0;
  ASSERT_EQ(::read(running.read.get(), &byte, 1), 1);
  const pid_t init = OnlyChildOf(launcher);
  ASSERT_GT(init, 0);
  const pid_t payload = OnlyChildOf(init);
  ASSERT_GT(payload, 0);
  const Fd init_pidfd(static_cast<int>(::syscall(SYS_pidfd_open, init, 0)));
  const Fd payload_pidfd(static_cast<int>(::syscall(SYS_pidfd_open, payload, 0)));
  ASSERT_EQ(::kill(launcher, SIGKILL), 0);
  ASSERT_EQ(::waitpid(launcher, nullptr, 0), launcher);
  EXPECT_TRUE(EndsSoon(init_pidfd.get()));
  EXPECT_TRUE(EndsSoon(payload_pidfd.get()));
  host_.environment().cgroups.Sweep();
}

}  // namespace
}  // namespace caisson::sandbox
