// SPDX-License-Identifier: Apache-2.0
// RegistryTransport: one request to one registry, brought to its end: proves who we are when asked, follows redirects
// by hand so that a credential goes to nobody else, and tries again what is worth it. Connections are kept for the next
// request. Calls block and are safe on any thread; belongs to a RegistryClient.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/http/http_client.h"
#include "base/http/url.h"
#include "base/result.h"
#include "image/registry_access.h"
#include "image/registry_auth.h"
#include "image/registry_endpoint.h"
#include "image/registry_retry.h"

namespace caisson::image {

// GET or HEAD: nothing else is ever sent to a registry, so all of it may be repeated.
struct RegistryRequest {
  std::string method = "GET";
  std::string path;  // below /v2/NAME/: "manifests/3"; or an absolute address of the registry's own
  std::string what;  // for messages: "manifest"
  std::string accept;
  std::string range = {};
  size_t max_body_bytes = 1 << 20;
  // As HttpRequest has them. Once `on_body` has seen a byte the request is not repeated: the caller knows how to go on.
  std::function<Result<void>(const HttpResponse&)> on_headers = {};
  std::function<Result<void>(std::string_view)> on_body = {};
};

class RegistryTransport {
 public:
  RegistryTransport(RegistryEndpoint endpoint, const RegistryAccess& access);

  const RegistryEndpoint& endpoint() const { return endpoint_; }
  // Any status that another try would not better is a success here. kUnavailable says how long it was tried.
  Result<HttpResponse> Send(const RegistryRequest& request);
  // What a status that the caller did not expect means.
  tl::unexpected<Error> Refused(const HttpResponse& response, std::string_view what) const;
  // What the registry wrote, for a message, without any credential of ours that stands in it.
  std::string WithoutSecrets(std::string_view text) const { return auth_.WithoutSecrets(std::string(text)); }
  // True when cancelled meanwhile.
  bool Wait(std::chrono::milliseconds duration) const;

 private:
  struct Tried;
  class Connection;
  struct OneRequest;  // what is done at most once for it

  Tried Try(const RegistryRequest& request, OneRequest& once);
  Result<HttpResponse> Follow(const RegistryRequest& request, const std::string& authorization, bool& from_registry);
  Result<Url> RedirectTarget(const Url& from, const HttpResponse& response) const;
  Result<HttpResponse> Exchange(HttpRequest request, const Url& url);
  bool MayConnect(const Url& url, AddressReach reach) const;

  const RegistryEndpoint endpoint_;
  const RegistryAccess access_;
  RegistryAuth auth_;
  std::atomic<AddressReach> reach_ = AddressReach::kPublic;  // where the registry was, once it has answered
  std::mutex mutex_;
  std::vector<HttpClient> idle_;  // connections that nobody uses right now
};

}  // namespace caisson::image
