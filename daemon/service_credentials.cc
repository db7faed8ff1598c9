// SPDX-License-Identifier: Apache-2.0
#include "daemon/service_credentials.h"

#include <algorithm>

#include "base/encoding.h"
#include "base/log.h"
#include "image/image_policy.h"

namespace caisson::daemon {
namespace {

constexpr size_t kMaxUsernameBytes = 255;
constexpr size_t kMaxSecretBytes = 16 << 10;  // tokens of the large clouds have up to 4 KiB

// What is sealed: which of the two it is, then the secret.
constexpr char kPassword = 'p';
constexpr char kIdentityToken = 't';

Result<void> CheckCredential(const api::RegistryCredential& credential) {
  if (credential.password.empty() == credential.identity_token.empty())
    return Fail(ErrorCode::kInvalid, "give a password or an identity token, one of the two");
  const std::string& name = credential.username;
  const bool printable = std::all_of(name.begin(), name.end(), [](unsigned char c) { return c >= 0x20 && c != 0x7f; });
  if (name.size() > kMaxUsernameBytes || !printable || !IsValidUtf8(name) || name.find(':') != std::string::npos)
    return Fail(ErrorCode::kInvalid, "a username has at most {} bytes, and neither colons nor control characters",
                kMaxUsernameBytes);
  if (name.empty() && credential.identity_token.empty()) return Fail(ErrorCode::kInvalid, "the username is missing");
  if (std::max(credential.password.Expose().size(), credential.identity_token.Expose().size()) > kMaxSecretBytes)
    return Fail(ErrorCode::kTooLarge, "a password or identity token has at most {} bytes", kMaxSecretBytes);
  return {};
}

// The tenant by its number: a name may come to mean another tenant.
std::string Seal(const SealingKey& key, queue::TenantId tenant, const queue::RegistryLogin& login,
                 const api::RegistryCredential& credential) {
  const bool token = credential.password.empty();
  const Secret tagged((token ? kIdentityToken : kPassword) +
                      (token ? credential.identity_token : credential.password).Expose());
  return key.Seal(tagged, {"registry login", std::to_string(tenant.value), login.registry, login.username});
}

Result<image::RegistryCredentials> OpenLogin(const SealingKey& key, queue::TenantId tenant,
                                             const queue::RegistryLogin& login) {
  const auto opened =
      key.Open(login.sealed, {"registry login", std::to_string(tenant.value), login.registry, login.username});
  if (!opened || opened->empty())
    return Fail(ErrorCode::kCorrupt,
                "the stored login for {} cannot be opened (the node's key is another than when it was stored, or the "
                "store is damaged): log in again with `caisson registry login {}`",
                login.registry, login.registry);
  Secret secret(opened->Expose().substr(1));
  image::RegistryCredentials credentials{.username = login.username};
  (opened->Expose()[0] == kIdentityToken ? credentials.identity_token : credentials.password) = std::move(secret);
  return credentials;
}

}  // namespace

Result<std::unique_ptr<Credentials>> Credentials::Make(queue::JobStore& store, const Secret& auth_json,
                                                       const Secret& node_key) {
  image::AuthFile logins;
  if (!auth_json.empty()) logins = TRY_IN("auth_file", image::AuthFile::Parse(auth_json.Expose()));
  for (const std::string& note : logins.notes()) LogWarn("auth_file", {{"note", note}});
  SealingKey key = TRY_IN("node_key_file", SealingKey::FromHex(node_key));
  return std::unique_ptr<Credentials>(new Credentials(store, std::move(logins), std::move(key)));
}

Result<image::RegistryCredentials> Credentials::Find(const std::string& tenant, const std::string& repository) {
  const queue::TenantId id = TRY(store_.FindTenant(tenant));
  const std::vector<queue::RegistryLogin> logins = TRY(store_.ListRegistryLogins(id));
  const queue::RegistryLogin* best = nullptr;
  size_t longest = 0;
  for (const queue::RegistryLogin& login : logins) {
    const size_t length = image::HeldBy(repository, login.registry).value_or(0);
    if (length <= longest) continue;
    longest = length;
    best = &login;
  }
  if (best) return OpenLogin(key_, id, *best);
  return node_logins_.Find(repository);
}

Result<std::vector<api::RegistryLogin>> Credentials::ListLogins(const api::Tenant& tenant) {
  std::vector<api::RegistryLogin> logins;
  for (queue::RegistryLogin& login : TRY(store_.ListRegistryLogins(tenant.id)))
    logins.push_back({std::move(login.registry), std::move(login.username), login.created_at});
  return logins;
}

Result<api::RegistryLogin> Credentials::PutLogin(const api::Tenant& tenant, const std::string& registry,
                                                 const api::RegistryCredential& credential) {
  TRY(CheckCredential(credential));
  queue::RegistryLogin login{.registry = TRY(image::NormaliseRegistryPrefix(registry)),
                             .username = credential.username};
  login.sealed = Seal(key_, tenant.id, login, credential);
  TRY(store_.PutRegistryLogin(tenant.id, login));
  const auto stored = TRY(store_.FindRegistryLogin(tenant.id, login.registry));
  return api::RegistryLogin{login.registry, login.username, stored ? stored->created_at : 0};
}

Result<void> Credentials::DeleteLogin(const api::Tenant& tenant, const std::string& registry) {
  return store_.DeleteRegistryLogin(tenant.id, TRY(image::NormaliseRegistryPrefix(registry)));
}

}  // namespace caisson::daemon
