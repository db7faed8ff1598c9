// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace caisson::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

using Words = std::vector<std::string>;

std::variant<Options, EarlyExit> Parse(const Words& words) {
  return ParseOptions(words, {{"HOME", "/root"}, {"CAISSON_HOST", "http://h:1"}});
}

Options Good(const Words& words) {
  auto parsed = Parse(words);
  if (const auto* exit = std::get_if<EarlyExit>(&parsed)) {
    ADD_FAILURE() << exit->text;
    return {};
  }
  return std::get<Options>(parsed);
}

RunCommand GoodRun(const Words& words) { return std::get<RunCommand>(Good(words).command); }

TEST(OptionsTest, EverythingAfterTheImageBelongsToTheCommand) {
  const RunCommand run = GoodRun({"run", "--memory", "64M", "img", "sh", "-c", "x", "--json", "-e", "--", "jobs"});
  EXPECT_EQ(run.job.image, "img");
  EXPECT_EQ(run.job.memory_bytes, 64u << 20);
  EXPECT_THAT(run.job.command, ElementsAre("sh", "-c", "x", "--json", "-e", "--", "jobs"));
}

TEST(OptionsTest, OneDoubleDashAfterTheImageIsDropped) {
  EXPECT_THAT(GoodRun({"run", "img", "--", "echo", "--", "hello"}).job.command, ElementsAre("echo", "--", "hello"));
  EXPECT_THAT(GoodRun({"run", "img", "--"}).job.command, IsEmpty());
  EXPECT_THAT(GoodRun({"run", "img", "--", "--help"}).job.command, ElementsAre("--help"));
  EXPECT_THAT(GoodRun({"run", "img", "--help"}).job.command, ElementsAre("--help"));
}

TEST(OptionsTest, AnImageMayBeNamedLikeACommand) { EXPECT_EQ(GoodRun({"run", "jobs"}).job.image, "jobs"); }

TEST(OptionsTest, RunTakesAllItsOptions) {
  const RunCommand run = GoodRun({"run",
                                  "-e",
                                  "A=1",
                                  "--env",
                                  "HOME",
                                  "--env=B=x,y=[z]",
                                  "-w",
                                  "/w",
                                  "-u",
                                  "1:2",
                                  "--entrypoint",
                                  "/e",
                                  "--timeout",
                                  "5m",
                                  "--max-attempts",
                                  "3",
                                  "--retry-delay",
                                  "7",
                                  "--cpu",
                                  "1.5",
                                  "--pids",
                                  "9",
                                  "--disk",
                                  "1M",
                                  "-l",
                                  "k=v",
                                  "--no-stdin",
                                  "img"});
  EXPECT_THAT(run.job.env, ElementsAre(Pair("A", "1"), Pair("HOME", "/root"), Pair("B", "x,y=[z]")));
  EXPECT_THAT(run.job.labels, ElementsAre(Pair("k", "v")));
  EXPECT_EQ(run.job.working_dir, "/w");
  EXPECT_EQ(run.job.user, "1:2");
  EXPECT_EQ(run.job.entrypoint, "/e");
  EXPECT_EQ(run.job.timeout_seconds, 300u);
  EXPECT_EQ(run.job.max_attempts, 3u);
  EXPECT_EQ(run.job.retry_delay_seconds, 7u);
  EXPECT_EQ(run.job.cpu_millis, 1500u);
  EXPECT_EQ(run.job.pids, 9u);
  EXPECT_EQ(run.job.disk_bytes, 1u << 20);
  EXPECT_FALSE(run.read_stdin);
  EXPECT_FALSE(run.detach);
}

TEST(OptionsTest, SubmitIsRunDetached) {
  EXPECT_TRUE(GoodRun({"submit", "img"}).detach);
  EXPECT_TRUE(GoodRun({"run", "-d", "img"}).detach);
  EXPECT_FALSE(GoodRun({"run", "img", "-d"}).detach);
  EXPECT_EQ(GoodRun({"submit", "img"}).failure_status, 1);
  EXPECT_EQ(GoodRun({"run", "img"}).failure_status, 125);
}

TEST(OptionsTest, CommonOptionsStandBeforeAndAfterTheCommand) {
  EXPECT_TRUE(Good({"--json", "jobs"}).json);
  EXPECT_TRUE(Good({"jobs", "--json"}).json);
  EXPECT_EQ(Good({"--host", "unix:///a", "jobs"}).host, "unix:///a");
  EXPECT_EQ(Good({"jobs", "--host", "unix:///a"}).host, "unix:///a");
  EXPECT_EQ(Good({"jobs"}).host, "http://h:1");
  EXPECT_EQ(std::get<Options>(ParseOptions({"jobs"}, {})).host, "unix:///run/caisson/caisson.sock");
  EXPECT_EQ(Good({"jobs", "--tenant", "t"}).tenant, "t");
}

TEST(OptionsTest, OtherCommands) {
  const auto jobs =
      std::get<ListJobsCommand>(Good({"jobs", "--state", "queued,running", "--limit", "7", "--all"}).command);
  EXPECT_EQ(jobs.states, "queued,running");
  EXPECT_EQ(jobs.limit, 7u);
  EXPECT_TRUE(jobs.all);
  EXPECT_EQ(std::get<ShowJobCommand>(Good({"job", "j"}).command).id, "j");
  const auto logs = std::get<ShowLogsCommand>(Good({"logs", "-f", "--stream", "stderr", "j"}).command);
  EXPECT_TRUE(logs.follow);
  EXPECT_EQ(logs.stream, "stderr");
  EXPECT_EQ(std::get<CancelCommand>(Good({"cancel", "j", "--grace", "1m"}).command).grace_seconds, 60u);
  EXPECT_EQ(std::get<CreateTokenCommand>(Good({"token", "create", "--tenant", "default"}).command).tenant, "default");
  EXPECT_TRUE(std::holds_alternative<ListImagesCommand>(Good({"images"}).command));
  EXPECT_TRUE(std::holds_alternative<DoctorCommand>(Good({"doctor", "--json"}).command));
  EXPECT_TRUE(std::holds_alternative<VersionCommand>(Good({"version"}).command));
}

