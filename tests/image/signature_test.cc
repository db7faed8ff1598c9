// SPDX-License-Identifier: Apache-2.0
// Signatures that a registry serves, good and bad. No test fetches a layer: the check comes before.
#include "image/signature.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/crypto/crypto.h"
#include "image/signature_payload.h"
#include "tests/image/scripted_registry.h"
#include "tests/image/signing.h"

namespace caisson::image {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr char kDocument[] = "{\"the\":\"manifest\"}";

class SignatureTest : public testing::Test {
 protected:
  SignatureTest() {
    registries_[registry_.address()].plain_http = true;
    rule_ = {.scope = registry_.address(), .keys = {Named("/etc/ours.pub", key_)}};
    image_ = registry_.PutManifest("1", kDocument, "application/vnd.oci.image.manifest.v1+json");
  }

  static SigningKey Named(const std::string& name, const TestKey& key) {
    return {name, PublicKey::FromPem(key.public_pem()).value()};
  }
  std::string repository() const { return registry_.address() + "/team/app"; }
  std::string Payload(const Digest& image) const { return SimpleSigningPayload(image, repository()); }
  ClassicSignature Signed(const std::string& payload) const { return {payload, key_.Sign(payload)}; }

  Result<SignatureVerdict> Check(const Digest& reference, const Digest& manifest) {
    RegistryAccess access{.registries = &registries_};
    access.timing.tries = 1;
    RegistryClient client(ParseReference(repository() + ":1").value(), access);
    return CheckSignature(client, reference, manifest, rule_);
  }
  Result<SignatureVerdict> Check() { return Check(image_, image_); }
  std::string ErrorOf() {
    const auto verdict = Check();
    if (verdict) return "accepted";
    EXPECT_EQ(verdict.error().code, ErrorCode::kDenied) << verdict.error().message;
    return verdict.error().message;
  }

  ScriptedRegistry registry_;
  RegistryTable registries_;
  const TestKey key_, other_key_;
  SignatureRule rule_;
  Digest image_;
  const Digest other_image_ = Sha256Of("another image");
};

// ---- cosign's classic format ------------------------------------------------------------------------------------

TEST_F(SignatureTest, ClassicSignatureByOurKeyCounts) {
  PutClassicSignatures(registry_, image_, {Signed(Payload(image_))});
  const auto verdict = Check();
  ASSERT_TRUE(verdict) << verdict.error().message;
  EXPECT_EQ(verdict->signed_digest, image_);
  EXPECT_EQ(verdict->key, "/etc/ours.pub");
  EXPECT_EQ(verdict->format, "cosign signature");
  EXPECT_EQ(verdict->fingerprint, rule_.Fingerprint());
}

TEST_F(SignatureTest, OneGoodSignatureAmongOthersIsEnough) {
  rule_.keys.insert(rule_.keys.begin(), Named("/etc/first.pub", TestKey()));
  const std::string payload = Payload(image_);
  PutClassicSignatures(registry_, image_, {{payload, other_key_.Sign(payload)}, {payload, "garbage"}, Signed(payload)});
  const auto verdict = Check();
  ASSERT_TRUE(verdict) << verdict.error().message;
  EXPECT_EQ(verdict->key, "/etc/ours.pub");
}

TEST_F(SignatureTest, EveryKindOfKeyCounts) {
  for (const TestKey::Kind kind : {TestKey::kP256, TestKey::kP384, TestKey::kEd25519, TestKey::kRsa2048}) {
    const TestKey key(kind);
    rule_.keys = {Named("key", key)};
    PutClassicSignatures(registry_, image_, {{Payload(image_), key.Sign(Payload(image_))}});
    EXPECT_TRUE(Check()) << rule_.keys[0].key.kind();
  }
  const TestKey key(TestKey::kP384);
  rule_.keys = {Named("key", key)};
  PutClassicSignatures(registry_, image_, {{Payload(image_), key.Sign(Payload(image_), true)}});
  EXPECT_TRUE(Check()) << "P-384 with SHA-384";
}

TEST_F(SignatureTest, IndexOrPlatformManifestMayBeSignedAndTheVerdictSaysWhich) {
  const Digest index = Sha256Of("an index");
  PutClassicSignatures(registry_, image_, {Signed(Payload(image_))});
  EXPECT_EQ(Check(index, image_)->signed_digest, image_);
  PutClassicSignatures(registry_, index, {Signed(Payload(index))});
  EXPECT_EQ(Check(index, image_)->signed_digest, index);
}

TEST_F(SignatureTest, WithoutAnySignatureTheErrorSaysWhereWasLookedAndForWhat) {
  const Digest index = Sha256Of("an index");
  const auto verdict = Check(index, image_);
  ASSERT_FALSE(verdict);
  EXPECT_EQ(verdict.error().code, ErrorCode::kDenied);
  EXPECT_THAT(
      verdict.error().message,
      AllOf(HasSubstr(repository()), HasSubstr("scope = \"" + registry_.address() + "\""), HasSubstr("/etc/ours.pub"),
            HasSubstr("0 signatures were found"), HasSubstr("sha256-" + index.hex() + ".sig"),
            HasSubstr("sha256-" + image_.hex() + ".sig"), HasSubstr("referrers of " + image_.ToString())));
  EXPECT_EQ(registry_.CountRequests("GET", "/blobs/"), 0);
}

TEST_F(SignatureTest, AnotherKeysSignatureDoesNotCount) {
  PutClassicSignatures(registry_, image_, {{Payload(image_), other_key_.Sign(Payload(image_))}});
  EXPECT_THAT(ErrorOf(), AllOf(HasSubstr("1 signature was found"), HasSubstr("by none of the configured keys")));
}

TEST_F(SignatureTest, ChangedPayloadDoesNotCount) {
  const std::string signature = key_.Sign(Payload(other_image_));
  PutClassicSignatures(registry_, image_, {{Payload(image_), signature}});
  EXPECT_THAT(ErrorOf(), HasSubstr("its payload was changed"));
}

TEST_F(SignatureTest, SignatureOfAnotherImageReplayedDoesNotCount) {
  PutClassicSignatures(registry_, image_, {Signed(Payload(other_image_))});
  EXPECT_THAT(ErrorOf(), HasSubstr("is for another image, " + other_image_.ToString()));
}

TEST_F(SignatureTest, SignatureForAnotherRepositoryCountsOnlyWhereTheRuleSaysSo) {
  for (const std::string& reference : {registry_.address() + "/team/other", std::string(), std::string("not a name!"),
                                       registry_.address() + "/team/app/below"}) {
    PutClassicSignatures(registry_, image_, {Signed(SimpleSigningPayload(image_, reference))});
    rule_.any_identity = false;
    EXPECT_THAT(ErrorOf(), HasSubstr("identity = \"any\"")) << reference;
    rule_.any_identity = true;
    EXPECT_TRUE(Check()) << reference;
  }
  rule_.any_identity = false;
  PutClassicSignatures(registry_, image_, {Signed(SimpleSigningPayload(image_, repository() + ":2"))});
  EXPECT_TRUE(Check()) << "a tag does not matter, the digest does";
}

TEST_F(SignatureTest, PayloadThatIsNotWhatItsManifestSaysDoesNotCount) {
  PutClassicSignatures(registry_, image_, {Signed(Payload(image_))});
  registry_.SetScript([this](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.path.find("/blobs/") == std::string::npos) return std::nullopt;
    std::string other = Payload(image_);
    other[5] ^= 1;
    return ScriptedAnswer{.body = other};
  });
  EXPECT_THAT(ErrorOf(), HasSubstr("signature 1 of sha256-"));
}

