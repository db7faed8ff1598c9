// SPDX-License-Identifier: Apache-2.0
// Whole commands against a server whose every byte the test decides.
#include "cli/commands.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/encoding.h"
#include "base/io.h"
#include "cli/api_client.h"
#include "cli/doctor.h"
#include "tests/cli/fake_server.h"
#include "tests/cli/run_caisson.h"

namespace caisson::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr char kId[] = "0123456789abcdef01234567";

std::string JobJson(const std::string& members) { return std::string(R"({"id":")") + kId + "\"," + members + "}"; }
std::string Json200(const std::string& body) { return HttpAnswer(200, "application/json", body); }
std::string Event(const std::string& stream, const std::string& bytes, int end) {
  return fmt::format("id: {}\nevent: {}\ndata: {}\n\n", end, stream, Base64Encode(bytes));
}

// A daemon with one job: `logs` answers the log requests in turn, `job` is the job in the end.
FakeServer::Answer OneJob(std::vector<std::string> logs, std::string job) {
  auto next = std::make_shared<std::atomic<size_t>>(0);
  return [=](const FakeRequest& request) -> std::string {
    if (request.Asks("POST /v1/jobs ")) return HttpAnswer(202, "application/json", JobJson(R"("state":"queued")"));
    if (request.Asks("POST")) return HttpAnswer(202, "application/json", JobJson(R"("state":"running")"));
    if (request.Asks(std::string("GET /v1/jobs/") + kId + "/logs")) {
      const size_t i = (*next)++;
      return i < logs.size() ? logs[i] : HttpAnswer(500, "text/plain", "no more logs in this test");
    }
    return Json200(job);
  };
}

const std::string kSucceeded = JobJson(R"("state":"succeeded","reason":"exited","exit_code":0)");

TEST(RunTest, WritesExactBytesToBothStreamsAndExitsAsTheJobDid) {
  const std::string binary("\x00\xff\r\n\x1b[31m", 9);
  FakeServer server(
      OneJob({HttpStream(Event("stdout", binary, 9) + Event("stderr", "oops\n", 14) + "event: end\ndata: {}\n\n")},
             JobJson(R"("state":"failed","reason":"exited","exit_code":42)")));
  const Outcome outcome = RunCaisson(server.host(), {"run", "busybox", "--", "sh", "-c", "x"}, "pay\nload");
  EXPECT_EQ(outcome.status, 42);
  EXPECT_EQ(outcome.out, binary);
  EXPECT_EQ(outcome.err, "oops\n");
  EXPECT_EQ(server.requests()[0].body, R"({"image":"busybox","command":["sh","-c","x"],"payload":"pay\nload"})");
  EXPECT_EQ(server.requests()[0].Header("Content-Type"), "application/json");
  EXPECT_THAT(server.requests()[1].head, HasSubstr("/logs?encoding=base64&follow=1 "));
}

