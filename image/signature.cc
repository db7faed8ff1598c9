// SPDX-License-Identifier: Apache-2.0
#include "image/signature.h"

#include <algorithm>
#include <optional>
#include <set>
#include <vector>

#include "base/encoding.h"
#include "image/reference.h"
#include "image/signature_payload.h"

namespace caisson::image {
namespace {

// A registry decides how much there is to look at: each of these is a request or a check that costs time.
constexpr size_t kMaxPayloadBytes = 64 << 10;
constexpr size_t kMaxBundleBytes = 1 << 20;
constexpr int kMaxTried = 64;         // signatures looked at for one image
constexpr int kMaxManifests = 64;     // referrers fetched for one image
constexpr size_t kShownFailures = 8;  // in the error
constexpr size_t kReasonBytes = 300;

// Why one signature does not count. Any other error (the registry is down, the caller has cancelled) says nothing about
// signatures and ends the search: the next try may find them.
bool IsAboutTheSignature(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalid:
    case ErrorCode::kDenied:
    case ErrorCode::kCorrupt:
    case ErrorCode::kTooLarge:
    case ErrorCode::kUnsupported:
    case ErrorCode::kNotFound: return true;
    default: return false;
  }
}

// One search: what it may accept, what it has found so far.
class Search {
 public:
  Search(RegistryClient& registry, const SignatureRule& rule, std::vector<Digest> accepted)
      : registry_(registry), rule_(rule), accepted_(std::move(accepted)) {}

  // True: `verdict` is set.
  Result<bool> LookForCosign(const Digest& digest);
  Result<bool> LookForBundles(const Digest& digest, const std::string& artifact_type);

  SignatureVerdict verdict;
  tl::unexpected<Error> NoneCounts() const;

 private:
  bool IsAccepted(const Digest& digest) const {
    return std::find(accepted_.begin(), accepted_.end(), digest) != accepted_.end();
  }
  const SigningKey* SignerOf(std::string_view message, std::string_view signature) const;
  // Each ends in Count() or in an error with the reason why it does not.
  Result<void> JudgePayload(const SignatureLayer& layer);
  Result<void> JudgeBundle(const SignatureLayer& layer);
  Result<void> JudgeEnvelope(const SignatureBundle& bundle);
  Result<void> JudgeMessage(const SignatureBundle& bundle);
  Result<void> CheckIdentity(const SimpleSigningClaim& claim) const;
  void Count(const Digest& digest, const SigningKey& key, std::string_view format);
  // False: go on with the next one.
  Result<bool> Took(const Result<void>& judged, const std::string& place);
  Result<std::optional<SignatureManifest>> Fetch(const Descriptor& manifest, const std::string& place);

