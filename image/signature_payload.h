// SPDX-License-Identifier: Apache-2.0
// The documents that signatures of images are made of, parsed from hostile bytes: the manifest that lists them,
// cosign's simple-signing payload, the Sigstore bundle and the in-toto statement within. Parsing says nothing of who
// signed. Plain values and pure functions; kInvalid with the reason for what is not well-formed.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "image/manifest.h"

namespace caisson::image {

constexpr char kSimpleSigningType[] = "application/vnd.dev.cosign.simplesigning.v1+json";
constexpr char kBundleType[] = "application/vnd.dev.sigstore.bundle.v0.3+json";
constexpr char kBundleTypeOld[] = "application/vnd.dev.sigstore.bundle+json;version=0.3";
constexpr char kSignPredicate[] = "https://sigstore.dev/cosign/sign/v1";
constexpr char kStatementType[] = "application/vnd.in-toto+json";

// One layer of a manifest that holds signatures: a payload or a bundle.
struct SignatureLayer {
  Descriptor descriptor;
  std::string signature;     // annotation dev.cosignproject.cosign/signature, as it is; empty where there is none
  bool certificate = false;  // annotation dev.sigstore.cosign/certificate: signed keyless
};
struct SignatureManifest {
  std::vector<SignatureLayer> layers;
  std::string predicate_type;  // annotation dev.sigstore.bundle.predicateType: a hint
};
constexpr size_t kMaxSignatureLayers = 1000;  // of one manifest
Result<SignatureManifest> ParseSignatureManifest(std::string_view bytes);

// What a simple-signing payload claims.
struct SimpleSigningClaim {
  Digest digest;
  std::string docker_reference;  // may be empty
};
Result<SimpleSigningClaim> ParseSimpleSigning(std::string_view bytes);

// A bundle that was made with a plain key: exactly one of the two contents.
struct SignatureBundle {
  std::string signature;  // raw bytes
  bool is_envelope = false;
  std::string payload_type, payload;  // of an envelope (DSSE)
  Digest message_digest;              // else: SHA-256 of the signed message, as the bundle says
};
// kUnsupported for a keyless bundle (a certificate in place of a key).
Result<SignatureBundle> ParseSignatureBundle(std::string_view bytes);

// What an envelope's signature is over (DSSE's pre-authentication encoding).
std::string PreAuthenticationEncoding(std::string_view payload_type, std::string_view payload);

// The subjects of an in-toto statement that says "this image is signed"; an attestation about an image is none.
Result<std::vector<Digest>> ParseSignStatement(std::string_view bytes);

}  // namespace caisson::image
