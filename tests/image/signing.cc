// SPDX-License-Identifier: Apache-2.0
#include "tests/image/signing.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "base/check.h"
#include "base/crypto/crypto.h"
#include "base/encoding.h"
#include "base/json/json.h"
#include "image/signature_payload.h"

namespace caisson::image {
namespace {

constexpr char kManifestType[] = "application/vnd.oci.image.manifest.v1+json";
constexpr char kIndexType[] = "application/vnd.oci.image.index.v1+json";

EVP_PKEY* Generate(TestKey::Kind kind) {
  switch (kind) {
    case TestKey::kP256: return EVP_EC_gen("P-256");
    case TestKey::kP384: return EVP_EC_gen("P-384");
    case TestKey::kP521: return EVP_EC_gen("P-521");
    case TestKey::kEd25519: return EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
    case TestKey::kRsa2048: return EVP_RSA_gen(2048);
    case TestKey::kRsa1024: return EVP_RSA_gen(1024);
  }
  return nullptr;
}

std::string TextOf(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<size_t>(size));
  BIO_free(bio);
  return text;
}

Json DescriptorOf(const std::string& type, const std::string& bytes) {
  Json json;
  json.Set("mediaType", type);
  json.Set("digest", Sha256Of(bytes).ToString());
  json.Set("size", static_cast<uint64_t>(bytes.size()));
  return json;
}

Json ManifestOf(ScriptedRegistry& registry, Json::Array layers) {
  const std::string config = "{}";
  registry.PutBlob(config);
  Json manifest;
  manifest.Set("schemaVersion", 2);
  manifest.Set("mediaType", kManifestType);
  manifest.Set("config", DescriptorOf("application/vnd.oci.empty.v1+json", config));
  manifest.Set("layers", std::move(layers));
  return manifest;
}

Json PublicKeyMaterial() {
  Json hint, material;
  hint.Set("hint", "a hint that nobody needs");
  material.Set("publicKey", hint);
  return material;
}

Json Envelope(const TestKey& key, const std::string& statement, const std::string& payload_type) {
  Json signature, envelope;
  signature.Set("sig", Base64Encode(key.Sign(PreAuthenticationEncoding(payload_type, statement))));
  envelope.Set("payload", Base64Encode(statement));
  envelope.Set("payloadType", payload_type);
  envelope.Set("signatures", Json::Array{signature});
  return envelope;
}

}  // namespace

TestKey::TestKey(Kind kind)
    : key_(Generate(kind), [](void* key) { EVP_PKEY_free(static_cast<EVP_PKEY*>(key)); }), kind_(kind) {
  CHECK(key_);
}

std::string TestKey::public_pem() const {
  BIO* bio = BIO_new(BIO_s_mem());
  CHECK(PEM_write_bio_PUBKEY(bio, static_cast<EVP_PKEY*>(key_.get())) == 1);
  return TextOf(bio);
}

