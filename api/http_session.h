// SPDX-License-Identifier: Apache-2.0
// Session: one connection of the HTTP server, from its first byte to its last, as one coroutine on the loop's thread.
// Kept alive by that coroutine; the server knows it while it lives. Internal to the HTTP server.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "api/http_server.h"
#include "api/http_service.h"
#include "api/loop.h"
#include "api/problem.h"
#include "api/request_parser.h"
#include "api/response_head.h"

namespace caisson::api {

class Session;

// What a session needs of its server. On the loop's thread.
class SessionHost {
 public:
  virtual ~SessionHost() = default;
  virtual Executor executor() = 0;
  virtual const HttpLimits& limits() const = 0;
  virtual HttpService& service() = 0;
  virtual bool stopping() const = 0;
  // Runs `work` on the pool, and resumes when it is done. False: the pool is full and nothing ran.
  virtual Task<bool> OnPool(std::function<void()> work) = 0;
  // Of the memory for all bodies. False: it is used up.
  virtual bool ReserveBody(size_t bytes) = 0;
  virtual void ReleaseBody(size_t bytes) = 0;
  virtual void Enter(Session* session) = 0;
  virtual void Leave(Session* session) = 0;
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  // With `tls` the client must speak TLS; borrowed.
  Session(SessionHost& server, Socket socket, Peer peer, asio::ssl::context* tls)
      : server_(server), socket_(std::move(socket)), deadline_(server.executor()), peer_(std::move(peer)) {
    if (tls) tls_ = std::make_unique<TlsStream>(socket_, *tls);
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
  Task<bool> ReadBody(RequestParser& parser, Request& request, uint64_t max_bytes);
  Task<bool> ReceiveInto(BodySink& sink, RequestParser& parser, const Request& request, uint64_t max_bytes);
  Task<bool> ServeStreamedBody(RequestParser& parser, Request& request, uint64_t max_bytes);
  Task<bool> AwaitAnswer(Response& response, const Request& request);
  Task<bool> SayContinue(const RequestParser& parser);
  bool PeerHasGone();
  enum class Call { kAdmit, kHandle, kAdmitAndHandle };
  Task<std::optional<Response>> CallService(Request& request, Call call);
  Task<bool> ReadMore();
  Task<bool> ReadMoreTls();
  Task<bool> BeginTls();
  Task<void> EndTls();

  Task<bool> Respond(const Request& request, Response& response);
  Task<bool> SendStream(BodyStream& stream, const Request& request, Framing framing);
  Task<bool> SendPiece(std::string_view bytes, Framing framing);
  Task<bool> Write(std::string_view bytes);
  Task<void> Linger();

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

  SessionHost& server_;
  Socket socket_;
  std::unique_ptr<TlsStream> tls_;  // around socket_
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

}  // namespace caisson::api
