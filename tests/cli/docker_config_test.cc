// SPDX-License-Identifier: Apache-2.0
// Credentials that docker and podman keep: configuration files, and helpers that answer, fail, hang or lie.
#include "cli/docker_config.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/encoding.h"
#include "base/io.h"
#include "tests/queue/temporary_directory.h"

namespace caisson::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Auth(const std::string& pair) { return R"({"auth":")" + Base64Encode(pair) + "\"}"; }

TEST(DockerConfigTest, ACredentialIsFoundUnderEveryNameOfItsRegistry) {
  for (const char* key : {"ghcr.io", "https://ghcr.io", "http://ghcr.io", "https://ghcr.io/", "https://ghcr.io/v2/"}) {
    const auto entry =
        FindInDockerConfig(R"({"auths":{")" + std::string(key) + "\":" + Auth("me:se:cret") + "}}", "ghcr.io");
    ASSERT_TRUE(entry && entry->credential) << key;
    EXPECT_EQ(entry->credential->username, "me");
    EXPECT_EQ(entry->credential->password.Expose(), "se:cret");
  }
  for (const char* host : {"docker.io", "index.docker.io", "docker.io/library"})
    EXPECT_TRUE(
        FindInDockerConfig(R"({"auths":{"https://index.docker.io/v1/":)" + Auth("me:x") + "}}", host)->credential);
  EXPECT_FALSE(FindInDockerConfig(R"({"auths":{"ghcr.io.evil.example":)" + Auth("me:x") + "}}", "ghcr.io")->credential);
}

TEST(DockerConfigTest, TheLongestPrefixWins) {
  const std::string config = R"({"auths":{"ghcr.io":)" + Auth("all:x") + R"(,"ghcr.io/acme":)" + Auth("acme:x") + "}}";
  EXPECT_EQ(FindInDockerConfig(config, "ghcr.io/acme/tools")->credential->username, "acme");
  EXPECT_EQ(FindInDockerConfig(config, "ghcr.io/acmeother")->credential->username, "all");
}

TEST(DockerConfigTest, TokensAndHelpersAreUnderstood) {
  const auto token = FindInDockerConfig(R"({"auths":{"r":{"auth":"","identitytoken":"tok"}}})", "r");
  EXPECT_EQ(token->credential->identity_token.Expose(), "tok");
  EXPECT_EQ(token->credential->username, "");
  const auto store = FindInDockerConfig(R"({"credsStore":"pass","auths":{"ghcr.io":{}}})", "ghcr.io");
  EXPECT_FALSE(store->credential);
  EXPECT_EQ(store->helper, "pass");
  EXPECT_EQ(store->server, "ghcr.io");
  const auto own = FindInDockerConfig(R"({"credsStore":"pass","credHelpers":{"ghcr.io":"gh"}})", "ghcr.io/acme");
  EXPECT_EQ(own->helper, "gh");
  EXPECT_EQ(FindInDockerConfig(R"({"credsStore":"pass"})", "docker.io")->server, "https://index.docker.io/v1/");
}

TEST(DockerConfigTest, WhatIsNoneIsRefusedWithoutItsBytes) {
  EXPECT_FALSE(FindInDockerConfig("s3cret", "r"));
  EXPECT_FALSE(FindInDockerConfig(R"({"credsStore":"../../bin/sh"})", "r"));
  EXPECT_FALSE(FindInDockerConfig(R"({"credsStore":"a/b"})", "r"));
  for (const char* pair : {"nocolon", ":password", "name:"})
    EXPECT_FALSE(FindInDockerConfig(R"({"auths":{"r":)" + Auth(pair) + "}}", "r")->credential) << pair;
}

TEST(DockerConfigTest, HelperAnswersAreNamesAndSecretsOrTokens) {
  EXPECT_EQ(ParseHelperAnswer(R"({"ServerURL":"r","Username":"me","Secret":"s"})")->password.Expose(), "s");
  const auto token = ParseHelperAnswer(R"({"Username":"<token>","Secret":"t"})");
  EXPECT_EQ(token->identity_token.Expose(), "t");
  EXPECT_EQ(token->username, "");
  for (const char* answer : {"", "s3cret", "{}", R"({"Secret":"s3cret"})", R"({"Username":"me"})"}) {
    const auto refused = ParseHelperAnswer(answer);
    ASSERT_FALSE(refused) << answer;
    EXPECT_THAT(refused.error().message, Not(HasSubstr("s3cret")));
  }
}

class HelperTest : public ::testing::Test {
 protected:
  void Install(const std::string& script) {
    ASSERT_TRUE(WriteFileDurably(AT_FDCWD, directory_.file("docker-credential-test"), "#!/bin/sh\n" + script, 0755));
  }
  Result<DockerCredential> Ask(std::chrono::milliseconds limit = std::chrono::seconds(60)) {
    return AskHelper("test", "ghcr.io",
                     {{"PATH", directory_.path() + ":/usr/bin:/bin"}, {"HOME", "/h"}, {"CAISSON_TOKEN", "csn_x"}},
                     limit);
  }
  testing::TemporaryDirectory directory_;
};

TEST_F(HelperTest, IsAskedForTheServerInACleanEnvironment) {
  Install(R"(read server; echo "{\"Username\":\"$1 $server $HOME\",\"Secret\":\"[$CAISSON_TOKEN]\"}")");
  const auto credential = Ask();
  ASSERT_TRUE(credential) << credential.error().message;
  EXPECT_EQ(credential->username, "get ghcr.io /h");
  EXPECT_EQ(credential->password.Expose(), "[]");
}

TEST_F(HelperTest, ThatHasNothingOrFailsIsToldApart) {
  Install("echo credentials not found in native keychain; exit 1");
  EXPECT_EQ(Ask().error().code, ErrorCode::kNotFound);
  Install("echo the secret is s3cret; exit 3");
  EXPECT_EQ(Ask().error().message, "docker-credential-test failed with status 3 for ghcr.io");
  EXPECT_THAT(AskHelper("none", "r", {{"PATH", directory_.path()}}).error().message, HasSubstr("no such program"));
}

TEST_F(HelperTest, ThatHangsIsKilledWithWhatItStarted) {
  Install("sleep 1000 & echo $! > " + directory_.file("pid") + "; wait");
  const auto late = Ask(std::chrono::milliseconds(500));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kTimedOut);
  const auto pid = ReadFile(directory_.file("pid"), 100);
  ASSERT_TRUE(pid);
  // It is dying or dead: a process of that number may only be a zombie of another parent now.
  EXPECT_TRUE(kill(std::stoi(*pid), 0) != 0 ||
              ReadFile("/proc/" + std::to_string(std::stoi(*pid)) + "/status", 4096).value_or("Z").find("Z") !=
                  std::string::npos);
}

TEST_F(HelperTest, IsNotLookedForInRelativeDirectories) { EXPECT_FALSE(AskHelper("test", "r", {{"PATH", ".:"}})); }

TEST_F(HelperTest, TheUsersFilesAreReadInOrder) {
  ASSERT_TRUE(MakeDirectories(directory_.file("home/.docker"), 0700));
  ASSERT_TRUE(MakeDirectories(directory_.file("run/containers"), 0700));
  ASSERT_TRUE(WriteFileDurably(AT_FDCWD, directory_.file("home/.docker/config.json"),
                               R"({"auths":{"a.io":)" + Auth("docker:x") + "}}", 0600));
  ASSERT_TRUE(WriteFileDurably(AT_FDCWD, directory_.file("run/containers/auth.json"),
                               R"({"auths":{"a.io":)" + Auth("podman:x") + R"(,"b.io":)" + Auth("podman:x") + "}}",
                               0600));
  const std::map<std::string, std::string> environment{{"HOME", directory_.file("home")},
                                                       {"XDG_RUNTIME_DIR", directory_.file("run")}};
  EXPECT_EQ((*FindDockerCredential("a.io", environment))->username, "docker");
  EXPECT_EQ((*FindDockerCredential("b.io", environment))->username, "podman");
  EXPECT_FALSE(*FindDockerCredential("c.io", environment));
  auto other = environment;
  other["DOCKER_CONFIG"] = directory_.file("nowhere");
  EXPECT_EQ((*FindDockerCredential("a.io", other))->username, "podman");
}

}  // namespace
}  // namespace caisson::cli
