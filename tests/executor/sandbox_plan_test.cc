// SPDX-License-Identifier: Apache-2.0
#include "executor/sandbox_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace caisson::executor {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Strings = std::vector<std::string>;

class SandboxPlanTest : public ::testing::Test {
 protected:
  SandboxPlanTest() {
    claim_.id = queue::JobId{"0123456789abcdef01234567"};
    claim_.attempt = 2;
    claim_.fence = 7;
    image_.config.command = {"sh"};
    image_.passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/var/www:/bin/false\n";
    image_.group = "root:x:0:\nweb:x:34:\nextra:x:50:web\n";
  }
  sandbox::SandboxSpec Build() {
    const Plan plan = BuildSandboxSpec(claim_, image_);
    EXPECT_TRUE(plan) << plan.error().message;
    return plan.value_or(sandbox::SandboxSpec{});
  }
  queue::Outcome Refusal() {
    const Plan plan = BuildSandboxSpec(claim_, image_);
    EXPECT_FALSE(plan);
    return plan ? queue::Outcome{} : plan.error();
  }

  queue::Claim claim_;
  image::ImageRecord image_;
};

// ---- Command ----------------------------------------------------------------------------------------------------

TEST_F(SandboxPlanTest, CommandFollowsTheRulesOfDocker) {
  struct Case {
    Strings image_entrypoint, image_command;
    std::optional<Strings> entrypoint, command;
    Strings expected;
  };
  const Case cases[] = {
      {{}, {"cmd", "x"}, {}, {}, {"cmd", "x"}},
      {{"ep"}, {}, {}, {}, {"ep"}},
      {{"ep"}, {"cmd"}, {}, {}, {"ep", "cmd"}},
      {{"ep"}, {"cmd"}, {}, Strings{"mine"}, {"ep", "mine"}},
      {{"ep"}, {"cmd"}, {}, Strings{}, {"ep"}},
      {{"ep"}, {"cmd"}, Strings{"other"}, {}, {"other"}},
      {{"ep"}, {"cmd"}, Strings{"other"}, Strings{"mine"}, {"other", "mine"}},
      {{"ep"}, {"cmd"}, Strings{}, Strings{"mine"}, {"mine"}},
      {{}, {}, {}, Strings{"mine", ""}, {"mine", ""}},
  };
  for (const Case& c : cases) {
    image_.config.entrypoint = c.image_entrypoint;
    image_.config.command = c.image_command;
    claim_.spec.entrypoint = c.entrypoint;
    claim_.spec.command = c.command;
    EXPECT_EQ(Build().argv, c.expected);
  }
}

TEST_F(SandboxPlanTest, NoCommandAtAllIsSaid) {
  image_.config.command.clear();
  EXPECT_EQ(Refusal().reason, queue::Reason::kImageError);
  EXPECT_THAT(Refusal().message, HasSubstr("no ENTRYPOINT and no CMD"));
  claim_.spec.entrypoint = Strings{};
  EXPECT_EQ(Refusal().reason, queue::Reason::kImageError);
}

TEST_F(SandboxPlanTest, EmptyNameOfACommandIsRefused) {
  claim_.spec.command = Strings{""};
  EXPECT_EQ(Refusal().reason, queue::Reason::kSetupError);
  claim_.spec.command.reset();
  image_.config.entrypoint = {""};
  EXPECT_EQ(Refusal().reason, queue::Reason::kImageError);
}

// ---- Environment ------------------------------------------------------------------------------------------------

TEST_F(SandboxPlanTest, EnvironmentOfAnEmptyImage) {
  EXPECT_THAT(Build().env,
              ElementsAre("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
                          "HOSTNAME=0123456789abcdef01234567", "CAISSON_JOB_ID=0123456789abcdef01234567",
                          "CAISSON_ATTEMPT=2", "CAISSON_FENCE=7"));
}

TEST_F(SandboxPlanTest, LaterVariablesWin) {
  image_.config.env = {"PATH=/image", "A=image", "B=image", "A=again"};
  claim_.spec.env = {{"B", "job"}, {"HOME", "/job"}, {"C", "x=y\nz"}, {"EMPTY", ""}};
  const Strings env = Build().env;
  EXPECT_THAT(env, AllOf(Contains("PATH=/image"), Contains("A=again"), Contains("B=job"), Contains("HOME=/job"),
                         Contains("C=x=y\nz"), Contains("EMPTY=")));
  EXPECT_THAT(env, Not(Contains("A=image")));
  EXPECT_THAT(env, Not(Contains("B=image")));
}

