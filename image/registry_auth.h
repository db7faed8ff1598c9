// SPDX-License-Identifier: Apache-2.0
// RegistryAuth: how we prove who we are to one registry about one repository, as the registry's own 401 demands: Basic,
// or a Bearer token that a token service gives for a password, an identity token, or nothing. Tokens are kept until
// they expire. Safe on any thread: many may find a token rejected at once, one of them fetches the next. Belongs to a
// RegistryTransport.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>

#include "base/http/http_client.h"
#include "base/result.h"
#include "base/secret.h"
#include "image/registry_access.h"
#include "image/registry_endpoint.h"
#include "image/www_authenticate.h"

namespace caisson::image {

class RegistryAuth {
 public:
  // Performs a request to a token service, with the connections and the address rules of the registry.
  using Exchange = std::function<Result<HttpResponse>(HttpRequest, const Url&)>;
  RegistryAuth(const RegistryEndpoint& endpoint, const RegistryAccess& access, Exchange exchange);

  // Value of the Authorization header for the next request; "" before the registry has demanded one. Fetches a token in
  // place of one that has expired.
  Result<std::string> Authorization();
  // After a 401 to a request with `rejected`: makes Authorization() what the challenge demands. kDenied where there is
  // nothing to answer it with.
  Result<void> Answer(const HttpResponse& refusal, const std::string& rejected);

  // Whether nothing was there to prove who we are with.
  bool anonymous() const;
  // Whether asking for a token may be repeated (a GET may).
  bool may_repeat() const;
  // The text without any credential or token of ours, should somebody have sent one back to us.
  std::string WithoutSecrets(std::string text) const;

 private:
  struct Token {
    Secret value;
    std::chrono::steady_clock::time_point expires;
  };
  struct Service {  // of the last Bearer challenge: where tokens come from
    std::string realm, service, scope;
    auto operator<=>(const Service&) const = default;
  };

  Result<void> LoadCredentials();
  Result<void> UseToken(const Service& service);
  Result<Token> FetchToken(const Service& service);
  Result<HttpRequest> TokenRequest(const Service& service, Url& address) const;
  Result<Url> TokenAddress(const std::string& realm) const;
  Result<Token> ReadToken(const HttpResponse& response) const;
  std::string BasicValue() const;

  const RegistryEndpoint& endpoint_;
  const RegistryAccess access_;
  const Exchange exchange_;

  mutable std::mutex mutex_;  // of everything below; held while a token is fetched, so that one is enough for all
  std::optional<RegistryCredentials> credentials_;  // once asked for
  std::optional<Service> service_;                  // where the registry wants a token
  std::map<Service, Token> tokens_;
  Secret value_;  // of the header
};

}  // namespace caisson::image
