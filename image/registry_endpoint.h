// SPDX-License-Identifier: Apache-2.0
// RegistryEndpoint: one registry, or a mirror of one, as the place of one repository: where it is, how it is to be
// spoken to, and in which words its failures are told to users. Plain value and pure functions.
#pragma once

#include <string>
#include <string_view>

#include "base/http/http_client.h"
#include "base/http/url.h"
#include "base/result.h"
#include "image/registry_settings.h"

namespace caisson::image {

struct RegistryEndpoint {
  std::string host;  // as references and settings write it: "docker.io"
  std::string name;  // of the repository there: "library/alpine", with a mirror's prefix
  RegistrySettings settings;
  bool vouched = false;  // the operator has named this host: it may be at an address of this machine
  Url origin;            // "https://registry-1.docker.io"

  std::string repository() const { return host + "/" + name; }
  // "https://registry-1.docker.io/v2/library/alpine/manifests/3"
  std::string AddressOf(std::string_view path) const;
  // Whether a connection to the registry itself may go to such an address.
  bool MayBeAt(AddressReach reach) const;
  // Whether a connection to where the registry, being at `own`, has sent us may go to such an address. `named`: the
  // settings have an entry for that host.
  bool MaySendTo(AddressReach own, AddressReach reach, bool named) const;
};

// kDenied: blocked by the settings.
Result<RegistryEndpoint> MakeEndpoint(const std::string& host, const std::string& name, const RegistryTable* table,
                                      bool vouched);

// What an answer other than the expected one means for `what` ("manifest", "blob sha256:..."), in words that say what
// to do. `anonymous`: no credentials were there to send.
Error ExplainStatus(const RegistryEndpoint& endpoint, const HttpResponse& response, std::string_view what,
                    bool anonymous);
// Why a request to `url` had no answer; `tried` is where it went. What does not mend itself is not kUnavailable.
Error ExplainFault(const RegistryEndpoint& endpoint, const Url& url, HttpFault fault, AddressReach tried, Error error);

}  // namespace caisson::image
