// SPDX-License-Identifier: Apache-2.0
#include "api/http_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <condition_variable>
#include <ctime>
#include <mutex>
#include <thread>
#include <unordered_set>

#include "api/auth.h"
#include "api/problem.h"
#include "api/request_parser.h"
#include "base/check.h"
#include "base/log.h"

// Compilers of the g++ 12 family miscompile some coroutines: every operand of co_await below is a plain call or a named
// variable, and no lambda is a coroutine.
namespace caisson::api {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::milliseconds;
using Executor = asio::io_context::executor_type;
template <typename T>
using Task = asio::awaitable<T, Executor>;
using Socket = asio::basic_stream_socket<asio::generic::stream_protocol, Executor>;
using Descriptor = asio::posix::basic_stream_descriptor<Executor>;
using Timer =
    asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor>;
constexpr asio::as_tuple_t<asio::use_awaitable_t<Executor>> kTask{};

constexpr size_t kWriteSliceBytes = 256 << 10;  // what write_time is for
constexpr size_t kMaxLingerBytes = 4 << 20;
constexpr milliseconds kAcceptPause{100};  // while no descriptor is free

// One waiter, on the loop's thread. Set() before Wait() is remembered.
class Event {
 public:
  explicit Event(Executor executor) : timer_(executor) {}
  void Set() {
    set_ = true;
    timer_.cancel();
  }
  // False: the time is over.
  Task<bool> Wait(milliseconds timeout) {
    if (!set_) {
      timer_.expires_after(timeout);
      co_await timer_.async_wait(kTask);
    }
    co_return std::exchange(set_, false);
  }

 private:
  Timer timer_;
  bool set_ = false;
};

// Wakes a stream's sender from any thread; many notifications between two looks are one.
class Wake {
 public:
  explicit Wake(Executor executor) : executor_(executor), event_(executor) {}
  static std::function<void()> Notifier(const std::shared_ptr<Wake>& wake) {
    return [weak = std::weak_ptr<Wake>(wake)] {
      const std::shared_ptr<Wake> target = weak.lock();
      if (!target || target->pending_.exchange(true)) return;
      const Executor executor = target->executor_;
      asio::post(executor, [weak] {
        if (const std::shared_ptr<Wake> still = weak.lock()) still->event_.Set();
      });
    };
  }
  void Reset() { pending_ = false; }
  void Set() { event_.Set(); }
  Task<bool> Wait(milliseconds timeout) { return event_.Wait(timeout); }

 private:
  Executor executor_;
  Event event_;
  std::atomic<bool> pending_{false};
};

std::string_view ReasonPhrase(int status) {
  switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 206: return "Partial Content";
    default: return status < 400 ? "OK" : status < 500 ? "Client Error" : "Server Error";
  }
}

std::string HttpDate() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[40];
  std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return text;
}

bool HasHeader(const Response& response, std::string_view name) {
  return std::any_of(response.headers.begin(), response.headers.end(),
                     [&](const HeaderField& field) { return field.name == name; });
}

// How the end of an answer's body is told.
enum class Framing { kLength, kChunked, kUntilClose };

class Session;

class Server final : public HttpServer {
 public:
  Server(const HttpLimits& limits, HttpService& service, WorkerPool& pool)
      : limits_(limits), service_(service), pool_(pool), work_(context_->get_executor()) {}
  // The pool was stopped after Stop(): nothing refers to a coroutine any more. Those that are left end here, while
  // all else of this object still exists.
  ~Server() override {
    Stop();
    listeners_.clear();
    context_.reset();
  }

  void Run(HttpListeners listeners);
  size_t connections() const override { return connections_; }
  void Stop() override;

  // Everything below is for the loop's thread.
  Executor executor() { return context_->get_executor(); }
  const HttpLimits& limits() const { return limits_; }
  HttpService& service() { return service_; }
  bool stopping() const { return stopping_; }
  // Runs `work` on the pool, and resumes when it is done. False: the pool is full and nothing ran.
  Task<bool> OnPool(std::function<void()> work);
  bool ReserveBody(size_t bytes);
  void ReleaseBody(size_t bytes) { body_bytes_ -= bytes; }
  void Enter(Session* session);
  void Leave(Session* session);

