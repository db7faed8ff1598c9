// SPDX-License-Identifier: Apache-2.0
// HttpClient: one reusable libcurl connection for HTTP requests that we make (registries, our own API). Redirects are
// never followed by it: the caller decides who may see credentials. Only http and https are spoken. An HttpClient
// belongs to one thread at a time; any number may exist.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace caisson {

struct HttpResponse;

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;
  std::optional<std::string> body;
  // In place of `body`: exactly `body_bytes` bytes, asked for piece by piece as the connection takes them. Returns how
  // many it put there (0 only at the end); an error ends the transfer and is returned.
  std::function<Result<size_t>(std::span<char>)> read_body;
  uint64_t body_bytes = 0;
  std::string unix_socket;  // connect there instead of the URL's host
  std::string ca_file;      // in place of the system's authorities, where not empty
  std::chrono::seconds connect_timeout{10};
  std::chrono::seconds total_timeout{0};  // 0: none
  // Give up below 1,000 bytes/s for this long; 0: never.
  std::chrono::seconds stall_timeout{30};
  // Give up when nothing at all came for this long; 0: never. For streams that are mostly idle but send heartbeats.
  std::chrono::seconds silence_timeout{0};
  const std::atomic<bool>* cancelled = nullptr;  // polled about once a second; then kCancelled
  size_t max_body_bytes = 8 << 20;               // of a response kept in `body`; kTooLarge past it
  // Sees status and headers of a 2xx answer before the first piece of its body; an error ends the transfer.
  std::function<Result<void>(const HttpResponse&)> on_headers;
  // When set, a 2xx body goes here piece by piece (nothing is kept); an error ends the transfer and is returned.
  std::function<Result<void>(std::string_view)> on_body;
};

struct HttpResponse {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;

  // First header of that lower-case name, empty where there is none.
  std::string_view Header(std::string_view name) const;
};

class HttpClient {
 public:
  HttpClient();
  HttpClient(HttpClient&&) noexcept;
  HttpClient& operator=(HttpClient&&) noexcept;
  ~HttpClient();

  // Any status is a success here. kUnavailable: no connection, TLS failure, broken transfer; its text says which, and
  // sys_errno is that of the failed connect where there is one.
  Result<HttpResponse> Perform(const HttpRequest& request);

 private:
  struct Handle;
  std::unique_ptr<Handle> handle_;
};

}  // namespace caisson
