// SPDX-License-Identifier: Apache-2.0
// SecuredRegistry: Debian's docker-registry in the forms that operators run it: with a password file, with TLS under an
// authority of its own, with bearer tokens from a token service. Ends with the test.
#pragma once

#include <string>

#include "tests/integration/process.h"
#include "tests/integration/registry.h"

namespace caisson::integration {

enum class RegistryForm { kPlain, kPassword, kTls, kToken };

class SecuredRegistry {
 public:
  // `token_valid_seconds`: how long the registry takes a token. The client is told five minutes.
  explicit SecuredRegistry(RegistryForm form, int token_valid_seconds = 300);

  std::string address() const { return address_; }
  std::string Name(const std::string& image) const { return address_ + "/" + image; }
  // Copies an image with skopeo, as a user with the login would.
  void CopyFrom(const Registry& source, const std::string& image) const;

  // What caisson.toml has to say of this registry.
  std::string Settings() const;
  // A docker config.json with the login, and one with a wrong password.
  std::string AuthJson(bool right = true) const;
  size_t tokens_given() const;  // by the token service

  static constexpr char kUser[] = "robot";
  static constexpr char kPassword[] = "correct horse";

 private:
  void MakeCertificates() const;
  void StartTokenService(int valid_seconds);
  std::string Config() const;
  std::string PathOf(const std::string& name) const { return directory_.path() + "/" + name; }
  std::string url() const { return (form_ == RegistryForm::kTls ? "https://" : "http://") + address_; }

  const RegistryForm form_;
  TemporaryDirectory directory_;
  std::string address_;
  std::string realm_;
  Process token_service_;
  Process process_;
};

}  // namespace caisson::integration
