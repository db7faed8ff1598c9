// SPDX-License-Identifier: Apache-2.0
#include "image/resolve_user.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace caisson::image {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kPasswd[] =
    "root:x:0:0:root:/root:/bin/sh\n"
    "web:x:33:34::/srv/web:/bin/sh\n"
    "99999999999999999999:x:0:0::/root:/bin/sh\n"
    "# comment\n"
    "broken:x:abc:0::/:\n"
    "big:x:70000:70000::/:\n"
    "nohome:x:50:50:::/bin/sh\n";
constexpr char kGroup[] =
    "root:x:0:\nwww:x:34:web\nmedia:x:44:other,web\nlog:x:45:web,web\nlog2:x:45:web\nbig:x:70000:\n";

ResolvedUser Resolve(std::string_view text) {
  const Result<ResolvedUser> user = ResolveUser(text, kPasswd, kGroup);
  if (!user) ADD_FAILURE() << text << ": " << user.error().message;
  return user.value_or(ResolvedUser{99999, 99999, {}, ""});
}
std::string Refusal(std::string_view text, std::string_view passwd = kPasswd, std::string_view group = kGroup) {
  const Result<ResolvedUser> user = ResolveUser(text, passwd, group);
  if (user) return fmt::format("accepted as {}", user->uid);
  EXPECT_EQ(user.error().code, ErrorCode::kInvalid);
  return user.error().message;
}

TEST(ResolveUserTest, NameBringsGroupHomeAndSupplementaryGroups) {
  const ResolvedUser web = Resolve("web");
  EXPECT_EQ(web.uid, 33u);
  EXPECT_EQ(web.gid, 34u);
  EXPECT_EQ(web.home, "/srv/web");
  EXPECT_THAT(web.groups, ElementsAre(44u, 45u));  // not 34 again, 45 once
}

TEST(ResolveUserTest, NumberIsANumberEvenWhereAUserHasItAsName) {
  EXPECT_THAT(Refusal("99999999999999999999"), HasSubstr("larger than 65534"));
  const ResolvedUser number = Resolve("33");
  EXPECT_EQ(number.gid, 34u);
  EXPECT_EQ(number.home, "/srv/web");
  EXPECT_THAT(number.groups, IsEmpty());
}

TEST(ResolveUserTest, NumberWithoutEntryHasGroupZeroAndHomeSlash) {
  const ResolvedUser user = Resolve("1234");
  EXPECT_EQ(user.uid, 1234u);
  EXPECT_EQ(user.gid, 0u);
  EXPECT_EQ(user.home, "/");
  EXPECT_EQ(Resolve("65534").uid, 65534u);
}

TEST(ResolveUserTest, EmptyIsRoot) {
  EXPECT_EQ(Resolve("").uid, 0u);
  EXPECT_EQ(Resolve("").home, "/root");
  EXPECT_EQ(ResolveUser("", "", "")->home, "/");
}

TEST(ResolveUserTest, GivenGroupIsTheOnlyOne) {
  const ResolvedUser user = Resolve("web:media");
  EXPECT_EQ(user.uid, 33u);
  EXPECT_EQ(user.gid, 44u);
  EXPECT_THAT(user.groups, IsEmpty());
  EXPECT_EQ(Resolve("1234:5678").gid, 5678u);
  EXPECT_EQ(Resolve("web:5678").gid, 5678u);
}

TEST(ResolveUserTest, AbsentNamesAreErrorsAndNeverRoot) {
  EXPECT_THAT(Refusal("nobody"), HasSubstr("no user \"nobody\""));
  EXPECT_THAT(Refusal("web:nogroup"), HasSubstr("no group \"nogroup\""));
  EXPECT_THAT(Refusal("web", "", ""), HasSubstr("no user"));
}

// K-03
TEST(ResolveUserTest, WhatIsNeitherNameNorNumberIsRefused) {
  for (const char* text : {"4294967296", "-1",        "2147483648", "65535",      "99999999999999999999",
                           "0x0",        " 0",        "0 ",         "root:",      "::",
                           ":",          ":root",     "a:b:c",      "root::root", "+0",
                           "1e3",        "0\n",       "ro ot",      "root\t",     "00000000000000000000000000000065535",
                           "web:-1",     "web:70000", "1.0",        "a/b"})
    EXPECT_EQ(Refusal(text).find("accepted"), std::string::npos) << "\"" << text << "\"";
  EXPECT_EQ(Resolve("0000").uid, 0u);
}

TEST(ResolveUserTest, HostileFilesAreErrors) {
  EXPECT_THAT(Refusal("big"), HasSubstr("larger than"));
  EXPECT_THAT(Refusal("broken"), HasSubstr("no valid numbers"));
  EXPECT_THAT(Refusal("web", std::string("web:x:0:0::/:\n\0", 15)), HasSubstr("NUL"));
  EXPECT_THAT(Refusal("web", std::string(5000, 'x') + "\nweb:x:1:1::/:\n"), HasSubstr("line over"));
  std::string groups;
  for (int i = 100; i < 140; ++i) groups += fmt::format("g{}:x:{}:web\n", i, i);
  EXPECT_THAT(Refusal("web", kPasswd, groups), HasSubstr("more than 32 groups"));
}

TEST(ResolveUserTest, HomeThatIsNoPathIsSlash) { EXPECT_EQ(Resolve("nohome").home, "/"); }

}  // namespace
}  // namespace caisson::image
