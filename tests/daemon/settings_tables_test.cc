// SPDX-License-Identifier: Apache-2.0
// The tables of the TOML file: what they hold, and the words for what is wrong in them, with the line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "daemon/settings/settings.h"

namespace caisson::daemon {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class SettingsTablesTest : public testing::Test {
 protected:
  static Result<Settings> Parse(const std::string& toml) {
    const std::string path = testing::TempDir() + "/settings_tables_test.toml";
    std::ofstream(path) << toml;
    auto line = ParseSettings({"--config", path}, {});
    if (!line) return tl::unexpected(std::move(line).error());
    return std::move(line->settings);
  }
  static std::string ErrorOf(const std::string& toml) {
    const auto settings = Parse(toml);
    return settings ? "accepted" : settings.error().message;
  }
};

constexpr char kEverything[] = R"toml(
gc_high_percent = 90
gc_low_percent = 80
min_free_bytes = 123
pull_policy = "if-missing"
auth_file = "/a/auth.json"
node_key_file = "/a/key"

[registries."registry.example:5000"]
ca_file = "/ca.pem"
client_cert = "/cert.pem"
client_key = "/key.pem"
mirrors = ["mirror.example/cache", "127.0.0.1:5001"]
mirror_tags = true

[registries."docker.io"]
blocked = true

[images]
registries = ["docker.io/library", "127.0.0.1:5000"]

[tenants.blue]
registries = ["ghcr.io/blue"]

[tenants."the red"]
registries = []

[[signatures]]
scope = "*"
keys = ["/a.pub", "/b.pub"]

[[signatures]]
scope = "ghcr.io/acme"
keys = ["/c.pub"]
identity = "any"

[[signatures]]
scope = "ghcr.io/acme/tools"
require = false
)toml";

void ExpectEverything(const Settings& settings) {
  EXPECT_EQ(settings.gc_high_percent, 90);
  EXPECT_EQ(settings.gc_low_percent, 80);
  EXPECT_EQ(settings.min_free_bytes, 123);
  EXPECT_EQ(settings.pull_policy, "if-missing");
  EXPECT_EQ(settings.auth_file, "/a/auth.json");
  EXPECT_EQ(settings.node_key_file, "/a/key");
  const RegistryEntry& registry = settings.registries.at("registry.example:5000");
  EXPECT_FALSE(registry.plain_http);
  EXPECT_EQ(registry.ca_file, "/ca.pem");
  EXPECT_EQ(registry.client_cert, "/cert.pem");
  EXPECT_EQ(registry.client_key, "/key.pem");
  EXPECT_THAT(registry.mirrors, ElementsAre("mirror.example/cache", "127.0.0.1:5001"));
  EXPECT_TRUE(registry.mirror_tags);
  EXPECT_FALSE(registry.blocked);
  EXPECT_TRUE(settings.registries.at("docker.io").blocked);
  EXPECT_THAT(settings.image_registries.value(), ElementsAre("docker.io/library", "127.0.0.1:5000"));
  EXPECT_THAT(settings.tenants.at("blue").registries.value(), ElementsAre("ghcr.io/blue"));
  EXPECT_THAT(settings.tenants.at("the red").registries.value(), IsEmpty());
  ASSERT_EQ(settings.signatures.size(), 3u);
  EXPECT_EQ(settings.signatures[0].scope, "*");
  EXPECT_THAT(settings.signatures[0].keys, ElementsAre("/a.pub", "/b.pub"));
  EXPECT_EQ(settings.signatures[0].identity, "match");
  EXPECT_EQ(settings.signatures[1].identity, "any");
  EXPECT_TRUE(settings.signatures[1].require);
  EXPECT_FALSE(settings.signatures[2].require);
}

TEST_F(SettingsTablesTest, EveryKeyIsRead) {
  const auto settings = Parse(kEverything);
  ASSERT_TRUE(settings) << settings.error().message;
  ExpectEverything(*settings);
}

