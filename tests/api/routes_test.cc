// SPDX-License-Identifier: Apache-2.0
// Every route and every status of the API, before the real stores.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include "tests/api/api_fixture.h"

namespace caisson::api {
namespace {

using ::testing::HasSubstr;

class RoutesTest : public ApiTest {};

TEST_F(RoutesTest, SubmitAnswers202WithLocationAndTheJob) {
  const HttpResponse response =
      Unix("POST", "/v1/jobs", R"({"image":"busybox","command":["echo","hi"],"labels":{"a":"b"}})");
  ASSERT_EQ(response.status, 202) << response.body;
  const Json job = ParseOrFail(response.body);
  const std::string id = job.StringOr("id", "");
  EXPECT_EQ(id.size(), 24U);
  EXPECT_EQ(response.Header("location"), "/v1/jobs/" + id);
  EXPECT_EQ(job.StringOr("state", ""), "queued");
  EXPECT_EQ(job.StringOr("tenant", ""), "default");
  EXPECT_EQ(job.StringOr("image", ""), "docker.io/library/busybox:latest");
  EXPECT_TRUE(job.Find("reason")->is_null());
  EXPECT_EQ(Unix("GET", "/v1/jobs/" + id).body, response.body);
}

TEST_F(RoutesTest, BodyMayComeAsCurlSendsIt) {
  for (const char* type :
       {"", "application/json", "application/json; charset=utf-8", "application/x-www-form-urlencoded"})
    EXPECT_EQ(Unix("POST", "/v1/jobs", R"({"image":"busybox"})", {{"Content-Type", type}}).status, 202) << type;
  for (const char* type : {"text/xml", "multipart/form-data; boundary=x", "application/jsonx"}) {
    const HttpResponse response = Unix("POST", "/v1/jobs", R"({"image":"busybox"})", {{"Content-Type", type}});
    EXPECT_EQ(response.status, 415) << type;
    EXPECT_EQ(ProblemName(response), "unsupported-media-type");
  }
  EXPECT_EQ(Unix("POST", "/v1/jobs", "x", {{"Content-Encoding", "gzip"}}).status, 415);
}

TEST_F(RoutesTest, JsonThatIsNoneIs400) {
  const std::string deep = std::string(40, '[') + std::string(40, ']');
  const std::string many = "[" + std::string(500'000, ',') + "]";
  for (const std::string& body :
       {std::string(""), std::string("{"), std::string("hello"), std::string("{\"image\":\"\xFF\"}"), deep, many,
        std::string(R"({"image":"a","image":"b"})"), std::string("{}{}")}) {
    const HttpResponse response = Unix("POST", "/v1/jobs", body);
    EXPECT_EQ(response.status, 400) << body.substr(0, 60);
    EXPECT_EQ(ProblemName(response), "malformed-json");
  }
}

TEST_F(RoutesTest, InvalidFieldsAre422AndAllAreListed) {
  const HttpResponse response =
      Unix("POST", "/v1/jobs", R"({"image":"a b","comand":["x"],"resources":{"cpu":0},"command":["a\u0000b"]})");
  EXPECT_EQ(response.status, 422);
  EXPECT_EQ(ProblemName(response), "invalid-request");
  std::vector<std::string> pointers;
  const Json problem = ParseOrFail(response.body);
  for (const Json& error : problem.ArrayOrEmpty("errors")) pointers.push_back(error.StringOr("pointer", ""));
  EXPECT_THAT(pointers, ::testing::UnorderedElementsAre("/image", "/comand", "/resources/cpu", "/command/0"));
  EXPECT_THAT(response.body, HasSubstr("a space cannot be"));
}

TEST_F(RoutesTest, NothingIsStoredOfARefusedJob) {
  Unix("POST", "/v1/jobs", R"({"image":"busybox","unknown":1})");
  EXPECT_TRUE(ParseOrFail(Unix("GET", "/v1/jobs").body).ArrayOrEmpty("items").empty());
}

TEST_F(RoutesTest, LimitsThatCannotBeEnforcedAre422AndListed) {
  jobs_.unenforceable = {"memory", "cpu"};
  const HttpResponse response = Unix("POST", "/v1/jobs", R"({"image":"busybox"})");
  EXPECT_EQ(response.status, 422);
  EXPECT_EQ(ProblemName(response), "unenforceable");
  EXPECT_THAT(response.body, HasSubstr(R"("limits":["memory","cpu"])"));
}

TEST_F(RoutesTest, BodyOverTheLimitIs413) {
  StartServer(1000);
  const std::string body = R"({"image":"busybox","payload":")" + std::string(2000, 'x') + "\"}";
  const HttpResponse response = Unix("POST", "/v1/jobs", body);
  EXPECT_EQ(response.status, 413);
  EXPECT_EQ(ProblemName(response), "body-too-large");
}

TEST_F(RoutesTest, PayloadIsStoredExactlyAndNeverShown) {
  const std::string bytes("\x00\xFF\r\nsecret", 10);
  const queue::JobRecord job =
      Submit(R"({"image":"busybox","payload_base64":")" + std::string("AP8NCnNlY3JldA==") + "\"}");
  EXPECT_EQ(*store_->Payload(job.id), bytes);
  EXPECT_EQ(Unix("GET", "/v1/jobs/" + job.id.value).body.find("AP8N"), std::string::npos);
}

TEST_F(RoutesTest, UnknownPathsAre404AndOtherMethods405WithAllow) {
  for (const char* path : {"/", "/v1", "/v1/job", "/v1/jobs/x/y", "/v2/jobs", "/v1/jobs/%2e%2e/logs/x"}) {
    const HttpResponse response = Unix("GET", path);
    EXPECT_EQ(response.status, 404) << path;
    EXPECT_EQ(ProblemName(response), "not-found");
  }
  const HttpResponse response = Unix("DELETE", "/v1/jobs");
  EXPECT_EQ(response.status, 405);
  EXPECT_EQ(response.Header("allow"), "POST, GET, HEAD");
  EXPECT_EQ(Unix("GET", "/v1/tokens").Header("allow"), "POST");
  EXPECT_EQ(Unix("GET", "/v1/jobs/").status, 200);  // a slash at the end
}

TEST_F(RoutesTest, JobOfAnotherTenantDoesNotExist) {
  const queue::JobRecord job = Submit();
  const HttpResponse missing = Unix("GET", "/v1/jobs/000000000000000000000000");
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(Unix("GET", "/v1/jobs/nonsense").status, 404);
  EXPECT_EQ(Unix("GET", "/v1/jobs/" + job.id.value, {}, {{"X-Caisson-Tenant", "default"}}).status, 200);
  const HttpResponse unknown = Unix("GET", "/v1/jobs/" + job.id.value, {}, {{"X-Caisson-Tenant", "nobody"}});
  EXPECT_EQ(unknown.status, 404);
  EXPECT_THAT(unknown.body, HasSubstr("no tenant \\\"nobody\\\""));
}

TEST_F(RoutesTest, TenantsSeeNothingOfEachOther) {
  AddTenant("other");
  const std::string id = Submit().id.value;
  const std::string token = NewToken("other");
  for (const std::string path : {"", "/logs", "/logs?follow=1"}) {
    EXPECT_EQ(Tcp("GET", "/v1/jobs/" + id + path, token).status, 404) << path;
    EXPECT_EQ(Unix("GET", "/v1/jobs/" + id + path, {}, {{"X-Caisson-Tenant", "other"}}).status, 404) << path;
  }
  EXPECT_EQ(Tcp("POST", "/v1/jobs/" + id + "/cancel", token, "").status, 404);
  EXPECT_TRUE(ParseOrFail(Tcp("GET", "/v1/jobs", token).body).ArrayOrEmpty("items").empty());
  EXPECT_EQ(Tcp("GET", "/metrics", token).body.find("tenant=\"default\""), std::string::npos);
  EXPECT_NE(Unix("GET", "/metrics").body.find("tenant=\"default\""), std::string::npos);
  // What a tenant may see looks no different from what does not exist.
  EXPECT_EQ(ParseOrFail(Tcp("GET", "/v1/jobs/" + id, token).body).StringOr("title", ""),
            ParseOrFail(Tcp("GET", "/v1/jobs/000000000000000000000000", token).body).StringOr("title", ""));
  const HttpResponse own = Tcp("POST", "/v1/jobs", token, R"({"image":"busybox"})");
  EXPECT_EQ(own.status, 202);
  EXPECT_EQ(ParseOrFail(own.body).StringOr("tenant", ""), "other");
}

TEST_F(RoutesTest, ListFiltersByStateAndPagesByCursor) {
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(Submit().id.value);
  Finish(Claim(), {.reason = queue::Reason::kExited, .exit_code = 0});

  std::vector<std::string> seen;
  std::string path = "/v1/jobs?limit=2&state=queued";
  for (int pages = 0; !path.empty() && pages < 9; ++pages) {
    const HttpResponse response = Unix("GET", path);
    ASSERT_EQ(response.status, 200) << response.body;
    const Json page = ParseOrFail(response.body);
    for (const Json& job : page.ArrayOrEmpty("items")) seen.push_back(job.StringOr("id", ""));
    const std::string cursor = page.StringOr("next_cursor", "");
    const std::string link(response.Header("link"));
    EXPECT_EQ(cursor.empty(), link.empty());
    path = link.empty() ? "" : link.substr(1, link.find('>') - 1);
  }
  EXPECT_EQ(seen, (std::vector<std::string>{ids[4], ids[3], ids[2], ids[1]}));
  EXPECT_EQ(ParseOrFail(Unix("GET", "/v1/jobs?state=succeeded,failed").body).ArrayOrEmpty("items").size(), 1U);
}

TEST_F(RoutesTest, ListRefusesBadParametersByName) {
  for (const char* query :
       {"limit=0", "limit=201", "limit=x", "state=done", "cursor=%00", "cursor=zzz", "stat=queued"}) {
    const HttpResponse response = Unix("GET", std::string("/v1/jobs?") + query);
    EXPECT_GE(response.status, 400) << query;
    EXPECT_LE(response.status, 422) << query;
    ProblemName(response);
  }
  EXPECT_THAT(Unix("GET", "/v1/jobs?stat=queued").body, HasSubstr(R"("parameter":"stat")"));
  EXPECT_EQ(Unix("GET", "/v1/images?x=1").status, 422);
}

TEST_F(RoutesTest, CancelOfAWaitingJobIs200AndFinal) {
  const queue::JobRecord job = Submit();
  const HttpResponse response = Unix("POST", "/v1/jobs/" + job.id.value + "/cancel");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(ParseOrFail(response.body).StringOr("state", ""), "cancelled");
  EXPECT_TRUE(jobs_.stopped.empty());
  EXPECT_EQ(Unix("POST", "/v1/jobs/" + job.id.value + "/cancel", "{}").status, 200);  // never too late
}

TEST_F(RoutesTest, CancelOfARunningJobIs202AndStopsIt) {
  const queue::JobRecord job = Submit();
  MakeRunning(Claim());
  const HttpResponse response = Unix("POST", "/v1/jobs/" + job.id.value + "/cancel", R"({"grace_seconds":3})");
  EXPECT_EQ(response.status, 202);
  EXPECT_THAT(response.body, HasSubstr(R"("cancel_requested":true)"));
  ASSERT_EQ(jobs_.stopped.size(), 1U);
  EXPECT_EQ(jobs_.stopped[0].first, job.id);
  EXPECT_EQ(jobs_.stopped[0].second, 3U);
}

TEST_F(RoutesTest, CancelRefusesBadBodies) {
  const std::string path = "/v1/jobs/" + Submit().id.value + "/cancel";
  EXPECT_EQ(Unix("POST", path, "{").status, 400);
  EXPECT_EQ(Unix("POST", path, R"({"grace_seconds":-1})").status, 422);
  EXPECT_EQ(Unix("POST", path, R"({"mode":"hard"})").status, 422);
  EXPECT_EQ(Unix("POST", path, R"([])").status, 422);
  EXPECT_EQ(Unix("POST", "/v1/jobs/000000000000000000000000/cancel").status, 404);
}

TEST_F(RoutesTest, ProgressIsShownOfAJobInPreparing) {
  const queue::JobRecord job = Submit();
  jobs_.progress = PullProgress{10, 30};
  EXPECT_THAT(Unix("GET", "/v1/jobs/" + job.id.value).body, HasSubstr(R"("progress":null)"));
  Claim();
  EXPECT_THAT(Unix("GET", "/v1/jobs/" + job.id.value).body,
              HasSubstr(R"("progress":{"bytes_done":10,"bytes_total":30})"));
}

TEST_F(RoutesTest, TokenIsMadeOnTheUnixSocketAndOpensTcp) {
  const HttpResponse response = Unix("POST", "/v1/tokens", R"({"tenant":"default"})");
  ASSERT_EQ(response.status, 201) << response.body;
  const Json created = ParseOrFail(response.body);
  const std::string token = created.StringOr("token", "");
  EXPECT_TRUE(token.starts_with("csn_"));
  EXPECT_FALSE(created.StringOr("id", "").empty());
  EXPECT_EQ(created.StringOr("tenant", ""), "default");
  EXPECT_EQ(Tcp("GET", "/v1/jobs", token).status, 200);
  EXPECT_EQ(Tcp("POST", "/v1/jobs", token, R"({"image":"busybox"})").status, 202);
  EXPECT_EQ(Unix("POST", "/v1/tokens").status, 201);
  EXPECT_EQ(Unix("POST", "/v1/tokens", R"({"tenant":"nobody"})").status, 422);
}

TEST_F(RoutesTest, TokensAreNotMadeOnTcp) {
  const std::string token = NewToken();
  const HttpResponse response = Tcp("POST", "/v1/tokens", token, "{}");
  EXPECT_EQ(response.status, 403);
  EXPECT_EQ(ProblemName(response), "forbidden");
}

TEST_F(RoutesTest, TcpWithoutAKnownTokenIs401) {
  for (const char* path :
       {"/v1/jobs", "/v1/images", "/v1/node", "/metrics", "/v1/jobs/000000000000000000000000/logs"}) {
    const HttpResponse response = Tcp("GET", path);
    EXPECT_EQ(response.status, 401) << path;
    EXPECT_EQ(ProblemName(response), "unauthenticated");
    EXPECT_EQ(response.Header("www-authenticate"), "Bearer realm=\"caisson\"");
  }
  const HttpResponse response = Tcp("GET", "/v1/jobs", "csn_wrong");
  EXPECT_EQ(response.status, 401);
  EXPECT_THAT(std::string(response.Header("www-authenticate")), HasSubstr("invalid_token"));
  EXPECT_EQ(Tcp("GET", "/v1/jobs", "", {}, {{"Authorization", "Basic eDp5"}}).status, 401);
  EXPECT_EQ(Tcp("GET", "/v1/jobs", "", {}, {{"Authorization", "Bearer " + std::string(4000, 'x')}}).status, 401);
  EXPECT_EQ(Tcp("GET", "/v1/jobs", "", {}, {{"Authorization", "bearer " + NewToken()}}).status, 200);
}

TEST_F(RoutesTest, TenantHeaderIsRefusedOnTcp) {
  const HttpResponse response = Tcp("GET", "/v1/jobs", NewToken(), {}, {{"X-Caisson-Tenant", "default"}});
  EXPECT_EQ(response.status, 403);
}

TEST_F(RoutesTest, ImagesAndNodeAreShown) {
  const Json images = ParseOrFail(Unix("GET", "/v1/images").body);
  ASSERT_EQ(images.ArrayOrEmpty("items").size(), 1U);
  EXPECT_EQ(images.ArrayOrEmpty("items")[0].StringOr("pulled_at", ""), "2023-11-14T22:13:20.123Z");
  EXPECT_EQ(ParseOrFail(Unix("GET", "/v1/node").body).StringOr("isolation", ""), "strict");
}

TEST_F(RoutesTest, HealthNeedsNoTokenAndDrainingIsNotReady) {
  EXPECT_EQ(Tcp("GET", "/livez").status, 200);
  EXPECT_EQ(Tcp("GET", "/readyz").status, 200);
  node_.draining = true;
  EXPECT_EQ(Tcp("GET", "/livez").status, 200);
  EXPECT_EQ(Tcp("GET", "/readyz").status, 503);
  const HttpResponse response = Unix("POST", "/v1/jobs", R"({"image":"busybox"})");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(ProblemName(response), "unavailable");
  EXPECT_FALSE(response.Header("retry-after").empty());
  EXPECT_EQ(Unix("GET", "/v1/jobs").status, 200);  // what runs can still be watched
}

TEST_F(RoutesTest, MetricsCountJobsAndRequests) {
  Submit();
  Finish(Claim(), {.reason = queue::Reason::kExited, .exit_code = 0});
  const HttpResponse response = Unix("GET", "/metrics");
  EXPECT_EQ(response.status, 200);
  EXPECT_THAT(std::string(response.Header("content-type")), HasSubstr("version=0.0.4"));
  for (const char* line : {"caisson_build_info{version=\"1.2.3\"} 1\n", "caisson_slots 4\n", "caisson_slots_busy 1\n",
                           "caisson_jobs{tenant=\"default\",state=\"succeeded\"} 1\n",
                           "caisson_jobs_finished_total{state=\"succeeded\"} 1\n",
                           "caisson_http_requests_total{method=\"POST\",route=\"/v1/jobs\",status=\"202\"} 1\n"})
    EXPECT_THAT(response.body, HasSubstr(line));
  EXPECT_EQ(Tcp("GET", "/metrics", NewToken()).status, 200);
}

TEST_F(RoutesTest, RequestIdIsEchoedOrMade) {
  EXPECT_EQ(Unix("GET", "/livez", {}, {{"X-Request-Id", "abc-1.2_3"}}).Header("x-request-id"), "abc-1.2_3");
  EXPECT_EQ(Unix("GET", "/livez").Header("x-request-id").size(), 16U);
  EXPECT_EQ(Unix("GET", "/livez", {}, {{"X-Request-Id", "a b\x01"}}).Header("x-request-id").size(), 16U);
}

TEST_F(RoutesTest, HeadIsGetWithoutBody) {
  auto connection = RawConnection::ToUnix(directory_.file("caisson.sock"));
  connection.Send("HEAD /v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string answer = connection.ReadToEnd();
  EXPECT_THAT(answer, HasSubstr("200 OK"));
  EXPECT_TRUE(answer.ends_with("\r\n\r\n"));
}

TEST_F(RoutesTest, SocketIsReplacedWhenStaleAndKeptWhenAlive) {
  const std::string path = directory_.file("caisson.sock");
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0666U);
  const ApiDependencies dependencies{store_.get(), logs_.get(), &images_, &jobs_, &node_};
  const auto second = ApiServer::Start({.unix_socket = path}, dependencies);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kConflict);
  EXPECT_EQ(Unix("GET", "/livez").status, 200);
  server_->Stop();
  EXPECT_NE(::stat(path.c_str(), &info), 0);
}

}  // namespace
}  // namespace caisson::api
