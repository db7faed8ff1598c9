// SPDX-License-Identifier: Apache-2.0
// Ends that nobody planned, and those that somebody did: what becomes of accepted jobs.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/integration/daemon.h"
#include "tests/integration/host_state.h"

namespace caisson::integration {
namespace {

using testing::HasSubstr;

class CrashTest : public testing::Test {
 protected:
  CrashTest() { registry_.PushBusybox(); }
  std::string Submit(const Daemon& daemon, const std::string& script, const std::string& more = "") const {
    return daemon.Submit(fmt::format(R"({{"image":"{}","command":["sh","-c",{}]{}}})", registry_.Name("busybox:1"),
                                     Json(script).Dump(), more));
  }

  Registry registry_;
};

TEST_F(CrashTest, AKilledServiceIsRestartedAndItsJobRunsAgain) {
  Daemon daemon(registry_);
  const std::string id = Submit(daemon, "sleep 2");
  ASSERT_TRUE(daemon.WaitState(id, "running"));
  const std::vector<std::string> with_one_job = HostState(daemon);
  const pid_t killed = daemon.service();
  kill(killed, SIGKILL);
  ASSERT_TRUE(WaitUntil([&] { return daemon.service() != 0 && daemon.service() != killed; }));
  const Json job = daemon.WaitFinal(id);
  EXPECT_EQ(job.StringOr("state", ""), "succeeded") << job.Dump();
  EXPECT_EQ(job.IntOr("attempts", 0), 2);
  EXPECT_TRUE(daemon.running());
  daemon.Stop();
  ExpectNothingLeft(daemon);
}

TEST_F(CrashTest, AfterTheLaunchersDeathEveryAcceptedJobReachesAFinalState) {
  Daemon daemon(registry_);
  std::vector<std::string> ids;
  for (int i = 0; i < 20; ++i) ids.push_back(Submit(daemon, "usleep 300000; echo done"));
  ASSERT_TRUE(daemon.WaitState(ids[0], "running"));
  const std::vector<Daemon::Role> roles = daemon.Roles();
  daemon.Stop(SIGKILL);
  for (const Daemon::Role& role : roles)  // nothing outlives the launcher
    EXPECT_TRUE(WaitUntil([&] { return kill(role.pid, 0) != 0; }, seconds(10))) << role.name;
  daemon.Start();
  for (const std::string& id : ids) {
    EXPECT_EQ(daemon.WaitFinal(id).StringOr("state", ""), "succeeded") << id;
    const std::string out = daemon.Caisson({"logs", id}).out;
    EXPECT_TRUE(out == "done\n" || out == "done\ndone\n") << out;
  }
  daemon.Stop();
  ExpectNothingLeft(daemon);
}

TEST_F(CrashTest, SigtermLetsRunningJobsEndAndStartsNoOther) {
  Daemon daemon(registry_, {.arguments = {"--slots", "1"}});
  const std::string running = Submit(daemon, "sleep 2; echo whole");
  const std::string waiting = Submit(daemon, "echo later");
  ASSERT_TRUE(daemon.WaitState(running, "running"));
  daemon.Stop();
  ExpectNothingLeft(daemon);
  daemon.Start();
  EXPECT_EQ(daemon.Job(running).StringOr("state", ""), "succeeded");
  EXPECT_EQ(daemon.Job(running).IntOr("attempts", 0), 1);
  EXPECT_EQ(daemon.Caisson({"logs", running}).out, "whole\n");
  EXPECT_EQ(daemon.WaitFinal(waiting).StringOr("state", ""), "succeeded");
  EXPECT_EQ(daemon.Job(waiting).IntOr("attempts", 0), 1);
}

TEST_F(CrashTest, AJobThatOutlastsTheDrainGoesBackAtNoCost) {
  Daemon daemon(registry_, {.arguments = {"--drain-seconds", "1"}});
  const std::string id = Submit(daemon, "echo run; sleep 4");
  ASSERT_TRUE(daemon.WaitState(id, "running"));
  daemon.Stop();
  ExpectNothingLeft(daemon);
  daemon.Start();
  const Json job = daemon.WaitFinal(id);
  EXPECT_EQ(job.StringOr("state", ""), "succeeded") << job.Dump();  // max_attempts is 1: none was used up
}

TEST_F(CrashTest, ASecondSigtermSkipsTheWait) {
  Daemon daemon(registry_, {.arguments = {"--drain-seconds", "600"}});
  const std::string id = Submit(daemon, "sleep 600");
  ASSERT_TRUE(daemon.WaitState(id, "running"));
  kill(daemon.launcher(), SIGTERM);
  EXPECT_FALSE(daemon.Wait(seconds(2)));  // it waits for the job
  daemon.Stop();
  ExpectNothingLeft(daemon);
}

TEST_F(CrashTest, ASecondInstanceRunsBesideTheFirst) {
  Daemon first(registry_), second(registry_);
  const std::string long_job = Submit(first, "sleep 3; echo first");
  ASSERT_TRUE(first.WaitState(long_job, "running"));
  const std::string short_job = Submit(second, "echo second");
  EXPECT_EQ(second.WaitFinal(short_job).StringOr("state", ""), "succeeded");
  EXPECT_EQ(second.Job(long_job).StringOr("state", "none"), "none");
  second.Stop();
  ExpectNothingLeft(second);
  EXPECT_EQ(first.WaitFinal(long_job).StringOr("state", ""), "succeeded");
}

// Where the host can enforce every limit they simply run.
TEST_F(CrashTest, JobsThatStrictCannotRunWaitForAnotherStart) {
  Daemon daemon(registry_, {.arguments = {"--drain-seconds", "0"}});
  const std::string job = Submit(daemon, "sleep 2; echo done");
  ASSERT_TRUE(daemon.WaitState(job, "running"));
  daemon.Stop();
  daemon.Start({"--isolation", "strict"});
  if (HostIsolation() != "strict") {
    EXPECT_THAT(daemon.log(), HasSubstr("jobs_wait"));
    EXPECT_EQ(daemon.Job(job).StringOr("state", ""), "queued");
  }
  daemon.Stop();
  daemon.Start();
  EXPECT_EQ(daemon.WaitFinal(job).StringOr("state", ""), "succeeded");
}

TEST_F(CrashTest, TwoInstancesNeverShareADataDirectory) {
  Daemon daemon(registry_);
  const TemporaryDirectory run;
  const Finished second = RunProgram({CAISSON_PROGRAMS "/caissond", "--data-dir", daemon.data_dir(), "--run-dir",
                                      run.path(), "--service-user", "59999:59999", "--isolation", HostIsolation()},
                                     std::nullopt, {}, seconds(20));
  EXPECT_GT(second.status, 0);
  EXPECT_THAT(second.out + second.err, HasSubstr(daemon.data_dir()));
  EXPECT_EQ(daemon.Caisson({"run", registry_.Name("busybox:1"), "true"}).status, 0);
}

TEST_F(CrashTest, AnotherUserIsToldWhatIsMissing) {
  const Finished refused = RunProgram({"setpriv", "--reuid=65534", "--clear-groups", CAISSON_PROGRAMS "/caissond"});
  EXPECT_GT(refused.status, 0);
  EXPECT_THAT(refused.out + refused.err, HasSubstr("root"));
}

}  // namespace
}  // namespace caisson::integration