std::string TestKey::private_pem() const {
  BIO* bio = BIO_new(BIO_s_mem());
  CHECK(PEM_write_bio_PrivateKey(bio, static_cast<EVP_PKEY*>(key_.get()), nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return TextOf(bio);
}

std::string TestKey::Sign(const std::string& message, bool sha384) const {
  const EVP_MD* hash = kind_ == kEd25519 ? nullptr : sha384 ? EVP_sha384() : EVP_sha256();
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  size_t length = 0;
  const auto* bytes = reinterpret_cast<const uint8_t*>(message.data());
  CHECK(EVP_DigestSignInit(context, nullptr, hash, nullptr, static_cast<EVP_PKEY*>(key_.get())) == 1);
  CHECK(EVP_DigestSign(context, nullptr, &length, bytes, message.size()) == 1);
  std::string signature(length, '\0');
  CHECK(EVP_DigestSign(context, reinterpret_cast<uint8_t*>(signature.data()), &length, bytes, message.size()) == 1);
  EVP_MD_CTX_free(context);
  signature.resize(length);
  return signature;
}

std::string SimpleSigningPayload(const Digest& image, const std::string& reference) {
  Json identity, named, critical, payload;
  identity.Set("docker-reference", reference);
  named.Set("docker-manifest-digest", image.ToString());
  critical.Set("identity", identity);
  critical.Set("image", named);
  critical.Set("type", "cosign container image signature");
  payload.Set("critical", critical);
  payload.Set("optional", Json());
  return payload.Dump();
}

void PutClassicSignatures(ScriptedRegistry& registry, const Digest& image, const std::vector<ClassicSignature>& all) {
  Json::Array layers;
  for (const ClassicSignature& signature : all) {
    registry.PutBlob(signature.payload);
    Json annotations, layer = DescriptorOf(kSimpleSigningType, signature.payload);
    annotations.Set("dev.cosignproject.cosign/signature", Base64Encode(signature.signature));
    if (!signature.certificate.empty()) annotations.Set("dev.sigstore.cosign/certificate", signature.certificate);
    layer.Set("annotations", annotations);
    layers.push_back(layer);
  }
  registry.PutManifest("sha256-" + image.hex() + ".sig", ManifestOf(registry, std::move(layers)).Dump(), kManifestType);
}

std::string SignStatement(const Digest& image, const std::string& predicate) {
  Json sha256, subject, statement;
  sha256.Set("sha256", image.hex());
  subject.Set("digest", sha256);
  statement.Set("_type", "https://in-toto.io/Statement/v1");
  statement.Set("subject", Json::Array{subject});
  statement.Set("predicateType", predicate);
  statement.Set("predicate", Json::MakeObject());
  return statement.Dump();
}

std::string EnvelopeBundle(const TestKey& key, const std::string& statement, const std::string& payload_type) {
  Json bundle;
  bundle.Set("mediaType", kBundleType);
  bundle.Set("verificationMaterial", PublicKeyMaterial());
  bundle.Set("dsseEnvelope", Envelope(key, statement, payload_type));
  return bundle.Dump();
}

std::string MessageBundle(const TestKey& key, const std::string& message) {
  const Digest digest = Sha256Of(message);
  Json message_digest, signature, bundle;
  message_digest.Set("algorithm", "SHA2_256");
  message_digest.Set("digest", Base64Encode({reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size()}));
  signature.Set("messageDigest", message_digest);
  signature.Set("signature", Base64Encode(key.Sign(message)));
  bundle.Set("mediaType", kBundleTypeOld);
  bundle.Set("verificationMaterial", PublicKeyMaterial());
  bundle.Set("messageSignature", signature);
  return bundle.Dump();
}

std::string KeylessBundle(const TestKey& key, const std::string& statement) {
  Json certificate, material, bundle;
  certificate.Set("rawBytes", Base64Encode("a certificate"));
  material.Set("certificate", certificate);
  bundle.Set("mediaType", kBundleType);
  bundle.Set("verificationMaterial", material);
  bundle.Set("dsseEnvelope", Envelope(key, statement, kStatementType));
  return bundle.Dump();
}

std::string PutBundles(ScriptedRegistry& registry, const Digest& image, const std::vector<std::string>& bundles,
                       const std::string& predicate_annotation) {
  Json::Array manifests;
  for (const std::string& bundle : bundles) {
    registry.PutBlob(bundle);
    Json manifest = ManifestOf(registry, {DescriptorOf(kBundleType, bundle)});
    manifest.Set("artifactType", kBundleType);
    Json annotations = Json::MakeObject();
    if (!predicate_annotation.empty()) annotations.Set("dev.sigstore.bundle.predicateType", predicate_annotation);
    manifest.Set("annotations", annotations);
    const std::string bytes = manifest.Dump();
    const Digest digest = registry.PutManifest("unused", bytes, kManifestType);
    Json entry = DescriptorOf(kManifestType, bytes);
    entry.Set("artifactType", kBundleType);
    manifests.push_back(entry);
    CHECK(digest == Sha256Of(bytes));
  }
  Json index;
  index.Set("schemaVersion", 2);
  index.Set("mediaType", kIndexType);
  index.Set("manifests", std::move(manifests));
  registry.PutManifest("sha256-" + image.hex(), index.Dump(), kIndexType);
  return index.Dump();
}

}  // namespace caisson::image
