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

#include "base/http/address.h"
#include "base/result.h"

namespace caisson {

struct HttpResponse;

// Why a request had no answer.
enum class HttpFault {
  kNone,
  kStopped,  // by the caller: cancelled, a callback's error, a limit of the request
  kAddress,  // every address of the host is one that `may_connect` refuses
  kName,     // the host's name has no address
  kConnect,  // refused, unreachable
  kTimedOut,
  kBroken,  // the connection ended early, or what came is no proper HTTP
  kNotHttp,
  kNotTls,
  kTlsTooOld,
  kCertificateExpired,
  kCertificateHost,  // it is valid, for another host
  kCertificateUntrusted,
  kCaFile,             // unreadable
  kClientCertificate,  // ours is unreadable or does not fit its key
  kClientCertificateWanted,
};

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
  std::string ca_file;      // in place of the system's bundle of authorities, where not empty
  std::string client_cert;  // PEM, where the server wants to know who we are
  std::string client_key;   // PEM; empty where client_cert has the key too
  // Judges the address that a new connection is about to go to, whatever the name resolved to a moment ago. With it no
  // proxy is used: its address would be judged in place of the server's.
  std::function<bool(AddressReach)> may_connect;
  std::vector<std::string> resolve;  // "HOST:PORT:ADDRESS" in place of what the resolver says
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
  AddressReach reach = AddressReach::kNobody;  // of the server's address; known where `may_connect` is used

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
  // Of the last Perform.
  HttpFault fault() const { return fault_; }
  // Of the address that the last Perform was about to connect to, last; kNobody where it made no connection.
  AddressReach tried() const { return tried_; }

 private:
  struct Handle;
  std::unique_ptr<Handle> handle_;
  HttpFault fault_ = HttpFault::kNone;
  AddressReach tried_ = AddressReach::kNobody;
};

}  // namespace caisson