TEST(OptionsTest, MistakesExitWith2AndThoseOfRunWith125) {
  struct Case {
    Words words;
    int status;
    const char* text;
  };
  const Case cases[] = {
      {{}, 2, "a command is needed"},
      {{"nonsense"}, 2, "\"nonsense\" is no command"},
      {{"jobs", "extra"}, 2, "extra"},
      {{"jobs", "--limit", "x"}, 2, "--limit"},
      {{"jobs", "--limit", "0"}, 2, "--limit"},
      {{"jobs", "--bogus"}, 2, "--bogus"},
      {{"job"}, 2, "ID is required"},
      {{"logs", "j", "--stream", "both"}, 2, "--stream"},
      {{"cancel", "j", "--grace", "x"}, 2, "--grace"},
      {{"token"}, 2, "create"},
      {{"token", "create"}, 2, "--tenant is required"},
      {{"jobs", "--host", "nowhere"}, 2, "names no daemon"},
      {{"submit"}, 2, "IMAGE"},
      {{"run"}, 125, "IMAGE"},
      {{"run", ""}, 125, "IMAGE"},
      {{"run", "--bogus", "img"}, 125, "--bogus"},
      {{"run", "--memory", "much", "img"}, 125, "--memory"},
      {{"run", "--env", "UNSET_HERE", "img"}, 125, "UNSET_HERE"},
      {{"run", "--env", "=x", "img"}, 125, "--env"},
      {{"run", "--label", "x", "img"}, 125, "--label"},
      {{"run", "--max-attempts", "-1", "img"}, 125, "--max-attempts"},
  };
  for (const Case& c : cases) {
    const auto parsed = Parse(c.words);
    const auto* exit = std::get_if<EarlyExit>(&parsed);
    ASSERT_TRUE(exit) << testing::PrintToString(c.words);
    EXPECT_EQ(exit->status, c.status) << testing::PrintToString(c.words);
    EXPECT_THAT(exit->text, HasSubstr(c.text));
    EXPECT_TRUE(exit->text.starts_with("caisson: ")) << exit->text;
  }
}

TEST(OptionsTest, HelpIsOnStandardOutput) {
  for (const Words& words : {Words{"--help"}, Words{"run", "--help"}, Words{"token", "create", "-h"}}) {
    const auto parsed = Parse(words);
    EXPECT_EQ(std::get<EarlyExit>(parsed).status, 0);
  }
  EXPECT_THAT(std::get<EarlyExit>(Parse({"run", "-h"})).text, HasSubstr("IMAGE [--] [COMMAND ARGUMENT...]"));
}

TEST(ImageOptionsTest, EachCommandTakesWhatItNeeds) {
  const auto pull = std::get<PullImageCommand>(Good({"image", "pull", "busybox"}).command);
  EXPECT_EQ(pull.reference, "busybox");
  EXPECT_EQ(pull.policy, "always");
  EXPECT_TRUE(std::get<VerifyImageCommand>(Good({"image", "verify", "--repair", "x"}).command).repair);
  EXPECT_THAT(std::get<RemoveImagesCommand>(Good({"image", "rm", "a", "b"}).command).images, ElementsAre("a", "b"));
  EXPECT_EQ(std::get<ExportImageCommand>(Good({"image", "export", "x", "-o", "f"}).command).output, "f");
  const auto import =
      std::get<ImportImageCommand>(Good({"image", "import", "--name", "a:1", "--ref", "t", "p"}).command);
  EXPECT_EQ(import.name + import.ref + import.path + import.temporary_directory, "a:1tp/tmp");
  EXPECT_TRUE(std::holds_alternative<ListImagesCommand>(Good({"image", "ls"}).command));
  EXPECT_TRUE(std::holds_alternative<ListImagesCommand>(Good({"images", "--json"}).command));
  EXPECT_EQ(GoodRun({"run", "--pull", "never", "img"}).job.pull, "never");
}

TEST(ImageOptionsTest, WhatIsMissingOrContradictsIsSaid) {
  const auto why = [](const Words& words) { return std::get<EarlyExit>(Parse(words)).text; };
  EXPECT_THAT(why({"image"}), HasSubstr("ls, pull, inspect, rm, verify, export, import, gc"));
  EXPECT_THAT(why({"registry"}), HasSubstr("login, logout, ls"));
  EXPECT_THAT(why({"image", "pull"}), HasSubstr("IMAGE"));
  EXPECT_THAT(why({"image", "pull", "--policy", "x", "a"}), HasSubstr("--policy"));
  EXPECT_THAT(why({"run", "--pull", "sometimes", "a"}), HasSubstr("--pull"));
  EXPECT_THAT(why({"registry", "login", "--password-stdin", "r"}), HasSubstr("--username"));
  EXPECT_THAT(why({"registry", "login", "--from-docker", "-u", "x", "r"}), HasSubstr("--from-docker"));
}

// A password in argv could be read by every user of the host.
TEST(ImageOptionsTest, NoOptionTakesAPassword) {
  for (const char* option : {"--password=x", "-p"})
    EXPECT_EQ(std::get<EarlyExit>(Parse({"registry", "login", "-u", "me", option, "r"})).status, 2);
}

}  // namespace
}  // namespace caisson::cli
