// SPDX-License-Identifier: Apache-2.0
// ApiClient: Caisson's HTTP API as function calls. Knows where the daemon is, who we are, and how to say in one
// message why a call failed. Blocks; belongs to one thread, any number may exist.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/http/http_client.h"
#include "base/json/json.h"
#include "base/result.h"
#include "base/secret.h"
#include "cli/sse_parser.h"

namespace caisson::cli {

inline constexpr std::string_view kDefaultHost = "unix:///run/caisson/caisson.sock";

// Where the daemon listens, as --host and CAISSON_HOST name it.
struct Endpoint {
  std::string name;         // as given, for messages
  std::string unix_socket;  // path, or empty
  std::string base_url;     // "http://HOST:PORT" without a trailing slash

  // unix:///PATH, http://HOST[:PORT], https://HOST[:PORT]. kInvalid with what is allowed.
  static Result<Endpoint> Parse(std::string_view host);
};

struct Identity {
  Secret token;        // CAISSON_TOKEN: needed on TCP
  std::string tenant;  // --tenant: only the Unix socket believes it. Empty: the default tenant

  // kInvalid for what cannot stand in an HTTP header.
  static Result<Identity> Make(std::string token, std::string tenant);
};

class ApiClient {
 public:
  ApiClient(Endpoint endpoint, Identity identity) : endpoint_(std::move(endpoint)), identity_(std::move(identity)) {}

  // The parsed answer of a 2xx; otherwise an Error whose message is for the user. kUnavailable: the daemon cannot be
  // reached or is not ready (502, 503, 504), so the same call may work later; a POST may have had its effect all the
  // same. kCancelled once *cancelled, where given.
  Result<Json> Get(const std::string& path, const std::atomic<bool>* cancelled = nullptr);
  Result<Json> Post(const std::string& path, std::string body, const std::atomic<bool>* cancelled = nullptr);
  // For calls that take as long as a registry or a disk takes: no time-out. `method` is POST, PUT or DELETE; the answer
  // is null where there is none (204).
  Result<Json> Ask(const std::string& method, const std::string& path, std::optional<std::string> body);
  // HEAD: false for 404.
  Result<bool> Exists(const std::string& path);
  // PUT with a body of `size` bytes that `read` gives piece by piece.
  Result<void> Upload(const std::string& path, uint64_t size,
                      const std::function<Result<size_t>(std::span<char>)>& read);
  // GET of any size, piece by piece to `sink`. kCorrupt when it broke off after the first byte.
  Result<void> Download(const std::string& path, const std::function<Result<void>(std::string_view)>& sink);
  // POST whose answer is a stream of events, until `sink` fails or the server ends the stream.
  Result<void> PostForEvents(const std::string& path, std::string body, const SseParser::Sink& sink);

  // The events of a log stream, from after `last_event_id`, until `sink` fails or the server ends the stream.
  // `heard` runs whenever anything came, heartbeats too.
  Result<void> Stream(const std::string& path, const std::optional<std::string>& last_event_id,
                      const SseParser::Sink& sink, const std::function<void()>& heard);

  const Endpoint& endpoint() const { return endpoint_; }

 private:
  HttpRequest Prepare(const std::string& path) const;
  Result<HttpResponse> Perform(const HttpRequest& request);
  Error Unreachable(const Error& error) const;

  Endpoint endpoint_;
  Identity identity_;
  HttpClient http_;
};

// A failed answer in words: title and detail of its problem+json, each of errors[] on a line of its own, else the
// status and the start of the body; every word Printable. Pure.
Error ToError(int status, std::string_view content_type, std::string_view body);

// For one segment or query value of a URL: all but unreserved characters as %NN.
std::string UrlEncode(std::string_view text);

}  // namespace caisson::cli
