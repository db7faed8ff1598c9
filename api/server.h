// SPDX-License-Identifier: Apache-2.0
// ApiServer: the HTTP face (HTTP/1.1) on a Unix socket and, where configured, on TCP. One event loop thread of its own
// for connections and a small pool for calls that block (store, images); it owns both. The contract is
// api/openapi.yaml. Owned by the service's main, which keeps everything in ApiDependencies alive beyond it.
#pragma once

#include <memory>
#include <string>

#include "api/ports.h"
#include "base/result.h"
#include "queue/log_store.h"
#include "queue/store.h"

namespace caisson::api {

struct ApiDependencies {
  queue::JobStore* store = nullptr;
  queue::LogStore* logs = nullptr;
  ImagesPort* images = nullptr;
  JobsPort* jobs = nullptr;
  NodePort* node = nullptr;
  RegistriesPort* registries = nullptr;  // none: registry logins cannot be stored
};

struct ApiOptions {
  std::string unix_socket;  // path; an old socket there is replaced
  std::string listen;       // "127.0.0.1:7070", empty for none; port 0 chooses one
  std::string tls_cert;     // PEM files: with both, TCP is TLS; readable by the service
  std::string tls_key;
  uint64_t max_body_bytes = 16 << 20;
  uint32_t admin_gid = 0;  // group that is admin on the Unix socket beside root; 0 for none
  std::string version;
};

class ApiServer {
 public:
  static Result<std::unique_ptr<ApiServer>> Start(const ApiOptions& options, const ApiDependencies& dependencies);
  virtual ~ApiServer() = default;
  virtual int tcp_port() const = 0;  // 0 without TCP
  // A job changed (JobStore's listener): followers of its log look again. From any thread.
  virtual void OnJobChanged(const queue::JobId& id, queue::JobState state) = 0;
  // Refuses new requests with 503, ends followers, closes what is idle; blocks for at most some seconds.
  virtual void Stop() = 0;
};

}  // namespace caisson::api