 private:
  struct Listener {
    Descriptor socket;
    Event room;  // set when a connection ended
    bool unix_socket;
    size_t open_limit;
    Listener(Executor executor, int fd, bool is_unix, size_t limit)
        : socket(executor, fd), room(executor), unix_socket(is_unix), open_limit(limit) {}
  };

  Task<void> Accept(std::shared_ptr<Listener> listener);
  bool AcceptOne(Listener& listener);
  void BeginStop();
  void CloseAll();
  bool WaitUntilEmpty(milliseconds timeout);

  const HttpLimits limits_;
  HttpService& service_;
  WorkerPool& pool_;
  std::unique_ptr<asio::io_context> context_ = std::make_unique<asio::io_context>(1);
  asio::executor_work_guard<Executor> work_;
  std::vector<std::shared_ptr<Listener>> listeners_;
  std::unordered_set<Session*> sessions_;
  size_t body_bytes_ = 0;
  bool stopping_ = false;
  std::atomic<size_t> connections_{0};

  std::mutex mutex_;
  std::condition_variable emptied_;
  bool stop_begun_ = false;  // guarded by mutex_: no session can begin any more
  bool stopped_ = false;     // the caller's
  std::thread thread_;
};

// One connection.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Server& server, Socket socket, Peer peer)
      : server_(server), socket_(std::move(socket)), deadline_(server.executor()), peer_(std::move(peer)) {
    server_.Enter(this);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session() { server_.Leave(this); }

  static Task<void> Serve(std::shared_ptr<Session> self);
  void OnStop() {
    if (idle_) Expire();
    if (wake_) wake_->Set();
  }
  void Close() {
    error_code ignored;
    socket_.close(ignored);
    if (wake_) wake_->Set();
  }

 private:
  Task<bool> ServeOne(bool first);
  Task<bool> ReadHead(RequestParser& parser, bool first);
  Task<bool> ReadBody(RequestParser& parser, Request& request, size_t max_bytes);
  enum class Call { kAdmit, kHandle, kAdmitAndHandle };
  Task<std::optional<Response>> CallService(Request& request, Call call);
  Task<bool> ReadMore();

  Task<bool> Respond(const Request& request, Response& response);
  Task<bool> SendStream(BodyStream& stream, const Request& request, Framing framing);
  Task<bool> SendPiece(std::string_view bytes, Framing framing);
  Task<bool> Write(std::string_view bytes);
  Task<void> Linger();
  std::string FormatHead(const Request& request, const Response& response, Framing framing) const;
  Framing FramingOf(const Response& response) const;

  // From now on reads and writes end when the time is over.
  void Arm(milliseconds time);
  void Disarm();
  void Expire() {
    expired_ = true;
    error_code ignored;
    socket_.cancel(ignored);
  }
  Response ProblemResponse(const Request& request, const Problem& problem) const {
    Response response = ToResponse(problem, request);
    response.close = true;
    return response;
  }

  Server& server_;
  Socket socket_;
  Timer deadline_;
  uint64_t deadline_number_ = 0;  // a deadline that was replaced may still fire: it sees that it is old
  bool expired_ = false;
  bool idle_ = false;  // no byte of the next request came yet
  bool keep_alive_ = false;
  bool http_1_0_ = false;
  bool unread_ = false;  // the client may still be sending what we will not read
  size_t reserved_ = 0;  // of the server's body memory
  const Peer peer_;
  std::string input_;
  std::shared_ptr<Wake> wake_;  // of the stream being sent
};

void Session::Arm(milliseconds time) {
  const uint64_t number = ++deadline_number_;
  deadline_.expires_after(time);
  deadline_.async_wait([weak = weak_from_this(), number](const error_code& error) {
    const std::shared_ptr<Session> self = weak.lock();
    if (!error && self && self->deadline_number_ == number) self->Expire();
  });
}

