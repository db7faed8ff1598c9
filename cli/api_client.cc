// SPDX-License-Identifier: Apache-2.0
#include "cli/api_client.h"

#include <string.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "cli/text.h"

namespace caisson::cli {
namespace {

using std::chrono::seconds;

constexpr seconds kConnectTimeout{10};
constexpr seconds kSilenceTimeout{60};  // four heartbeats of a log stream; far more than a plain call needs
constexpr size_t kMaxAnswerBytes = 64 << 20;
constexpr size_t kMaxShownBody = 200;  // of an answer that is no problem+json

bool IsLocal(const Endpoint& endpoint) { return !endpoint.unix_socket.empty(); }

ErrorCode CodeOf(int status) {
  switch (status) {
    case 401:
    case 403: return ErrorCode::kDenied;
    case 404: return ErrorCode::kNotFound;
    case 409: return ErrorCode::kConflict;
    case 413: return ErrorCode::kTooLarge;
    case 429: return ErrorCode::kExhausted;
    case 502:
    case 503:
    case 504: return ErrorCode::kUnavailable;
    default: return status >= 400 && status < 500 ? ErrorCode::kInvalid : ErrorCode::kInternal;
  }
}

// The user's next step, where the status alone tells it.
std::string_view HintFor(int status) {
  if (status == 401)
    return "\nset CAISSON_TOKEN to a token made by `caisson token create --tenant NAME` on the daemon's host";
  return {};
}

std::string Details(const Json& problem) {
  std::string text = Printable(problem.StringOr("detail", ""));
  if (text.empty()) text = Printable(problem.StringOr("title", ""));
  for (const Json& error : problem.ArrayOrEmpty("errors")) {
    const std::string pointer = Printable(error.StringOr("pointer", ""));
    const std::string detail = Printable(error.StringOr("detail", ""));
    if (!detail.empty() && text.find(detail) != std::string::npos) continue;  // said already
    text += "\n  " + pointer + (pointer.empty() || detail.empty() ? "" : ": ") + detail;
  }
  return text;
}

}  // namespace

Result<Endpoint> Endpoint::Parse(std::string_view host) {
  Endpoint endpoint;
  endpoint.name = host;
  if (host.starts_with("unix://")) {
    endpoint.unix_socket = host.substr(strlen("unix://"));
    endpoint.base_url = "http://localhost";
    if (endpoint.unix_socket.starts_with('/') && endpoint.unix_socket.size() > 1) return endpoint;
  } else if (host.starts_with("http://") || host.starts_with("https://")) {
    if (host.ends_with('/')) host.remove_suffix(1);
    endpoint.base_url = host;
    const size_t slashes = host.find("//");
    const std::string_view authority = slashes == std::string_view::npos ? "" : host.substr(slashes + 2);
    if (!authority.empty() && authority.find_first_of("/?#@ ") == std::string_view::npos) return endpoint;
  }
  return Fail(ErrorCode::kInvalid,
              "\"{}\" names no daemon: give unix:///PATH/TO/caisson.sock, http://HOST:PORT or https://HOST:PORT",
              Printable(endpoint.name));
}

Result<Identity> Identity::Make(std::string token, std::string tenant) {
  const auto fits = [](const std::string& text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7F; });
  };
  if (!fits(token)) return Fail(ErrorCode::kInvalid, "CAISSON_TOKEN has blanks or characters that no token has");
  if (!fits(tenant)) return Fail(ErrorCode::kInvalid, "\"{}\" is no tenant's name", Printable(tenant));
  return Identity{Secret(std::move(token)), std::move(tenant)};
}

std::string UrlEncode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || c == '.' || c == '~';
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

Error ToError(int status, std::string_view content_type, std::string_view body) {
  std::string text;
  if (content_type.starts_with("application/problem+json")) {
    if (Result<Json> problem = ParseJson(body)) text = Details(*problem);
  }
  if (text.empty()) {
    text = fmt::format("the server answered {}", status);
    const std::string shown = Printable(body.substr(0, kMaxShownBody));
    if (!shown.empty()) text += ": " + shown;
  }
  text += HintFor(status);
  return Error{CodeOf(status), std::move(text), 0};
}

HttpRequest ApiClient::Prepare(const std::string& path) const {
  HttpRequest request;
  request.url = endpoint_.base_url + path;
  request.unix_socket = endpoint_.unix_socket;
  request.connect_timeout = kConnectTimeout;
  request.stall_timeout = seconds(0);
  request.silence_timeout = kSilenceTimeout;
  request.max_body_bytes = kMaxAnswerBytes;
  if (!identity_.token.empty()) request.headers.emplace_back("Authorization", "Bearer " + identity_.token.Expose());
  if (!identity_.tenant.empty()) request.headers.emplace_back("X-Caisson-Tenant", identity_.tenant);
  return request;
}

Error ApiClient::Unreachable(const Error& error) const {
  const char* reason = error.sys_errno ? strerrordesc_np(error.sys_errno) : nullptr;
  std::string text = fmt::format("cannot reach caissond at {}: {}", Printable(endpoint_.name),
                                 reason ? std::string(reason) : Printable(error.message));
  if (IsLocal(endpoint_) && error.sys_errno == EACCES) {
    text += "\nbecome root or a member of the group caisson";
  } else if (IsLocal(endpoint_)) {
    text +=
        "\nis it running? start it with `systemctl start caissond`, or as root with `caissond`, or name another "
        "with --host or CAISSON_HOST";
  } else {
    text +=
        "\nis it running, and does it listen there (its setting `listen`)? another is named with --host or "
        "CAISSON_HOST";
  }
  return Error{error.code, std::move(text), error.sys_errno};
}

