// SPDX-License-Identifier: Apache-2.0
#include "api/server.h"

#include <sys/stat.h>
#include <unistd.h>

#include "api/handlers.h"
#include "api/http_server.h"
#include "api/listener.h"
#include "api/worker_pool.h"
#include "base/log.h"

namespace caisson::api {
namespace {

// As many threads as submits that the store shall commit together; more requests wait in the pool's queue.
constexpr size_t kThreads = 64;
constexpr size_t kWaitingCalls = 4096;

class Api final : public ApiServer {
 public:
  Api(const ApiOptions& options, const ApiDependencies& dependencies)
      : socket_path_(options.unix_socket), handlers_(options, dependencies), pool_(kThreads, kWaitingCalls) {}
  ~Api() override { Stop(); }

  Result<void> Open(const ApiOptions& options) {
    HttpListeners listeners;
    listeners.unix_socket = TRY(ListenOnUnixSocket(options.unix_socket));
    socket_inode_ = InodeAtPath();
    if (!options.listen.empty()) {
      listeners.tcp = TRY(ListenOnTcp(options.listen));
      tcp_port_ = TRY(BoundPort(listeners.tcp.get()));
      listeners.tls_certificate = options.tls_cert;
      listeners.tls_key = options.tls_key;
    }
    http_ = TRY(HttpServer::Start({}, std::move(listeners), handlers_, pool_));
    LogInfo(
        "api_listening",
        {{"unix", options.unix_socket}, {"tcp", options.listen.empty() ? "-" : options.listen}, {"port", tcp_port_}});
    return {};
  }

  int tcp_port() const override { return tcp_port_; }
  void OnJobChanged(const queue::JobId& id, queue::JobState state) override { handlers_.OnJobChanged(id, state); }

  void Stop() override {
    handlers_.RefuseAll();
    if (http_) http_->Stop();
    handlers_.Stop();
    pool_.Stop();
    if (socket_inode_ != 0 && InodeAtPath() == socket_inode_) ::unlink(socket_path_.c_str());
    socket_inode_ = 0;
  }

 private:
  ino_t InodeAtPath() const {
    struct stat info {};
    return ::lstat(socket_path_.c_str(), &info) == 0 ? info.st_ino : 0;
  }

  const std::string socket_path_;
  Handlers handlers_;
  WorkerPool pool_;  // uses handlers_
  int tcp_port_ = 0;
  ino_t socket_inode_ = 0;            // of our socket: a server that replaced it keeps its own
  std::unique_ptr<HttpServer> http_;  // uses handlers_ and pool_
};

}  // namespace

Result<std::unique_ptr<ApiServer>> ApiServer::Start(const ApiOptions& options, const ApiDependencies& dependencies) {
  auto api = std::make_unique<Api>(options, dependencies);
  TRY(api->Open(options));
  return api;
}

}  // namespace caisson::api