TEST_F(SandboxPlanTest, PayloadIsNamedOnlyWhereThereIsOne) {
  EXPECT_THAT(Build().env, Not(Contains(StartsWith("CAISSON_PAYLOAD_FILE="))));
  claim_.spec.has_payload = true;
  EXPECT_THAT(Build().env, Contains("CAISSON_PAYLOAD_FILE=/run/caisson/payload"));
}

// K-08
TEST_F(SandboxPlanTest, HostileEnvironmentOfAnImageIsCleaned) {
  image_.config.env = {"=x",
                       "no-equals",
                       "1A=x",
                       "A B=x",
                       "",
                       "PATH=",
                       "CAISSON_FENCE=99",
                       "CAISSON_PAYLOAD_FILE=/etc",
                       "LD_PRELOAD=/evil.so",
                       std::string("NUL=a\0b", 7),
                       "OK=1"};
  const Strings env = Build().env;
  EXPECT_THAT(env,
              ElementsAre(StartsWith("PATH=/usr"), StartsWith("HOME="), StartsWith("HOSTNAME="), "LD_PRELOAD=/evil.so",
                          "OK=1", StartsWith("CAISSON_JOB_ID="), StartsWith("CAISSON_ATTEMPT="), "CAISSON_FENCE=7"));
}

TEST_F(SandboxPlanTest, JobCannotForgeOurVariables) {
  claim_.spec.env = {{"CAISSON_JOB_ID", "other"}, {"CAISSON_PAYLOAD_FILE", "/etc/passwd"}, {"CAISSON_TOKEN", "t"}};
  EXPECT_THAT(Build().env, AllOf(Contains("CAISSON_JOB_ID=0123456789abcdef01234567"), Contains("CAISSON_TOKEN=t"),
                                 Not(Contains(StartsWith("CAISSON_PAYLOAD_FILE=")))));
}

TEST_F(SandboxPlanTest, EnvironmentIsBounded) {
  image_.config.env = {"BIG=" + std::string(kMaxEnvironmentBytes, 'x')};
  EXPECT_EQ(Refusal().reason, queue::Reason::kImageError);
  image_.config.env = {"BIG=" + std::string(kMaxEnvironmentBytes / 2, 'x')};
  claim_.spec.env = {{"TOO", std::string(kMaxEnvironmentBytes / 2, 'x')}};
  EXPECT_EQ(Refusal().reason, queue::Reason::kSetupError);
}

TEST_F(SandboxPlanTest, JobsBadVariableIsRefused) {
  claim_.spec.env = {{"A B", "x"}};
  EXPECT_EQ(Refusal().reason, queue::Reason::kSetupError);
  claim_.spec.env = {{"A", std::string("x\0y", 3)}};
  EXPECT_EQ(Refusal().reason, queue::Reason::kSetupError);
}

// ---- Directory, user, signal, limits ----------------------------------------------------------------------------

TEST_F(SandboxPlanTest, WorkingDirectoryOfJobThenImageThenRoot) {
  EXPECT_EQ(Build().working_dir, "/");
  image_.config.working_dir = "/image";
  EXPECT_EQ(Build().working_dir, "/image");
  claim_.spec.working_dir = "/job";
  EXPECT_EQ(Build().working_dir, "/job");
}

// K-02
TEST_F(SandboxPlanTest, HostileWorkingDirectoriesAreRefused) {
  for (const std::string& path :
       {std::string("relative"), std::string("/a/../../etc"), std::string(".."), "/" + std::string(5000, 'x'),
        std::string("/proc/self/fd/7"), std::string("//proc/./self/fd/7"), std::string("/a\0b", 4)}) {
    image_.config.working_dir = path;
    claim_.spec.working_dir.clear();
    EXPECT_EQ(Refusal().reason, queue::Reason::kImageError) << path;
    claim_.spec.working_dir = path;
    EXPECT_EQ(Refusal().reason, queue::Reason::kSetupError) << path;
  }
}

