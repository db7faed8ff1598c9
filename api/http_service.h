// SPDX-License-Identifier: Apache-2.0
// HttpService: what the HTTP server asks of the program behind it, in the order in which a request goes through. The
// server knows connections, deadlines and HTTP; the service knows routes, callers and jobs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "api/http_types.h"

namespace caisson::api {

class HttpService {
 public:
  virtual ~HttpService() = default;

  struct Plan {
    std::optional<Response> answer;  // known already: nothing below is called
    uint64_t max_body_bytes = 0;
    bool streams_body = false;  // the body goes to OpenBody()'s sink, and not into the request to Handle()
  };
  // The headers are there. On the loop's thread: quick, and without the store.
  virtual Plan Begin(const Request& request) = 0;
  // May this caller do this, with such a body? Before the body is read, so that a stranger cannot make us read one.
  // On a thread of the pool. Sets request.caller; a response refuses.
  virtual std::optional<Response> Admit(Request& request) = 0;
  // The request is whole. On a thread of the pool.
  virtual Response Handle(const Request& request) = 0;
  // Of an admitted request whose body is streamed, instead of Handle(). A response refuses. On a thread of the pool.
  virtual tl::expected<std::unique_ptr<BodySink>, Response> OpenBody(const Request& request) = 0;
  // An answer went out (or its head, for a stream). On the loop's thread.
  virtual void Answered(const Request& request, int status) = 0;
};

}  // namespace caisson::api