void Session::Disarm() {
  ++deadline_number_;
  deadline_.cancel();
}

// ---- Reading -----------------------------------------------------------------------------------------------------

Task<bool> Session::ReadMore() {
  if (expired_) co_return false;
  // Waiting holds no buffer: four thousand idle connections cost little.
  const auto [error] = co_await socket_.async_wait(Socket::wait_read, kTask);
  if (error) co_return false;
  const size_t before = input_.size();
  input_.resize(kMaxInputBytes);
  error_code read_error;
  const size_t got =
      socket_.read_some(asio::mutable_buffer(input_.data() + before, kMaxInputBytes - before), read_error);
  input_.resize(before + got);
  if (input_.empty()) input_.shrink_to_fit();
  if (read_error == asio::error::would_block) co_return true;
  co_return !read_error && got > 0;
}

Task<bool> Session::ReadHead(RequestParser& parser, bool first) {
  idle_ = input_.empty();
  Arm(idle_ && !first ? server_.limits().idle_time : server_.limits().header_time);
  for (;;) {
    const tl::expected<bool, Problem> complete = parser.ParseHead(input_);
    if (!complete) {
      const Request broken = parser.TakeHead();
      Response response = ProblemResponse(broken, complete.error());
      unread_ = true;
      co_await Respond(broken, response);
      co_return false;
    }
    if (*complete) break;
    const bool more = co_await ReadMore();
    if (more) {
      if (idle_ && !first) Arm(server_.limits().header_time);
      idle_ = false;
      continue;
    }
    if (expired_ && !idle_ && !server_.stopping()) {
      const Request broken = parser.TakeHead();
      Response response =
          ProblemResponse(broken, {ProblemType::kRequestTimeout, "the request's headers did not arrive in time"});
      expired_ = false;
      co_await Respond(broken, response);
    }
    co_return false;
  }
  idle_ = false;
  Disarm();
  co_return true;
}

// The whole body, or an answer that says why not.
Task<bool> Session::ReadBody(RequestParser& parser, Request& request, size_t max_bytes) {
  const HttpLimits& limits = server_.limits();
  const auto start = std::chrono::steady_clock::now();
  std::optional<Problem> problem;
  for (;;) {
    const tl::expected<bool, Problem> complete = parser.ParseBody(input_, max_bytes);
    const size_t size = parser.body_bytes();
    if (!complete) {
      problem = complete.error();
    } else if (size > reserved_ && !server_.ReserveBody(size - reserved_)) {
      problem = Problem{.type = ProblemType::kUnavailable,
                        .detail = "too many large requests are being read at once",
                        .headers = {{"Retry-After", "1"}}};
    } else {
      reserved_ = std::max(reserved_, size);
      if (*complete) break;
      const milliseconds allowed = limits.body_time + milliseconds(size * 1000 / limits.body_bytes_per_second);
      Arm(std::chrono::duration_cast<milliseconds>(start + allowed - std::chrono::steady_clock::now()));
      const bool more = co_await ReadMore();
      if (more) continue;
      if (!expired_) co_return false;  // the client is gone
      expired_ = false;
      problem = Problem{ProblemType::kRequestTimeout, "the body did not arrive in time"};
    }
    Response response = ProblemResponse(request, *problem);
    unread_ = true;
    co_await Respond(request, response);
    co_return false;
  }
  Disarm();
  request.body = parser.TakeBody();
  co_return true;
}

// ---- A request from its first byte to the last of its answer --------------------------------------------------------

Task<void> Session::Serve(std::shared_ptr<Session> self) {
  bool first = true;
  for (;;) {
    const bool again = co_await self->ServeOne(first);
    if (self->reserved_ > 0) self->server_.ReleaseBody(std::exchange(self->reserved_, 0));
    if (!again || self->server_.stopping()) break;
    first = false;
  }
  if (self->unread_) co_await self->Linger();
}

