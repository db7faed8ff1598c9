// SPDX-License-Identifier: Apache-2.0
#include "image/www_authenticate.h"

#include <gtest/gtest.h>

namespace caisson::image {
namespace {

TEST(WwwAuthenticateTest, QuotedCommasStayInTheValue) {
  const auto challenges = *ParseWwwAuthenticate(
      R"(Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push")");
  ASSERT_EQ(challenges.size(), 1u);
  EXPECT_EQ(challenges[0].scheme, "bearer");
  EXPECT_EQ(challenges[0].Parameter("realm"), "https://auth.example/token");
  EXPECT_EQ(challenges[0].Parameter("scope"), "repository:a/b:pull,push");
  EXPECT_EQ(challenges[0].Parameter("absent"), "");
}

TEST(WwwAuthenticateTest, SeveralChallengesInOneHeader) {
  const auto challenges = *ParseWwwAuthenticate(
      R"(Negotiate, Basic realm="a, \"b\"" , Digest realm = x,nonce="n",, BEARER Realm="r",Service=s)");
  ASSERT_EQ(challenges.size(), 4u);
  EXPECT_EQ(challenges[0].scheme, "negotiate");
  EXPECT_EQ(challenges[1].Parameter("realm"), "a, \"b\"");
  EXPECT_EQ(challenges[2].Parameter("nonce"), "n");
  EXPECT_EQ(challenges[3].scheme, "bearer");
  EXPECT_EQ(challenges[3].Parameter("service"), "s");
}

TEST(WwwAuthenticateTest, Token68IsSkipped) {
  const auto challenges = *ParseWwwAuthenticate(R"(Negotiate YWJj==, Bearer realm="r")");
  ASSERT_EQ(challenges.size(), 2u);
  EXPECT_EQ(challenges[1].Parameter("realm"), "r");
}

TEST(WwwAuthenticateTest, MalformedHeadersAreRefused) {
  EXPECT_FALSE(ParseWwwAuthenticate(R"(Bearer realm="open)"));
  EXPECT_FALSE(ParseWwwAuthenticate(R"(Bearer realm="a" b)"));
  EXPECT_FALSE(ParseWwwAuthenticate("\"x\""));
  EXPECT_FALSE(ParseWwwAuthenticate(std::string(9000, 'a')));
  std::string many;
  for (int i = 0; i < 100; ++i) many += "Basic realm=a,";
  EXPECT_FALSE(ParseWwwAuthenticate(many));
  EXPECT_TRUE(ParseWwwAuthenticate("")->empty());
}

}  // namespace
}  // namespace caisson::image
