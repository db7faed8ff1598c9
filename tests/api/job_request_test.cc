// SPDX-License-Identifier: Apache-2.0
#include "api/job_request.h"

#include <gmock/gmock.h>

namespace caisson::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Result<std::string> AnyReference(const std::string& text) { return text; }

tl::expected<JobRequest, std::vector<FieldError>> Parse(const std::string& text) {
  const auto json = ParseJson(text);
  EXPECT_TRUE(json) << json.error().message;
  return ParseJobRequest(*json, AnyReference);
}

JobRequest Good(const std::string& text) {
  auto request = Parse(text);
  if (!request) ADD_FAILURE() << request.error()[0].pointer << ": " << request.error()[0].detail;
  return request ? *request : JobRequest{};
}

// The pointers of all errors.
std::vector<std::string> Bad(const std::string& text) {
  const auto request = Parse(text);
  std::vector<std::string> pointers;
  if (!request)
    for (const FieldError& error : request.error()) pointers.push_back(error.pointer);
  return pointers;
}

std::string WithImage(const std::string& member) { return R"({"image":"a",)" + member + "}"; }

TEST(JobRequestTest, TakesEveryField) {
  const JobRequest request = Good(R"({"image":"a","command":["x",""],"entrypoint":["/e"],"env":{"A":"1","_b2":""},
    "working_dir":"/w","user":"me:staff","payload":"p\u0000q","timeout_seconds":5,"max_attempts":3,
    "retry_delay_seconds":0,"resources":{"cpu":0.25,"memory_bytes":67108864,"pids":7,"disk_bytes":1048576},
    "labels":{"team/a":"x"}})");
  const queue::JobSpec& spec = request.spec;
  EXPECT_EQ(spec.image, "a");
  EXPECT_THAT(*spec.command, ElementsAre("x", ""));
  EXPECT_THAT(*spec.entrypoint, ElementsAre("/e"));
  EXPECT_EQ(spec.env, (std::vector<std::pair<std::string, std::string>>{{"A", "1"}, {"_b2", ""}}));
  EXPECT_EQ(spec.working_dir, "/w");
  EXPECT_EQ(spec.user, "me:staff");
  EXPECT_EQ(*request.payload, std::string("p\0q", 3));
  EXPECT_TRUE(spec.has_payload);
  EXPECT_EQ(spec.timeout_seconds, 5U);
  EXPECT_EQ(spec.max_attempts, 3U);
  EXPECT_EQ(spec.retry_delay_seconds, 0U);
  EXPECT_EQ(spec.resources.cpu_millis, 250U);
  EXPECT_EQ(spec.resources.memory_bytes, 64U << 20);
  EXPECT_EQ(spec.resources.pids, 7U);
  EXPECT_EQ(spec.resources.disk_bytes, 1U << 20);
  EXPECT_EQ(spec.labels[0].first, "team/a");
}

TEST(JobRequestTest, DefaultsAreThoseOfTheDocument) {
  const JobRequest request = Good(R"({"image":"a"})");
  const queue::JobSpec& spec = request.spec;
  EXPECT_FALSE(spec.command);
  EXPECT_FALSE(spec.entrypoint);
  EXPECT_FALSE(request.payload);
  EXPECT_FALSE(spec.has_payload);
  EXPECT_EQ(spec.timeout_seconds, 3600U);
  EXPECT_EQ(spec.grace_seconds, 10U);
  EXPECT_EQ(spec.max_attempts, 1U);
  EXPECT_EQ(spec.retry_delay_seconds, 10U);
  EXPECT_EQ(spec.resources.cpu_millis, 1000U);
  EXPECT_EQ(spec.resources.memory_bytes, 512ULL << 20);
  EXPECT_EQ(spec.resources.pids, 512U);
  EXPECT_EQ(spec.resources.disk_bytes, 256ULL << 20);
}

TEST(JobRequestTest, DiskFollowsASmallMemory) {
  EXPECT_EQ(Good(WithImage(R"("resources":{"memory_bytes":67108864})")).spec.resources.disk_bytes, 32ULL << 20);
  EXPECT_THAT(Bad(WithImage(R"("resources":{"memory_bytes":67108864,"disk_bytes":67108865})")),
              ElementsAre("/resources/disk_bytes"));
}

TEST(JobRequestTest, EmptyPayloadIsAPayload) {
  const JobRequest request = Good(WithImage(R"("payload":"")"));
  ASSERT_TRUE(request.payload);
  EXPECT_TRUE(request.spec.has_payload);
  EXPECT_EQ(*Good(WithImage(R"("payload_base64":"AAH/")")).payload, std::string("\0\x01\xFF", 3));
}