TEST_F(SettingsTablesTest, EveryKeyReachesTheServiceWithWhatTheLauncherRead) {
  auto settings = Parse(kEverything);
  ASSERT_TRUE(settings) << settings.error().message;
  const std::string odd("{\"auths\":{}}\n\xff\0\"'", 17);
  settings->auth_json = Secret(odd);
  settings->node_key = Secret(std::string(64, 'a'));
  settings->signatures[0].key_pems = {"pem a", "pem b\xff"};
  settings->signatures[1].key_pems = {"pem c"};
  const auto copy = FromToml(ToToml(*settings), "settings");
  ASSERT_TRUE(copy) << copy.error().message;
  ExpectEverything(*copy);
  EXPECT_EQ(copy->auth_json.Expose(), odd);
  EXPECT_EQ(copy->node_key.Expose(), std::string(64, 'a'));
  EXPECT_THAT(copy->signatures[0].key_pems, ElementsAre("pem a", "pem b\xff"));
  EXPECT_THAT(copy->signatures[1].key_pems, ElementsAre("pem c"));
  EXPECT_THAT(copy->signatures[2].key_pems, IsEmpty());
}

TEST_F(SettingsTablesTest, WithoutTablesEverythingIsAllowedAndNothingMustBeSigned) {
  for (const auto& settings : {Parse("slots = 1\n"), FromToml(ToToml(Settings()), "settings")}) {
    ASSERT_TRUE(settings) << settings.error().message;
    EXPECT_FALSE(settings->image_registries.has_value());
    EXPECT_TRUE(settings->tenants.empty());
    EXPECT_TRUE(settings->signatures.empty());
    EXPECT_EQ(settings->pull_policy, "always");
    EXPECT_EQ(settings->gc_high_percent, 85);
    EXPECT_EQ(settings->gc_low_percent, 75);
    EXPECT_EQ(settings->min_free_bytes, 1 << 30);
  }
}

TEST_F(SettingsTablesTest, ConfigurationCannotSetWhatTheLauncherReads) {
  EXPECT_THAT(ErrorOf("[launcher]\nnode_key = \"00\"\n"), HasSubstr(":1: launcher: unknown key"));
  EXPECT_THAT(ErrorOf("auth_json = \"{}\"\n"), HasSubstr(":1: auth_json: unknown key"));
  EXPECT_THAT(ErrorOf("[[signatures]]\nscope = \"*\"\nkeys = [\"/a\"]\nkey_pems = [\"x\"]\n"),
              HasSubstr(":4: signatures[0].key_pems: unknown key"));
}

TEST_F(SettingsTablesTest, FaultInsideATableNamesItsOwnLine) {
  EXPECT_THAT(ErrorOf("slots = 1\n\n[registries.\"h:1\"]\nca_file = \"/c\"\nplain = true\n"),
              HasSubstr("settings_tables_test.toml:5: registries.\"h:1\".plain: unknown key; known are plain_http"));
  EXPECT_THAT(ErrorOf("[registries.\"h:1\"]\n\nplain_http = 1\n"),
              HasSubstr(":3: registries.\"h:1\".plain_http: must be true or false"));
  EXPECT_THAT(ErrorOf("[images]\nregistries = [\n  \"docker.io\",\n  7,\n]\n"),
              HasSubstr(":4: images.registries[1]: must be a string"));
  EXPECT_THAT(ErrorOf("[tenants.blue]\nregistries = \"docker.io\"\n"),
              HasSubstr(":2: tenants.blue.registries: must be a list of strings"));
  EXPECT_THAT(ErrorOf("[layers]\n\nshared = \"all\"\n"), HasSubstr(":3: layers.shared: unknown key"));
  EXPECT_THAT(ErrorOf("registries = 1\n"), HasSubstr(":1: registries: must be a table"));
}