// True: the connection can take another request.
Task<bool> Session::ServeOne(bool first) {
  RequestParser parser;
  const bool complete = co_await ReadHead(parser, first);
  if (!complete) co_return false;
  keep_alive_ = parser.keep_alive();
  http_1_0_ = parser.http_1_0();
  Request request = parser.TakeHead();
  request.peer = peer_;

  HttpService::Plan plan = server_.service().Begin(request);
  std::optional<Response> answer = std::move(plan.answer);
  if (!answer && parser.content_length().value_or(0) > plan.max_body_bytes) {
    const Problem too_large{ProblemType::kBodyTooLarge,
                            fmt::format("the body is larger than {} bytes", plan.max_body_bytes)};
    answer = ToResponse(too_large, request);
  }
  if (!answer) answer = co_await CallService(request, parser.has_body() ? Call::kAdmit : Call::kAdmitAndHandle);
  if (answer) {
    unread_ = parser.has_body();
    answer->close = answer->close || unread_;
    co_return co_await Respond(request, *answer);
  }
  if (parser.expects_continue() && input_.empty()) {
    const bool written = co_await Write("HTTP/1.1 100 Continue\r\n\r\n");
    if (!written) co_return false;
  }
  const bool read = co_await ReadBody(parser, request, plan.max_body_bytes);
  if (!read) co_return false;
  answer = co_await CallService(request, Call::kHandle);
  co_return co_await Respond(request, *answer);
}

// Nothing after kAdmit: the request is admitted.
Task<std::optional<Response>> Session::CallService(Request& request, Call call) {
  std::optional<Response> answer;
  std::function<void()> work = [&answer, &request, call, &service = server_.service()] {
    if (call != Call::kHandle) answer = service.Admit(request);
    if (call != Call::kAdmit && !answer) answer = service.Handle(request);
  };
  const bool accepted = co_await server_.OnPool(std::move(work));
  if (!accepted) {
    const Problem busy{.type = ProblemType::kUnavailable,
                       .detail = "too many requests are waiting",
                       .headers = {{"Retry-After", "1"}}};
    answer = ToResponse(busy, request);
  }
  co_return std::move(answer);
}

// ---- Writing -------------------------------------------------------------------------------------------------------

Framing Session::FramingOf(const Response& response) const {
  if (!response.stream || response.stream->Length()) return Framing::kLength;
  return http_1_0_ ? Framing::kUntilClose : Framing::kChunked;
}

std::string Session::FormatHead(const Request& request, const Response& response, Framing framing) const {
  std::string head =
      fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\n", response.status, ReasonPhrase(response.status), HttpDate());
  const auto add = [&](std::string_view name, std::string_view value) {
    head += fmt::format("{}: {}\r\n", name, value);
  };
  if (!response.content_type.empty()) add("Content-Type", response.content_type);
  if (framing == Framing::kLength)
    add("Content-Length", std::to_string(response.stream ? *response.stream->Length() : response.body.size()));
  if (framing == Framing::kChunked) add("Transfer-Encoding", "chunked");
  if (!keep_alive_) add("Connection", "close");
  if (!request.id.empty()) add("X-Request-Id", request.id);
  add("X-Content-Type-Options", "nosniff");  // a job's output must not become a page
  if (!HasHeader(response, "Cache-Control")) add("Cache-Control", "no-store");
  for (const HeaderField& field : response.headers) add(field.name, field.value);
  return head + "\r\n";
}

// True: the connection can take another request.
Task<bool> Session::Respond(const Request& request, Response& response) {
  const Framing framing = FramingOf(response);
  keep_alive_ = keep_alive_ && !response.close && !http_1_0_ && framing != Framing::kUntilClose && !server_.stopping();
  server_.service().Answered(request, response.status);
  std::string head = FormatHead(request, response, framing);
  const bool without_body = request.method == "HEAD";
  if (!without_body && !response.stream) head += response.body;
  const bool written = co_await Write(head);
  if (!written) co_return false;
  if (response.stream && !without_body) {
    const bool whole = co_await SendStream(*response.stream, request, framing);
    response.stream.reset();
    if (!whole) co_return false;
  }
  co_return keep_alive_;
}