TEST_F(SignatureTest, SignedPayloadOfAnotherKindDoesNotCount) {
  const std::string good = Payload(image_);
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  for (const std::string& payload :
       {replaced("cosign container image signature", "atomic container signature"), std::string("garbage"),
        std::string("{}"), replaced("\"type\"", "\"kind\""), replaced("{\"critical\"", "{\"more\":1,\"critical\""),
        replaced("\"image\":{", "\"image\":{\"docker-manifest-digest\":\"" + other_image_.ToString() + "\","),
        replaced("sha256:", "sha512:")}) {
    PutClassicSignatures(registry_, image_, {Signed(payload)});
    EXPECT_THAT(ErrorOf(), HasSubstr("its payload: ")) << payload;
  }
}

TEST_F(SignatureTest, KeylessClassicSignatureIsSaidToBeSo) {
  PutClassicSignatures(registry_, image_, {{Payload(image_), other_key_.Sign(Payload(image_)), "PEM"}});
  EXPECT_THAT(ErrorOf(), HasSubstr("is keyless"));
}

TEST_F(SignatureTest, GarbageInPlaceOfTheManifestIsAReason) {
  const std::string tag = "sha256-" + image_.hex() + ".sig";
  for (const char* bytes : {"garbage", "[]", "{\"manifests\":[]}", "{\"layers\":[{}]}", "{\"layers\":[7]}"}) {
    registry_.PutManifest(tag, bytes, "application/vnd.oci.image.manifest.v1+json");
    EXPECT_THAT(ErrorOf(), HasSubstr(tag)) << bytes;
  }
}

TEST_F(SignatureTest, SignaturesLookedAtAreBounded) {
  std::vector<ClassicSignature> many;
  for (int i = 0; i < 100; ++i) {
    const std::string payload = SimpleSigningPayload(image_, repository() + ":" + std::to_string(i));
    many.push_back({payload, "garbage"});
  }
  many.push_back(Signed(Payload(image_)));
  PutClassicSignatures(registry_, image_, many);
  EXPECT_THAT(ErrorOf(), AllOf(HasSubstr("64 signatures were found"), HasSubstr("there are more than the 64"),
                               HasSubstr("and 56 more")));
  EXPECT_EQ(registry_.CountRequests("GET", "/blobs/"), 64);
}

TEST_F(SignatureTest, HugePayloadIsNotFetched) {
  PutClassicSignatures(registry_, image_, {Signed(std::string(65 << 10, ' '))});
  EXPECT_THAT(ErrorOf(), HasSubstr("larger than 65536 bytes"));
  EXPECT_EQ(registry_.CountRequests("GET", "/blobs/"), 0);
}

