// SPDX-License-Identifier: Apache-2.0
// Signatures of images: finds what the registry holds of them and checks it against the keys of a rule. Two formats:
// cosign's classic one (tag "sha256-HEX.sig", simple-signing payloads) and the Sigstore bundle (found as a referrer).
// Nothing but the configured public keys is trusted: no certificate, no transparency log. Calls block, on any thread.
#pragma once

#include <string>

#include "base/digest.h"
#include "base/result.h"
#include "image/image_policy.h"
#include "image/registry_client.h"

namespace caisson::image {

struct SignatureVerdict {
  Digest signed_digest;     // what the signature is for: the index or the platform's manifest
  std::string key;          // name of the key that verified it
  std::string format;       // "cosign signature" or "Sigstore bundle"
  std::string fingerprint;  // of the rule: what was verified holds while that is the same
};

// The image of `reference_digest` (what the reference resolved to: an index or a manifest) and `manifest_digest` (of
// this platform; the same where there is no index) must bear a signature that `rule` takes, over either of the two.
// The caller has both documents' bytes from their digests, and that the index names the manifest. Call it before any
// layer is fetched. kDenied: there is none, with where was looked and why each that was found does not count;
// kUnavailable and the like: the registry could not be asked.
Result<SignatureVerdict> CheckSignature(RegistryClient& registry, const Digest& reference_digest,
                                        const Digest& manifest_digest, const SignatureRule& rule);

}  // namespace caisson::image
