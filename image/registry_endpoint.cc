// SPDX-License-Identifier: Apache-2.0
#include "image/registry_endpoint.h"

#include "base/encoding.h"
#include "image/reference.h"

namespace caisson::image {
namespace {

std::string Entry(const RegistryEndpoint& endpoint) { return fmt::format("[registries.\"{}\"]", endpoint.host); }

}  // namespace

std::string RegistryEndpoint::AddressOf(std::string_view path) const {
  return fmt::format("{}v2/{}/{}", origin.text, name, path);
}

bool RegistryEndpoint::MayBeAt(AddressReach reach) const {
  return vouched || reach == AddressReach::kPublic || reach == AddressReach::kPrivate;
}

bool RegistryEndpoint::MaySendTo(AddressReach own, AddressReach reach, bool named) const {
  // Two that the operator has named may work together. Anybody else's registry must not be a way into one of ours, past
  // the list of registries that its tenant may use.
  if (vouched && named) return true;
  switch (reach) {
    case AddressReach::kPublic: return true;
    case AddressReach::kPrivate: return own == AddressReach::kPrivate || own == AddressReach::kThisMachine;
    case AddressReach::kThisMachine: return own == AddressReach::kThisMachine;
    case AddressReach::kLink:
    case AddressReach::kNobody: return false;
  }
  return false;
}

Result<RegistryEndpoint> MakeEndpoint(const std::string& host, const std::string& name, const RegistryTable* table,
                                      bool vouched) {
  RegistryEndpoint endpoint{.host = host, .name = name};
  endpoint.vouched = vouched;
  if (table) {
    const auto found = table->find(host);
    if (found != table->end()) endpoint.settings = found->second;
    endpoint.vouched = vouched || found != table->end();
  }
  if (endpoint.settings.blocked)
    return Fail(ErrorCode::kDenied, "registry {} is blocked on this node ({} blocked = true)", host, Entry(endpoint));
  const char* scheme = endpoint.settings.plain_http ? "http://" : "https://";
  endpoint.origin = TRY_IN("registry " + host, ParseUrl(scheme + EndpointOf(host) + "/"));
  return endpoint;
}

Error ExplainStatus(const RegistryEndpoint& endpoint, const HttpResponse& response, std::string_view what,
                    bool anonymous) {
  const std::string& host = endpoint.host;
  const std::string repository = endpoint.repository();
  switch (response.status) {
    case 404:
      return {ErrorCode::kNotFound,
              fmt::format("registry {} has no {} of {}: check the name and the tag", host, what, repository), 0};
    case 401:
    case 403:
      return {ErrorCode::kDenied,
              fmt::format("registry {} refuses {}: it does not exist there, or {}", host, repository,
                          anonymous ? "is private (pulled without credentials: see caisson registry login, or the "
                                      "node's auth_file)"
                                    : "the credentials that were shown (the tenant's login, else the node's auth_file) "
                                      "have no right to it"),
              0};
    case 429:
      return {ErrorCode::kUnavailable,
              fmt::format("registry {} is asked too often (429): {} of {} has to wait", host, what, repository), 0};
    case 400:
      if (!endpoint.settings.plain_http) break;
      return {ErrorCode::kInvalid,
              fmt::format("registry {} answers 400 to plain HTTP: if it speaks TLS, remove plain_http from {}", host,
                          Entry(endpoint)),
              0};
    default: break;
  }
  const bool temporary = response.status >= 500 || response.status == 408;
  return {
      temporary ? ErrorCode::kUnavailable : ErrorCode::kInvalid,
      fmt::format("registry {} answers {} to the request for the {} of {}", host, response.status, what, repository),
      0};
}

Error ExplainFault(const RegistryEndpoint& endpoint, const Url& url, HttpFault fault, AddressReach tried, Error error) {
  const bool itself = url.SameOrigin(endpoint.origin);
  const std::string where =
      itself ? "registry " + endpoint.host
             : fmt::format("{}, where registry {} sends us,", EscapeForLog(url.host, 100), endpoint.host);
  const std::string entry = Entry(endpoint);
  const auto invalid = [](std::string text) { return Error{ErrorCode::kInvalid, std::move(text), 0}; };
  // One set of words for whatever is there, or is not: names of images are no way to look for open ports in the
  // operator's network. A host with an entry gets the plain ones.
  if (!endpoint.vouched && tried == AddressReach::kPrivate && fault != HttpFault::kStopped &&
      fault != HttpFault::kAddress)
    return {
        ErrorCode::kUnavailable,
        fmt::format("{} is in a private network and gives no answer over HTTPS that can be trusted: if it is meant, "
                    "add an entry {} (ca_file or plain_http)",
                    where, entry),
        0};
  switch (fault) {
    case HttpFault::kNone:
    case HttpFault::kStopped: return error;
    // The same words whatever is there: nobody learns from them which ports of this machine are open.
    case HttpFault::kAddress:
      return {ErrorCode::kDenied,
              itself ? fmt::format("{} is at an address of this machine or a link-local one: if it is meant to be, add "
                                   "an entry {}",
                                   where, entry)
                     : fmt::format("{} is at an address that it may not send us to (this machine, link-local, or a "
                                   "private network)",
                                   where),
              0};
    case HttpFault::kNotTls:
      return invalid(
          fmt::format("{} does not speak TLS; if it speaks plain HTTP, set {} plain_http = true", where, entry));
    case HttpFault::kTlsTooOld: return invalid(fmt::format("{} offers nothing newer than TLS 1.1", where));
    case HttpFault::kCertificateExpired: return invalid(fmt::format("{}: its certificate has expired", where));
    case HttpFault::kCertificateHost:
      return invalid(fmt::format("{}: its certificate is for another host ({})", where, error.message));
    case HttpFault::kCertificateUntrusted:
      return invalid(fmt::format("{}: {}; for an authority of your own set {} ca_file", where, error.message, entry));
    case HttpFault::kCaFile:
      return invalid(fmt::format("registry {}: ca_file \"{}\" has no certificate that can be read", endpoint.host,
                                 endpoint.settings.ca_file));
    case HttpFault::kClientCertificate:
      return invalid(fmt::format("registry {}: client_cert \"{}\" and client_key cannot be used: {}", endpoint.host,
                                 endpoint.settings.client_cert, error.message));
    case HttpFault::kClientCertificateWanted:
      return invalid(
          fmt::format("{} wants a client certificate that it knows: set {} client_cert and client_key", where, entry));
    case HttpFault::kNotHttp:
      return invalid(fmt::format("{} does not speak {}HTTP; if it speaks TLS, remove plain_http from {}", where,
                                 url.scheme == "http" ? "plain " : "", entry));
    case HttpFault::kName:
    case HttpFault::kConnect:
    case HttpFault::kTimedOut:
    case HttpFault::kBroken: break;
  }
  if (error.code != ErrorCode::kUnavailable) return error;
  return {ErrorCode::kUnavailable,
          fmt::format("{} {}: {}", where, fault == HttpFault::kBroken ? "broke off its answer" : "cannot be reached",
                      error.message),
          error.sys_errno};
}

}  // namespace caisson::image
