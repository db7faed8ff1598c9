// SPDX-License-Identifier: Apache-2.0
#include "base/crypto/public_key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/encoding.h"
#include "tests/image/signing.h"

namespace caisson::image {
namespace {

using testing::HasSubstr;

TEST(PublicKeyTest, EveryKindVerifiesItsOwnAndNothingElse) {
  for (const auto& [kind, name] : {std::pair{TestKey::kP256, "ECDSA P-256"},
                                   {TestKey::kP384, "ECDSA P-384"},
                                   {TestKey::kEd25519, "Ed25519"},
                                   {TestKey::kRsa2048, "RSA 2048"}}) {
    const TestKey pair(kind), other(kind);
    const auto key = PublicKey::FromPem(pair.public_pem());
    ASSERT_TRUE(key) << name << ": " << key.error().message;
    EXPECT_EQ(key->kind(), name);
    const std::string signature = pair.Sign("message");
    EXPECT_TRUE(key->Verifies("message", signature)) << name;
    EXPECT_FALSE(key->Verifies("massage", signature)) << name;
    EXPECT_FALSE(key->Verifies("message", other.Sign("message"))) << name;
    EXPECT_FALSE(key->Verifies("message", "")) << name;
    EXPECT_FALSE(key->Verifies("message", signature.substr(1))) << name;
    EXPECT_FALSE(key->Verifies("message", std::string(5000, '\xff'))) << name;
  }
}

// Made with the openssl command (genpkey, dgst -sha256 -sign), so that not OpenSSL's other half alone has to agree.
TEST(PublicKeyTest, SignatureOfTheOpensslCommandCounts) {
  constexpr char kPem[] = R"(-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEBtaQIZoFD2AcvGnSfSt+BXX9tcIb
jB8uCqiHRfqRFH+MsaRIFegN0AT+RLejmd6+lVtjoQRr0nHwNkpgPHQGWQ==
-----END PUBLIC KEY-----
)";
  const std::string signature =
      "MEYCIQDog5O7vYSAwnr11m0G9lqjHuKT1LypW1ZnKWjA/PPdvQIhAPRmMSjZZQwit+rvg9obySMYX9rJK8T6b4j/lNSQA1Ei";
  const auto key = PublicKey::FromPem(kPem);
  ASSERT_TRUE(key) << key.error().message;
  EXPECT_TRUE(key->Verifies("caisson\n", Base64Decode(signature).value()));
  EXPECT_FALSE(key->Verifies("caisson", Base64Decode(signature).value()));
}

TEST(PublicKeyTest, WhatIsNoUsableKeyIsRefusedWithTheReason) {
  const auto error = [](const std::string& pem) {
    const auto key = PublicKey::FromPem(pem);
    return key ? "accepted" : key.error().message;
  };
  const std::string good = TestKey().public_pem();
  EXPECT_THAT(error(TestKey(TestKey::kRsa1024).public_pem()), HasSubstr("of a kind that is not taken"));
  EXPECT_THAT(error(TestKey(TestKey::kP521).public_pem()), HasSubstr("of a kind that is not taken"));
  EXPECT_THAT(error(TestKey().private_pem()), HasSubstr("private key"));
  EXPECT_THAT(error("-----BEGIN CERTIFICATE-----\n"), HasSubstr("a certificate"));
  EXPECT_THAT(error(good + good), HasSubstr("more than one"));
  EXPECT_THAT(error(""), HasSubstr("no PEM block"));
  EXPECT_THAT(error("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), HasSubstr("damaged"));
  EXPECT_EQ(error("A comment\n" + good), "accepted");
}

TEST(PublicKeyTest, FingerprintIsOfTheKeyNotOfItsFile) {
  const TestKey pair;
  const auto plain = PublicKey::FromPem(pair.public_pem()), commented = PublicKey::FromPem("x\n" + pair.public_pem());
  EXPECT_EQ(plain->fingerprint(), commented->fingerprint());
  EXPECT_NE(plain->fingerprint(), PublicKey::FromPem(TestKey().public_pem())->fingerprint());
}

}  // namespace
}  // namespace caisson::image
