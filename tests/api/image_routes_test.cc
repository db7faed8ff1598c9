// SPDX-License-Identifier: Apache-2.0
// The routes of images and registry logins: forms, statuses, events, threads, and what a client that goes away ends.
#include <gmock/gmock.h>

#include <condition_variable>
#include <thread>

#include "base/crypto/crypto.h"
#include "tests/api/api_fixture.h"

namespace caisson::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Opens once, for any number of threads.
class Gate {
 public:
  void Open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  bool Wait() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(60), [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

// Waits, as a registry makes a pull wait, until the call is cancelled.
Result<ImageDetails> UntilCancelled(const LongCall& call) {
  while (!*call.cancelled) std::this_thread::yield();
  return Fail(ErrorCode::kCancelled, "the pull was cancelled");
}

class ImageRoutesTest : public ApiTest {
 protected:
  const std::string image_ = "/v1/images/docker.io%2Flibrary%2Fbusybox%3A1";
  std::string PullHead(const std::string& accept) {
    const std::string body = R"({"reference":"busybox"})";
    return "POST /v1/images/pull HTTP/1.1\r\nHost: x\r\nAccept: " + accept +
           "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }
};

TEST_F(ImageRoutesTest, APullAnswersWithTheImage) {
  const HttpResponse response = Unix("POST", "/v1/images/pull", R"({"reference":"busybox:1","policy":"if-missing"})");
  ASSERT_EQ(response.status, 200) << response.body;
  const Json image = ParseOrFail(response.body);
  EXPECT_EQ(image.StringOr("reference", ""), FakeImages::kImage);
  EXPECT_EQ(image.ArrayOrEmpty("layers")[0].IntOr("entries", 0), 12);
  EXPECT_THAT(images_.calls, ElementsAre("pull default busybox:1 1"));
}

TEST_F(ImageRoutesTest, WhatIsWrongWithAPullIsSaidByItsPlace) {
  const auto pointer = [&](const std::string& body) {
    const HttpResponse response = Unix("POST", "/v1/images/pull", body);
    EXPECT_EQ(response.status, 422) << body;
    return ParseOrFail(response.body).ArrayOrEmpty("errors")[0].StringOr("pointer", "none");
  };
  EXPECT_EQ(pointer("{}"), "/reference");
  EXPECT_EQ(pointer(R"({"reference":"a b"})"), "/reference");
  EXPECT_EQ(pointer(R"({"reference":"a","policy":"sometimes"})"), "/policy");
  EXPECT_EQ(pointer(R"({"reference":"a","force":true})"), "/force");
  EXPECT_EQ(Unix("POST", "/v1/images/pull?x=1", R"({"reference":"a"})").status, 422);
  EXPECT_THAT(images_.calls, ElementsAre());
}

TEST_F(ImageRoutesTest, WhyAPullFailedIsToldWithAStatusOfItsOwn) {
  const std::pair<ErrorCode, int> table[] = {
      {ErrorCode::kNotFound, 404},  {ErrorCode::kDenied, 403},   {ErrorCode::kUnavailable, 502},
      {ErrorCode::kCorrupt, 502},   {ErrorCode::kTimedOut, 502}, {ErrorCode::kExhausted, 507},
      {ErrorCode::kTooLarge, 422},  {ErrorCode::kInvalid, 422},  {ErrorCode::kUnsupported, 501},
      {ErrorCode::kCancelled, 503},
  };
  for (const auto& [code, status] : table) {
    images_.pull = [code = code](const LongCall&) -> Result<ImageDetails> { return Fail(code, "because"); };
    const HttpResponse response = Unix("POST", "/v1/images/pull", R"({"reference":"busybox"})");
    EXPECT_EQ(response.status, status) << ToString(code);
    EXPECT_EQ(ParseOrFail(response.body).StringOr("detail", ""), "because");
  }
  images_.pull = [](const LongCall&) -> Result<ImageDetails> { return Fail(ErrorCode::kInternal, "/secret/path"); };
  const HttpResponse response = Unix("POST", "/v1/images/pull", R"({"reference":"busybox"})");
  EXPECT_EQ(response.status, 500);
  EXPECT_THAT(response.body, Not(HasSubstr("secret")));
}

TEST_F(ImageRoutesTest, AskedForEventsAPullTellsItsProgressAndItsEnd) {
  images_.pull = [](const LongCall& call) -> Result<ImageDetails> {
    call.progress({.bytes_done = 1,
                   .bytes_total = 2,
                   .layers = {{.digest = "sha256:1", .state = LayerState::kDownloading, .bytes_done = 1}}});
    return FakeImages::Details();
  };
  const HttpResponse response =
      Unix("POST", "/v1/images/pull", R"({"reference":"busybox"})", {{"Accept", "text/event-stream"}});
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.Header("content-type"), "text/event-stream");
  EXPECT_EQ(response.Header("cache-control"), "no-store");
  EXPECT_THAT(response.body, ::testing::StartsWith(R"(event: progress
data: {"bytes_done":1,"bytes_total":2,"layers":[{"digest":"sha256:1","state":"downloading","bytes_done":1,"bytes_total":0}]}

event: end
data: {"reference":"docker.io/library/busybox:1",)"));
}

TEST_F(ImageRoutesTest, AFailedPullEndsItsEventsWithTheProblem) {
  images_.pull = [](const LongCall&) -> Result<ImageDetails> { return Fail(ErrorCode::kNotFound, "no such tag"); };
  const HttpResponse response =
      Unix("POST", "/v1/images/pull", R"({"reference":"busybox"})", {{"Accept", "text/event-stream"}});
  EXPECT_EQ(response.status, 200);
  EXPECT_THAT(response.body, HasSubstr("event: error\ndata: {\"type\":\"urn:caisson:problem:not-found\""));
  EXPECT_THAT(response.body, HasSubstr("no such tag"));
}

// Ten thousand changes are not ten thousand events, and the newest is never the one that is left out.
TEST_F(ImageRoutesTest, ProgressIsThinnedAndItsLastStateArrives) {
  Gate seen;
  images_.pull = [&seen](const LongCall& call) -> Result<ImageDetails> {
    for (uint64_t i = 1; i <= 10'000; ++i) call.progress({.bytes_done = i, .bytes_total = 10'000});
    EXPECT_TRUE(seen.Wait());  // while the pull goes on
    return FakeImages::Details();
  };
  auto connection = RawConnection::ToUnix(directory_.file("caisson.sock"));
  connection.Send(PullHead("text/event-stream"));
  const std::string events = connection.ReadUntil("\"bytes_done\":10000,");
  seen.Open();
  size_t count = 0;
  for (size_t at = events.find("event: progress"); at != std::string::npos; at = events.find("event: progress", at + 1))
    ++count;
  EXPECT_LT(count, 1000U);
  EXPECT_THAT(connection.ReadUntil("event: end"), HasSubstr("event: end"));
}

TEST_F(ImageRoutesTest, AClientThatGoesAwayCancelsItsPull) {
  for (const char* accept : {"application/json", "text/event-stream"}) {
    Gate begun;
    Gate cancelled;
    images_.pull = [&](const LongCall& call) {
      begun.Open();
      if (call.progress) {  // a stream's reader is missed when something is sent to it
        while (!*call.cancelled) call.progress({.bytes_done = 1, .bytes_total = 2});
      }
      Result<ImageDetails> result = UntilCancelled(call);
      cancelled.Open();
      return result;
    };
    {
      auto connection = RawConnection::ToUnix(directory_.file("caisson.sock"));
      connection.Send(PullHead(accept));
      ASSERT_TRUE(begun.Wait());
    }
    EXPECT_TRUE(cancelled.Wait()) << accept;
  }
}

TEST_F(ImageRoutesTest, PullsThatHangTakeNoThreadFromSubmits) {
  Gate all;
  std::atomic<int> hanging = 0;
  images_.pull = [&](const LongCall& call) {
    if (++hanging == 16) all.Open();
    return UntilCancelled(call);
  };
  std::vector<RawConnection> connections;
  for (int i = 0; i < 16; ++i) {  // half of all: what one tenant may have
    connections.push_back(RawConnection::ToUnix(directory_.file("caisson.sock")));
    connections.back().Send(PullHead("application/json"));
  }
  ASSERT_TRUE(all.Wait());
  const HttpResponse refused = Unix("POST", "/v1/images/pull", R"({"reference":"busybox"})");
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.Header("retry-after"), "5");
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Unix("POST", "/v1/jobs", R"({"image":"busybox"})").status, 202);
}

TEST_F(ImageRoutesTest, TheServersStopEndsHangingPulls) {
  Gate begun;
  images_.pull = [&](const LongCall& call) {
    begun.Open();
    return UntilCancelled(call);
  };
  auto connection = RawConnection::ToUnix(directory_.file("caisson.sock"));
  connection.Send(PullHead("application/json"));
  ASSERT_TRUE(begun.Wait());
  server_->Stop();
  EXPECT_THAT(connection.ReadToEnd(), HasSubstr("HTTP/1.1 503 Service Unavailable"));
}

TEST_F(ImageRoutesTest, AnImageIsNamedByDigestOrByAnEncodedReference) {
  EXPECT_EQ(Unix("GET", image_).status, 200);
  EXPECT_EQ(Unix("GET", "/v1/images/sha256:" + std::string(64, 'a')).status, 200);
  EXPECT_EQ(ProblemName(Unix("GET", "/v1/images/other")), "not-found");
  EXPECT_EQ(Unix("GET", "/v1/images/docker.io/library/busybox").status, 404);
  EXPECT_EQ(Unix("PATCH", image_).Header("allow"), "GET, HEAD, DELETE");
}

TEST_F(ImageRoutesTest, RemovingAnswersWithoutABody) {
  const HttpResponse response = Unix("DELETE", image_);
  EXPECT_EQ(response.status, 204);
  EXPECT_EQ(response.Header("content-length"), "");
  EXPECT_THAT(images_.calls, ElementsAre("remove default docker.io/library/busybox:1"));
  EXPECT_EQ(Unix("DELETE", "/v1/images/other").status, 404);
}

TEST_F(ImageRoutesTest, VerifyingTellsEachLayersVerdict) {
  const Json found = ParseOrFail(Unix("POST", image_ + "/verify").body);
  EXPECT_FALSE(*found.Find("sound")->AsBool());
  EXPECT_EQ(found.ArrayOrEmpty("layers")[0].StringOr("detail", ""), "etc/passwd changed");
  const Json mended = ParseOrFail(Unix("POST", image_ + "/verify", R"({"repair":true})").body);
  EXPECT_TRUE(*mended.Find("sound")->AsBool());
  EXPECT_EQ(Unix("POST", image_ + "/verify", R"({"repair":1})").status, 422);
}

TEST_F(ImageRoutesTest, CollectingIsForTheUnixSocketAlone) {
  EXPECT_EQ(ParseOrFail(Unix("POST", "/v1/images/gc", R"({"all":true})").body).IntOr("images", 0), 3);
  EXPECT_EQ(ParseOrFail(Unix("POST", "/v1/images/gc").body).IntOr("images", 0), 1);
  EXPECT_EQ(Tcp("POST", "/v1/images/gc", NewToken()).status, 403);
}

TEST_F(ImageRoutesTest, EveryRouteNeedsAToken) {
  for (const auto& [method, path] :
       std::vector<std::pair<std::string, std::string>>{{"POST", "/v1/images/pull"},
                                                        {"GET", image_},
                                                        {"DELETE", image_},
                                                        {"POST", image_ + "/verify"},
                                                        {"GET", image_ + "/rootfs"},
                                                        {"HEAD", "/v1/blobs/sha256:" + std::string(64, 'a')},
                                                        {"PUT", "/v1/blobs/sha256:" + std::string(64, 'a')},
                                                        {"POST", "/v1/images/import"},
                                                        {"GET", "/v1/registries"},
                                                        {"PUT", "/v1/registries/ghcr.io"},
                                                        {"DELETE", "/v1/registries/ghcr.io"}})
    EXPECT_EQ(Tcp(method, path).status, 401) << method << " " << path;
}

// ---- Root file systems
// -------------------------------------------------------------------------------------------------

TEST_F(ImageRoutesTest, AnExportIsStreamedWhole) {
  const std::string block(100'000, 'x');
  images_.export_image = [&](const auto& sink, const LongCall&) -> Result<void> {
    for (int i = 0; i < 300; ++i) TRY(sink(block));
    return {};
  };
  const HttpResponse response = [&] {
    HttpClient client;
    return *client.Perform({.url = "http://caisson" + image_ + "/rootfs",
                            .unix_socket = directory_.file("caisson.sock"),
                            .max_body_bytes = 64 << 20});
  }();
  EXPECT_EQ(response.Header("content-type"), "application/x-tar");
  EXPECT_EQ(response.Header("transfer-encoding"), "chunked");
  EXPECT_EQ(response.body.size(), 30'000'000U);
  EXPECT_EQ(Unix("GET", "/v1/images/other/rootfs").status, 404);
}

TEST_F(ImageRoutesTest, AnExportThatFailsOnTheWayIsCutNotEnded) {
  images_.export_image = [](const auto& sink, const LongCall&) -> Result<void> {
    TRY(sink("the beginning"));
    return Fail(ErrorCode::kCorrupt, "a layer is damaged");
  };
  auto connection = RawConnection::ToUnix(directory_.file("caisson.sock"));
  connection.Send("GET " + image_ + "/rootfs HTTP/1.1\r\nHost: x\r\n\r\n");
  const std::string answer = connection.ReadToEnd();
  EXPECT_THAT(answer, HasSubstr("the beginning"));
  EXPECT_THAT(answer, Not(HasSubstr("\r\n0\r\n\r\n")));
}

TEST_F(ImageRoutesTest, AnExportStoppedWithTheServerIsCutNotEnded) {
  images_.export_image = [](const auto& sink, const LongCall& call) -> Result<void> {
    TRY(sink("the beginning"));
    while (!*call.cancelled) std::this_thread::yield();
    return Fail(ErrorCode::kCancelled, "stopped");
  };
  auto connection = RawConnection::ToUnix(directory_.file("caisson.sock"));
  connection.Send("GET " + image_ + "/rootfs HTTP/1.1\r\nHost: x\r\n\r\n");
  connection.ReadUntil("the beginning");
  server_->Stop();
  EXPECT_THAT(connection.ReadToEnd(), Not(HasSubstr("0\r\n\r\n")));
}

TEST_F(ImageRoutesTest, AReaderThatGoesAwayEndsAnExport) {
  Gate ended;
  images_.export_image = [&](const auto& sink, const LongCall&) -> Result<void> {
    const std::string block(100'000, 'x');
    Result<void> sent;
    while (sent) sent = sink(block);
    ended.Open();
    return sent;
  };
  {
    auto connection = RawConnection::ToUnix(directory_.file("caisson.sock"));
    connection.Send("GET " + image_ + "/rootfs HTTP/1.1\r\nHost: x\r\n\r\n");
    connection.ReadUntil("xxxx");
  }
  EXPECT_TRUE(ended.Wait());
}

// ---- Uploads
// -----------------------------------------------------------------------------------------------------------

class BlobUploadTest : public ApiTest {
 protected:
  static std::string PathOf(const std::string& bytes) { return "/v1/blobs/" + Sha256Of(bytes).ToString(); }
  std::string Head(const std::string& path, const std::string& framing) {
    return "PUT " + path + " HTTP/1.1\r\nHost: x\r\n" + framing + "\r\n\r\n";
  }
  int Dropped() {
    const std::lock_guard lock(images_.mutex);
    return images_.dropped_uploads;
  }
};

TEST_F(BlobUploadTest, ABlobOfManyPiecesArrivesAsItWas) {
  const std::string bytes = [] {
    std::string made;
    for (int i = 0; made.size() < (5 << 20); ++i) made += std::to_string(i * 7919);
    return made;
  }();
  EXPECT_EQ(Unix("HEAD", PathOf(bytes)).status, 404);
  const HttpResponse response = Unix("PUT", PathOf(bytes), bytes);
  EXPECT_EQ(response.status, 201) << response.body;
  EXPECT_EQ(Unix("HEAD", PathOf(bytes)).status, 200);
  EXPECT_EQ(images_.blobs[Sha256Of(bytes).ToString()], bytes);
}

TEST_F(BlobUploadTest, AnEmptyBlobIsOneToo) { EXPECT_EQ(Unix("PUT", PathOf(""), "").status, 201); }

TEST_F(BlobUploadTest, ChunkedBodiesAreTakenAndTheConnectionGoesOn) {
  auto connection = RawConnection::ToUnix(directory_.file("caisson.sock"));
  for (int i = 0; i < 2; ++i) {
    connection.Send(Head(PathOf("hello world"), "Transfer-Encoding: chunked"));
    connection.Send("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
    EXPECT_THAT(connection.ReadResponse(), HasSubstr("HTTP/1.1 201 Created"));
  }
}

TEST_F(BlobUploadTest, OtherBytesThanAnnouncedAre422) {
  const HttpResponse response = Unix("PUT", PathOf("these"), "those");
  EXPECT_EQ(response.status, 422);
  EXPECT_EQ(Unix("HEAD", PathOf("these")).status, 404);
  EXPECT_EQ(Unix("PUT", "/v1/blobs/nonsense", "x").status, 422);
}

TEST_F(BlobUploadTest, ABlobThatIsTooLargeIsRefusedBeforeOrWhileItComes) {
  auto announced = RawConnection::ToUnix(directory_.file("caisson.sock"));
  announced.Send(Head(PathOf("x"), "Content-Length: " + std::to_string((64 << 20) + 1)));
  EXPECT_THAT(announced.ReadToEnd(), HasSubstr("HTTP/1.1 413 Content Too Large"));

  auto chunked = RawConnection::ToUnix(directory_.file("caisson.sock"));
  chunked.Send(Head(PathOf("x"), "Transfer-Encoding: chunked"));
  const std::string megabyte(1 << 20, 'x');
  for (int i = 0; i < 65; ++i) chunked.Send("100000\r\n" + megabyte + "\r\n");
  EXPECT_THAT(chunked.ReadToEnd(), HasSubstr("HTTP/1.1 413 Content Too Large"));
  EXPECT_EQ(Unix("GET", "/livez").status, 200);
  server_->Stop();
  EXPECT_EQ(Dropped(), 1);
}

TEST_F(BlobUploadTest, AClientThatGoesAwayLeavesNothing) {
  {
    auto connection = RawConnection::ToUnix(directory_.file("caisson.sock"));
    connection.Send(Head(PathOf("hello"), "Expect: 100-continue\r\nContent-Length: 5"));
    connection.ReadUntil("100 Continue");
    connection.Send("hel");
  }
  server_->Stop();  // ends when every connection has
  EXPECT_EQ(Dropped(), 1);
  EXPECT_TRUE(images_.blobs.empty());
}

TEST_F(BlobUploadTest, WhatTheDiskRefusesEndsTheUpload) {
  images_.on_write = [](std::string_view) -> Result<void> { return Fail(ErrorCode::kExhausted, "the disk is full"); };
  const HttpResponse response = Unix("PUT", PathOf("hello"), std::string(1 << 20, 'x'));
  EXPECT_EQ(response.status, 507);
  EXPECT_THAT(response.body, HasSubstr("the disk is full"));
}

// While a piece is being written nothing is read: a client fills its socket's buffers and no memory of ours.
TEST_F(BlobUploadTest, ASlowDiskSlowsTheClientDown) {
  Gate writing;
  Gate go_on;
  images_.on_write = [&](std::string_view) -> Result<void> {
    writing.Open();
    EXPECT_TRUE(go_on.Wait());
    return {};
  };
  std::atomic<size_t> sent = 0;
  const std::string block(1 << 20, 'x');
  const std::string whole(32 << 20, 'x');
  std::thread client([&] {
    auto connection = RawConnection::ToUnix(directory_.file("caisson.sock"));
    connection.Send(Head(PathOf(whole), "Content-Length: " + std::to_string(whole.size())));
    for (int i = 0; i < 32; ++i) {
      connection.Send(block);
      ++sent;
    }
    EXPECT_THAT(connection.ReadResponse(), HasSubstr("201 Created"));
  });
  EXPECT_TRUE(writing.Wait());
  for (int i = 0; i < 50; ++i) EXPECT_EQ(Unix("GET", "/livez").status, 200);  // others are served meanwhile
  EXPECT_LT(sent, 8U);
  go_on.Open();
  client.join();
}

TEST_F(BlobUploadTest, OneTenantGetsHalfOfThoseThatMayComeAtOnce) {
  AddTenant("other");
  Gate all;
  std::atomic<int> begun = 0;
  Gate go_on;
  images_.on_write = [&](std::string_view bytes) -> Result<void> {
    if (bytes != "x") return {};
    if (++begun == 8) all.Open();
    EXPECT_TRUE(go_on.Wait());
    return {};
  };
  std::vector<RawConnection> connections;
  for (int i = 0; i < 8; ++i) {
    connections.push_back(RawConnection::ToUnix(directory_.file("caisson.sock")));
    connections.back().Send(Head(PathOf("x"), "Content-Length: 1") + "x");
  }
  ASSERT_TRUE(all.Wait());
  EXPECT_EQ(Unix("PUT", PathOf("y"), "y").status, 503);
  EXPECT_EQ(Tcp("PUT", PathOf("y"), NewToken("other"), "y").status, 201);
  go_on.Open();
  for (RawConnection& connection : connections) EXPECT_THAT(connection.ReadResponse(), HasSubstr("HTTP/1.1 "));
  EXPECT_EQ(Unix("PUT", PathOf("y"), "y").status, 201);
}

TEST_F(BlobUploadTest, ContinueIsSaidOnceTheUploadIsAllowed) {
  auto connection = RawConnection::ToUnix(directory_.file("caisson.sock"));
  connection.Send(Head(PathOf("hello"), "Expect: 100-continue\r\nContent-Length: 5"));
  EXPECT_THAT(connection.ReadUntil("\r\n\r\n"), HasSubstr("HTTP/1.1 100 Continue"));
  connection.Send("hello");
  EXPECT_THAT(connection.ReadResponse(), HasSubstr("201 Created"));

  auto stranger = RawConnection::ToTcp(server_->tcp_port());
  stranger.Send(Head(PathOf("hello"), "Expect: 100-continue\r\nContent-Length: 5"));
  EXPECT_THAT(stranger.ReadUntil("\r\n\r\n"), HasSubstr("HTTP/1.1 401 Unauthorized"));
}

// ---- Imports and logins
// ------------------------------------------------------------------------------------------------

TEST_F(ImageRoutesTest, AnImportSaysWhichBlobsItLacks) {
  const HttpResponse lacking = Unix("POST", "/v1/images/import", R"({"reference":"a","manifest":"{ }"})");
  EXPECT_EQ(lacking.status, 409);
  EXPECT_EQ(*ParseOrFail(lacking.body).ArrayOrEmpty("missing")[0].AsString(), "sha256:" + std::string(64, 'd'));
  EXPECT_EQ(Unix("POST", "/v1/images/import", R"({"reference":"a","manifest":"{}"})").status, 201);
  EXPECT_EQ(Unix("POST", "/v1/images/import", R"({"reference":"a b","manifest":"{}"})").status, 422);
  EXPECT_EQ(Unix("POST", "/v1/images/import", R"({"reference":"a"})").status, 422);
}

TEST_F(ImageRoutesTest, ARegistryLoginGoesInAndItsSecretNeverComesOut) {
  const HttpResponse stored = Unix("PUT", "/v1/registries/ghcr.io%2Facme", R"({"username":"me","password":"s3cret"})");
  EXPECT_EQ(stored.status, 200) << stored.body;
  EXPECT_EQ((registries_.logins[{"default", "ghcr.io/acme"}].password.Expose()), "s3cret");
  const HttpResponse list = Unix("GET", "/v1/registries");
  EXPECT_THAT(list.body, HasSubstr(R"("registry":"ghcr.io/acme","username":"me")"));
  EXPECT_THAT(stored.body + list.body, Not(HasSubstr("s3cret")));
  EXPECT_EQ(Unix("DELETE", "/v1/registries/ghcr.io%2Facme").status, 204);
  EXPECT_EQ(Unix("DELETE", "/v1/registries/ghcr.io%2Facme").status, 404);
}

TEST_F(ImageRoutesTest, ALoginIsAPasswordOrATokenAndNotBoth) {
  const auto status = [&](const std::string& body) { return Unix("PUT", "/v1/registries/ghcr.io", body).status; };
  EXPECT_EQ(status(R"({"identity_token":"t"})"), 200);
  EXPECT_EQ(status(R"({"username":"u","password":"p","identity_token":"t"})"), 422);
  EXPECT_EQ(status(R"({"username":"u"})"), 422);
  EXPECT_EQ(status(R"({"password":"p"})"), 422);
  EXPECT_EQ(status(R"({"username":"a:b","password":"p"})"), 422);
  const HttpResponse response = Unix("PUT", "/v1/registries/ghcr.io", R"({"username":"a","password":["p4ss"]})");
  EXPECT_EQ(response.status, 422);
  EXPECT_THAT(response.body, Not(HasSubstr("p4ss")));
}

}  // namespace
}  // namespace caisson::api
