// SPDX-License-Identifier: Apache-2.0
// What clients do to a server: slow, broken, hostile, many. The service behind it is a few lines, the sockets are real.
#include "api/http_server.h"

#include <gmock/gmock.h>

#include <barrier>
#include <thread>

#include "api/listener.h"
#include "api/problem.h"
#include "api/request_parser.h"
#include "tests/api/api_fixture.h"

namespace caisson::api {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// Endless data, until somebody stops reading.
class EndlessBody : public BodyStream {
 public:
  Result<Piece> Next() override { return Piece{Step::kData, std::string(200'000, 'x')}; }
};

class BrokenBody : public BodyStream {
 public:
  Result<Piece> Next() override {
    if (std::exchange(begun_, true)) return Fail(ErrorCode::kCorrupt, "the rest is gone");
    return Piece{Step::kData, "begin"};
  }
  std::optional<uint64_t> Length() const override { return 10; }

 private:
  bool begun_ = false;
};

class SilentBody : public BodyStream {
 public:
  Result<Piece> Next() override { return Piece{Step::kWait, {}}; }
  std::string_view KeepAlive() const override { return ": ping\n\n"; }
};

// Counts a streamed body; destroyed without its end, it was cut.
class CountingSink : public BodySink {
 public:
  explicit CountingSink(std::atomic<int>& cut) : cut_(cut) {}
  ~CountingSink() override { cut_ += !finished_; }
  std::optional<Response> Write(std::string_view bytes) override {
    largest_ = std::max(largest_, bytes.size());
    count_ += bytes.size();
    return std::nullopt;
  }
  Response Finish() override {
    finished_ = true;
    Response response;
    response.content_type = "text/plain";
    response.body = fmt::format("{} in pieces of at most {}", count_, largest_);
    return response;
  }

 private:
  std::atomic<int>& cut_;
  size_t count_ = 0;
  size_t largest_ = 0;
  bool finished_ = false;
};

// Answers with what it got.
class EchoService : public HttpService {
 public:
  Plan Begin(const Request& request) override {
    if (request.path == "/quick") return {Text("quick"), 0};
    if (request.path == "/sink") return {std::nullopt, 10 << 20, true};
    return {std::nullopt, 1000};
  }
  std::optional<Response> Admit(Request& request) override {
    if (request.path == "/forbidden") return ToResponse({ProblemType::kForbidden, "no"}, request);
    return std::nullopt;
  }
  Response Handle(const Request& request) override {
    if (request.path == "/meet") meeting.arrive_and_wait();
    Response response = Text(request.method + " " + request.path + " " + request.body);
    if (request.path == "/endless") response.stream = std::make_shared<EndlessBody>();
    if (request.path == "/broken") response.stream = std::make_shared<BrokenBody>();
    if (request.path == "/silent") response.stream = std::make_shared<SilentBody>();
    return response;
  }
  tl::expected<std::unique_ptr<BodySink>, Response> OpenBody(const Request&) override {
    return std::make_unique<CountingSink>(cut);
  }
  void Answered(const Request&, int) override {}

  std::atomic<int> cut{0};

  std::barrier<> meeting{64};

 private:
  static Response Text(std::string text) {
    Response response;
    response.content_type = "text/plain";
    response.body = std::move(text);
    return response;
  }
};

class HttpServerTest : public ::testing::Test {
 protected:
  void SetUp() override { Start({}); }
  void Start(const HttpLimits& limits) {
    server_.reset();
    HttpListeners listeners;
    listeners.unix_socket = *ListenOnUnixSocket(path());
    listeners.tcp = *ListenOnTcp("127.0.0.1:0");
    port_ = *BoundPort(listeners.tcp.get());
    server_ = *HttpServer::Start(limits, std::move(listeners), service_, pool_);
  }
  void TearDown() override {
    server_->Stop();
    pool_.Stop();
  }
  std::string path() const { return directory_.file("s"); }
  RawConnection Connect() { return RawConnection::ToTcp(port_); }

  testing::TemporaryDirectory directory_;
  EchoService service_;
  WorkerPool pool_{64, 1000};
  int port_ = 0;
  std::unique_ptr<HttpServer> server_;
};

std::string Get(const std::string& path, const std::string& headers = "") {
  return "GET " + path + " HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n";
}

TEST_F(HttpServerTest, ConnectionServesManyRequests) {
  auto connection = Connect();
  for (int i = 0; i < 3; ++i) {
    connection.Send(Get("/a" + std::to_string(i)));
    EXPECT_TRUE(connection.ReadResponse().ends_with("GET /a" + std::to_string(i) + " "));
  }
}

TEST_F(HttpServerTest, PipelinedRequestsAreAnsweredInOrder) {
  auto connection = Connect();
  connection.Send(Get("/a") + "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi" + Get("/quick") + Get("/c"));
  for (const char* body : {"GET /a ", "POST /b hi", "quick", "GET /c "})
    EXPECT_TRUE(connection.ReadResponse().ends_with(body)) << body;
}

TEST_F(HttpServerTest, CloseIsObeyedAndSaid) {
  auto connection = Connect();
  connection.Send(Get("/a", "Connection: close\r\n"));
  EXPECT_THAT(connection.ReadToEnd(), HasSubstr("\r\nConnection: close\r\n"));
  auto old = Connect();
  old.Send("GET /a HTTP/1.0\r\n\r\n");
  EXPECT_THAT(old.ReadToEnd(), HasSubstr("\r\nConnection: close\r\n"));
}

TEST_F(HttpServerTest, ChunkedBodyIsRead) {
  auto connection = Connect();
  connection.Send(
      "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nT: x\r\n\r\n");
  EXPECT_TRUE(connection.ReadResponse().ends_with("POST /a hello"));
}

TEST_F(HttpServerTest, Continue100IsSentOnlyToTheAdmitted) {
  auto connection = Connect();
  connection.Send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(connection.ReadUntil("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  connection.Send("hi");
  EXPECT_TRUE(connection.ReadResponse().ends_with("POST /a hi"));
  auto refused = Connect();
  refused.Send("POST /forbidden HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  refused.ShutDownSend();
  EXPECT_THAT(refused.ReadToEnd(), StartsWith("HTTP/1.1 403 "));
}

TEST_F(HttpServerTest, BodyOverTheLimitIsRefusedAndTheAnswerArrives) {
  // The whole body is sent before the answer is read: the server must not reset the connection before that.
  for (const std::string& bytes :
       {"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n" + std::string(2'000'000, 'x'),
        "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1e8480\r\n" + std::string(2'000'000, 'x')}) {
    auto connection = Connect();
    connection.Send(bytes);
    connection.ShutDownSend();
    const std::string answer = connection.ReadToEnd();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 413 "));
    EXPECT_THAT(answer, HasSubstr("\r\nConnection: close\r\n"));
  }
}

TEST_F(HttpServerTest, BrokenRequestIsRefusedOnceAndTheConnectionClosed) {
  for (const auto& [bytes, status] : std::vector<std::pair<std::string, std::string>>{
           {"nonsense\r\n\r\n", "400"},
           {"GET / HTTP/1.1\r\n\r\n", "400"},
           {"GET / HTTP/1.1\r\nHost: x\r\nX: " + std::string(20'000, 'x'), "431"},
           {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nGET /smuggled "
            "HTTP/1.1\r\nHost: x\r\n\r\n",
            "400"},
           {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
            "501"},
           {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: "
            "x\r\n\r\n",
            "400"}}) {
    auto connection = Connect();
    connection.Send(bytes);
    connection.ShutDownSend();
    const std::string answer = connection.ReadToEnd();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 " + status + " "));
    EXPECT_EQ(answer.find("HTTP/1.1 ", 5), std::string::npos) << answer;  // nothing was read as a second request
    EXPECT_THAT(answer, HasSubstr("application/problem+json"));
  }
}

TEST_F(HttpServerTest, SlowHeadersEndIn408AndSlowBodiesToo) {
  HttpLimits limits;
  limits.header_time = milliseconds(50);
  limits.body_time = milliseconds(50);
  Start(limits);
  auto headers = Connect();
  headers.Send("GET / HTTP/1.1\r\nHo");
  EXPECT_THAT(headers.ReadToEnd(), StartsWith("HTTP/1.1 408 "));
  auto body = Connect();
  body.Send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_THAT(body.ReadToEnd(), StartsWith("HTTP/1.1 408 "));
  EXPECT_EQ(Connect().ReadToEnd(), "");  // nothing sent, nothing said
}

TEST_F(HttpServerTest, StreamedBodyGoesOnInBoundedPieces) {
  auto connection = Connect();
  connection.Send("POST /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n" + std::string(5'000'000, 'x'));
  const std::string answer = connection.ReadResponse();
  EXPECT_THAT(answer, HasSubstr("5000000 in pieces of at most "));
  const size_t largest = std::stoul(answer.substr(answer.rfind(' ')));
  EXPECT_LE(largest, (256U << 10) + kMaxInputBytes);
  EXPECT_GE(largest, 256U << 10);
  connection.Send(Get("/after"));
  EXPECT_TRUE(connection.ReadResponse().ends_with("GET /after "));
}

TEST_F(HttpServerTest, StreamedBodyThatComesTooSlowlyIs408) {
  Start({.body_time = milliseconds(50)});
  auto connection = Connect();
  connection.Send("POST /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_THAT(connection.ReadToEnd(), StartsWith("HTTP/1.1 408 "));
  server_->Stop();
  EXPECT_EQ(service_.cut, 1);
}

TEST_F(HttpServerTest, StreamedBodyThatIsBrokenIs400) {
  auto connection = Connect();
  connection.Send("POST /sink HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nnonsense\r\n");
  EXPECT_THAT(connection.ReadToEnd(), StartsWith("HTTP/1.1 400 Bad Request"));
  server_->Stop();
  EXPECT_EQ(service_.cut, 1);
}

TEST_F(HttpServerTest, IdleConnectionIsClosed) {
  HttpLimits limits;
  limits.idle_time = milliseconds(50);
  Start(limits);
  auto connection = Connect();
  connection.Send(Get("/quick"));
  EXPECT_TRUE(connection.ReadToEnd().ends_with("quick"));
}

TEST_F(HttpServerTest, ReaderThatDoesNotReadIsCutOff) {
  HttpLimits limits;
  limits.write_time = milliseconds(100);
  Start(limits);
  auto connection = Connect();
  connection.Send(Get("/endless"));
  connection.ReadUntil("xxx");
  while (server_->connections() > 0) std::this_thread::yield();
}

TEST_F(HttpServerTest, BodyThatFailsIsCutAndNotEndedWell) {
  auto connection = Connect();
  connection.Send(Get("/broken"));
  const std::string answer = connection.ReadToEnd();
  EXPECT_THAT(answer, HasSubstr("Content-Length: 10"));
  EXPECT_TRUE(answer.ends_with("begin"));
}

TEST_F(HttpServerTest, SilentStreamIsKeptAlive) {
  HttpLimits limits;
  limits.keep_alive_time = milliseconds(20);
  Start(limits);
  auto connection = Connect();
  connection.Send(Get("/silent"));
  EXPECT_THAT(connection.ReadUntil(": ping\n\n"), HasSubstr("8\r\n: ping\n\n\r\n"));
}

TEST_F(HttpServerTest, HalfOpenRequestsDoNotDelayOthers) {
  std::vector<RawConnection> half_open;
  for (int i = 0; i < 200; ++i) {
    half_open.push_back(i % 2 ? Connect() : RawConnection::ToUnix(path()));
    half_open.back().Send(i % 3 ? "GET / HTTP/1.1\r\nHost"
                                : "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nx");
  }
  for (int i = 0; i < 20; ++i) {
    auto connection = Connect();
    connection.Send(Get("/a", "Connection: close\r\n"));
    EXPECT_TRUE(connection.ReadToEnd().ends_with("GET /a "));
  }
}

TEST_F(HttpServerTest, TcpClientsCannotUseUpTheUnixSocketsConnections) {
  HttpLimits limits;
  limits.connections = 20;
  limits.reserved_for_unix = 10;
  Start(limits);
  std::vector<RawConnection> greedy;
  for (int i = 0; i < 40; ++i) greedy.push_back(Connect());
  auto connection = RawConnection::ToUnix(path());
  connection.Send(Get("/a"));
  EXPECT_TRUE(connection.ReadResponse().ends_with("GET /a "));
  EXPECT_LE(server_->connections(), 11U);
  // Who waits gets a turn when another leaves.
  greedy[39].Send(Get("/late"));
  greedy.erase(greedy.begin(), greedy.begin() + 39);
  EXPECT_TRUE(greedy[0].ReadResponse().ends_with("GET /late "));
}

// What group commit needs: this many calls that block are inside the service at once.
TEST_F(HttpServerTest, SixtyFourBlockingCallsAreInFlightAtOnce) {
  std::vector<RawConnection> connections;
  for (int i = 0; i < 64; ++i) {
    connections.push_back(Connect());
    connections.back().Send(Get("/meet"));  // each returns only when all are there
  }
  for (RawConnection& connection : connections) EXPECT_TRUE(connection.ReadResponse().ends_with("GET /meet "));
}

TEST_F(HttpServerTest, FullPoolIs503) {
  WorkerPool tiny(1, 1);
  HttpListeners listeners;
  listeners.unix_socket = *ListenOnUnixSocket(directory_.file("tiny"));
  auto server = *HttpServer::Start({}, std::move(listeners), service_, tiny);
  std::barrier<> busy(2);
  std::barrier<> release(2);
  ASSERT_TRUE(tiny.Run([&] {
    busy.arrive_and_wait();
    release.arrive_and_wait();
  }));
  busy.arrive_and_wait();
  ASSERT_TRUE(tiny.Run([] {}));
  auto connection = RawConnection::ToUnix(directory_.file("tiny"));
  connection.Send(Get("/a"));
  const std::string answer = connection.ReadResponse();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(answer, HasSubstr("Retry-After: 1"));
  release.arrive_and_wait();
  server->Stop();
  tiny.Stop();
}

TEST_F(HttpServerTest, BodyMemoryIsBounded) {
  HttpLimits limits;
  limits.body_memory_bytes = 1500;
  Start(limits);
  const std::string half = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + std::string(900, 'x');
  auto first = Connect();
  first.Send(half);
  // The second is refused once the first's bytes are counted; which of the two comes first is not for us to say.
  auto second = Connect();
  second.Send(half);
  first.Send(std::string(100, 'x'));
  second.Send(std::string(100, 'x'));
  const std::string answers = first.ReadUntil("\r\n\r\n") + second.ReadUntil("\r\n\r\n");
  EXPECT_THAT(answers, HasSubstr("HTTP/1.1 200 "));
  auto third = Connect();
  third.Send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx");
  EXPECT_THAT(third.ReadResponse(), StartsWith("HTTP/1.1 200 "));  // what was reserved came back
}

TEST_F(HttpServerTest, StopEndsIdleConnectionsAtOnceAndFinishesOpenRequests) {
  auto idle = Connect();
  idle.Send(Get("/quick"));
  idle.ReadResponse();
  auto fresh = Connect();
  auto silent = Connect();
  silent.Send(Get("/silent"));
  silent.ReadUntil("\r\n\r\n");
  server_->Stop();
  EXPECT_EQ(server_->connections(), 0U);
  EXPECT_EQ(idle.ReadToEnd(), "");
  EXPECT_EQ(fresh.ReadToEnd(), "");
  EXPECT_EQ(silent.ReadToEnd(), "0\r\n\r\n");
}

}  // namespace
}  // namespace caisson::api
