// SPDX-License-Identifier: Apache-2.0
// Credentials: what the node has to show to registries. For a tenant: its own stored login with the longest prefix of
// the repository, else what the operator's auth.json says, else nothing. Stored logins are sealed under the node's key
// and bound to tenant and registry. Owned by the service's main; safe on any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "api/ports.h"
#include "base/crypto/seal.h"
#include "image/auth_file.h"
#include "image/credentials.h"
#include "queue/store.h"

namespace caisson::daemon {

class Credentials final : public image::CredentialSource, public api::RegistriesPort {
 public:
  // `auth_json` is the text of auth_file, empty where there is none; `node_key` in hex. kInvalid for what cannot be
  // read, without a word of what it holds.
  static Result<std::unique_ptr<Credentials>> Make(queue::JobStore& store, const Secret& auth_json,
                                                   const Secret& node_key);

  // A stored login that does not open (the node's key is another) is an error, not a reason to try as somebody else.
  Result<image::RegistryCredentials> Find(const std::string& tenant, const std::string& repository) override;

  Result<std::vector<api::RegistryLogin>> ListLogins(const api::Tenant& tenant) override;
  Result<api::RegistryLogin> PutLogin(const api::Tenant& tenant, const std::string& registry,
                                      const api::RegistryCredential& credential) override;
  Result<void> DeleteLogin(const api::Tenant& tenant, const std::string& registry) override;

 private:
  Credentials(queue::JobStore& store, image::AuthFile node_logins, SealingKey key)
      : store_(store), node_logins_(std::move(node_logins)), key_(std::move(key)) {}

  queue::JobStore& store_;
  const image::AuthFile node_logins_;
  const SealingKey key_;
};

}  // namespace caisson::daemon