Task<bool> Session::SendStream(BodyStream& stream, const Request& request, Framing framing) {
  wake_ = std::make_shared<Wake>(server_.executor());
  stream.Watch(Wake::Notifier(wake_));
  Result<BodyStream::Piece> piece = BodyStream::Piece{};
  bool sent = true;
  while (sent) {
    wake_->Reset();
    std::function<void()> next = [&piece, &stream] { piece = stream.Next(); };
    const bool ran = co_await server_.OnPool(std::move(next));
    if (ran && !piece) {
      LogWarn("stream_cut", {{"request", request.id}, {"path", request.path}, {"error", piece.error().message}});
      sent = false;
    } else if (ran && piece->step == BodyStream::Step::kEnd) {
      break;
    } else if (ran && piece->step == BodyStream::Step::kData) {
      sent = co_await SendPiece(piece->bytes, framing);
    } else if (server_.stopping()) {
      break;  // a whole body without an end event: the reader comes back with its position
    } else {
      const bool woken = co_await wake_->Wait(server_.limits().keep_alive_time);
      if (!woken) sent = co_await SendPiece(stream.KeepAlive(), framing);
    }
  }
  wake_.reset();
  if (sent && framing == Framing::kChunked) sent = co_await Write("0\r\n\r\n");
  co_return sent;
}

Task<bool> Session::SendPiece(std::string_view bytes, Framing framing) {
  if (bytes.empty()) co_return true;
  if (framing != Framing::kChunked) co_return co_await Write(bytes);
  const std::string chunk = fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes);
  co_return co_await Write(chunk);
}

Task<bool> Session::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    if (expired_) co_return false;
    const asio::const_buffer slice(bytes.data(), std::min(bytes.size(), kWriteSliceBytes));
    Arm(server_.limits().write_time);
    const auto [error, written] = co_await asio::async_write(socket_, slice, kTask);
    Disarm();
    if (error) co_return false;
    bytes.remove_prefix(written);
  }
  co_return true;
}

// Closing a socket with unread input resets the connection, and the client may lose the answer that it has not read
// yet: so the answer's end is said first, and the rest of the request thrown away for a moment.
Task<void> Session::Linger() {
  error_code ignored;
  socket_.shutdown(Socket::shutdown_send, ignored);
  Arm(server_.limits().linger_time);
  size_t thrown_away = 0;
  bool more = true;
  while (more && thrown_away < kMaxLingerBytes) {
    thrown_away += input_.size();
    input_.clear();
    more = co_await ReadMore();
  }
}

// ---- The server ----------------------------------------------------------------------------------------------------

Task<bool> Server::OnPool(std::function<void()> work) {
  auto done = std::make_shared<Event>(executor());
  const bool accepted = pool_.Run([work = std::move(work), done, executor = executor()]() mutable {
    work();
    asio::post(executor, [done = std::move(done)] { done->Set(); });
  });
  if (!accepted) co_return false;
  for (bool finished = false; !finished;) finished = co_await done->Wait(std::chrono::hours(1));
  co_return true;
}

bool Server::ReserveBody(size_t bytes) {
  if (body_bytes_ + bytes > limits_.body_memory_bytes) return false;
  body_bytes_ += bytes;
  return true;
}

void Server::Enter(Session* session) {
  sessions_.insert(session);
  ++connections_;
}

void Server::Leave(Session* session) {
  sessions_.erase(session);
  --connections_;
  for (const auto& listener : listeners_) listener->room.Set();
  if (!sessions_.empty()) return;
  const std::lock_guard lock(mutex_);  // not between the waiter's look and its sleep
  emptied_.notify_all();
}

