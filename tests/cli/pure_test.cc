// SPDX-License-Identifier: Apache-2.0
// The parts of the command line that decide without asking anybody, each by a table of cases.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/api_client.h"
#include "cli/doctor.h"
#include "cli/exit_status.h"
#include "cli/job_request.h"
#include "cli/job_view.h"
#include "cli/progress_line.h"
#include "cli/quantity.h"
#include "cli/render.h"
#include "cli/text.h"

namespace caisson::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

Json Parse(std::string_view text) { return *ParseJson(text); }

TEST(ExitStatusTest, FollowsTheTable) {
  struct Case {
    const char* job;
    int status;
  };
  const Case cases[] = {
      {R"({"state":"succeeded","reason":"exited","exit_code":0})", 0},
      {R"({"state":"failed","reason":"exited","exit_code":3})", 3},
      {R"({"state":"failed","reason":"exited","exit_code":255})", 255},
      {R"({"state":"failed","reason":"signaled","signal":9,"exit_code":null})", 137},
      {R"({"state":"failed","reason":"signaled","signal":15})", 143},
      {R"({"state":"failed","reason":"foreign_abi","signal":31})", 159},
      {R"({"state":"failed","reason":"timed_out","signal":15})", 124},
      {R"({"state":"failed","reason":"oom_killed","signal":9})", 137},
      {R"({"state":"failed","reason":"disk_full","exit_code":1})", 137},
      {R"({"state":"failed","reason":"image_error"})", 125},
      {R"({"state":"failed","reason":"setup_error"})", 125},
      {R"({"state":"failed","reason":"setup_error","exit_code":127})", 127},
      {R"({"state":"failed","reason":"setup_error","exit_code":126})", 126},
      {R"({"state":"failed","reason":"setup_error","exit_code":1})", 125},
      {R"({"state":"failed","reason":"lost"})", 125},
      {R"({"state":"failed","reason":"expired"})", 125},
      {R"({"state":"failed","reason":"something_newer"})", 125},
      {R"({"state":"failed","reason":"exited"})", 125},
      {R"({"state":"failed","reason":"exited","exit_code":256})", 125},  // would be 0 as a byte
      {R"({"state":"cancelled","reason":"cancelled"})", 130},
  };
  for (const Case& c : cases) {
    Json json = Parse(c.job);
    json.Set("id", "0123456789abcdef01234567");
    EXPECT_EQ(ExitStatusOf(*ParseJob(json)), c.status) << c.job;
  }
}

TEST(JobViewTest, RefusesWhatIsNoJob) {
  for (const char* text : {"{}", "[]", "null", R"({"id":"x"})", R"({"state":"queued"})", R"({"id":1,"state":2})"})
    EXPECT_FALSE(ParseJob(Parse(text))) << text;
}

TEST(JobViewTest, TimesAreMilliseconds) {
  EXPECT_EQ(ParseTime("1970-01-01T00:00:00.000Z"), 0);
  EXPECT_EQ(ParseTime("2026-11-24T20:28:26.123Z"), 1795552106123);
  for (const char* text : {"", "2026-11-24", "2026-11-24T20:28:26.123", "2026-11-24T20:28:26.123Z ", "x"})
    EXPECT_EQ(ParseTime(text), std::nullopt) << text;
}

TEST(QuantityTest, SizesArePowersOf1024) {
  const std::pair<const char*, uint64_t> cases[] = {{"0", 0},
                                                    {"512", 512},
                                                    {"512B", 512},
                                                    {"1K", 1024},
                                                    {"1k", 1024},
                                                    {"512M", 512 << 20},
                                                    {"512m", 512 << 20},
                                                    {"512MB", 512 << 20},
                                                    {"512MiB", 512 << 20},
                                                    {"512Mi", 512 << 20},
                                                    {"2G", 2ULL << 30},
                                                    {"1T", 1ULL << 40}};
  for (const auto& [text, bytes] : cases) EXPECT_EQ(ParseSize(text).value_or(1), bytes) << text;
  for (const char* text : {"", "M", "-1", "+1", " 1", "1 M", "1.5G", "1X", "1MM", "1BB", "1iB", "9999999999T",
                           "18446744073709551615", "99999999999999999999"})
    EXPECT_FALSE(ParseSize(text)) << text;
}