TEST(RunTest, ReconnectsWithLastEventIdAndWritesEachByteOnce) {
  const std::string torn = HttpStream(Event("stdout", "first ", 6) + "id: 12\nevent: stdout\ndata: c2Vj");
  FakeServer server(OneJob({torn, HttpAnswer(503, "application/problem+json", R"({"detail":"draining"})"),
                            HttpStream(Event("stdout", "second", 12) + "event: end\ndata: {}\n\n")},
                           kSucceeded));
  const Outcome outcome = RunCaisson(server.host(), {"run", "busybox"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "first second");
  const auto requests = server.requests();
  EXPECT_EQ(requests[1].Header("Last-Event-ID"), "");
  EXPECT_EQ(requests[2].Header("Last-Event-ID"), "6");
  EXPECT_EQ(requests[3].Header("Last-Event-ID"), "6");
}

TEST(RunTest, SaysWhyAJobFailedWithoutRunning) {
  FakeServer server(OneJob({HttpStream("event: end\ndata: {}\n\n")},
                           JobJson(R"("state":"failed","reason":"image_error","message":"no tag \u001b[1m9")")));
  const Outcome outcome = RunCaisson(server.host(), {"run", "busybox:9"});
  EXPECT_EQ(outcome.status, 125);
  EXPECT_EQ(outcome.err, std::string("caisson: job ") + kId + " failed: image_error: no tag \\x1b[1m9\n");
}

TEST(RunTest, SaysHowMuchOutputWasDropped) {
  FakeServer server(OneJob({HttpStream("event: end\ndata: {}\n\n")},
                           JobJson(R"("state":"succeeded","reason":"exited","exit_code":0,"log_dropped_bytes":77)")));
  EXPECT_THAT(RunCaisson(server.host(), {"run", "busybox"}).err, HasSubstr("77 bytes of output were dropped"));
}

TEST(RunTest, LogsSayTooHowMuchWasDropped) {
  FakeServer server([](const FakeRequest&) { return HttpStream("event: end\ndata: {\"log_dropped_bytes\":77}\n\n"); });
  const Outcome outcome = RunCaisson(server.host(), {"logs", kId});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.err, HasSubstr("77 bytes of output were dropped"));
}

TEST(RunTest, RefusedSubmitShowsEachErrorAndExits125) {
  FakeServer server([](const FakeRequest&) {
    return HttpAnswer(
        422, "application/problem+json",
        R"({"detail":"this host cannot enforce","errors":[{"pointer":"/resources/memory_bytes","detail":"no controller"}]})");
  });
  const Outcome outcome = RunCaisson(server.host(), {"run", "busybox"});
  EXPECT_EQ(outcome.status, 125);
  EXPECT_EQ(outcome.err, "caisson: this host cannot enforce\n    /resources/memory_bytes: no controller\n");
  EXPECT_EQ(server.requests().size(), 1u);  // a submit is never repeated: it could run twice
}

TEST(RunTest, JsonPrintsTheFinishedJobAndNotItsOutput) {
  FakeServer server(OneJob({HttpStream(Event("stdout", "noise", 5) + "event: end\ndata: {}\n\n")}, kSucceeded));
  const Outcome outcome = RunCaisson(server.host(), {"run", "--json", "busybox"});
  EXPECT_EQ(ParseJson(outcome.out)->StringOr("state", ""), "succeeded");
  EXPECT_THAT(outcome.out, Not(HasSubstr("noise")));
}

TEST(RunTest, DetachPrintsTheIdAlone) {
  FakeServer server(OneJob({}, kSucceeded));
  EXPECT_EQ(RunCaisson(server.host(), {"run", "-d", "busybox"}).out, std::string(kId) + "\n");
  EXPECT_EQ(RunCaisson(server.host(), {"submit", "busybox"}).out, std::string(kId) + "\n");
}

TEST(RunTest, NoStdinLeavesThePayloadOut) {
  FakeServer server(OneJob({}, kSucceeded));
  RunCaisson(server.host(), {"submit", "--no-stdin", "busybox"}, "payload");
  EXPECT_EQ(server.requests()[0].body, R"({"image":"busybox"})");
}

TEST(RunTest, AnUnwritableOutputEndsItWith125) {
  FakeServer server(OneJob({HttpStream(Event("stdout", "x", 1))}, kSucceeded));
  const Fd err(memfd_create("err", MFD_CLOEXEC)), full(open("/dev/full", O_WRONLY | O_CLOEXEC)),
      null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const auto parsed = ParseOptions({"run", "busybox"}, {{"CAISSON_HOST", server.host()}});
  EXPECT_EQ(RunCommandLine(std::get<Options>(parsed), "", {null.get(), full.get(), err.get()}), 125);
  EXPECT_THAT(Contents(err.get()), HasSubstr("standard output: write 1 bytes: No space left"));
}

TEST(RunTest, FirstInterruptCancelsTheJobAndExitsWith130) {
  std::atomic<bool> cancelled = false;
  FakeServer server([&](const FakeRequest& request) -> std::string {
    if (request.Asks("POST /v1/jobs ")) {
      kill(getpid(), SIGINT);  // all threads of the command line block it: its own thread takes it
      return HttpAnswer(202, "application/json", JobJson(R"("state":"queued")"));
    }
    if (request.Asks("POST")) {
      cancelled = true;
      return HttpAnswer(202, "application/json", JobJson(R"("state":"running")"));
    }
    if (request.head.find("/logs") != std::string::npos)
      return cancelled ? HttpStream("event: end\ndata: {}\n\n") : HttpStream(": ping\n\n");
    return Json200(JobJson(R"("state":"cancelled","reason":"cancelled")"));
  });
  const Outcome outcome = RunCaisson(server.host(), {"run", "busybox"});
  EXPECT_EQ(outcome.status, 130);
  EXPECT_TRUE(cancelled);
  EXPECT_THAT(outcome.err, HasSubstr(std::string("cancelling job ") + kId));
  EXPECT_THAT(outcome.err, HasSubstr(std::string("job ") + kId + " cancelled"));
}

// In a process of its own, as it is to die.
void InterruptTwice() {
  std::atomic<bool> cancelled = false;
  std::atomic<int> looks = 0;
  FakeServer server([&](const FakeRequest& request) -> std::string {
    if (request.Asks("POST /v1/jobs ")) {
      kill(getpid(), SIGINT);
      return HttpAnswer(202, "application/json", JobJson(R"("state":"queued")"));
    }
    if (request.Asks("POST")) {
      cancelled = true;
      return HttpAnswer(202, "application/json", JobJson(R"("state":"running")"));
    }
    if (request.head.find("/logs") == std::string::npos)
      return Json200(JobJson(R"("state":"cancelled","reason":"cancelled")"));
    if (cancelled && ++looks == 2) kill(getpid(), SIGINT);
    return looks > 5 ? HttpStream("event: end\ndata: {}\n\n") : HttpStream(": ping\n\n");
  });
  std::exit(RunCaisson(server.host(), {"run", "busybox"}).status);
}

TEST(RunTest, SecondInterruptLeavesTheJobBehind) { EXPECT_EXIT(InterruptTwice(), testing::KilledBySignal(SIGINT), ""); }

TEST(RunTest, AnInterruptThatWasIgnoredAtTheStartStaysIgnored) {
  struct sigaction ignore {
  }, old{};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGINT, &ignore, &old);
  std::atomic<bool> cancelled = false;
  FakeServer server([&](const FakeRequest& request) -> std::string {
    if (request.Asks("POST /v1/jobs ")) {
      kill(getpid(), SIGINT);
      return HttpAnswer(202, "application/json", JobJson(R"("state":"queued")"));
    }
    if (request.Asks("POST")) cancelled = true;
    if (request.head.find("/logs") != std::string::npos) return HttpStream("event: end\ndata: {}\n\n");
    return Json200(kSucceeded);
  });
  const Outcome outcome = RunCaisson(server.host(), {"run", "busybox"});
  sigaction(SIGINT, &old, nullptr);
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.err, "");
  EXPECT_FALSE(cancelled);
}