TEST_F(SandboxPlanTest, UserOfJobThenImageThenRoot) {
  EXPECT_EQ(Build().uid, 0u);
  image_.config.user = "web";
  sandbox::SandboxSpec spec = Build();
  EXPECT_EQ(spec.uid, 33u);
  EXPECT_EQ(spec.gid, 34u);
  EXPECT_THAT(spec.groups, Contains(50u));
  EXPECT_THAT(spec.env, Contains("HOME=/var/www"));
  claim_.spec.user = "7:8";
  spec = Build();
  EXPECT_EQ(spec.uid, 7u);
  EXPECT_EQ(spec.gid, 8u);
}

// K-03
TEST_F(SandboxPlanTest, UserThatIsNoneIsAnImageErrorAndNeverRoot) {
  for (const char* user : {"nobody-here", "4294967296", "-1", "0x0", " 0", "root:", "a:b:c"}) {
    image_.config.user = user;
    EXPECT_EQ(Refusal().reason, queue::Reason::kImageError) << user;
  }
}

// K-11
TEST_F(SandboxPlanTest, StopSignalIsValidOrSigterm) {
  const std::pair<const char*, int> cases[] = {
      {"", 15},        {"SIGTERM", 15}, {"TERM", 15},     {"SIGINT", 2},      {"2", 2},         {"SIGKILL", 9},
      {"SIGQUIT", 3},  {"SIGUSR1", 10}, {"SIGRTMIN", 34}, {"SIGRTMIN+3", 37}, {"RTMAX-1", 63},  {"SIGRTMAX", 64},
      {"99", 15},      {"0", 15},       {"-2", 15},       {"RTMIN+50", 15},   {"RTMAX-64", 15}, {"sigterm", 15},
      {"SIGSTOP", 15}, {"SIGCONT", 15}, {"SIG", 15},      {"SIGTERM ", 15},   {"15x", 15},
  };
  for (const auto& [text, number] : cases) EXPECT_EQ(StopSignalOf(text), number) << text;
  image_.config.stop_signal = "SIGQUIT";
  EXPECT_EQ(Build().stop_signal, 3);
}

TEST_F(SandboxPlanTest, LimitsAndTimesAreTheJobs) {
  claim_.spec.resources = {.cpu_millis = 250, .memory_bytes = 64 << 20, .pids = 9, .disk_bytes = 1 << 20};
  claim_.spec.timeout_seconds = 5;
  claim_.spec.grace_seconds = 3;
  const sandbox::SandboxSpec spec = Build();
  EXPECT_EQ(spec.limits.cpu_millis, 250u);
  EXPECT_EQ(spec.limits.memory_bytes, 64u << 20);
  EXPECT_EQ(spec.limits.pids, 9u);
  EXPECT_EQ(spec.limits.disk_bytes, 1u << 20);
  EXPECT_EQ(spec.timeout, std::chrono::seconds(5));
  EXPECT_EQ(spec.grace, std::chrono::seconds(3));
  EXPECT_EQ(spec.id, claim_.id.value);
}

TEST_F(SandboxPlanTest, LimitThatNoSandboxCanHaveIsASetupError) {
  claim_.spec.resources.memory_bytes = 1 << 20;
  EXPECT_EQ(Refusal().reason, queue::Reason::kSetupError);
}

TEST_F(SandboxPlanTest, MountPointsKeepTheImagesAttributes) {
  image_.directories["tmp"] = {.mode = 0700, .uid = 5, .gid = 6};
  image_.directories[""] = {.mode = 0711, .uid = 0, .gid = 0};
  image_.directories["run"] = {.mode = 0755, .uid = 70'000, .gid = 0};
  const sandbox::SandboxSpec spec = Build();
  const auto& tmp = spec.mount_points[static_cast<size_t>(sandbox::MountPoint::kTmp)];
  EXPECT_EQ(tmp.mode, 0700u);
  EXPECT_EQ(tmp.uid, 5u);
  EXPECT_EQ(spec.mount_points[static_cast<size_t>(sandbox::MountPoint::kRoot)].mode, 0711u);
  EXPECT_EQ(spec.mount_points[static_cast<size_t>(sandbox::MountPoint::kRun)].uid, 0u);
  EXPECT_EQ(spec.mount_points[static_cast<size_t>(sandbox::MountPoint::kEtc)].mode, 0755u);
}

}  // namespace
}  // namespace caisson::executor
