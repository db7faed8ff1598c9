// SPDX-License-Identifier: Apache-2.0
#include "image/signature_payload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/crypto/crypto.h"
#include "tests/image/signing.h"

namespace caisson::image {
namespace {

using testing::HasSubstr;

const Digest kImage = Sha256Of("image");

TEST(SignaturePayloadTest, SimpleSigningClaimIsRead) {
  const auto claim = ParseSimpleSigning(SimpleSigningPayload(kImage, "host.example/app"));
  ASSERT_TRUE(claim) << claim.error().message;
  EXPECT_EQ(claim->digest, kImage);
  EXPECT_EQ(claim->docker_reference, "host.example/app");
}

TEST(SignaturePayloadTest, DocumentsAreBounded) {
  const std::string deep = std::string(100, '[') + std::string(100, ']');
  EXPECT_FALSE(ParseSimpleSigning("{\"critical\":" + deep + "}"));
  EXPECT_FALSE(ParseSignatureBundle("{\"mediaType\":" + deep + "}"));
  EXPECT_EQ(ParseSimpleSigning(std::string(65 << 10, ' ')).error().code, ErrorCode::kTooLarge);
  EXPECT_EQ(ParseSignatureBundle(std::string((1 << 20) + 1, ' ')).error().code, ErrorCode::kTooLarge);
  std::string layers = "{\"layers\":[";
  for (size_t i = 0; i <= kMaxSignatureLayers; ++i) layers += i ? ",{}" : "{}";
  EXPECT_EQ(ParseSignatureManifest(layers + "]}").error().code, ErrorCode::kTooLarge);
}

TEST(SignaturePayloadTest, PreAuthenticationEncodingIsThatOfItsSpecification) {
  EXPECT_EQ(PreAuthenticationEncoding("http://example.com/HelloWorld", "hello world"),
            "DSSEv1 29 http://example.com/HelloWorld 11 hello world");
}

TEST(SignaturePayloadTest, BundleMustHoldOneContentAndOneSignature) {
  const auto error = [](const std::string& rest) {
    const auto bundle =
        ParseSignatureBundle(std::string(R"({"mediaType":")") + kBundleType + R"(","verificationMaterial":)" + rest);
    return bundle ? "accepted" : bundle.error().message;
  };
  constexpr char kEnvelope[] = R"("dsseEnvelope":{"payload":"","payloadType":"t","signatures":[{"sig":"AAAA"}]})";
  EXPECT_EQ(error(std::string(R"({"publicKey":{}},)") + kEnvelope + "}"), "accepted");
  EXPECT_THAT(error(R"({"publicKey":{}}})"), HasSubstr("either a dsseEnvelope or a messageSignature"));
  EXPECT_THAT(error(std::string(R"({"publicKey":{}},"messageSignature":{},)") + kEnvelope + "}"), HasSubstr("either"));
  EXPECT_THAT(error(std::string(R"({"publicKey":{},"certificate":{}},)") + kEnvelope + "}"), HasSubstr("keyless"));
  EXPECT_THAT(error(std::string(R"({"x509CertificateChain":{}},)") + kEnvelope + "}"), HasSubstr("keyless"));
  EXPECT_THAT(error(std::string(R"({},)") + kEnvelope + "}"), HasSubstr("publicKey"));
  EXPECT_THAT(error(R"({"publicKey":{}},"dsseEnvelope":{"payload":"","payloadType":"t","signatures":[]}})"),
              HasSubstr("0 signatures"));
  EXPECT_THAT(error(R"({"publicKey":{}},"dsseEnvelope":{"payload":"","payloadType":"t","signatures":[{"sig":"AAAA"},)"
                    R"({"sig":"AAAA"}]}})"),
              HasSubstr("2 signatures"));
  EXPECT_THAT(error(R"({"publicKey":{}},"dsseEnvelope":{"payload":"?","payloadType":"t","signatures":[]}})"),
              HasSubstr("payload is not base64"));
  EXPECT_THAT(error(R"({"publicKey":{}},"messageSignature":{"messageDigest":{"algorithm":"SHA2_512"}}})"),
              HasSubstr("not SHA2_256"));
}

TEST(SignaturePayloadTest, StatementNamesItsSubjects) {
  EXPECT_EQ(ParseSignStatement(SignStatement(kImage)).value(), std::vector<Digest>{kImage});
  EXPECT_THAT(ParseSignStatement(SignStatement(kImage, "https://slsa.dev/provenance/v1")).error().message,
              HasSubstr("is an attestation (https://slsa.dev/provenance/v1)"));
  EXPECT_FALSE(ParseSignStatement(R"({"_type":"https://in-toto.io/Statement/v1"})"));
  EXPECT_FALSE(ParseSignStatement("{}"));
}

}  // namespace
}  // namespace caisson::image