TEST(ClientTest, ADaemonThatIsNotThereGivesOneClearMessage) {
  const Outcome run = RunCaisson("unix:///nonexistent/caisson.sock", {"run", "busybox"});
  EXPECT_EQ(run.status, 125);
  EXPECT_THAT(run.err,
              HasSubstr("cannot reach caissond at unix:///nonexistent/caisson.sock: No such file or directory"));
  EXPECT_THAT(run.err, HasSubstr("--host or CAISSON_HOST"));
  const Outcome jobs = RunCaisson("http://127.0.0.1:1", {"jobs"});
  EXPECT_EQ(jobs.status, 1);
  EXPECT_THAT(jobs.err, HasSubstr("http://127.0.0.1:1: Connection refused"));
}

TEST(ClientTest, SendsTokenAndTenant) {
  FakeServer server([](const FakeRequest&) { return Json200(R"({"items":[],"next_cursor":null})"); });
  EXPECT_EQ(RunCaisson(server.host(), {"jobs", "--tenant", "team-a"}, "", "csn_secret").status, 0);
  EXPECT_EQ(server.requests()[0].Header("Authorization"), "Bearer csn_secret");
  EXPECT_EQ(server.requests()[0].Header("X-Caisson-Tenant"), "team-a");
}

TEST(ClientTest, AnswerThatIsNotOursIsSaidToBeSo) {
  FakeServer server([](const FakeRequest&) { return HttpAnswer(200, "text/html", "<html>"); });
  EXPECT_THAT(RunCaisson(server.host(), {"jobs"}).err, HasSubstr("is not caissond"));
  EXPECT_EQ(RunCaisson(server.host(), {"run", "busybox"}).status, 125);
}

