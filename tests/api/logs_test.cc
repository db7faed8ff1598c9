// SPDX-License-Identifier: Apache-2.0
// GET /v1/jobs/{id}/logs: bytes, ranges, events, and readers that come and go while a job writes.
#include <gmock/gmock.h>

#include <random>
#include <thread>

#include "base/encoding.h"
#include "tests/api/api_fixture.h"

namespace caisson::api {
namespace {

using queue::LogStream;
using ::testing::HasSubstr;

constexpr LogStream kOut = LogStream::kStdout;
constexpr LogStream kErr = LogStream::kStderr;

struct Event {
  std::string id;
  std::string name;
  std::string data;
};

// Whole events of an event stream, as the WHATWG's rules have it.
std::vector<Event> ParseEvents(std::string_view text) {
  std::vector<Event> events;
  Event event;
  bool has_data = false;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) break;  // cut off
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (line.empty()) {
      if (has_data) events.push_back(event);
      event = {};
      has_data = false;
    } else if (line.starts_with("id: ")) {
      event.id = line.substr(4);
    } else if (line.starts_with("event: ")) {
      event.name = line.substr(7);
    } else if (line.starts_with("data: ")) {
      event.data += (has_data ? "\n" : "") + std::string(line.substr(6));
      has_data = true;
    }
  }
  return events;
}

std::string Joined(const std::vector<Event>& events, bool base64, std::string_view name = "") {
  std::string bytes;
  for (const Event& event : events) {
    if (event.name == "end" || (!name.empty() && event.name != name)) continue;
    bytes += base64 ? Base64Decode(event.data).value_or("BROKEN") : event.data;
  }
  return bytes;
}

class LogsTest : public ApiTest {
 protected:
  std::string Path(const queue::JobId& id, const std::string& query = "") {
    return "/v1/jobs/" + id.value + "/logs" + query;
  }

  // A job that wrote and ended.
  queue::JobId FinishedJob(const std::vector<std::pair<LogStream, std::string>>& writes) {
    Submit();
    const queue::Claim claim = Claim();
    MakeRunning(claim);
    Log(claim, writes);
    Finish(claim, {.reason = queue::Reason::kExited, .exit_code = 3});
    return claim.id;
  }
};

TEST_F(LogsTest, PlainGetGivesTheExactBytes) {
  std::string binary;
  for (int i = 0; i < 256; ++i) binary += static_cast<char>(i);
  const queue::JobId id = FinishedJob({{kOut, "a"}, {kErr, binary}, {kOut, "z\n"}});
  const HttpResponse response = Unix("GET", Path(id));
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "a" + binary + "z\n");
  EXPECT_EQ(response.Header("content-type"), "text/plain");
  EXPECT_EQ(response.Header("x-content-type-options"), "nosniff");
  EXPECT_EQ(response.Header("x-caisson-log-bytes"), "259");
  EXPECT_EQ(response.Header("x-caisson-log-dropped-bytes"), "0");
  EXPECT_EQ(Unix("GET", Path(id, "?stream=stdout")).body, "az\n");
  EXPECT_EQ(Unix("GET", Path(id, "?stream=stderr")).body, binary);
  EXPECT_EQ(Unix("GET", Path(id, "?after=257")).body, "z\n");
  EXPECT_EQ(Unix("GET", Path(id, "?after=259")).body, "");
}