TEST(QuantityTest, DurationsAreSeconds) {
  const std::pair<const char*, uint32_t> cases[] = {{"0", 0},    {"90", 90},   {"90s", 90},
                                                    {"5m", 300}, {"2h", 7200}, {"1d", 86400}};
  for (const auto& [text, seconds] : cases) EXPECT_EQ(ParseSeconds(text).value_or(1), seconds) << text;
  for (const char* text : {"", "s", "-5", "1.5h", "5 m", "5M", "5ms", "99999999999"})
    EXPECT_FALSE(ParseSeconds(text)) << text;
}

TEST(QuantityTest, CoresAreDecimal) {
  EXPECT_EQ(ParseCores("0.5").value_or(0), 500u);
  EXPECT_EQ(ParseCores("2").value_or(0), 2000u);
  EXPECT_EQ(ParseCores("0.001").value_or(0), 1u);
  for (const char* text : {"", "0", "-1", "1e3", "nan", "inf", "2x", "0.0001"}) EXPECT_FALSE(ParseCores(text)) << text;
}

TEST(QuantityTest, PairsSplitAtTheFirstEquals) {
  EXPECT_EQ(*ParsePair("A=b=c"), std::pair(std::string("A"), std::string("b=c")));
  EXPECT_EQ(*ParsePair("A="), std::pair(std::string("A"), std::string()));
  EXPECT_FALSE(ParsePair("A"));
  EXPECT_FALSE(ParsePair("=b"));
}

