// SPDX-License-Identifier: Apache-2.0
// HttpServer: HTTP/1.1 connections on one event loop thread of its own, one coroutine each. It never blocks on a
// client, a disk or a lock for long: calls that block go to the pool, and every wait for a client has a deadline.
// Owned by the ApiServer. Knows no route and no job: those are the HttpService's.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "api/http_service.h"
#include "api/worker_pool.h"
#include "base/fd.h"
#include "base/result.h"

namespace caisson::api {

struct HttpLimits {
  std::chrono::milliseconds header_time{10'000};  // from a request's first byte, or the connection, to its last header
  std::chrono::milliseconds body_time{30'000};    // for a body, and as much again as its bytes take at:
  size_t body_bytes_per_second = 64 << 10;        // a body that comes slower than this is cut off
  std::chrono::milliseconds idle_time{60'000};    // between two requests
  std::chrono::milliseconds write_time{10'000};   // for one piece of an answer
  std::chrono::milliseconds keep_alive_time{15'000};  // silence before a stream's keep-alive
  std::chrono::milliseconds linger_time{2'000};  // for a client to read the answer to a request that we did not read
  std::chrono::milliseconds stop_time{5'000};    // for open requests at Stop()
  size_t connections = 4096;
  size_t reserved_for_unix = 64;         // of them: TCP clients cannot lock the operator out
  size_t body_memory_bytes = 512 << 20;  // of all bodies being read at once
};

struct HttpListeners {
  Fd unix_socket;
  Fd tcp;  // may be none
  // PEM files: with them TCP is TLS 1.2 or newer. The certificate's file has its chain behind it.
  std::string tls_certificate;
  std::string tls_key;
};

class HttpServer {
 public:
  // `service` and `pool` outlive it. kInvalid for TLS files that cannot be used.
  static Result<std::unique_ptr<HttpServer>> Start(const HttpLimits& limits, HttpListeners listeners,
                                                   HttpService& service, WorkerPool& pool);
  virtual ~HttpServer() = default;
  virtual size_t connections() const = 0;  // open now. Any thread.
  // Accepts nothing more, ends idle connections and streams, lets open requests finish for `stop_time`, and returns
  // once every connection is gone. The pool must still run.
  virtual void Stop() = 0;
};

}  // namespace caisson::api