TEST_F(LogsTest, RangeIsServedOfTheWholeLogOnly) {
  const queue::JobId id = FinishedJob({{kOut, "01234"}, {kErr, "56789"}});
  const HttpResponse part = Unix("GET", Path(id), {}, {{"Range", "bytes=3-6"}});
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(part.body, "3456");
  EXPECT_EQ(part.Header("content-range"), "bytes 3-6/10");
  EXPECT_EQ(Unix("GET", Path(id), {}, {{"Range", "bytes=-2"}}).body, "89");
  const HttpResponse beyond = Unix("GET", Path(id), {}, {{"Range", "bytes=10-"}});
  EXPECT_EQ(beyond.status, 416);
  EXPECT_EQ(beyond.Header("content-range"), "bytes */10");
  EXPECT_EQ(ProblemName(beyond), "range-not-satisfiable");
  EXPECT_EQ(Unix("GET", Path(id, "?stream=stdout"), {}, {{"Range", "bytes=0-1"}}).status, 422);
  EXPECT_EQ(Unix("GET", Path(id, "?after=1"), {}, {{"Range", "bytes=0-1"}}).status, 422);
  EXPECT_EQ(Unix("GET", Path(id), {}, {{"Range", "bytes=0-1"}, {"If-Range", "\"x\""}}).status, 200);
}

TEST_F(LogsTest, BadParametersAreRefusedByName) {
  const queue::JobId id = FinishedJob({{kOut, "x"}});
  for (const char* query :
       {"?stream=std", "?follow=yes", "?after=-1", "?after=1x", "?encoding=hex", "?encoding=base64", "?tail=5"})
    EXPECT_EQ(Unix("GET", Path(id, query)).status, 422) << query;
  EXPECT_THAT(Unix("GET", Path(id, "?tail=5")).body, HasSubstr(R"("parameter":"tail")"));
  EXPECT_EQ(Unix("GET", Path(id, "?follow=1"), {}, {{"Last-Event-ID", "abc"}}).status, 422);
  EXPECT_EQ(Unix("GET", Path(id, "?after=2")).status, 416);
  EXPECT_EQ(Unix("GET", Path(id, "?follow=1&after=2")).status, 416);
  EXPECT_EQ(Unix("GET", "/v1/jobs/000000000000000000000000/logs").status, 404);
}

TEST_F(LogsTest, EventsOfAFinishedJobEndWithTheJob) {
  const queue::JobId id = FinishedJob({{kOut, "one\n"}, {kErr, "two\n"}});
  const HttpResponse response = Unix("GET", Path(id, "?follow=1"));
  EXPECT_EQ(response.Header("content-type"), "text/event-stream");
  EXPECT_EQ(response.Header("cache-control"), "no-store");
  const std::vector<Event> events = ParseEvents(response.body);
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[0].name + events[0].id + events[0].data, "stdout4one\n");
  EXPECT_EQ(events[1].name + events[1].id + events[1].data, "stderr8two\n");
  EXPECT_EQ(events[2].name, "end");
  const Json job = ParseOrFail(events[2].data);
  EXPECT_EQ(job.StringOr("id", ""), id.value);
  EXPECT_EQ(job.StringOr("state", ""), "failed");
  EXPECT_EQ(job.IntOr("exit_code", -1), 3);
  EXPECT_EQ(Joined(ParseEvents(Unix("GET", Path(id, "?follow=1&stream=stderr")).body), false), "two\n");
  EXPECT_EQ(Joined(ParseEvents(Unix("GET", Path(id, "?follow=1&after=2")).body), false), "e\ntwo\n");
  // An EventSource that reconnects sends the old `after` again: what it has seen counts.
  EXPECT_EQ(Joined(ParseEvents(Unix("GET", Path(id, "?follow=1&after=2"), {}, {{"Last-Event-ID", "4"}}).body), false),
            "two\n");
}

TEST_F(LogsTest, EventsWithoutFollowEndWhereTheLogEndsNow) {
  Submit();
  const queue::Claim claim = Claim();
  MakeRunning(claim);
  Log(claim, {{kOut, "so far"}});
  const std::vector<Event> events =
      ParseEvents(Unix("GET", Path(claim.id), {}, {{"Accept", "text/event-stream"}}).body);
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].data, "so far");
  EXPECT_EQ(ParseOrFail(events[1].data).StringOr("state", ""), "running");
}