TEST(QuantityTest, FormatsForPeople) {
  EXPECT_EQ(FormatSize(0), "0 B");
  EXPECT_EQ(FormatSize(1023), "1023 B");
  EXPECT_EQ(FormatSize(1536), "1.5 KiB");
  EXPECT_EQ(FormatSize((1 << 20) - 1), "1.0 MiB");
  EXPECT_EQ(FormatSize(UINT64_MAX), "16.0 EiB");
  EXPECT_EQ(FormatDuration(-5), "0ms");
  EXPECT_EQ(FormatDuration(850), "850ms");
  EXPECT_EQ(FormatDuration(4250), "4.2s");
  EXPECT_EQ(FormatDuration(192'000), "3m12s");
  EXPECT_EQ(FormatDuration(7'500'000), "2h05m");
  EXPECT_EQ(FormatDuration(400'000'000), "4d");
}

TEST(TextTest, PrintableLeavesNothingThatATerminalActsOn) {
  EXPECT_EQ(Printable("plain \"quoted\" back\\slash é €"), "plain \"quoted\" back\\slash é €");
  EXPECT_EQ(Printable("a\x1b[31mred\nnext\ttab"), "a\\x1b[31mred\\x0anext\\x09tab");
  EXPECT_EQ(Printable("\x7f"), "\\x7f");
  EXPECT_EQ(Printable("\xC2\x9B"), "\\xc2\\x9b");           // CSI in one character
  EXPECT_EQ(Printable("\xE2\x80\xAE"), "\\xe2\\x80\\xae");  // right-to-left override
  EXPECT_EQ(Printable("\xFF\xE2\x82"), "\\xff\\xe2\\x82");  // broken UTF-8
  EXPECT_EQ(Printable(std::string_view("a\0b", 3)), "a\\x00b");
}

TEST(TextTest, TerminalSafeJsonIsTheSameDocument) {
  const std::string json = Parse("{\"a\":\"\\u009b31m\\u007f\\u202e\",\"b\":\"é\"}").Dump(true);
  const std::string safe = TerminalSafeJson(json);
  EXPECT_THAT(safe, HasSubstr("\\u009b31m\\u007f\\u202e"));
  EXPECT_THAT(safe, HasSubstr("é"));
  EXPECT_EQ(Parse(safe).Dump(), Parse(json).Dump());
}

TEST(TextTest, TablesLineUp) {
  EXPECT_EQ(FormatTable({"A", "LONG"}, {{"é", "x"}, {"abc", ""}}), "A    LONG\né    x\nabc\n");
  EXPECT_EQ(FormatFields({{"A", "1"}, {"Long", "2"}}), "A:     1\nLong:  2\n");
}

TEST(TextTest, ShortenCountsCharacters) {
  EXPECT_EQ(Shorten("abc", 3), "abc");
  EXPECT_EQ(Shorten("abcd", 3), "ab…");
  EXPECT_EQ(Shorten("ééééé", 3), "éé…");
}

TEST(EndpointTest, TakesWhatTheIssueNames) {
  EXPECT_EQ(Endpoint::Parse("unix:///run/c.sock")->unix_socket, "/run/c.sock");
  EXPECT_EQ(Endpoint::Parse("http://127.0.0.1:7070/")->base_url, "http://127.0.0.1:7070");
  EXPECT_EQ(Endpoint::Parse("https://[::1]:7070")->base_url, "https://[::1]:7070");
  for (const char* text : {"", "unix://", "unix:///", "unix://relative", "http://", "http://h/path", "http://u:p@h",
                           "ftp://h", "127.0.0.1:7070", "http://h?x"})
    EXPECT_FALSE(Endpoint::Parse(text)) << text;
}

TEST(IdentityTest, RefusesWhatWouldBreakAHeader) {
  EXPECT_TRUE(Identity::Make("csn_abc", "team-a"));
  EXPECT_FALSE(Identity::Make("csn_abc\r\nX-Evil: 1", ""));
  EXPECT_FALSE(Identity::Make("", "a b"));
}

TEST(ProblemTest, ShowsDetailAndOneLineForEachError) {
  const Error error = ToError(422, "application/problem+json",
                              R"({"title":"Invalid","detail":"2 fields are wrong",
                                  "errors":[{"pointer":"/imag","detail":"unknown field"},{"pointer":"/cpu","detail":"too\u001b large"}]})");
  EXPECT_EQ(error.message, "2 fields are wrong\n  /imag: unknown field\n  /cpu: too\\x1b large");
  EXPECT_EQ(error.code, ErrorCode::kInvalid);
}

TEST(ProblemTest, SaysNothingTwice) {
  EXPECT_EQ(ToError(422, "application/problem+json",
                    R"({"detail":"/image: is missing","errors":[{"pointer":"/image","detail":"is missing"}]})")
                .message,
            "/image: is missing");
}

TEST(ProblemTest, SaysSomethingForEveryAnswer) {
  EXPECT_EQ(ToError(500, "text/html", "<b>\n").message, "the server answered 500: <b>\\x0a");
  EXPECT_EQ(ToError(404, "application/problem+json", "not json").code, ErrorCode::kNotFound);
  EXPECT_EQ(ToError(404, "application/problem+json", R"({"title":"No such job"})").message, "No such job");
  EXPECT_THAT(ToError(401, "application/problem+json", R"({"detail":"no token"})").message, HasSubstr("CAISSON_TOKEN"));
  EXPECT_EQ(ToError(503, "", "").code, ErrorCode::kUnavailable);
}

TEST(UrlTest, EncodesAllButUnreserved) { EXPECT_EQ(UrlEncode("a/b ?é~"), "a%2Fb%20%3F%C3%A9~"); }

TEST(JobRequestTest, SendsOnlyWhatWasGiven) {
  EXPECT_EQ(*ToBody({.image = "busybox"}, std::nullopt), R"({"image":"busybox"})");
  const JobRequest request{.image = "busybox",
                           .command = {"sh", "-c", "x"},
                           .entrypoint = "/bin/env",
                           .env = {{"A", "1"}, {"B", ""}, {"A", "2"}},
                           .labels = {{"k", "v"}},
                           .working_dir = "/w",
                           .user = "1:2",
                           .timeout_seconds = 5,
                           .max_attempts = 3,
                           .retry_delay_seconds = 0,
                           .cpu_millis = 500,
                           .memory_bytes = 64 << 20,
                           .pids = 10,
                           .disk_bytes = 1 << 20};
  EXPECT_EQ(*ToBody(request, ""),
            R"({"image":"busybox","command":["sh","-c","x"],"entrypoint":["/bin/env"],"env":{"A":"2","B":""},)"
            R"("labels":{"k":"v"},"working_dir":"/w","user":"1:2","timeout_seconds":5,"max_attempts":3,)"
            R"("retry_delay_seconds":0,"resources":{"cpu":0.5,"memory_bytes":67108864,"pids":10,"disk_bytes":1048576},)"
            R"("payload":""})");
}

TEST(JobRequestTest, PayloadIsTextWhereItCanBe) {
  const JobRequest request{.image = "i"};
  EXPECT_EQ(*ToBody(request, "é\n"), R"({"image":"i","payload":"é\n"})");
  EXPECT_EQ(*ToBody(request, "\xff"), R"({"image":"i","payload_base64":"/w=="})");
  EXPECT_EQ(*ToBody(request, std::string("a\0", 2)), R"({"image":"i","payload_base64":"YQA="})");
}

TEST(JobRequestTest, RefusesArgumentsThatJsonCannotCarry) {
  EXPECT_THAT(ToBody({.image = "i", .command = {"\xff"}}, std::nullopt).error().message, HasSubstr("not UTF-8"));
}

JobView Job(std::string_view members) { return *ParseJob(Parse(R"({"id":"j1",)" + std::string(members) + "}")); }

TEST(RenderTest, ResultsInWords) {
  EXPECT_EQ(ResultText(Job(R"("state":"failed","reason":"exited","exit_code":3)")), "exited 3");
  EXPECT_EQ(ResultText(Job(R"("state":"failed","reason":"signaled","signal":9)")), "signal 9 (KILL)");
  EXPECT_EQ(ResultText(Job(R"("state":"failed","reason":"timed_out","signal":15)")), "timed_out");
  EXPECT_EQ(ResultText(Job(R"("state":"queued","reason":null)")), "");
}

TEST(RenderTest, JobsAreOneLineEach) {
  const UnixMillis now = *ParseTime("2026-11-24T20:30:00.000Z");
  const std::string table =
      RenderJobs({Job(R"("state":"running","image":"busybox\u001b[2J","command":["sh","-c","line\nline"],)"
                      R"("created_at":"2026-11-24T20:28:00.000Z","started_at":"2026-11-24T20:29:59.500Z")")},
                 now);
  EXPECT_EQ(table,
            "ID  STATE    RESULT  AGE    RAN    IMAGE           COMMAND\n"
            "j1  running  -       2m00s  500ms  busybox\\x1b[2J  sh -c line\\x0aline\n");
}

TEST(RenderTest, JobShowsWhatIsKnown) {
  const Json json = Parse(
      R"({"id":"j1","state":"failed","reason":"oom_killed","signal":9,"message":"out of memory","image":"i","attempts":2,
          "labels":{"team":"a"},"usage":{"cpu_seconds":1.5,"memory_peak_bytes":1048576,"pids_peak":null},
          "unenforced":["cpu","pids"],"log_dropped_bytes":2048})");
  const std::string text = RenderJob(json, *ParseJob(json), 0);
  for (const char* line : {"Result:        oom_killed\n", "Message:       out of memory\n", "Label:         team=a\n",
                           "CPU used:      1.500s\n", "Memory peak:   1.0 MiB\n", "Not enforced:  cpu, pids\n",
                           "Output lost:   2.0 KiB past the log's limit\n"})
    EXPECT_THAT(text, HasSubstr(line));
  EXPECT_THAT(text, Not(HasSubstr("Processes")));
}

TEST(RenderTest, ImagesHaveTheirDigestOnce) {
  const std::string digest = "sha256:" + std::string(64, 'a');
  const std::string table = RenderImages(Parse(R"({"items":[{"reference":"docker.io/library/alpine:3.20@)" + digest +
                                               R"(","digest":")" + digest + R"(","layers":1,"compressed_bytes":2048,
                                               "unpacked_bytes":4096,"pulled_at":"1970-01-01T00:00:00.000Z"}]})"),
                                         60'000);
  EXPECT_THAT(table,
              HasSubstr("docker.io/library/alpine:3.20  sha256:aaaaaaaaaaaa  1       2.0 KiB   4.0 KiB  1m00s\n"));
}

