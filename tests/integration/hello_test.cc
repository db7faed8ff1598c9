// SPDX-License-Identifier: Apache-2.0
// The main line: submit, pull, run, output, status, record.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/integration/daemon.h"
#include "tests/integration/host_state.h"

namespace caisson::integration {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;

class HelloTest : public testing::Test {
 protected:
  HelloTest() { registry_.PushBusybox(); }

  Finished Run(std::vector<std::string> words, const std::optional<std::string>& input = std::nullopt) {
    std::vector<std::string> all = {"run"};
    all.insert(all.end(), words.begin(), words.end());
    return daemon_.Caisson(all, input);
  }
  Finished Shell(const std::string& script) { return Run({registry_.Name("busybox:1"), "--", "sh", "-c", script}); }

  Registry registry_;
  Daemon daemon_{registry_};
};

TEST_F(HelloTest, RunsAJobWithItsPayloadAndShowsEverything) {
  const Finished run =
      Run({registry_.Name("busybox:1"), "--", "sh", "-c", "echo hello from $(hostname); id; cat"}, "the payload\n");
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.out, MatchesRegex("hello from [0-9a-f]{24}\nuid=0\\(root\\) gid=0\\(root\\).*\nthe payload\n"));
  const Json job = daemon_.Job(run.out.substr(11, 24));
  EXPECT_EQ(job.StringOr("state", ""), "succeeded");
  EXPECT_EQ(job.StringOr("reason", ""), "exited");
  EXPECT_EQ(job.IntOr("exit_code", -1), 0);
  EXPECT_EQ(job.IntOr("attempts", 0), 1);
  EXPECT_THAT(job.StringOr("image_digest", ""), MatchesRegex("sha256:[0-9a-f]{64}"));
  const Finished jobs = daemon_.Caisson({"jobs"});
  EXPECT_EQ(jobs.status, 0);
  EXPECT_THAT(jobs.out, HasSubstr(job.StringOr("id", "?") + "  succeeded  exited 0"));
}

