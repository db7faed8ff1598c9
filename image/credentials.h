// SPDX-License-Identifier: Apache-2.0
// RegistryCredentials: what a registry wants to know of us; CredentialSource: where they come from (the tenant's stored
// logins, then the node's auth.json). They are asked for when a registry demands them, not before.
#pragma once

#include <string>

#include "base/result.h"
#include "base/secret.h"

namespace caisson::image {

struct RegistryCredentials {
  std::string username;  // with `password`
  Secret password;
  Secret identity_token = {};  // OAuth2 refresh token, in place of a password where it is not empty

  bool anonymous() const { return username.empty() && identity_token.empty(); }
};

class CredentialSource {
 public:
  virtual ~CredentialSource() = default;
  // What `tenant` has for "host/name"; anonymous where it has nothing. Safe on any thread; may block on a store.
  virtual Result<RegistryCredentials> Find(const std::string& tenant, const std::string& repository) = 0;
};

}  // namespace caisson::image
