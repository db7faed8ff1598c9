// SPDX-License-Identifier: Apache-2.0
#include "image/auth_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/encoding.h"

namespace caisson::image {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

std::string Auth(const std::string& text) { return "{\"auth\":\"" + Base64Encode(text) + "\"}"; }

AuthFile Parse(const std::string& auths) {
  auto file = AuthFile::Parse("{\"auths\":{" + auths + "}}");
  EXPECT_TRUE(file) << file.error().message;
  return file ? *file : AuthFile();
}
std::string UserFor(const AuthFile& file, const std::string& repository) { return file.Find(repository).username; }

TEST(AuthFileTest, EveryFormOfALoginIsRead) {
  const AuthFile file = Parse("\"a.example\":" + Auth("me:pass:word") +
                              ",\"b.example\":{\"username\":\"you\",\"password\":\"pw\"}"
                              ",\"c.example\":{\"auth\":\"\",\"identitytoken\":\"token\"}"
                              ",\"d.example\":" +
                              Auth(std::string("me:padded\0\0", 11)));
  EXPECT_EQ(UserFor(file, "a.example/x"), "me");
  EXPECT_EQ(file.Find("a.example/x").password.Expose(), "pass:word");
  EXPECT_EQ(UserFor(file, "b.example/x"), "you");
  EXPECT_EQ(file.Find("b.example/x").password.Expose(), "pw");
  EXPECT_EQ(file.Find("c.example/x").identity_token.Expose(), "token");
  EXPECT_EQ(file.Find("d.example/x").password.Expose(), "padded");
  EXPECT_TRUE(file.Find("e.example/x").anonymous());
  EXPECT_EQ(file.size(), 4u);
}

TEST(AuthFileTest, LongestPathWinsAtASlash) {
  const AuthFile file = Parse("\"q.example\":" + Auth("host:1") + ",\"q.example/team\":" + Auth("team:1") +
                              ",\"q.example/team/app\":" + Auth("app:1"));
  EXPECT_EQ(UserFor(file, "q.example/other"), "host");
  EXPECT_EQ(UserFor(file, "q.example/teams"), "host");
  EXPECT_EQ(UserFor(file, "q.example/team/other"), "team");
  EXPECT_EQ(UserFor(file, "q.example/team/app"), "app");
  EXPECT_EQ(UserFor(file, "q.example/team/app/deep"), "app");
  EXPECT_EQ(UserFor(file, "q.example.evil/team"), "");
  const AuthFile hub = Parse("\"docker.io/library\":" + Auth("all:1") + ",\"docker.io/nginx\":" + Auth("one:1"));
  EXPECT_EQ(UserFor(hub, "docker.io/library/nginx"), "one");
  EXPECT_EQ(UserFor(hub, "docker.io/library/alpine"), "all");
}

TEST(AuthFileTest, DockersNamesForTheHubMeanDockerIo) {
  for (const char* key : {"https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io",
                          "https://docker.io", "https://index.docker.io/v2/"})
    EXPECT_EQ(UserFor(Parse("\"" + std::string(key) + "\":" + Auth("hub:1")), "docker.io/library/alpine"), "hub")
        << key;
}

TEST(AuthFileTest, PrefixesAreNormalised) {
  const auto normal = [](const char* text) {
    const auto prefix = NormaliseRegistryPrefix(text);
    return prefix ? *prefix : prefix.error().message;
  };
  EXPECT_EQ(normal("https://GHCR.io/"), "ghcr.io");
  EXPECT_EQ(normal("http://127.0.0.1:5000/v2/"), "127.0.0.1:5000");
  EXPECT_EQ(normal("ghcr.io/acme/app"), "ghcr.io/acme/app");
  EXPECT_EQ(normal("docker.io/library"), "docker.io/library");
  EXPECT_EQ(normal("docker.io"), "docker.io");
  EXPECT_EQ(normal("localhost"), "localhost");
  EXPECT_EQ(normal("[::1]:5000"), "[::1]:5000");
  EXPECT_THAT(normal("acme"), HasSubstr("does not begin with a registry's host"));
  EXPECT_THAT(normal(""), HasSubstr("does not begin"));
  for (const char* bad : {"ghcr.io/app:1", "ghcr.io/app@sha256:00", "ghcr.io//a", "ghcr.io/A", "a b.c", "ftp://a.b/c",
                          "user@ghcr.io", "ghcr.io/../a"})
    EXPECT_THAT(normal(bad), HasSubstr("\"")) << bad;
}

TEST(AuthFileTest, WhatAProgramWouldHaveToBeAskedForIsNotedAndNotUsed) {
  const auto file = AuthFile::Parse(
      R"({"credsStore":"secretservice","credHelpers":{"a.example":"x"},"auths":{"a.example":{}},"HttpHeaders":{}})");
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->size(), 0u);
  EXPECT_THAT(file->notes(), ElementsAre(HasSubstr("credsStore"), HasSubstr("credHelpers"), HasSubstr("a.example")));
}

TEST(AuthFileTest, NoErrorHoldsASecret) {
  const std::string secret = "hunter2hunter2";
  for (const std::string& text :
       {"{\"auths\":{\"a.b\":{\"auth\":\"" + secret + "\"}}}", "{\"auths\":{\"a.b\":{\"password\":" + secret + "}}}",
        "{\"auths\":{\"a.b\":{\"password\":[\"" + secret + "\"]}}}", "{\"auths\":{\"a.b\":\"" + secret + "\"}}",
        "{\"auths\":{\"a.b\":" + Auth(secret) + "}}", "{\"auths\":{\"a.b\":" + Auth(":" + secret) + "}}",
        "{\"" + secret + "\":1,\"" + secret + "\":2}", secret, "{\"auths\":{\"a.b\":{\"auth\":\"" + secret}) {
    const auto file = AuthFile::Parse(text);
    ASSERT_FALSE(file) << text;
    EXPECT_THAT(file.error().message, Not(HasSubstr("hunter2"))) << text;
    EXPECT_THAT(file.error().message, Not(HasSubstr(Base64Encode(secret).substr(0, 8)))) << text;
  }
}

TEST(AuthFileTest, LimitsAndContradictionsAreRefused) {
  EXPECT_FALSE(AuthFile::Parse(std::string((1 << 20) + 1, ' ')));
  EXPECT_FALSE(AuthFile::Parse("[]"));
  EXPECT_FALSE(AuthFile::Parse("{\"auths\":[]}"));
  std::string many = "{\"auths\":{";
  for (int i = 0; i <= 1000; ++i) many += fmt::format("{}\"a{}.example\":{}", i ? "," : "", i, Auth("a:b"));
  EXPECT_THAT(AuthFile::Parse(many + "}}").error().message, HasSubstr("more than 1000"));
  EXPECT_THAT(
      AuthFile::Parse("{\"auths\":{\"a.b\":" + Auth("x:1") + ",\"https://a.b\":" + Auth("y:2") + "}}").error().message,
      HasSubstr("another entry for the same registry"));
  EXPECT_TRUE(AuthFile::Parse("{}"));
}

}  // namespace
}  // namespace caisson::image
