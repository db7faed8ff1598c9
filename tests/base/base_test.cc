// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/crypto/crypto.h"
#include "base/digest.h"
#include "base/encoding.h"
#include "base/io.h"
#include "base/json/json.h"
#include "base/result.h"

namespace caisson {
namespace {

Result<int> Half(int n) {
  if (n % 2 != 0) return Fail(ErrorCode::kInvalid, "{} is odd", n);
  return n / 2;
}
Result<int> Quarter(int n) { return TRY_IN("half", Half(TRY(Half(n)))); }

TEST(ResultTest, TryReturnsTheErrorWithItsContext) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Quarter(6).error().message, "half: 3 is odd");
  EXPECT_EQ(Quarter(7).error().message, "7 is odd");
}

TEST(ResultTest, ErrnoGivesCodeAndText) {
  const Result<int> result = FailErrno(ENOENT, "open {}", "/x");
  EXPECT_EQ(result.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(result.error().message, "open /x: No such file or directory");
}

TEST(EncodingTest, Base64RoundTripsEveryLength) {
  std::string bytes;
  for (int i = 0; i < 70; ++i) {
    EXPECT_EQ(Base64Decode(Base64Encode(bytes)), bytes);
    bytes.push_back(static_cast<char>(i * 37));
  }
  EXPECT_EQ(Base64Encode("hello"), "aGVsbG8=");
}

TEST(EncodingTest, Base64RefusesWhatIsNotCanonical) {
  for (const char* text : {"a", "ab==c", "aGVsbG9=", "aGVsbG8", "aGVs\nbG8=", "====", "a==="})
    EXPECT_FALSE(Base64Decode(text)) << text;
}

TEST(EncodingTest, Utf8RefusesOverlongSurrogatesAndTruncation) {
  EXPECT_TRUE(IsValidUtf8("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"));
  for (const char* text : {"\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82", "\x80", "\xFF"})
    EXPECT_FALSE(IsValidUtf8(text)) << text;
}

TEST(EncodingTest, EscapeForLogLeavesNoControlCharacter) {
  EXPECT_EQ(EscapeForLog("a\n\x1b]b\"\\"), "a\\x0a\\x1b]b\\x22\\x5c");
  EXPECT_EQ(EscapeForLog("\xC2\x9B"), "\\xc2\\x9b");
  EXPECT_EQ(EscapeForLog(std::string(50, 'x'), 10), "xxxxxxxxxx...");
}

TEST(DigestTest, ParsesOneSpellingOnly) {
  const std::string hex(64, 'a');
  EXPECT_EQ(Digest::Parse("sha256:" + hex)->ToString(), "sha256:" + hex);
  for (const std::string& text :
       {std::string("sha256:"), "sha512:" + hex, "sha256:" + std::string(64, 'A'), "sha256:" + hex + "a"})
    EXPECT_FALSE(Digest::Parse(text)) << text;
}

TEST(Sha256Test, MatchesTheStandardsVector) {
  EXPECT_EQ(Sha256Of("abc").hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(JsonTest, KeepsIntegersAndOrder) {
  const Json json = *ParseJson(R"({"b":9007199254740993,"a":[1,2.5,"x",null,true]})");
  EXPECT_EQ(json.Dump(), R"({"b":9007199254740993,"a":[1,2.5,"x",null,true]})");
}

TEST(JsonTest, RefusesWhatCanMeanTwoThings) {
  for (const char* text : {R"({"a":1,"a":2})", "{", "[1,]", "\"\xC0\x80\"", "1 2", "", "{'a':1}", "nul"})
    EXPECT_FALSE(ParseJson(text)) << text;
  EXPECT_EQ(ParseJson(std::string(100, '[')).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(ParseJson(std::string(100, ' '), {.max_bytes = 10}).error().code, ErrorCode::kTooLarge);
}

TEST(IoTest, SealedMemfdCannotBeChanged) {
  const Fd fd = *MakeSealedMemfd("test", "hello");
  EXPECT_EQ(*CheckSealedMemfd(fd.get()), 5U);
  EXPECT_EQ(::pwrite(fd.get(), "x", 1, 0), -1);
  EXPECT_EQ(*ReadAt(fd.get(), 5, 0), "hello");
}

TEST(IoTest, UnsealedFileIsRefused) {
  const Pipe pipe = *MakePipe();
  EXPECT_FALSE(CheckSealedMemfd(pipe.read.get()));
}

TEST(IoTest, ReadAllStopsAtTheLimit) {
  const Pipe pipe = *MakePipe();
  ASSERT_TRUE(WriteAll(pipe.write.get(), "0123456789"));
  EXPECT_EQ(ReadAll(pipe.read.get(), 9).error().code, ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace caisson
