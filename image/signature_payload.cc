// SPDX-License-Identifier: Apache-2.0
#include "image/signature_payload.h"

#include <algorithm>

#include "base/encoding.h"
#include "base/json/json.h"

namespace caisson::image {
namespace {

constexpr JsonLimits kManifestLimits{.max_bytes = 4 << 20, .max_depth = 16, .max_values = 100'000};
constexpr JsonLimits kPayloadLimits{.max_bytes = 64 << 10, .max_depth = 16, .max_values = 2'000};
constexpr JsonLimits kBundleLimits{.max_bytes = 1 << 20, .max_depth = 24, .max_values = 20'000};
constexpr size_t kMaxSubjects = 64;
constexpr size_t kMaxSignatureBytes = 2048;  // RSA with 16,384 bits

constexpr char kSignatureAnnotation[] = "dev.cosignproject.cosign/signature";
constexpr char kCertificateAnnotation[] = "dev.sigstore.cosign/certificate";
constexpr char kPredicateAnnotation[] = "dev.sigstore.bundle.predicateType";

// ---- Words for what is missing ----------------------------------------------------------------------------------

Result<const Json*> Object(const Json& parent, std::string_view key) {
  const Json* member = parent.Find(key);
  if (!member || !member->AsObject()) return Fail(ErrorCode::kInvalid, "{} is not an object", key);
  return member;
}

Result<std::string> Text(const Json& parent, std::string_view key) {
  const Json* member = parent.Find(key);
  if (!member || !member->AsString()) return Fail(ErrorCode::kInvalid, "{} is not a string", key);
  return *member->AsString();
}

Result<std::string> Base64(const Json& parent, std::string_view key) {
  std::optional<std::string> bytes = Base64Decode(TRY(Text(parent, key)));
  if (!bytes) return Fail(ErrorCode::kInvalid, "{} is not base64", key);
  return *std::move(bytes);
}

// In documents that one program alone writes, a member that is not known means that it says more than we understand.
Result<void> OnlyMembers(const Json& object, std::string_view name, std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : *object.AsObject())
    if (std::find(known.begin(), known.end(), key) == known.end())
      return Fail(ErrorCode::kInvalid, "{} has the unknown member \"{}\"", name, EscapeForLog(key, 64));
  return {};
}

Result<Json> ParseObject(std::string_view bytes, const JsonLimits& limits) {
  Json json = TRY(ParseJson(bytes, limits));
  if (!json.AsObject()) return Fail(ErrorCode::kInvalid, "is not a JSON object");
  return json;
}

std::string Annotation(const Json& object, std::string_view name) {
  const Json* annotations = object.Find("annotations");
  return annotations ? annotations->StringOr(name, "") : "";
}

Result<SignatureLayer> ReadLayer(const Json& json) {
  SignatureLayer layer;
  layer.descriptor.media_type = json.StringOr("mediaType", "");
  layer.descriptor.digest = TRY(Digest::Parse(json.StringOr("digest", "")));
  const int64_t size = json.IntOr("size", -1);
  if (size < 0) return Fail(ErrorCode::kInvalid, "has no size");
  layer.descriptor.size = static_cast<uint64_t>(size);
  layer.signature = Annotation(json, kSignatureAnnotation);
  layer.certificate = !Annotation(json, kCertificateAnnotation).empty();
  return layer;
}

// ---- Parts of a bundle ------------------------------------------------------------------------------------------

// A key's hint is only that: every configured key is tried.
Result<void> CheckVerificationMaterial(const Json& bundle) {
  const Json& material = *TRY(Object(bundle, "verificationMaterial"));
  if (material.Find("certificate") || material.Find("x509CertificateChain"))
    return Fail(ErrorCode::kUnsupported,
                "is keyless (signed with a certificate): only signatures by configured public keys count");
  TRY(Object(material, "publicKey"));
  return {};
}

Result<std::string> ReadSignature(const Json& parent, std::string_view key) {
  std::string signature = TRY(Base64(parent, key));
  if (signature.empty() || signature.size() > kMaxSignatureBytes)
    return Fail(ErrorCode::kInvalid, "{} has {} bytes", key, signature.size());
  return signature;
}

Result<SignatureBundle> ReadEnvelope(const Json& envelope) {
  SignatureBundle bundle;
  bundle.is_envelope = true;
  bundle.payload_type = TRY(Text(envelope, "payloadType"));
  bundle.payload = TRY(Base64(envelope, "payload"));
  const Json::Array& signatures = envelope.ArrayOrEmpty("signatures");
  if (signatures.size() != 1 || !signatures[0].AsObject())
    return Fail(ErrorCode::kInvalid, "dsseEnvelope has {} signatures: it must have one", signatures.size());
  bundle.signature = TRY(ReadSignature(signatures[0], "sig"));
  return bundle;
}

Result<SignatureBundle> ReadMessageSignature(const Json& message) {
  SignatureBundle bundle;
  const Json& digest = *TRY(Object(message, "messageDigest"));
  if (digest.StringOr("algorithm", "") != "SHA2_256")
    return Fail(ErrorCode::kUnsupported, "messageDigest.algorithm is not SHA2_256");
  const std::string bytes = TRY(Base64(digest, "digest"));
  if (bytes.size() != bundle.message_digest.bytes.size())
    return Fail(ErrorCode::kInvalid, "messageDigest.digest has {} bytes", bytes.size());
  std::copy(bytes.begin(), bytes.end(), bundle.message_digest.bytes.begin());
  bundle.signature = TRY(ReadSignature(message, "signature"));
  return bundle;
}

}  // namespace

Result<SignatureManifest> ParseSignatureManifest(std::string_view bytes) {
  const Json json = TRY(ParseObject(bytes, kManifestLimits));
  if (json.Find("manifests")) return Fail(ErrorCode::kInvalid, "is an index, not a manifest");
  SignatureManifest manifest{.layers = {}, .predicate_type = Annotation(json, kPredicateAnnotation)};
  const Json::Array& layers = json.ArrayOrEmpty("layers");
  if (layers.size() > kMaxSignatureLayers)
    return Fail(ErrorCode::kTooLarge, "has more than {} layers", kMaxSignatureLayers);
  for (const Json& layer : layers)
    manifest.layers.push_back(TRY_IN(fmt::format("layer {}", manifest.layers.size()), ReadLayer(layer)));
  return manifest;
}

Result<SimpleSigningClaim> ParseSimpleSigning(std::string_view bytes) {
  const Json json = TRY(ParseObject(bytes, kPayloadLimits));
  const Json& critical = *TRY(Object(json, "critical"));
  const Json& identity = *TRY(Object(critical, "identity"));
  const Json& image = *TRY(Object(critical, "image"));
  TRY(OnlyMembers(json, "the payload", {"critical", "optional"}));
  TRY(OnlyMembers(critical, "critical", {"identity", "image", "type"}));
  TRY(OnlyMembers(identity, "critical.identity", {"docker-reference"}));
  TRY(OnlyMembers(image, "critical.image", {"docker-manifest-digest"}));
  if (critical.StringOr("type", "") != "cosign container image signature")
    return Fail(ErrorCode::kInvalid, "critical.type is not \"cosign container image signature\"");
  SimpleSigningClaim claim;
  claim.digest =
      TRY_IN("critical.image.docker-manifest-digest", Digest::Parse(TRY(Text(image, "docker-manifest-digest"))));
  claim.docker_reference = TRY(Text(identity, "docker-reference"));
  return claim;
}

Result<SignatureBundle> ParseSignatureBundle(std::string_view bytes) {
  const Json json = TRY(ParseObject(bytes, kBundleLimits));
  const std::string type = json.StringOr("mediaType", "");
  if (type != kBundleType && type != kBundleTypeOld)
    return Fail(ErrorCode::kUnsupported, "is of the type \"{}\", not {}", EscapeForLog(type, 80), kBundleType);
  TRY(CheckVerificationMaterial(json));
  const Json* envelope = json.Find("dsseEnvelope");
  const Json* message = json.Find("messageSignature");
  if (!envelope == !message) return Fail(ErrorCode::kInvalid, "must hold either a dsseEnvelope or a messageSignature");
  if (envelope) return ReadEnvelope(*envelope);
  return ReadMessageSignature(*message);
}

std::string PreAuthenticationEncoding(std::string_view payload_type, std::string_view payload) {
  return fmt::format("DSSEv1 {} {} {} ", payload_type.size(), payload_type, payload.size()).append(payload);
}

Result<std::vector<Digest>> ParseSignStatement(std::string_view bytes) {
  const Json json = TRY(ParseObject(bytes, kBundleLimits));
  const std::string type = json.StringOr("_type", "");
  if (type != "https://in-toto.io/Statement/v1" && type != "https://in-toto.io/Statement/v0.1")
    return Fail(ErrorCode::kInvalid, "is not an in-toto statement of version 1");
  // The same key may sign what a scanner found, or how the image was built: that the image may run it does not say.
  const std::string predicate = json.StringOr("predicateType", "");
  if (predicate != kSignPredicate)
    return Fail(ErrorCode::kInvalid, "is an attestation ({}), not a signature of the image",
                EscapeForLog(predicate, 100));
  const Json::Array& subjects = json.ArrayOrEmpty("subject");
  if (subjects.empty() || subjects.size() > kMaxSubjects)
    return Fail(ErrorCode::kInvalid, "has {} subjects: 1 to {} are possible", subjects.size(), kMaxSubjects);
  std::vector<Digest> digests;
  for (const Json& subject : subjects) {
    const std::string hex = TRY(Text(*TRY(Object(subject, "digest")), "sha256"));
    digests.push_back(TRY(Digest::Parse("sha256:" + hex)));
  }
  return digests;
}

}  // namespace caisson::image