TEST_F(SettingsTablesTest, NamesThatCouldNeverMatchAreRefused) {
  const auto prefix = [](const std::string& text) { return ErrorOf("[images]\nregistries = [\"" + text + "\"]\n"); };
  for (const char* good : {"docker.io", "docker.io/library", "127.0.0.1:5000", "[::1]:5000/a", "localhost/a/b",
                           "registry.example:8443/team_a/x.y-z"})
    EXPECT_EQ(prefix(good), "accepted") << good;
  EXPECT_THAT(prefix("https://ghcr.io"), HasSubstr("has a scheme"));
  EXPECT_THAT(prefix("library"), HasSubstr("would be a name on docker.io"));
  EXPECT_THAT(prefix("index.docker.io/library"), HasSubstr("write docker.io"));
  EXPECT_THAT(prefix("ghcr.io:443/acme"), HasSubstr("the default port"));
  EXPECT_THAT(prefix("docker.io/library/alpine:3"), HasSubstr("without tag"));
  EXPECT_THAT(prefix("docker.io/library/*"), HasSubstr("without tag"));
  for (const char* bad : {"", "docker.io/", "docker.io//a", "Docker.io", "docker.io/A", "/a", "docker.io/a/", "a b.c",
                          "ghcr.io:0", "ghcr.io:05000", "ghcr.io:65536", "ghcr.io:", "ghcr.io:x/a"})
    EXPECT_NE(prefix(bad), "accepted") << bad;
  EXPECT_THAT(ErrorOf("[registries.\"http://h:1\"]\nplain_http = true\n"), HasSubstr("has a scheme"));
  EXPECT_NE(ErrorOf("[registries.\"h:1/a\"]\nplain_http = true\n"), "accepted");
  EXPECT_NE(ErrorOf("[tenants.\"\"]\n"), "accepted");
}

TEST_F(SettingsTablesTest, SignatureRuleThatSaysTooLittleOrTooMuchIsRefused) {
  const auto rule = [](const std::string& lines) { return ErrorOf("[[signatures]]\n" + lines); };
  EXPECT_THAT(rule("keys = [\"/a\"]\n"), HasSubstr("scope is missing"));
  EXPECT_THAT(rule("scope = \"*\"\n"), HasSubstr("keys is missing"));
  EXPECT_THAT(rule("scope = \"*\"\nrequire = false\nkeys = [\"/a\"]\n"), HasSubstr("leave out one of the two"));
  EXPECT_THAT(rule("scope = \"*\"\nkeys = [\"a.pub\"]\n"), HasSubstr(":3: signatures[0].keys[0]: \"a.pub\" is not an"));
  EXPECT_THAT(rule("scope = \"*\"\nkeys = [\"/a\"]\nidentity = \"x\"\n"), HasSubstr("neither \"match\""));
  EXPECT_THAT(rule("scope = \"a.b/c\"\nkeys = [\"/a\"]\n[[signatures]]\nscope = \"a.b/c\"\nkeys = [\"/b\"]\n"),
              HasSubstr(":4: signatures[1]: there is an entry for this scope already"));
  EXPECT_THAT(ErrorOf("[signatures]\nscope = \"*\"\n"), HasSubstr("write [[signatures]]"));
}

TEST_F(SettingsTablesTest, KeylessSigningIsRefusedWithWords) {
  for (const char* key : {"keyless", "fulcio", "certificate_identity", "rekor"})
    EXPECT_THAT(ErrorOf(std::string("[[signatures]]\nscope = \"*\"\n") + key + " = true\n"),
                HasSubstr(std::string(":3: signatures[0].") + key + ": keyless signatures"));
}

TEST_F(SettingsTablesTest, ValuesThatContradictEachOtherAreRefused) {
  EXPECT_THAT(ErrorOf("gc_high_percent = 50\n"), HasSubstr("gc_low_percent = 75 is above gc_high_percent = 50"));
  EXPECT_THAT(ErrorOf("pull_policy = \"sometimes\"\n"), HasSubstr("none of \"always\""));
  EXPECT_THAT(ErrorOf("[registries.\"h:1\"]\nclient_key = \"/k\"\n"), HasSubstr("without client_cert"));
  EXPECT_THAT(ErrorOf("[registries.\"h:1\"]\nca_file = \"ca.pem\"\n"), HasSubstr("not an absolute path"));
}

}  // namespace
}  // namespace caisson::daemon
