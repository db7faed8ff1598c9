// SPDX-License-Identifier: Apache-2.0
#include "api/http_session.h"

#include <poll.h>

#include <algorithm>
#include <boost/asio/write.hpp>

#include "base/log.h"

namespace caisson::api {
namespace {

constexpr size_t kWriteSliceBytes = 64 << 10;  // what write_time is for
constexpr size_t kTlsRecordBytes = 16 << 10;
constexpr size_t kMaxLingerBytes = 4 << 20;
constexpr milliseconds kBusyPause{100};  // while the pool is full
constexpr milliseconds kPeerCheck{500};  // how often it is looked whether a client still waits for a later answer
constexpr size_t kSinkPieceBytes = 256 << 10;

Problem Busy() {
  return {
      .type = ProblemType::kUnavailable, .detail = "too many requests are waiting", .headers = {{"Retry-After", "1"}}};
}

}  // namespace

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
  if (tls_) co_return co_await ReadMoreTls();
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

Task<bool> Session::ReadMoreTls() {
  const size_t before = input_.size();
  input_.resize(std::min(before + kTlsRecordBytes, kMaxInputBytes));
  const asio::mutable_buffer room(input_.data() + before, input_.size() - before);
  const auto [error, got] = co_await tls_->async_read_some(room, kTask);
  input_.resize(before + got);
  co_return !error && got > 0;
}

Task<bool> Session::BeginTls() {
  idle_ = true;
  Arm(server_.limits().header_time);
  const auto [error] = co_await tls_->async_handshake(asio::ssl::stream_base::server, kTask);
  Disarm();
  co_return !error && !expired_;
}

// Says that nothing was cut off, and waits a moment for the client to say the same.
Task<void> Session::EndTls() {
  Arm(server_.limits().linger_time);
  co_await tls_->async_shutdown(kTask);
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
  co_return !expired_;  // the time may have been over as the last byte came: then nothing is begun
}

// The whole body, or an answer that says why not.
Task<bool> Session::ReadBody(RequestParser& parser, Request& request, uint64_t max_bytes) {
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
  co_return !expired_;
}

// The body, piece by piece, to where it goes; true once it is whole. Nothing is read from the client while a piece is
// being written: that is the back-pressure. Only the time in which we wait for the client counts against it.
Task<bool> Session::ReceiveInto(BodySink& sink, RequestParser& parser, const Request& request, uint64_t max_bytes) {
  const HttpLimits& limits = server_.limits();
  std::chrono::steady_clock::duration waited{};
  uint64_t received = 0;
  std::optional<Response> refusal;
  while (!refusal) {
    const tl::expected<bool, Problem> complete = parser.ParseBody(input_, max_bytes);
    if (!complete) {
      refusal = ProblemResponse(request, complete.error());
      break;
    }
    const size_t size = parser.body_bytes();
    if (size >= kSinkPieceBytes || (*complete && size > 0)) {
      const std::string piece = parser.TakeBody();
      received += size;
      std::function<void()> write = [&refusal, &sink, &piece] { refusal = sink.Write(piece); };
      const bool accepted = co_await server_.OnPool(std::move(write));
      if (!accepted) refusal = ProblemResponse(request, Busy());
      if (refusal) break;
    }
    if (*complete) co_return true;
    const milliseconds allowed =
        limits.body_time + milliseconds((received + size) * 1000 / limits.body_bytes_per_second);
    Arm(std::chrono::duration_cast<milliseconds>(allowed - waited));
    const auto start = std::chrono::steady_clock::now();
    const bool more = co_await ReadMore();
    waited += std::chrono::steady_clock::now() - start;
    Disarm();
    if (more && !expired_) continue;
    if (!expired_ || server_.stopping()) co_return false;  // the client is gone
    expired_ = false;
    refusal = ProblemResponse(request, {ProblemType::kRequestTimeout, "the body did not arrive in time"});
  }
  refusal->close = true;
  unread_ = true;
  co_await Respond(request, *refusal);
  co_return false;
}

// ---- A request from its first byte to the last of its answer --------------------------------------------------------

Task<void> Session::Serve(std::shared_ptr<Session> self) {
  if (self->tls_) {
    const bool begun = co_await self->BeginTls();
    if (!begun) co_return;
  }
  bool first = true;
  for (;;) {
    const bool again = co_await self->ServeOne(first);
    if (self->reserved_ > 0) self->server_.ReleaseBody(std::exchange(self->reserved_, 0));
    if (!again || self->server_.stopping()) break;
    first = false;
  }
  if (self->tls_ && !self->expired_) co_await self->EndTls();
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
  const bool whole = !parser.has_body() && !plan.streams_body;
  if (!answer) answer = co_await CallService(request, whole ? Call::kAdmitAndHandle : Call::kAdmit);
  if (answer) {
    unread_ = parser.has_body();
    answer->close = answer->close || unread_;
    co_return co_await Respond(request, *answer);
  }
  if (plan.streams_body) co_return co_await ServeStreamedBody(parser, request, plan.max_body_bytes);
  const bool ready = co_await SayContinue(parser);
  if (!ready) co_return false;
  const bool read = co_await ReadBody(parser, request, plan.max_body_bytes);
  if (!read) co_return false;
  answer = co_await CallService(request, Call::kHandle);
  co_return co_await Respond(request, *answer);
}

Task<bool> Session::SayContinue(const RequestParser& parser) {
  if (!parser.expects_continue() || !input_.empty()) co_return true;
  co_return co_await Write("HTTP/1.1 100 Continue\r\n\r\n");
}

Task<bool> Session::ServeStreamedBody(RequestParser& parser, Request& request, uint64_t max_bytes) {
  tl::expected<std::unique_ptr<BodySink>, Response> sink = nullptr;
  std::function<void()> open = [&sink, &request, &service = server_.service()] { sink = service.OpenBody(request); };
  const bool reserved = server_.ReserveBody(kSinkPieceBytes + kMaxInputBytes);
  if (reserved) reserved_ += kSinkPieceBytes + kMaxInputBytes;
  bool opened = reserved;
  if (reserved) opened = co_await server_.OnPool(std::move(open));
  if (!opened) sink = tl::unexpected(ToResponse(Busy(), request));
  if (!sink) {
    unread_ = parser.has_body();
    sink.error().close = sink.error().close || unread_;
    co_return co_await Respond(request, sink.error());
  }
  const bool ready = co_await SayContinue(parser);
  bool whole = false;
  if (ready) whole = co_await ReceiveInto(**sink, parser, request, max_bytes);
  Response response;
  std::function<void()> end = [&sink, &response, whole] {  // what it leaves behind is removed there, not on the loop
    if (whole) response = (*sink)->Finish();
    sink->reset();
  };
  const bool ended = co_await server_.OnPool(std::move(end));
  if (!ended) response = ToResponse(Busy(), request);
  if (!whole) co_return false;
  co_return co_await Respond(request, response);
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
    answer = ToResponse(Busy(), request);
  }
  co_return std::move(answer);
}