TEST(JobRequestTest, EveryFaultHasItsPointer) {
  const struct {
    const char* member;
    const char* pointer;
  } kCases[] = {
      {R"("imag":1)", "/imag"},
      {R"("a/b~c":1)", "/a~1b~0c"},
      {R"("grace_seconds":1)", "/grace_seconds"},
      {R"("command":"ls")", "/command"},
      {R"("command":["ls",1])", "/command/1"},
      {R"("command":["a\u0000b"])", "/command/0"},
      {R"("command":null)", "/command"},
      {R"("entrypoint":[""])", "/entrypoint/0"},
      {R"("entrypoint":[],"command":[])", "/command"},
      {R"("env":["A=1"])", "/env"},
      {R"("env":{"A=B":"1"})", "/env/A=B"},
      {R"("env":{"":"1"})", "/env/"},
      {R"("env":{"1A":"1"})", "/env/1A"},
      {R"("env":{"A\u0000":"1"})", "/env/A\0"},
      {R"("env":{"A\nB":"1"})", "/env/A\nB"},
      {R"("env":{"A":1})", "/env/A"},
      {R"("env":{"A":"x\u0000"})", "/env/A"},
      {R"("working_dir":"w")", "/working_dir"},
      {R"("working_dir":"")", "/working_dir"},
      {R"("working_dir":"/a\u0000")", "/working_dir"},
      {R"("user":":g")", "/user"},
      {R"("user":"a:b:c")", "/user"},
      {R"("user":"a\n")", "/user"},
      {R"("user":1000)", "/user"},
      {R"("payload":1)", "/payload"},
      {R"("payload":{})", "/payload"},
      {R"("payload":"a","payload_base64":"YQ==")", "/payload_base64"},
      {R"("payload_base64":"YQ")", "/payload_base64"},
      {R"("payload_base64":"YQ==\n")", "/payload_base64"},
      {R"("payload_base64":"YR==")", "/payload_base64"},
      {R"("timeout_seconds":0)", "/timeout_seconds"},
      {R"("timeout_seconds":1.5)", "/timeout_seconds"},
      {R"("timeout_seconds":"60")", "/timeout_seconds"},
      {R"("timeout_seconds":604801)", "/timeout_seconds"},
      {R"("timeout_seconds":99999999999999999999)", "/timeout_seconds"},
      {R"("max_attempts":0)", "/max_attempts"},
      {R"("max_attempts":101)", "/max_attempts"},
      {R"("retry_delay_seconds":-1)", "/retry_delay_seconds"},
      {R"("resources":[])", "/resources"},
      {R"("resources":{"memory":1})", "/resources/memory"},
      {R"("resources":{"cpu":0})", "/resources/cpu"},
      {R"("resources":{"cpu":"1"})", "/resources/cpu"},
      {R"("resources":{"cpu":-1})", "/resources/cpu"},
      {R"("resources":{"cpu":1e300})", "/resources/cpu"},
      {R"("resources":{"memory_bytes":8388607})", "/resources/memory_bytes"},
      {R"("resources":{"memory_bytes":17592186044417})", "/resources/memory_bytes"},
      {R"("resources":{"pids":0})", "/resources/pids"},
      {R"("resources":{"disk_bytes":0})", "/resources/disk_bytes"},
      {R"("labels":{"-a":"x"})", "/labels/-a"},
      {R"("labels":{"a":"x\u0001"})", "/labels/a"},
      {R"("labels":{"a":null})", "/labels/a"},
  };
  for (const auto& [member, pointer] : kCases)
    EXPECT_THAT(Bad(WithImage(member)), ElementsAre(HasSubstr(pointer))) << member;
}

TEST(JobRequestTest, ImageIsNeeded) {
  EXPECT_THAT(Bad("{}"), ElementsAre("/image"));
  EXPECT_THAT(Bad(R"({"image":""})"), ElementsAre("/image"));
  EXPECT_THAT(Bad(R"({"image":"a\u0000b"})"), ElementsAre("/image"));
  EXPECT_THAT(Bad(R"({"image":["a"]})"), ElementsAre("/image"));
  EXPECT_THAT(Bad("[]"), ElementsAre(""));
  EXPECT_THAT(Bad("null"), ElementsAre(""));
}

TEST(JobRequestTest, ReferenceIsNormalisedOrItsFaultReported) {
  const Json json = *ParseJson(R"({"image":"busybox"})");
  const auto good =
      ParseJobRequest(json, [](const std::string& text) -> Result<std::string> { return "docker.io/" + text; });
  EXPECT_EQ(good->spec.image, "docker.io/busybox");
  const auto bad = ParseJobRequest(
      json, [](const std::string&) -> Result<std::string> { return Fail(ErrorCode::kInvalid, "bad tag"); });
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error()[0].detail, "bad tag");
}

TEST(JobRequestTest, ArgumentsAreBoundedOneByOneAndTogether) {
  EXPECT_THAT(Bad(WithImage(R"("command":[")" + std::string(kMaxStringBytes, 'x') + "\"]")), IsEmpty());
  EXPECT_THAT(Bad(WithImage(R"("command":[")" + std::string(kMaxStringBytes + 1, 'x') + "\"]")),
              ElementsAre("/command/0"));
  EXPECT_THAT(Bad(WithImage(R"("env":{"A":")" + std::string(kMaxStringBytes - 1, 'x') + "\"}")), ElementsAre("/env/A"));
  std::string words = "\"x\"";
  for (int i = 0; i < 9; ++i) words += ",\"" + std::string(kMaxStringBytes, 'x') + "\"";
  EXPECT_THAT(Bad(WithImage("\"command\":[" + words + "]")), ElementsAre("/command"));
}

TEST(JobRequestTest, NumberOfReportedFaultsIsBounded) {
  std::string text = R"({"image":"a")";
  for (int i = 0; i < 1000; ++i) text += ",\"x" + std::to_string(i) + "\":1";
  EXPECT_EQ(Bad(text + "}").size(), 100U);
}

TEST(JobRequestTest, LabelsAreBounded) {
  std::string members;
  for (size_t i = 0; i < kMaxLabels + 1; ++i) members += (i ? ",\"l" : "\"l") + std::to_string(i) + "\":\"\"";
  EXPECT_THAT(Bad(WithImage("\"labels\":{" + members + "}")), ElementsAre("/labels"));
  EXPECT_THAT(Bad(WithImage("\"labels\":{\"" + std::string(64, 'a') + "\":\"\"}")),
              ElementsAre(HasSubstr("/labels/aaa")));
}

}  // namespace
}  // namespace caisson::api
