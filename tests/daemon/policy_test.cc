// SPDX-License-Identifier: Apache-2.0
#include "daemon/service_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace caisson::daemon {
namespace {

using testing::HasSubstr;

constexpr char kPem[] =
    "-----BEGIN PUBLIC KEY-----\n"
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEBtaQIZoFD2AcvGnSfSt+BXX9tcIb\n"
    "jB8uCqiHRfqRFH+MsaRIFegN0AT+RLejmd6+lVtjoQRr0nHwNkpgPHQGWQ==\n"
    "-----END PUBLIC KEY-----\n";

TEST(PolicyTest, IsWhatTheSettingsSay) {
  Settings settings;
  settings.image_registries = {"docker.io"};
  settings.tenants["blue"].registries = {"ghcr.io/blue"};
  settings.tenants["plain"] = {};
  settings.signatures = {{.scope = "*", .keys = {"/a.pub"}, .key_pems = {kPem}},
                         {.scope = "docker.io/library", .require = false},
                         {.scope = "ghcr.io", .identity = "any", .keys = {"/b.pub"}, .key_pems = {kPem}}};
  const auto policy = MakeImagePolicy(settings);
  ASSERT_TRUE(policy) << policy.error().message;
  EXPECT_TRUE(policy->CheckAllowed("plain", "docker.io/library/alpine"));
  EXPECT_FALSE(policy->CheckAllowed("blue", "docker.io/library/alpine"));
  EXPECT_EQ(policy->RuleFor("docker.io/library/alpine"), nullptr);
  EXPECT_EQ(policy->RuleFor("quay.io/x")->keys.at(0).name, "/a.pub");
  EXPECT_FALSE(policy->RuleFor("quay.io/x")->any_identity);
  EXPECT_TRUE(policy->RuleFor("ghcr.io/x")->any_identity);
}

TEST(PolicyTest, UselessKeyIsNamed) {
  Settings settings;
  settings.signatures = {{.scope = "*", .keys = {"/a.pub"}, .key_pems = {"garbage"}}};
  EXPECT_THAT(MakeImagePolicy(settings).error().message, HasSubstr("signatures: key /a.pub: holds no PEM block"));
  settings.signatures[0].key_pems = {};  // a rule must never lose its keys on the way
  EXPECT_THAT(MakeImagePolicy(settings).error().message, HasSubstr("were not read"));
}

}  // namespace
}  // namespace caisson::daemon