TEST_F(HelloTest, BinaryPayloadArrivesOnStdinAndInTheNamedFile) {
  std::string payload("a\0b\xff\r\n", 6);
  for (int i = 0; i < 100'000; ++i) payload.push_back(static_cast<char>(i * 7));
  const Finished run = Run({registry_.Name("busybox:1"), "--", "sh", "-c", "cat; cat $CAISSON_PAYLOAD_FILE"}, payload);
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_TRUE(run.out == payload + payload) << run.out.size();
}

TEST_F(HelloTest, ExitStatusIsTheJobs) {
  EXPECT_EQ(Shell("exit 7").status, 7);
  EXPECT_EQ(Shell("exit 255").status, 255);
  EXPECT_EQ(Shell("kill -9 $$").status, 137);
  EXPECT_EQ(Shell("kill -15 $$").status, 143);
  const std::string image = registry_.Name("busybox:1");
  EXPECT_EQ(Run({"--timeout", "1", image, "--", "sleep", "600"}).status, 124);
  EXPECT_EQ(Run({image, "--", "/no/such/program"}).status, 127);
  EXPECT_EQ(Run({image, "--", "/etc/passwd"}).status, 126);
}

TEST_F(HelloTest, StandardErrorStaysApart) {
  const Finished run = Shell("echo out; echo err >&2");
  EXPECT_EQ(run.out, "out\n");
  EXPECT_EQ(run.err, "err\n");
}

TEST_F(HelloTest, OptionsReachTheJob) {
  const Finished run = Run({"--env", "GREETING=hi there", "--workdir", "/made/here", "--user", "app", "--label", "k=v",
                            registry_.Name("busybox:1"), "--", "sh", "-c", "echo $GREETING; pwd; id -u; id -g"});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(run.out, "hi there\n/made/here\n1000\n1000\n");
}

TEST_F(HelloTest, ImageConfigIsFollowed) {
  registry_.Push("configured:1", {"--config", R"("Entrypoint":["/bin/echo","from"],"Cmd":["cmd"],"User":"app")"});
  const std::string image = registry_.Name("configured:1");
  EXPECT_EQ(Run({image}).out, "from cmd\n");
  EXPECT_EQ(Run({image, "words"}).out, "from words\n");
  EXPECT_EQ(Run({"--entrypoint", "/usr/bin/id", image, "--", "-u"}).out, "1000\n");
}

TEST_F(HelloTest, RunsDockerManifestsIndexesAndPlainLayers) {
  registry_.Push("docker:1", {"--docker"});
  registry_.Push("index:1", {"--index"});
  registry_.Push("plain:1", {"--uncompressed"});
  for (const char* image : {"docker:1", "index:1", "plain:1"})
    EXPECT_EQ(Run({registry_.Name(image), "--", "echo", "ok"}).out, "ok\n") << image;
}

TEST_F(HelloTest, UpperLayersHideAndReplaceLowerOnes) {
  const TemporaryDirectory first, second;
  for (const char* directory : {"/kept", "/opaque", "/gone"}) mkdir((first.path() + directory).c_str(), 0755);
  for (const char* file : {"/kept/a", "/kept/b", "/opaque/old", "/gone/x", "/plain"})
    WriteFile(first.path() + file, "1\n");
  for (const char* directory : {"/kept", "/opaque"}) mkdir((second.path() + directory).c_str(), 0755);
  for (const char* file : {"/kept/.wh.a", "/opaque/.wh..wh..opq", "/opaque/new", "/.wh.gone"})
    WriteFile(second.path() + file, "");
  WriteFile(second.path() + "/plain", "2\n");
  registry_.Push("layered:1", {"--add", first.path(), "--add", second.path()});
  const Finished run =
      Run({registry_.Name("layered:1"), "--", "sh", "-c", "ls /kept /opaque; cat /plain; ls -d /gone"});
  EXPECT_EQ(run.out, "/kept:\nb\n\n/opaque:\nnew\n2\n");
  EXPECT_EQ(run.status, 1);
}

TEST_F(HelloTest, TheSandboxHoldsNoPrivilege) {
  const Finished run =
      Shell("cat /proc/self/status; ls /sys; ls -l /proc/self/fd | wc -l; ip addr 2>/dev/null | grep -c '^[0-9]'");
  for (const char* line : {"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000",
                           "CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"})
    EXPECT_THAT(run.out, HasSubstr(line));
}

TEST_F(HelloTest, AJobWithoutPayloadReadsNothing) {
  const Finished run = Shell("cat | wc -c; echo \"${CAISSON_PAYLOAD_FILE-unset}\"");
  EXPECT_EQ(run.out, "0\nunset\n");
}

TEST_F(HelloTest, FailedAttemptsAreRepeatedAsOftenAsAsked) {
  const Finished run = daemon_.Caisson({"run", "--json", "--max-attempts", "3", "--retry-delay", "0",
                                        registry_.Name("busybox:1"), "--", "sh", "-c", "echo once; exit 4"});
  EXPECT_EQ(run.status, 4) << run.err;
  const Result<Json> job = ParseJson(run.out);
  ASSERT_TRUE(job) << run.out;
  EXPECT_EQ(job->IntOr("attempts", 0), 3);
  EXPECT_EQ(daemon_.Caisson({"logs", job->StringOr("id", "")}).out, "once\nonce\nonce\n");
}

TEST_F(HelloTest, CancelStopsARunningJob) {
  const std::string id =
      daemon_.Submit(fmt::format(R"({{"image":"{}","command":["sleep","600"]}})", registry_.Name("busybox:1")));
  ASSERT_TRUE(daemon_.WaitState(id, "running"));
  EXPECT_EQ(daemon_.Caisson({"cancel", "--grace", "1", id}).status, 0);
  const Json job = daemon_.WaitFinal(id, seconds(30));
  EXPECT_EQ(job.StringOr("state", ""), "cancelled");
  EXPECT_EQ(daemon_.Caisson({"cancel", id}).status, 0);  // too late is no error
}

TEST_F(HelloTest, NothingIsLeftAfterJobsAndAfterTheEnd) {
  EXPECT_EQ(Shell("true").status, 0);
  const std::vector<std::string> before = HostState(daemon_);
  for (const char* script : {"exit 3", "kill -9 $$", "head -c 1000000 /dev/zero >/tmp/x", "sleep 600 & exit 0"})
    Shell(script);
  Run({"--timeout", "1", registry_.Name("busybox:1"), "--", "sleep", "600"});
  ExpectSameState(before, daemon_);
  daemon_.Stop();
  ExpectNothingLeft(daemon_);
}

TEST_F(HelloTest, TokensOpenTheApiOnTcp) {
  const Finished token = daemon_.Caisson({"token", "create", "--tenant", "default"});
  EXPECT_EQ(token.status, 0) << token.err;
  EXPECT_THAT(token.out, MatchesRegex("csn_[A-Za-z0-9_-]+\n"));
}

TEST_F(HelloTest, ImagesListsWhatWasPulled) {
  Shell("true");
  const Finished images = daemon_.Caisson({"images"});
  EXPECT_THAT(images.out, HasSubstr(registry_.address()));
  EXPECT_EQ(daemon_.Call("/v1/images").json.ArrayOrEmpty("items").size(), 1u);
}

}  // namespace
}  // namespace caisson::integration
