// SPDX-License-Identifier: Apache-2.0
#include "api/http_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_set>

#include "api/auth.h"
#include "api/http_session.h"
#include "api/tls.h"
#include "base/check.h"
#include "base/log.h"

namespace caisson::api {
namespace {

using Descriptor = asio::posix::basic_stream_descriptor<Executor>;

constexpr milliseconds kAcceptPause{100};  // while no descriptor is free

class Server final : public HttpServer, public SessionHost {
 public:
  Server(const HttpLimits& limits, HttpService& service, WorkerPool& pool)
      : limits_(limits), service_(service), pool_(pool), work_(context_->get_executor()) {}
  // The pool was stopped after Stop(): nothing refers to a coroutine any more. Those that are left end here, while
  // all else of this object still exists.
  ~Server() override {
    Stop();
    listeners_.clear();
    work_.reset();
    context_.reset();
  }

  Result<void> UseTls(const std::string& certificate, const std::string& key);
  void Run(HttpListeners listeners);
  size_t connections() const override { return connections_; }
  void Stop() override;

  Executor executor() override { return context_->get_executor(); }
  const HttpLimits& limits() const override { return limits_; }
  HttpService& service() override { return service_; }
  bool stopping() const override { return stopping_; }
  Task<bool> OnPool(std::function<void()> work) override;
  bool ReserveBody(size_t bytes) override;
  void ReleaseBody(size_t bytes) override { body_bytes_ -= bytes; }
  void Enter(Session* session) override;
  void Leave(Session* session) override;

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
  std::unique_ptr<asio::ssl::context> tls_;  // of TCP; none: plain
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
  const auto session = std::make_shared<Session>(*this, std::move(connection), std::move(peer),
                                                 listener.unix_socket ? nullptr : tls_.get());
  asio::co_spawn(executor(), Session::Serve(session), asio::detached);
  return true;
}

Result<void> Server::UseTls(const std::string& certificate, const std::string& key) {
  tls_ = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
  return LoadTls(tls_->native_handle(), certificate, key);
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
  if (std::exchange(stopped_, true) || !thread_.joinable()) return;
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
  if (!listeners.tls_certificate.empty()) TRY(server->UseTls(listeners.tls_certificate, listeners.tls_key));
  server->Run(std::move(listeners));
  return server;
}

}  // namespace caisson::api