TEST_F(SignatureTest, RegistryThatIsDownIsNoMissingSignature) {
  registry_.SetScript([](const ScriptedRequest&) { return ScriptedAnswer{.status = 503}; });
  EXPECT_EQ(Check().error().code, ErrorCode::kUnavailable);
  PutClassicSignatures(registry_, image_, {Signed(Payload(image_))});
  registry_.SetScript([](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.path.find("/blobs/") == std::string::npos) return std::nullopt;
    return ScriptedAnswer{.status = 503};
  });
  EXPECT_EQ(Check().error().code, ErrorCode::kUnavailable);
}

// ---- Sigstore bundles -------------------------------------------------------------------------------------------

TEST_F(SignatureTest, BundleFoundByTheFallbackTagCounts) {
  PutBundles(registry_, image_, {EnvelopeBundle(key_, SignStatement(image_))});
  const auto verdict = Check();
  ASSERT_TRUE(verdict) << verdict.error().message;
  EXPECT_EQ(verdict->signed_digest, image_);
  EXPECT_EQ(verdict->format, "Sigstore bundle");
}

TEST_F(SignatureTest, BundleFoundByTheReferrersApiCounts) {
  const std::string index = PutBundles(registry_, image_, {EnvelopeBundle(key_, SignStatement(image_))});
  registry_.PutManifest("sha256-" + image_.hex(), "gone", "x");
  registry_.SetScript([&](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.path.find("/referrers/") == std::string::npos) return std::nullopt;
    return ScriptedAnswer{.headers = {{"Content-Type", "application/vnd.oci.image.index.v1+json"}}, .body = index};
  });
  const auto verdict = Check();
  ASSERT_TRUE(verdict) << verdict.error().message;
  EXPECT_EQ(verdict->format, "Sigstore bundle");
}

TEST_F(SignatureTest, BundleOverTheManifestsBytesCounts) {
  for (const TestKey::Kind kind : {TestKey::kP256, TestKey::kEd25519}) {
    const TestKey key(kind);
    rule_.keys = {Named("key", key)};
    PutBundles(registry_, image_, {MessageBundle(key, kDocument)});
    const auto verdict = Check();
    ASSERT_TRUE(verdict) << verdict.error().message;
    EXPECT_EQ(verdict->signed_digest, image_);
  }
}

TEST_F(SignatureTest, BundleWithoutUseIsAReason) {
  const auto error = [this](const std::string& bundle) {
    PutBundles(registry_, image_, {bundle});
    return ErrorOf();
  };
  const std::string statement = SignStatement(image_);
  EXPECT_THAT(error(EnvelopeBundle(other_key_, statement)), HasSubstr("by none of the configured keys"));
  EXPECT_THAT(error(MessageBundle(other_key_, kDocument)), HasSubstr("by none of the configured keys"));
  EXPECT_THAT(error(KeylessBundle(key_, statement)), HasSubstr("is keyless"));
  EXPECT_THAT(error(EnvelopeBundle(key_, SignStatement(other_image_))), HasSubstr("is for another image"));
  EXPECT_THAT(error(MessageBundle(key_, "another document")), HasSubstr("is for another image"));
  EXPECT_THAT(error(EnvelopeBundle(key_, "garbage")), HasSubstr("its statement: "));
  EXPECT_THAT(error(EnvelopeBundle(key_, statement, "text/plain")), HasSubstr("its envelope holds \"text/plain\""));
  EXPECT_THAT(error("garbage"), HasSubstr("bundle sha256:"));
  EXPECT_THAT(error("{\"mediaType\":\"application/vnd.dev.sigstore.bundle+json;version=0.1\"}"),
              HasSubstr("is of the type"));
}

// What a scanner or a builder signed with the same key is about the image, not for it.
TEST_F(SignatureTest, AttestationIsNoSignature) {
  const std::string attestation = SignStatement(image_, "https://cosign.sigstore.dev/attestation/vuln/v1");
  PutBundles(registry_, image_, {EnvelopeBundle(key_, attestation)});
  EXPECT_THAT(ErrorOf(), HasSubstr("is an attestation"));
  PutBundles(registry_, image_, {EnvelopeBundle(key_, attestation)}, "https://cosign.sigstore.dev/attestation/vuln/v1");
  EXPECT_THAT(ErrorOf(), HasSubstr("0 signatures were found"));
}

TEST_F(SignatureTest, KeylessBundleBesideAGoodOneDoesNoHarm) {
  PutBundles(registry_, image_,
             {KeylessBundle(other_key_, SignStatement(image_)), EnvelopeBundle(key_, SignStatement(image_))});
  EXPECT_TRUE(Check());
}

TEST_F(SignatureTest, BundlesLookedAtAreBounded) {
  std::vector<std::string> many;
  for (int i = 0; i < 80; ++i) many.push_back("garbage " + std::to_string(i));
  PutBundles(registry_, image_, many);
  EXPECT_THAT(ErrorOf(), HasSubstr("64 signatures were found"));
}

}  // namespace
}  // namespace caisson::image