TEST(RenderTest, AnImageHasARowForEachOfItsNames) {
  const std::string table = RenderImages(
      Parse(
          R"({"items":[{"reference":"h/a:1","names":["h/a:1","h/b:2"],"digest":"sha256:aaaaaaaaaaaaaaaa","layers":1}]})"),
      60'000);
  EXPECT_THAT(table, HasSubstr("h/a:1  sha256:aaaaaaaaaaaa"));
  EXPECT_THAT(table, HasSubstr("h/b:2  sha256:aaaaaaaaaaaa"));
}

TEST(RenderTest, EpilogueOnlyWhereTheStatusDoesNotSayAll) {
  EXPECT_EQ(EpilogueText(Job(R"("state":"succeeded","reason":"exited","exit_code":0)")), "");
  EXPECT_EQ(EpilogueText(Job(R"("state":"failed","reason":"exited","exit_code":7)")), "");
  EXPECT_EQ(EpilogueText(Job(R"("state":"failed","reason":"image_error","message":"no such tag")")),
            "job j1 failed: image_error: no such tag");
  EXPECT_EQ(EpilogueText(Job(R"("state":"cancelled","reason":"cancelled")")), "job j1 cancelled");
}

TEST(RenderTest, DoctorShowsChecksAndFixes) {
  const Result<DoctorReport> report = RenderDoctor(Parse(
      R"({"kernel":"6.1","isolation":"strict","strict_possible":false,"enforces":{"memory":false},
          "checks":[{"name":"memory","state":"missing","detail":"controller is on v1","fix":"boot with X"},
                    {"name":"overlay","state":"ok","detail":"","fix":""}]})"));
  EXPECT_FALSE(report->strict_possible);
  EXPECT_THAT(report->text, HasSubstr("memory   missing  controller is on v1\n"));
  EXPECT_THAT(report->text, HasSubstr("To mend:\n  memory: boot with X\n"));
  EXPECT_FALSE(RenderDoctor(Parse("{}")));
}

TEST(ProgressTest, SaysWhatTheJobWaitsFor) {
  EXPECT_EQ(ProgressText(Job(R"("state":"queued")")), "waiting for a free slot");
  EXPECT_EQ(ProgressText(Job(
                R"("state":"preparing","image":"busybox","progress":{"bytes_done":1048576,"bytes_total":4194304})")),
            "pulling busybox [====>               ] 1.0 MiB of 4.0 MiB");
  EXPECT_EQ(ProgressText(Job(R"("state":"running","image":"busybox")")), "");
  const std::string longest = ProgressText(Job(R"("state":"preparing","image":")" + std::string(300, 'x') +
                                               R"(","progress":{"bytes_done":1,"bytes_total":2})"));
  EXPECT_EQ(DisplayWidth(longest), 79u);
}

TEST(DoctorTest, LooksBesideItselfThenInSbinThenInPath) {
  EXPECT_THAT(CaissondCandidates("/opt/c/bin/caisson", "/usr/sbin::relative:/opt/c/bin:/sbin"),
              ElementsAre("/opt/c/bin/caissond", "/opt/c/sbin/caissond", "/usr/sbin/caissond", "/sbin/caissond"));
  EXPECT_THAT(CaissondCandidates("/caisson", ""), ElementsAre("/caissond", "/sbin/caissond"));
}

}  // namespace
}  // namespace caisson::cli
