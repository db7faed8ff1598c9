// SPDX-License-Identifier: Apache-2.0
// A request and a response as the handlers see them: our own plain values, so that no handler knows the HTTP library.
// BodyStream is a response's body that is made piece by piece while it is sent.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "queue/job.h"

namespace caisson::api {

struct HeaderField {
  std::string name;  // of a request: in lower case
  std::string value;
};

// The other end of a connection, as the kernel gave it when the connection was accepted.
struct Peer {
  bool unix_socket = false;
  uid_t uid = 0;  // of a Unix socket's peer
  gid_t gid = 0;
  std::vector<gid_t> groups;
};

// On whose behalf a request acts, once it is authenticated.
struct Caller {
  queue::TenantId tenant;
  std::string tenant_name;
  bool admin = false;  // a trusted peer on the Unix socket: sees all tenants
};

struct Request {
  std::string method;
  std::string path;                                        // as sent, without the query
  std::vector<std::string> segments;                       // the path's parts, percent-decoded; no empty one at the end
  std::vector<std::pair<std::string, std::string>> query;  // percent-decoded
  std::vector<HeaderField> headers;
  std::string body;
  std::string id;  // X-Request-Id, theirs or ours
  Peer peer;
  Caller caller;

  // First header of that lower-case name, empty where there is none.
  std::string_view Header(std::string_view name) const;
  bool HasHeader(std::string_view name) const;
};

class BodyStream {
 public:
  enum class Step { kData, kWait, kEnd };  // kWait: nothing now, more may come
  struct Piece {
    Step step = Step::kEnd;
    std::string bytes;
    std::chrono::milliseconds look_again{0};  // of kWait: ask after that long though nobody notified; 0: no need
  };

  virtual ~BodyStream() = default;
  // Runs on a thread of the pool, one call at a time. An error aborts the connection, so that the client sees a cut
  // body and not a whole one.
  virtual Result<Piece> Next() = 0;
  // Content-Length, where it is known.
  virtual std::optional<uint64_t> Length() const { return std::nullopt; }
  // Has `notify` called, on any thread, whenever Next() may have more; until this object is destroyed.
  virtual void Watch(std::function<void()> notify) { (void)notify; }
  // Sent after some seconds of silence, so that both ends and everything between see that the other lives.
  virtual std::string_view KeepAlive() const { return {}; }
  // At the server's stop: true where the reader comes back for the rest, so that the body may end here as a whole one;
  // else the connection is cut.
  virtual bool MayEndEarly() const { return true; }
};

struct Response;

// An answer that takes its time on another thread. Destroyed before it came: the client has gone, or the server stops.
// The functions are called on the loop's thread and are quick.
class LaterAnswer {
 public:
  virtual ~LaterAnswer() = default;
  // Has `notify` called once, on any thread, when Take() has the answer.
  virtual void Watch(std::function<void()> notify) = 0;
  virtual std::optional<Response> Take() = 0;
};

// Where the body of a request goes that is too large to be held, piece by piece as it comes. Runs on threads of the
// pool, one call at a time. Destroyed before Finish(): the body did not come whole.
class BodySink {
 public:
  virtual ~BodySink() = default;
  virtual std::optional<Response> Write(std::string_view bytes) = 0;  // a response refuses the rest
  virtual Response Finish() = 0;
};

struct Response {
  int status = 200;
  std::vector<HeaderField> headers;
  std::string content_type;  // empty: no body
  std::string body;
  std::shared_ptr<BodyStream> stream;  // in place of `body`
  std::shared_ptr<LaterAnswer> later;  // in place of everything else here
  bool close = false;                  // the connection cannot be used after it
};

// Splits a request target into path, segments and query. kInvalid for a broken percent escape, NUL, or a form that is
// neither origin-form nor absolute-form.
Result<void> ParseTarget(std::string_view target, Request& request);

// "text/plain; charset=utf-8" is "text/plain"; in lower case.
std::string MediaType(std::string_view content_type);

// Does an Accept header name server-sent events?
bool AcceptsEvents(std::string_view accept);

}  // namespace caisson::api