Task<void> Server::Accept(std::shared_ptr<Listener> listener) {
  while (!stopping_) {
    if (connections_ >= listener->open_limit) {
      co_await listener->room.Wait(kAcceptPause);
      continue;
    }
    const auto [error] = co_await listener->socket.async_wait(Descriptor::wait_read, kTask);
    if (error || stopping_) break;
    const bool usable = AcceptOne(*listener);
    if (!usable) co_await listener->room.Wait(kAcceptPause);
  }
}

// False: this host has no descriptor or memory for another connection now.
bool Server::AcceptOne(Listener& listener) {
  Fd socket(::accept4(listener.socket.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket) return errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM;
  Peer peer;
  if (listener.unix_socket) {
    Result<Peer> known = UnixPeer(socket.get());
    if (!known) {
      LogWarn("connection_refused", {{"error", known.error().message}});
      return true;
    }
    peer = *std::move(known);
  } else {
    const int on = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::setsockopt(socket.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  }
  const asio::generic::stream_protocol protocol(listener.unix_socket ? AF_UNIX : AF_INET, 0);
  Socket connection(executor(), protocol, socket.release());
  const auto session = std::make_shared<Session>(*this, std::move(connection), std::move(peer));
  asio::co_spawn(executor(), Session::Serve(session), asio::detached);
  return true;
}

void Server::Run(HttpListeners listeners) {
  const size_t limit = limits_.connections;
  listeners_.push_back(std::make_shared<Listener>(executor(), listeners.unix_socket.release(), true, limit));
  if (listeners.tcp)
    listeners_.push_back(
        std::make_shared<Listener>(executor(), listeners.tcp.release(), false, limit - limits_.reserved_for_unix));
  for (const auto& listener : listeners_) asio::co_spawn(executor(), Accept(listener), asio::detached);
  thread_ = std::thread([this] {
    ::pthread_setname_np(::pthread_self(), "api-loop");
    context_->run();
  });
}

void Server::BeginStop() {
  stopping_ = true;
  error_code ignored;
  for (const auto& listener : listeners_) {
    listener->socket.close(ignored);
    listener->room.Set();
  }
  const std::vector<Session*> sessions(sessions_.begin(), sessions_.end());
  for (Session* session : sessions) session->OnStop();
  const std::lock_guard lock(mutex_);
  stop_begun_ = true;
  emptied_.notify_all();
}

void Server::CloseAll() {
  const std::vector<Session*> sessions(sessions_.begin(), sessions_.end());
  for (Session* session : sessions) session->Close();
}

bool Server::WaitUntilEmpty(milliseconds timeout) {
  std::unique_lock lock(mutex_);
  return emptied_.wait_for(lock, timeout, [this] { return stop_begun_ && connections_ == 0; });
}

void Server::Stop() {
  if (std::exchange(stopped_, true)) return;
  asio::post(executor(), [this] { BeginStop(); });
  if (!WaitUntilEmpty(limits_.stop_time)) {
    asio::post(executor(), [this] { CloseAll(); });
    const bool empty = WaitUntilEmpty(limits_.stop_time);
    if (!empty) LogWarn("connections_left", {{"connections", connections_.load()}});
  }
  work_.reset();
  asio::post(executor(), [this] { context_->stop(); });
  thread_.join();
}

size_t ConnectionLimit(const HttpLimits& limits) {
  rlimit descriptors{};
  CHECK(::getrlimit(RLIMIT_NOFILE, &descriptors) == 0);
  return std::max<size_t>(std::min<size_t>(limits.connections, descriptors.rlim_cur / 2), limits.reserved_for_unix + 1);
}

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpLimits& limits, HttpListeners listeners,
                                                      HttpService& service, WorkerPool& pool) {
  HttpLimits fitting = limits;
  fitting.connections = ConnectionLimit(limits);
  if (fitting.connections < limits.connections)
    LogWarn("fewer_connections",
            {{"connections", fitting.connections}, {"wanted", limits.connections}, {"because", "RLIMIT_NOFILE"}});
  auto server = std::make_unique<Server>(fitting, service, pool);
  server->Run(std::move(listeners));
  return server;
}

}  // namespace caisson::api