Result<HttpResponse> ApiClient::Perform(const HttpRequest& request) {
  Result<HttpResponse> response = http_.Perform(request);
  if (!response && response.error().code == ErrorCode::kUnavailable)
    return tl::unexpected(Unreachable(response.error()));
  if (response && response->status / 100 != 2)
    return tl::unexpected(ToError(response->status, response->Header("content-type"), response->body));
  return response;
}

namespace {

Result<Json> ParseAnswer(Result<HttpResponse> response, const Endpoint& endpoint) {
  const HttpResponse answer = TRY(std::move(response));
  Result<Json> json = ParseJson(answer.body, {.max_bytes = kMaxAnswerBytes, .max_depth = 64});
  if (!json)
    return Fail(ErrorCode::kInvalid, "what answers at {} is not caissond: {}", Printable(endpoint.name),
                Printable(json.error().message));
  return json;
}

}  // namespace

Result<Json> ApiClient::Get(const std::string& path, const std::atomic<bool>* cancelled) {
  HttpRequest request = Prepare(path);
  request.cancelled = cancelled;
  return ParseAnswer(Perform(request), endpoint_);
}

Result<Json> ApiClient::Post(const std::string& path, std::string body, const std::atomic<bool>* cancelled) {
  HttpRequest request = Prepare(path);
  request.method = "POST";
  request.headers.emplace_back("Content-Type", "application/json");
  request.body = std::move(body);
  request.cancelled = cancelled;
  return ParseAnswer(Perform(request), endpoint_);
}

Result<Json> ApiClient::Ask(const std::string& method, const std::string& path, std::optional<std::string> body) {
  HttpRequest request = Prepare(path);
  request.method = method;
  request.silence_timeout = seconds(0);
  if (body) request.headers.emplace_back("Content-Type", "application/json");
  request.body = std::move(body);
  Result<HttpResponse> response = Perform(request);
  if (response && response->status == 204) return Json();
  return ParseAnswer(std::move(response), endpoint_);
}

Result<bool> ApiClient::Exists(const std::string& path) {
  HttpRequest request = Prepare(path);
  request.method = "HEAD";
  const Result<HttpResponse> response = Perform(request);
  if (response) return true;
  if (response.error().code == ErrorCode::kNotFound) return false;
  return tl::unexpected(response.error());
}

Result<void> ApiClient::Upload(const std::string& path, uint64_t size,
                               const std::function<Result<size_t>(std::span<char>)>& read) {
  HttpRequest request = Prepare(path);
  request.method = "PUT";
  request.silence_timeout = seconds(0);
  request.headers.emplace_back("Content-Type", "application/octet-stream");
  request.read_body = read;
  request.body_bytes = size;
  TRY(Perform(request));
  return {};
}

Result<void> ApiClient::Download(const std::string& path, const std::function<Result<void>(std::string_view)>& sink) {
  HttpRequest request = Prepare(path);
  request.silence_timeout = seconds(0);
  bool begun = false;
  std::optional<Error> refusal;  // of the sink: no fault of the daemon's
  request.on_body = [&](std::string_view bytes) -> Result<void> {
    begun = true;
    Result<void> taken = sink(bytes);
    if (!taken) refusal = taken.error();
    return taken;
  };
  const Result<HttpResponse> response = http_.Perform(request);
  if (response && response->status / 100 != 2)
    return tl::unexpected(ToError(response->status, response->Header("content-type"), response->body));
  if (response) return {};
  if (refusal) return tl::unexpected(*std::move(refusal));
  const Error& error = response.error();
  if (error.code != ErrorCode::kUnavailable) return tl::unexpected(error);
  if (!begun) return tl::unexpected(Unreachable(error));
  return Fail(ErrorCode::kCorrupt, "the daemon broke it off (its log has the reason): {}", Printable(error.message));
}

Result<void> ApiClient::PostForEvents(const std::string& path, std::string body, const SseParser::Sink& sink) {
  HttpRequest request = Prepare(path);
  request.method = "POST";
  request.headers.emplace_back("Content-Type", "application/json");
  request.headers.emplace_back("Accept", "text/event-stream");
  request.body = std::move(body);
  SseParser parser;
  request.on_body = [&](std::string_view bytes) { return parser.Feed(bytes, sink); };
  TRY(Perform(request));
  return {};
}

Result<void> ApiClient::Stream(const std::string& path, const std::optional<std::string>& last_event_id,
                               const SseParser::Sink& sink, const std::function<void()>& heard) {
  HttpRequest request = Prepare(path);
  request.headers.emplace_back("Accept", "text/event-stream");
  if (last_event_id) request.headers.emplace_back("Last-Event-ID", *last_event_id);
  SseParser parser;
  request.on_body = [&](std::string_view bytes) {
    heard();
    return parser.Feed(bytes, sink);
  };
  TRY(Perform(request));
  return {};
}

}  // namespace caisson::cli