  RegistryClient& registry_;
  const SignatureRule& rule_;
  const std::vector<Digest> accepted_;
  std::vector<std::string> looked_;    // where
  std::vector<std::string> failures_;  // why each does not count
  std::set<Digest> seen_;              // referrers under both types
  int tried_ = 0;
  bool cut_ = false;  // there were more than we looked at
};

// ---- Judging one signature --------------------------------------------------------------------------------------

const SigningKey* Search::SignerOf(std::string_view message, std::string_view signature) const {
  for (const SigningKey& signer : rule_.keys)
    if (signer.key.Verifies(message, signature)) return &signer;
  return nullptr;
}

void Search::Count(const Digest& digest, const SigningKey& key, std::string_view format) {
  verdict = {digest, key.name, std::string(format), rule_.Fingerprint()};
}

Result<void> NotOurKeys(bool certificate = false) {
  if (certificate)
    return Fail(ErrorCode::kUnsupported,
                "is keyless (signed with a certificate): only signatures by configured public keys count");
  return Fail(ErrorCode::kDenied, "is by none of the configured keys, or its payload was changed");
}

// The repository only: which tag was signed is the signer's business, the digest is what runs.
Result<void> Search::CheckIdentity(const SimpleSigningClaim& claim) const {
  if (rule_.any_identity) return {};
  if (claim.docker_reference.empty())
    return Fail(ErrorCode::kDenied, "names no repository (to take it all the same: identity = \"any\")");
  const auto named = ParseReference(claim.docker_reference);
  if (named && named->repository() == registry_.repository()) return {};
  return Fail(ErrorCode::kDenied, "is for the repository {} (to take it all the same: identity = \"any\")",
              EscapeForLog(claim.docker_reference, 120));
}

// The signature first: what nobody we trust has signed is not parsed.
Result<void> Search::JudgePayload(const SignatureLayer& layer) {
  if (layer.descriptor.size > kMaxPayloadBytes)
    return Fail(ErrorCode::kTooLarge, "its payload is larger than {} bytes", kMaxPayloadBytes);
  const std::optional<std::string> signature = Base64Decode(layer.signature);
  if (!signature || signature->empty()) return Fail(ErrorCode::kInvalid, "has no signature in base64");
  const std::string payload = TRY(registry_.GetBlobBytes(layer.descriptor));
  const SigningKey* signer = SignerOf(payload, *signature);
  if (!signer) return NotOurKeys(layer.certificate);
  const SimpleSigningClaim claim = TRY_IN("its payload", ParseSimpleSigning(payload));
  if (!IsAccepted(claim.digest)) return Fail(ErrorCode::kDenied, "is for another image, {}", claim.digest.ToString());
  TRY(CheckIdentity(claim));
  Count(claim.digest, *signer, "cosign signature");
  return {};
}

Result<void> Search::JudgeEnvelope(const SignatureBundle& bundle) {
  if (bundle.payload_type != kStatementType)
    return Fail(ErrorCode::kUnsupported, "its envelope holds \"{}\", not {}", EscapeForLog(bundle.payload_type, 80),
                kStatementType);
  const SigningKey* signer = SignerOf(PreAuthenticationEncoding(bundle.payload_type, bundle.payload), bundle.signature);
  if (!signer) return NotOurKeys();
  const std::vector<Digest> subjects = TRY_IN("its statement", ParseSignStatement(bundle.payload));
  const auto subject = std::find_if(subjects.begin(), subjects.end(), [&](const Digest& d) { return IsAccepted(d); });
  if (subject == subjects.end())
    return Fail(ErrorCode::kDenied, "is for another image, {}", subjects.front().ToString());
  Count(*subject, *signer, "Sigstore bundle");
  return {};
}

// Over the document itself: its bytes are fetched by their digest, so that they are those that will be used.
Result<void> Search::JudgeMessage(const SignatureBundle& bundle) {
  if (!IsAccepted(bundle.message_digest))
    return Fail(ErrorCode::kDenied, "is for another image, {}", bundle.message_digest.ToString());
  const ManifestBytes document = TRY(registry_.GetManifest(bundle.message_digest));
  const SigningKey* signer = SignerOf(document.bytes, bundle.signature);
  if (!signer) return NotOurKeys();
  Count(bundle.message_digest, *signer, "Sigstore bundle");
  return {};
}

Result<void> Search::JudgeBundle(const SignatureLayer& layer) {
  if (layer.descriptor.size > kMaxBundleBytes)
    return Fail(ErrorCode::kTooLarge, "is larger than {} bytes", kMaxBundleBytes);
  const SignatureBundle bundle = TRY(ParseSignatureBundle(TRY(registry_.GetBlobBytes(layer.descriptor))));
  return bundle.is_envelope ? JudgeEnvelope(bundle) : JudgeMessage(bundle);
}

// ---- Finding them -----------------------------------------------------------------------------------------------

Result<bool> Search::Took(const Result<void>& judged, const std::string& place) {
  if (judged) return true;
  const Error& error = judged.error();
  if (!IsAboutTheSignature(error)) return tl::unexpected(error);
  failures_.push_back(fmt::format("{} {}", place, error.message.substr(0, kReasonBytes)));
  return false;
}

Result<bool> Search::LookForCosign(const Digest& digest) {
  const std::string tag = fmt::format("sha256-{}.sig", digest.hex());
  looked_.push_back("tag " + tag);
  const std::optional<ManifestBytes> found = TRY_IN("look for signatures", registry_.FindManifest(tag));
  if (!found) return false;
  const auto manifest = ParseSignatureManifest(found->bytes);
  if (!manifest) return Took(tl::unexpected(manifest.error()), "manifest " + tag);
  int number = 0;
  for (const SignatureLayer& layer : manifest->layers) {
    if (layer.descriptor.media_type != kSimpleSigningType) continue;
    ++number;
    if (tried_ >= kMaxTried) {
      cut_ = true;
      return false;
    }
    ++tried_;
    if (TRY(Took(JudgePayload(layer), fmt::format("signature {} of {}", number, tag)))) return true;
  }
  return false;
}

Result<std::optional<SignatureManifest>> Search::Fetch(const Descriptor& manifest, const std::string& place) {
  const auto bytes = registry_.GetManifest(manifest.digest);
  if (!bytes) {
    TRY(Took(tl::unexpected(bytes.error()), place));
    return std::optional<SignatureManifest>();
  }
  auto parsed = ParseSignatureManifest(bytes->bytes);
  if (!parsed) {
    TRY(Took(tl::unexpected(parsed.error()), place));
    return std::optional<SignatureManifest>();
  }
  return std::optional(*std::move(parsed));
}

Result<bool> Search::LookForBundles(const Digest& digest, const std::string& artifact_type) {
  looked_.push_back(fmt::format("referrers of {} of the type {}", digest.ToString(), artifact_type));
  for (const Descriptor& referrer : TRY_IN("look for signatures", registry_.Referrers(digest, artifact_type))) {
    if (!seen_.insert(referrer.digest).second) continue;
    if (seen_.size() > kMaxManifests || tried_ >= kMaxTried) {
      cut_ = true;
      return false;
    }
    const std::string place = fmt::format("bundle {}", referrer.digest.ToString());
    const std::optional<SignatureManifest> manifest = TRY(Fetch(referrer, place));
    if (!manifest) continue;
    if (!manifest->predicate_type.empty() && manifest->predicate_type != kSignPredicate) continue;  // an attestation
    for (const SignatureLayer& layer : manifest->layers) {
      if (layer.descriptor.media_type != kBundleType && layer.descriptor.media_type != kBundleTypeOld) continue;
      if (tried_ >= kMaxTried) {
        cut_ = true;
        return false;
      }
      ++tried_;
      if (TRY(Took(JudgeBundle(layer), place))) return true;
    }
  }
  return false;
}

tl::unexpected<Error> Search::NoneCounts() const {
  std::string keys, failures, looked;
  for (const SigningKey& signer : rule_.keys) keys += (keys.empty() ? "" : ", ") + signer.name;
  for (const std::string& place : looked_) looked += (looked.empty() ? "" : ", ") + place;
  for (size_t i = 0; i < std::min(failures_.size(), kShownFailures); ++i) failures += "; " + failures_[i];
  if (failures_.size() > kShownFailures) failures += fmt::format("; and {} more", failures_.size() - kShownFailures);
  if (cut_) failures += fmt::format("; there are more than the {} that are looked at", kMaxTried);
  return Fail(ErrorCode::kDenied,
              "{} must be signed ([[signatures]] scope = \"{}\") by one of {}, and is not: {} found{} (looked for {})",
              registry_.repository(), rule_.scope, keys,
              tried_ == 1 ? "1 signature was" : fmt::format("{} signatures were", tried_), failures, looked);
}

}  // namespace

Result<SignatureVerdict> CheckSignature(RegistryClient& registry, const Digest& reference_digest,
                                        const Digest& manifest_digest, const SignatureRule& rule) {
  std::vector<Digest> accepted = {reference_digest};
  if (manifest_digest != reference_digest) accepted.push_back(manifest_digest);
  Search search(registry, rule, accepted);
  for (const Digest& digest : accepted)
    if (TRY(search.LookForCosign(digest))) return search.verdict;
  for (const Digest& digest : accepted)
    for (const char* type : {kBundleType, kBundleTypeOld})
      if (TRY(search.LookForBundles(digest, type))) return search.verdict;
  return search.NoneCounts();
}

}  // namespace caisson::image
