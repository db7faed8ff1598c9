// SPDX-License-Identifier: Apache-2.0
#include "image/image_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/image/signing.h"

namespace caisson::image {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

SigningKey NewKey(const std::string& name = "key") {
  return {name, PublicKey::FromPem(TestKey().public_pem()).value()};
}

TEST(ImagePolicyTest, PrefixHoldsAtASlashAlone) {
  EXPECT_TRUE(HeldBy("ghcr.io/acme/app", "ghcr.io"));
  EXPECT_TRUE(HeldBy("ghcr.io/acme/app", "ghcr.io/acme"));
  EXPECT_TRUE(HeldBy("ghcr.io/acme/app", "ghcr.io/acme/app"));
  EXPECT_FALSE(HeldBy("ghcr.io/acme/app", "ghcr.io/acme/ap"));
  EXPECT_FALSE(HeldBy("ghcr.io/acme", "ghcr.io/acme/app"));
  EXPECT_FALSE(HeldBy("ghcr.io.evil.example/acme", "ghcr.io"));
  EXPECT_FALSE(HeldBy("127.0.0.1:50001/a", "127.0.0.1:5000"));
  EXPECT_FALSE(HeldBy("evil.example/ghcr.io/acme", "ghcr.io"));
}

// As in a reference: whoever writes "docker.io/nginx" means the image that this name runs.
TEST(ImagePolicyTest, ShortNameOnDockerHubHoldsTheOfficialImageAndItsOwnNamespace) {
  EXPECT_TRUE(HeldBy("docker.io/library/nginx", "docker.io/nginx"));
  EXPECT_TRUE(HeldBy("docker.io/nginx/unit", "docker.io/nginx"));
  EXPECT_FALSE(HeldBy("docker.io/library/nginx-more", "docker.io/nginx"));
  EXPECT_FALSE(HeldBy("docker.io/library/nginx", "docker.io/ngin"));
  EXPECT_FALSE(HeldBy("a.example/library/nginx", "a.example/nginx"));
  const ImagePolicy policy({.signatures = {{.scope = "docker.io/library", .require = false},
                                           {.scope = "docker.io/nginx", .keys = {NewKey("nginx")}}}});
  EXPECT_EQ(policy.RuleFor("docker.io/library/alpine"), nullptr);
  ASSERT_NE(policy.RuleFor("docker.io/library/nginx"), nullptr) << "the longer text is not the more specific one";
}

TEST(ImagePolicyTest, WithoutAListEverythingIsAllowed) {
  EXPECT_TRUE(ImagePolicy().CheckAllowed("default", "anything.example/x"));
  EXPECT_EQ(ImagePolicy().RuleFor("anything.example/x"), nullptr);
}

TEST(ImagePolicyTest, ListHoldsForEveryTenantThatHasNoneOfItsOwn) {
  const ImagePolicy policy({.registries = ImagePolicy::Prefixes{"docker.io/library", "127.0.0.1:5000"},
                            .by_tenant = {{"blue", {"ghcr.io/blue"}}, {"none", {}}}});
  EXPECT_TRUE(policy.CheckAllowed("default", "docker.io/library/alpine"));
  EXPECT_TRUE(policy.CheckAllowed("default", "127.0.0.1:5000/a/b"));
  EXPECT_FALSE(policy.CheckAllowed("default", "ghcr.io/blue/app"));
  EXPECT_TRUE(policy.CheckAllowed("blue", "ghcr.io/blue/app"));
  EXPECT_FALSE(policy.CheckAllowed("blue", "docker.io/library/alpine"));
  EXPECT_FALSE(policy.CheckAllowed("none", "docker.io/library/alpine"));
}

TEST(ImagePolicyTest, RefusalNamesTheSetting) {
  const ImagePolicy policy({.registries = ImagePolicy::Prefixes{"docker.io"}, .by_tenant = {{"none", {}}}});
  const Error error = policy.CheckAllowed("default", "ghcr.io/app").error();
  EXPECT_EQ(error.code, ErrorCode::kDenied);
  EXPECT_THAT(error.message, AllOf(HasSubstr("ghcr.io/app"), HasSubstr("allows docker.io ([images] registries)")));
  EXPECT_THAT(policy.CheckAllowed("none", "docker.io/app").error().message,
              HasSubstr("allows none ([tenants.none] registries)"));
}

TEST(ImagePolicyTest, TenantsListCountsWithoutOneForAll) {
  const ImagePolicy policy({.by_tenant = {{"blue", {"ghcr.io/blue"}}}});
  EXPECT_FALSE(policy.CheckAllowed("blue", "docker.io/library/alpine"));
  EXPECT_TRUE(policy.CheckAllowed("default", "docker.io/library/alpine"));
}

TEST(ImagePolicyTest, MostSpecificScopeWins) {
  const ImagePolicy policy({.signatures = {{.scope = "*", .keys = {NewKey("all")}},
                                           {.scope = "ghcr.io/acme/tools", .require = false},
                                           {.scope = "ghcr.io/acme", .keys = {NewKey("acme")}},
                                           {.scope = "ghcr.io/acme/tools/hammer", .keys = {NewKey("hammer")}}}});
  const auto key_for = [&](const std::string& repository) {
    const SignatureRule* rule = policy.RuleFor(repository);
    return rule ? rule->keys[0].name : "none";
  };
  EXPECT_EQ(key_for("docker.io/library/alpine"), "all");
  EXPECT_EQ(key_for("ghcr.io/acmeother/app"), "all");
  EXPECT_EQ(key_for("ghcr.io/acme/app"), "acme");
  EXPECT_EQ(key_for("ghcr.io/acme/tools/saw"), "none");
  EXPECT_EQ(key_for("ghcr.io/acme/tools/hammer"), "hammer");
}

TEST(ImagePolicyTest, FingerprintChangesWithWhatASignatureIsWorth) {
  SignatureRule rule{.scope = "a.b", .keys = {NewKey("one"), NewKey("two")}};
  const std::string fingerprint = rule.Fingerprint();
  SignatureRule same = rule;
  std::swap(same.keys[0], same.keys[1]);
  same.keys[0].name = "renamed";
  same.scope = "*";
  EXPECT_EQ(same.Fingerprint(), fingerprint);
  SignatureRule fewer = rule, more = rule, looser = rule;
  fewer.keys.pop_back();
  more.keys.push_back(NewKey());
  looser.any_identity = true;
  EXPECT_NE(fewer.Fingerprint(), fingerprint);
  EXPECT_NE(more.Fingerprint(), fingerprint);
  EXPECT_NE(looser.Fingerprint(), fingerprint);
}

}  // namespace
}  // namespace caisson::image