// ---- Writing -------------------------------------------------------------------------------------------------------

bool Session::PeerHasGone() {
  pollfd peer{socket_.native_handle(), POLLRDHUP, 0};
  return ::poll(&peer, 1, 0) > 0 && (peer.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0;
}

// Waits for what `response.later` promises and puts it into `response`. False: the client does not wait any more. One
// that only ends its sending side has gone too: the two cannot be told apart.
Task<bool> Session::AwaitAnswer(Response& response, const Request& request) {
  wake_ = std::make_shared<Wake>(server_.executor());
  const std::shared_ptr<LaterAnswer> later = std::move(response.later);
  later->Watch(Wake::Notifier(wake_));
  bool waiting = true;
  while (waiting) {
    wake_->Reset();
    std::optional<Response> answer = later->Take();
    if (answer) {
      response = *std::move(answer);
      break;
    }
    if (server_.stopping()) {
      response = ProblemResponse(request, {.type = ProblemType::kUnavailable,
                                           .detail = "this node is shutting down",
                                           .headers = {{"Retry-After", "30"}}});
      break;
    }
    waiting = !PeerHasGone();
    if (waiting) co_await wake_->Wait(kPeerCheck);
  }
  wake_.reset();
  co_return waiting;
}

// True: the connection can take another request.
Task<bool> Session::Respond(const Request& request, Response& response) {
  if (response.later) {
    const bool answered = co_await AwaitAnswer(response, request);
    if (!answered) co_return false;
  }
  const Framing framing = FramingOf(response, http_1_0_);
  keep_alive_ = keep_alive_ && !response.close && !http_1_0_ && framing != Framing::kUntilClose && !server_.stopping();
  server_.service().Answered(request, response.status);
  std::string head = FormatHead(response, request.id, framing, keep_alive_);
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
      sent = stream.MayEndEarly();
      break;
    } else if (!ran || piece->look_again.count() > 0) {
      co_await wake_->Wait(ran ? piece->look_again : kBusyPause);
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
    bool written = false;
    if (tls_) {
      const auto [error, size] = co_await asio::async_write(*tls_, slice, kTask);
      written = !error;
    } else {
      const auto [error, size] = co_await asio::async_write(socket_, slice, kTask);
      written = !error;
    }
    Disarm();
    if (!written) co_return false;
    bytes.remove_prefix(slice.size());
  }
  co_return true;
}

// Closing a socket with unread input resets the connection, and the client may lose the answer that it has not read
// yet: so the answer's end is said first, and the rest of the request thrown away for a moment.
Task<void> Session::Linger() {
  tls_.reset();  // what still comes is thrown away as it is
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

}  // namespace caisson::api
