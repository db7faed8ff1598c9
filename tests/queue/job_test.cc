// SPDX-License-Identifier: Apache-2.0
#include "queue/job.h"

#include <gtest/gtest.h>

#include <set>

#include "queue/spec_codec.h"

namespace caisson::queue {
namespace {

TEST(JobIdTest, NewIdsParseAndBeginWithTheTime) {
  const JobId id = JobId::New(0x0123456789AB);
  EXPECT_EQ(id.value.size(), 24u);
  EXPECT_EQ(id.value.substr(0, 12), "0123456789ab");
  EXPECT_EQ(JobId::Parse(id.value).value(), id);
}

TEST(JobIdTest, NewIdsDifferAndSortByAge) {
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) ids.insert(JobId::New(1'700'000'000'000).value);
  EXPECT_EQ(ids.size(), 1000u);
  EXPECT_LT(JobId::New(1'700'000'000'000), JobId::New(1'700'000'000'001));
}

TEST(JobIdTest, RefusesWhatIsNoId) {
  for (const std::string text : {"", "abc", "0123456789ab0123456789aB", "0123456789ab0123456789ag",
                                 "../../../../etc/passwd00", "0123456789ab0123456789ab0"}) {
    const auto id = JobId::Parse(text);
    ASSERT_FALSE(id) << text;
    EXPECT_EQ(id.error().code, ErrorCode::kInvalid);
  }
}

TEST(JobStateTest, NamesGoBothWays) {
  for (int i = 0; i <= 7; ++i) {
    const JobState state = static_cast<JobState>(i);
    EXPECT_EQ(ParseJobState(ToString(state)), state);
  }
  EXPECT_EQ(ToString(JobState::kPreparing), "preparing");
  EXPECT_EQ(ParseJobState("Queued"), std::nullopt);
  EXPECT_EQ(ParseJobState(""), std::nullopt);
}

TEST(ReasonTest, NamesAreThoseOfTheApi) {
  EXPECT_EQ(ToString(Reason::kNone), "");
  EXPECT_EQ(ToString(Reason::kOomKilled), "oom_killed");
  EXPECT_EQ(ToString(Reason::kCancelled), "cancelled");
}

JobSpec FullSpec() {
  JobSpec spec;
  spec.image = "registry:5000/a/b:c@sha256:00";
  spec.entrypoint = {"/bin/sh", "-c"};
  spec.command = std::vector<std::string>{};
  spec.env = {{"B", "2"}, {"A", "x=y\nz"}, {"B", "3"}};
  spec.working_dir = "/wörk";
  spec.user = "1000:nobody";
  spec.timeout_seconds = 4'000'000'000;
  spec.grace_seconds = 0;
  spec.max_attempts = 9;
  spec.retry_delay_seconds = 77;
  spec.resources = {.cpu_millis = 250, .memory_bytes = 1ULL << 40, .pids = 7, .disk_bytes = 0};
  spec.labels = {{"team", "\"quoted\""}};
  spec.has_payload = true;
  return spec;
}

TEST(SpecCodecTest, EveryFieldSurvives) {
  const JobSpec spec = FullSpec();
  const JobSpec read = SpecFromJson(SpecToJson(spec)).value();
  EXPECT_EQ(read.image, spec.image);
  EXPECT_EQ(read.entrypoint, spec.entrypoint);
  EXPECT_EQ(read.command, spec.command);
  EXPECT_EQ(read.env, spec.env);
  EXPECT_EQ(read.working_dir, spec.working_dir);
  EXPECT_EQ(read.user, spec.user);
  EXPECT_EQ(read.timeout_seconds, spec.timeout_seconds);
  EXPECT_EQ(read.grace_seconds, spec.grace_seconds);
  EXPECT_EQ(read.max_attempts, spec.max_attempts);
  EXPECT_EQ(read.retry_delay_seconds, spec.retry_delay_seconds);
  EXPECT_EQ(read.resources.cpu_millis, spec.resources.cpu_millis);
  EXPECT_EQ(read.resources.memory_bytes, spec.resources.memory_bytes);
  EXPECT_EQ(read.resources.pids, spec.resources.pids);
  EXPECT_EQ(read.resources.disk_bytes, spec.resources.disk_bytes);
  EXPECT_EQ(read.labels, spec.labels);
  EXPECT_TRUE(read.has_payload);
}

TEST(SpecCodecTest, AbsentAndEmptyCommandStayDifferent) {
  JobSpec spec;
  EXPECT_FALSE(SpecFromJson(SpecToJson(spec)).value().command.has_value());
  spec.command = std::vector<std::string>{};
  EXPECT_TRUE(SpecFromJson(SpecToJson(spec)).value().command.has_value());
}

TEST(SpecCodecTest, DamagedTextIsCorrupt) {
  for (const char* text : {"", "[]", "{", R"({"command":7})", R"({"env":[["a"]]})", R"({"entrypoint":[1]})"}) {
    const auto spec = SpecFromJson(text);
    ASSERT_FALSE(spec) << text;
    EXPECT_EQ(spec.error().code, ErrorCode::kCorrupt) << text;
  }
}

}  // namespace
}  // namespace caisson::queue