TEST_F(LogsTest, DropsPastTheCapAreCountedAndSaid) {
  Submit();
  const queue::Claim claim = Claim();
  MakeRunning(claim);
  Log(claim, {{kOut, std::string((1 << 20) + 100, 'x')}});
  EXPECT_EQ(Unix("GET", Path(claim.id)).Header("x-caisson-log-dropped-bytes"), "100");
  Finish(claim, {.reason = queue::Reason::kExited, .exit_code = 0});
  const std::vector<Event> events = ParseEvents(Unix("GET", Path(claim.id, "?follow=1&encoding=base64")).body);
  EXPECT_EQ(Joined(events, true).size(), size_t{1} << 20);
  EXPECT_EQ(ParseOrFail(events.back().data).IntOr("log_dropped_bytes", 0), 100);
}

TEST_F(LogsTest, FollowerSeesEachWriteAtOnceAndTheEnd) {
  Submit();
  const queue::Claim claim = Claim();
  MakeRunning(claim);
  auto follower = RawConnection::ToUnix(directory_.file("caisson.sock"));
  follower.Send("GET " + Path(claim.id, "?follow=1") + " HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(follower.ReadUntil("\r\n\r\n"), HasSubstr("200 OK"));
  auto writer = logs_->OpenWriter(claim.id, claim.attempt);
  ASSERT_TRUE(writer);
  for (const std::string line : {"first", "second", "third"}) {
    ASSERT_TRUE((*writer)->Append(kOut, line));
    EXPECT_THAT(follower.ReadUntil("data: " + line), HasSubstr("event: stdout"));  // waits for ever if it does not come
  }
  writer->reset();
  Finish(claim, {.reason = queue::Reason::kExited, .exit_code = 0});
  EXPECT_THAT(follower.ReadUntil("\r\n0\r\n\r\n"), HasSubstr("event: end"));
  // The connection is still good for another request.
  follower.Send("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(follower.ReadResponse(), HasSubstr("ok\n"));
}

TEST_F(LogsTest, FollowerGoesOnThroughAllAttempts) {
  Submit(R"({"image":"busybox","max_attempts":2,"retry_delay_seconds":0})");
  auto follower = RawConnection::ToUnix(directory_.file("caisson.sock"));
  queue::Claim claim = Claim();
  follower.Send("GET " + Path(claim.id, "?follow=1") + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  follower.ReadUntil("\r\n\r\n");
  MakeRunning(claim);
  Log(claim, {{kOut, "attempt one"}});
  Finish(claim, {.reason = queue::Reason::kExited, .exit_code = 1});
  follower.ReadUntil("attempt one");
  ASSERT_TRUE(store_->Tick());
  claim = Claim();
  EXPECT_EQ(claim.attempt, 2);
  MakeRunning(claim);
  Log(claim, {{kOut, "attempt two"}});
  Finish(claim, {.reason = queue::Reason::kExited, .exit_code = 0});
  const std::string rest = follower.ReadToEnd();
  EXPECT_THAT(rest, HasSubstr("attempt two"));
  EXPECT_THAT(rest, HasSubstr("event: end"));
}

TEST_F(LogsTest, FollowerOfAJobThatIsCancelledBeforeItRanEnds) {
  const queue::JobId id = Submit().id;
  auto follower = RawConnection::ToUnix(directory_.file("caisson.sock"));
  follower.Send("GET " + Path(id, "?follow=1") + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  follower.ReadUntil("\r\n\r\n");
  Unix("POST", "/v1/jobs/" + id.value + "/cancel");
  EXPECT_THAT(follower.ReadToEnd(), HasSubstr(R"("state":"cancelled")"));
}

// A reader that is cut off at random, in the middle of events too, and comes back with the last whole event's id.
TEST_F(LogsTest, ReaderThatReconnectsGetsEveryByteOnce) {
  for (const std::string encoding : {"base64", "text"}) {
    Submit();
    const queue::Claim claim = Claim();
    MakeRunning(claim);
    std::mt19937 random(7);
    std::string written;
    std::thread job([&, this] {
      auto writer = logs_->OpenWriter(claim.id, claim.attempt);
      for (int i = 0; i < 400; ++i) {
        std::string bytes;
        for (size_t size = 1 + random() % 300; bytes.size() < size;) {
          if (encoding == "text") {
            bytes += random() % 9 == 0 ? "\xE2\x82\xAC" : random() % 9 == 0 ? "\n" : "x";
          } else {
            bytes += static_cast<char>(random());
          }
        }
        // Characters cut in two by the job's writes must arrive whole.
        const size_t cut = random() % bytes.size();
        EXPECT_TRUE((*writer)->Append(kOut, bytes.substr(0, cut)));
        EXPECT_TRUE((*writer)->Append(kOut, bytes.substr(cut)));
        written += bytes;
      }
      writer->reset();
      Finish(claim, {.reason = queue::Reason::kExited, .exit_code = 0});
    });
    const std::string token = NewToken();
    std::string got;
    std::string last_id = "0";
    bool ended = false;
    std::mt19937 cuts(11);
    for (int connections = 0; !ended && connections < 2000; ++connections) {
      size_t budget = 1 + cuts() % 60000;
      std::string text;
      HttpClient client;
      (void)client.Perform({.url = TcpUrl(Path(claim.id, "?follow=1&encoding=" + encoding)),
                            .headers = {{"Last-Event-ID", last_id}, {"Authorization", "Bearer " + token}},
                            .on_body = [&](std::string_view bytes) -> Result<void> {
                              text += bytes.substr(0, budget);
                              if (bytes.size() >= budget) return Fail(ErrorCode::kCancelled, "cut");
                              budget -= bytes.size();
                              return {};
                            }});
      for (const Event& event : ParseEvents(text)) {
        last_id = event.id;
        if (event.name == "end") {
          ended = true;
        } else {
          got += encoding == "text" ? event.data : *Base64Decode(event.data);
        }
      }
    }
    job.join();
    EXPECT_EQ(got.size(), written.size());
    EXPECT_TRUE(got == written) << encoding;
  }
}

TEST_F(LogsTest, StopEndsFollowersWithoutAnEndEvent) {
  Submit();
  const queue::Claim claim = Claim();
  MakeRunning(claim);
  Log(claim, {{kOut, "x"}});
  auto follower = RawConnection::ToUnix(directory_.file("caisson.sock"));
  follower.Send("GET " + Path(claim.id, "?follow=1") + " HTTP/1.1\r\nHost: x\r\n\r\n");
  follower.ReadUntil("data: x");
  server_->Stop();
  const std::string rest = follower.ReadToEnd();
  EXPECT_EQ(rest.find("event: end"), std::string::npos);
  EXPECT_TRUE(rest.ends_with("0\r\n\r\n")) << rest;  // a whole answer: the reader comes back with its position
}

// A reader that reads nothing costs the job and other readers nothing.
TEST_F(LogsTest, ReaderThatDoesNotReadBlocksNobody) {
  Submit();
  const queue::Claim claim = Claim();
  MakeRunning(claim);
  std::vector<RawConnection> lazy;
  for (int i = 0; i < 20; ++i) {
    lazy.push_back(RawConnection::ToUnix(directory_.file("caisson.sock")));
    lazy.back().Send("GET " + Path(claim.id, "?follow=1") + " HTTP/1.1\r\nHost: x\r\n\r\n");
  }
  Log(claim, {{kOut, std::string(900'000, 'x')}});
  Finish(claim, {.reason = queue::Reason::kExited, .exit_code = 0});
  EXPECT_EQ(Joined(ParseEvents(Unix("GET", Path(claim.id, "?follow=1")).body), false).size(), 900'000U);
}

}  // namespace
}  // namespace caisson::api
