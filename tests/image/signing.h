// SPDX-License-Identifier: Apache-2.0
// What signs images, for tests: key pairs made by OpenSSL, and the documents that cosign puts into a registry.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/digest.h"
#include "tests/image/scripted_registry.h"

namespace caisson::image {

class TestKey {
 public:
  enum Kind { kP256, kP384, kEd25519, kRsa2048, kRsa1024, kP521 };
  explicit TestKey(Kind kind = kP256);

  std::string public_pem() const;
  std::string private_pem() const;
  // DER for ECDSA, PKCS #1 v1.5 for RSA. With SHA-256, or SHA-384 where asked.
  std::string Sign(const std::string& message, bool sha384 = false) const;

 private:
  std::shared_ptr<void> key_;  // EVP_PKEY
  Kind kind_;
};

// cosign's payload: `reference` is what critical.identity names.
std::string SimpleSigningPayload(const Digest& image, const std::string& reference);

struct ClassicSignature {
  std::string payload;
  std::string signature;  // raw
  std::string certificate = {};
};
// Puts the manifest "sha256-HEX.sig" of `image` and its blobs into the registry.
void PutClassicSignatures(ScriptedRegistry& registry, const Digest& image, const std::vector<ClassicSignature>& all);

// The statement that cosign 3 signs.
std::string SignStatement(const Digest& image, const std::string& predicate = "https://sigstore.dev/cosign/sign/v1");
std::string EnvelopeBundle(const TestKey& key, const std::string& statement,
                           const std::string& payload_type = "application/vnd.in-toto+json");
std::string MessageBundle(const TestKey& key, const std::string& message);
std::string KeylessBundle(const TestKey& key, const std::string& statement);

// Puts bundles that refer to `image` into the registry, listed by the fallback tag. Returns that index, which is what
// the referrers API answers too.
std::string PutBundles(ScriptedRegistry& registry, const Digest& image, const std::vector<std::string>& bundles,
                       const std::string& predicate_annotation = {});

}  // namespace caisson::image
