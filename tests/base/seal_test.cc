// SPDX-License-Identifier: Apache-2.0
#include "base/crypto/seal.h"

#include <gtest/gtest.h>

#include <set>

namespace caisson {
namespace {

SealingKey Key(char digit) { return SealingKey::FromHex(Secret(std::string(64, digit))).value(); }

TEST(SealTest, OpensWithTheSameKeyAndWords) {
  for (const std::string& text : {std::string(), std::string("secret"), std::string(100'000, '\0')}) {
    const std::string sealed = Key('a').Seal(Secret(text), {"tenant", "registry"});
    const auto opened = Key('a').Open(sealed, {"tenant", "registry"});
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_EQ(opened->Expose(), text);
  }
}

TEST(SealTest, ShowsNothingAndIsNeverTheSameTwice) {
  std::set<std::string> all, nonces;
  for (int i = 0; i < 100; ++i) {
    const std::string sealed = Key('a').Seal(Secret("a secret that is long"), {"x"});
    EXPECT_EQ(sealed.find("secret"), std::string::npos);
    all.insert(sealed);
    nonces.insert(sealed.substr(1, 12));
  }
  EXPECT_EQ(all.size(), 100u);
  EXPECT_EQ(nonces.size(), 100u);
}

TEST(SealTest, EveryChangedByteAndEveryCutIsNoticed) {
  const std::string sealed = Key('a').Seal(Secret("password"), {"tenant", "registry"});
  for (size_t i = 0; i < sealed.size(); ++i) {
    std::string changed = sealed;
    changed[i] ^= 1;
    EXPECT_FALSE(Key('a').Open(changed, {"tenant", "registry"})) << i;
    EXPECT_FALSE(Key('a').Open(sealed.substr(0, i), {"tenant", "registry"})) << i;
  }
  EXPECT_FALSE(Key('a').Open(sealed + "x", {"tenant", "registry"}));
}

TEST(SealTest, AnotherKeyOrOwnerDoesNotOpenIt) {
  const std::string sealed = Key('a').Seal(Secret("password"), {"ab", "c"});
  EXPECT_EQ(Key('b').Open(sealed, {"ab", "c"}).error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(Key('a').Open(sealed, {"a", "bc"}).error().code, ErrorCode::kCorrupt);
  EXPECT_FALSE(Key('a').Open(sealed, {"abc"}));
  EXPECT_FALSE(Key('a').Open(sealed, {"ab"}));
  EXPECT_FALSE(Key('a').Open(sealed, {}));
}

TEST(SealTest, VersionThatIsNotKnownIsSaid) {
  std::string sealed = Key('a').Seal(Secret("password"), {});
  sealed[0] = 2;
  EXPECT_EQ(Key('a').Open(sealed, {}).error().code, ErrorCode::kUnsupported);
}

TEST(SealTest, KeyThatIsNoneIsRefusedWithoutItsText) {
  for (const std::string& hex : {std::string(), std::string(63, 'a'), std::string(64, 'A'), std::string(66, 'a')}) {
    const auto key = SealingKey::FromHex(Secret(hex));
    ASSERT_FALSE(key);
    EXPECT_EQ(key.error().message, "the key is not 64 hex digits");
  }
}

}  // namespace
}  // namespace caisson