TEST(JobsTest, AllFollowsTheCursor) {
  FakeServer server([](const FakeRequest& request) {
    const bool first = request.head.find("cursor=") == std::string::npos;
    return Json200(fmt::format(R"({{"items":[{{"id":"{}","state":"queued"}}],"next_cursor":{}}})", first ? "a" : "b",
                               first ? "\"c/1\"" : "null"));
  });
  const Outcome outcome = RunCaisson(server.host(), {"jobs", "--all", "--state", "queued", "--json"});
  EXPECT_EQ(ParseJson(outcome.out)->ArrayOrEmpty("items").size(), 2u);
  EXPECT_TRUE(server.requests()[0].Asks("GET /v1/jobs?limit=200&state=queued HTTP"));
  EXPECT_TRUE(server.requests()[1].Asks("GET /v1/jobs?limit=200&state=queued&cursor=c%2F1 HTTP"));
  EXPECT_THAT(RunCaisson(server.host(), {"jobs", "--limit", "1"}).err, HasSubstr("there are more"));
}

TEST(LogsTest, AsksForOneStreamUpToThePresentEnd) {
  FakeServer server(OneJob({HttpStream(Event("stderr", "e", 1) + "event: end\ndata: {}\n\n")}, kSucceeded));
  const Outcome outcome = RunCaisson(server.host(), {"logs", "--stream", "stderr", kId});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.err, "e");
  EXPECT_TRUE(
      server.requests()[0].Asks(std::string("GET /v1/jobs/") + kId + "/logs?encoding=base64&stream=stderr HTTP"));
  EXPECT_EQ(server.requests()[0].Header("Accept"), "text/event-stream");
}

TEST(CancelTest, SendsTheGrace) {
  FakeServer server(OneJob({}, kSucceeded));
  EXPECT_EQ(RunCaisson(server.host(), {"cancel", "--grace", "5", kId}).out, std::string(kId) + " is being cancelled\n");
  EXPECT_EQ(server.requests()[0].body, R"({"grace_seconds":5})");
}

TEST(TokenTest, PrintsTheTokenAlone) {
  FakeServer server([](const FakeRequest&) {
    return HttpAnswer(201, "application/json", R"({"id":"1","token":"csn_abc","tenant":"default"})");
  });
  const Outcome outcome = RunCaisson(server.host(), {"token", "create", "--tenant", "default"});
  EXPECT_EQ(outcome.out, "csn_abc\n");
  EXPECT_EQ(server.requests()[0].body, R"({"tenant":"default"})");
}

TEST(DoctorTest, ExitsWith1WhenStrictCannotBeMet) {
  for (const bool possible : {true, false}) {
    FakeServer server([&](const FakeRequest&) {
      return Json200(
          fmt::format(R"({{"kernel":"6","isolation":"strict","strict_possible":{},"checks":[]}})", possible));
    });
    EXPECT_EQ(RunCaisson(server.host(), {"doctor"}).status, possible ? 0 : 1);
  }
}

TEST(DoctorTest, RunsTheLocalProgramAndTakesItsReportWhateverItsStatus) {
  char path[] = "/tmp/caissond-XXXXXX";
  {
    const Fd script(mkstemp(path));
    ASSERT_TRUE(WriteAll(script.get(),
                         "#!/bin/sh\necho \"{\\\"strict_possible\\\":false,\\\"kernel\\\":\\\"$1 $2\\\"}\"\nexit 1\n"));
    ASSERT_EQ(fchmod(script.get(), 0700), 0);
  }
  const Result<Json> report = RunLocalDoctor(path);
  unlink(path);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->StringOr("kernel", ""), "doctor --json");
  EXPECT_FALSE(RunLocalDoctor("/bin/true"));
  EXPECT_FALSE(RunLocalDoctor("/nonexistent"));
}

TEST(VersionTest, NeedsNoDaemon) {
  EXPECT_EQ(RunCaisson("unix:///nonexistent", {"version"}).out, "caisson " CAISSON_VERSION "\n");
}

}  // namespace
}  // namespace caisson::cli
