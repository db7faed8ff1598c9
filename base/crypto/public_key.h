// SPDX-License-Identifier: Apache-2.0
// PublicKey: a key that checks signatures: ECDSA on P-256 or P-384, Ed25519, RSA with 2,048 bits or more (PKCS #1
// v1.5). Plain value, shared inside; any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/result.h"

namespace caisson {

class PublicKey {
 public:
  // From a file's PEM text with one "PUBLIC KEY" block. kInvalid says what is wrong, of a private key or a
  // certificate too.
  static Result<PublicKey> FromPem(std::string_view pem);

  // Of the whole message, with SHA-256 (P-384 also with SHA-384; Ed25519 has its own). ECDSA signatures are DER.
  bool Verifies(std::string_view message, std::string_view signature) const;

  const std::string& kind() const { return kind_; }           // "ECDSA P-256"
  const Digest& fingerprint() const { return fingerprint_; }  // SHA-256 of the DER form (SubjectPublicKeyInfo)

 private:
  struct Handle;
  PublicKey() = default;
  std::shared_ptr<const Handle> handle_;
  std::string kind_;
  Digest fingerprint_;
};

}  // namespace caisson
