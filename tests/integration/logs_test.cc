// SPDX-License-Identifier: Apache-2.0
// A job's output on its way to readers: live, once, bit-exact, bounded.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/encoding.h"
#include "base/http/http_client.h"
#include "cli/sse_parser.h"
#include "tests/integration/daemon.h"

namespace caisson::integration {
namespace {

using testing::HasSubstr;

std::string RandomBytes(size_t size) {
  std::mt19937_64 generator(42);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(generator());
  return bytes;
}

std::string Repeat(const std::string& bytes, int times) {
  std::string all;
  all.reserve(bytes.size() * static_cast<size_t>(times));
  for (int i = 0; i < times; ++i) all += bytes;
  return all;
}

class LogsTest : public testing::Test {
 protected:
  LogsTest() { registry_.PushBusybox(); }
  std::string Submit(const Daemon& daemon, const std::string& script, const std::string& more = "") const {
    Json command = Json::MakeArray();
    return daemon.Submit(fmt::format(R"({{"image":"{}","command":["sh","-c",{}]{}}})", registry_.Name("busybox:1"),
                                     Json(script).Dump(), more));
  }

  Registry registry_;
};

TEST_F(LogsTest, AFollowerSeesEachLineWhileTheJobRuns) {
  Daemon daemon(registry_);
  const TemporaryDirectory directory;
  const std::string id = Submit(daemon, "for i in $(seq 1 40); do echo line $i; usleep 100000; done");
  Process follower({CAISSON_PROGRAMS "/caisson", "logs", "-f", id},
                   {.environment = {{"CAISSON_HOST", daemon.host()}}, .out_file = directory.path() + "/out"});
  std::string expected;
  for (int i = 1; i <= 40; ++i) expected += fmt::format("line {}\n", i);
  // Each of these lines is there before the job has ended, and in order.
  for (const int line : {1, 5, 10, 20, 30}) {
    const std::string text = fmt::format("line {}\n", line);
    ASSERT_TRUE(WaitUntil([&] { return ReadWholeFile(directory.path() + "/out").find(text) != std::string::npos; }));
    EXPECT_EQ(daemon.Job(id).StringOr("state", ""), "running") << text;
    EXPECT_TRUE(expected.starts_with(ReadWholeFile(directory.path() + "/out")));
  }
  EXPECT_EQ(follower.Wait(), 0);
  EXPECT_EQ(ReadWholeFile(directory.path() + "/out"), expected);
}

TEST_F(LogsTest, AReaderThatReconnectsGetsEveryByteOnce) {
  Daemon daemon(registry_);
  const std::string id = Submit(daemon,
                                "for i in $(seq 1 30); do head -c 3000 /dev/zero | tr '\\0' $((i % 10)); echo; "
                                "usleep 20000; done");
  std::string expected;
  for (int i = 1; i <= 30; ++i) expected += std::string(3000, static_cast<char>('0' + i % 10)) + "\n";
  std::string got;
  std::string position;
  bool ended = false;
  int connections = 0;
  for (; !ended && connections < 500; ++connections) {  // gives up the connection after every second event
    cli::SseParser parser;
    int events = 0;
    HttpRequest request{.url = "http://localhost/v1/jobs/" + id + "/logs?follow=1&encoding=base64",
                        .unix_socket = daemon.run_dir() + "/caisson.sock",
                        .stall_timeout = seconds(0),
                        .silence_timeout = seconds(60)};
    if (!position.empty()) request.headers.emplace_back("Last-Event-ID", position);
    request.on_body = [&](std::string_view bytes) {
      return parser.Feed(bytes, [&](const cli::SseEvent& event) -> Result<void> {
        if (event.name == "end") ended = true;
        if (event.name == "stdout") {
          got += Base64Decode(event.data).value_or("?");
          EXPECT_TRUE(event.id);
          position = event.id.value_or("");
          EXPECT_EQ(position, std::to_string(got.size()));
        }
        if (++events == 2) return Fail(ErrorCode::kCancelled, "enough");
        return {};
      });
    };
    HttpClient client;
    static_cast<void>(client.Perform(request).has_value());
  }
  EXPECT_GT(connections, 5);
  EXPECT_TRUE(got == expected) << got.size() << " bytes in place of " << expected.size();
}

TEST_F(LogsTest, AHundredMegabytesArriveBitExact) {
  Daemon daemon(registry_, {.arguments = {"--log-bytes", std::to_string(128 << 20)}});
  const std::string payload = RandomBytes(10 << 20);
  const Finished run = daemon.Caisson({"run", registry_.Name("busybox:1"), "--", "sh", "-c",
                                       "for i in 1 2 3 4 5 6 7 8 9 10; do cat $CAISSON_PAYLOAD_FILE; done"},
                                      payload, seconds(300));
  EXPECT_EQ(run.status, 0) << run.err.substr(0, 2000);
  EXPECT_TRUE(run.out == Repeat(payload, 10)) << run.out.size();
}

TEST_F(LogsTest, PastTheCapBytesAreDroppedAndCounted) {
  Daemon daemon(registry_);  // keeps 10 MiB
  const std::string payload = RandomBytes(10 << 20);
  const Finished run = daemon.Caisson({"run", registry_.Name("busybox:1"), "--", "sh", "-c",
                                       "for i in 1 2 3 4 5 6 7 8 9 10; do cat $CAISSON_PAYLOAD_FILE; done"},
                                      payload, seconds(300));
  EXPECT_EQ(run.status, 0) << run.err.substr(0, 2000);
  EXPECT_TRUE(run.out == payload) << run.out.size();
  const uint64_t dropped = 9ULL * (10 << 20);
  EXPECT_THAT(run.err, HasSubstr(fmt::format("{} bytes of output were dropped", dropped)));
  const Json job = daemon.Call("/v1/jobs?limit=1").json.ArrayOrEmpty("items").at(0);
  EXPECT_EQ(job.IntOr("log_bytes", 0), 10 << 20);
  EXPECT_EQ(job.IntOr("log_dropped_bytes", 0), static_cast<int64_t>(dropped));
}

TEST_F(LogsTest, StreamsCanBeReadApartAndByRange) {
  Daemon daemon(registry_);
  const std::string id = Submit(daemon, "echo one; echo two >&2; echo three");
  daemon.WaitFinal(id);
  EXPECT_EQ(daemon.Caisson({"logs", "--stream", "stdout", id}).out, "one\nthree\n");
  EXPECT_EQ(daemon.Caisson({"logs", "--stream", "stderr", id}).err, "two\n");
  EXPECT_EQ(daemon.Caisson({"logs", "--stream", "stderr", id}).out, "");
  EXPECT_EQ(daemon.Call("/v1/jobs/" + id + "/logs").body.size(), 14u);
  EXPECT_EQ(daemon.Call("/v1/jobs/" + id + "/logs?after=10").body.size(), 4u);
  HttpClient client;
  const Result<HttpResponse> part = client.Perform({.url = "http://localhost/v1/jobs/" + id + "/logs",
                                                    .headers = {{"Range", "bytes=2-4"}},
                                                    .unix_socket = daemon.run_dir() + "/caisson.sock"});
  ASSERT_TRUE(part);
  EXPECT_EQ(part->status, 206);
  EXPECT_EQ(part->body, daemon.Call("/v1/jobs/" + id + "/logs").body.substr(2, 3));
}

TEST_F(LogsTest, RunFollowsOverARestartOfTheService) {
  Daemon daemon(registry_);
  const TemporaryDirectory directory;
  Process run({CAISSON_PROGRAMS "/caisson", "run", "--no-stdin", registry_.Name("busybox:1"), "--", "sh", "-c",
               "echo start; sleep 3; echo end"},
              {.environment = {{"CAISSON_HOST", daemon.host()}},
               .out_file = directory.path() + "/out",
               .err_file = directory.path() + "/err"});
  ASSERT_TRUE(WaitUntil([&] { return ReadWholeFile(directory.path() + "/out") == "start\n"; }));
  const pid_t service = daemon.service();
  ASSERT_GT(service, 0);
  kill(service, SIGKILL);
  EXPECT_EQ(run.Wait(), 0) << ReadWholeFile(directory.path() + "/err");
  // The first attempt was lost with the service, after what it had printed; the second is whole.
  EXPECT_EQ(ReadWholeFile(directory.path() + "/out"), "start\nstart\nend\n");
}

}  // namespace
}  // namespace caisson::integration
