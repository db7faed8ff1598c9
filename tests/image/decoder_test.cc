// SPDX-License-Identifier: Apache-2.0
#include "image/worker/decoder.h"

#include <gtest/gtest.h>

#include "base/crypto/crypto.h"
#include "tests/image/temporary.h"

namespace caisson::image {
namespace {

// What comes out, or "error: ..." where the stream is refused, when the input comes in pieces of `piece` bytes.
std::string Drain(std::unique_ptr<Decoder> (*make)(LayerInput&, std::string), const std::string& bytes, size_t piece) {
  const Fd file = FileOf(bytes);
  LayerInput input(file.get(), bytes.size(), piece);
  const std::unique_ptr<Decoder> decoder = make(input, "");
  std::string out;
  for (;;) {
    const Result<std::string_view> got = decoder->Next();
    if (!got) return "error: " + got.error().message;
    if (got->empty()) return out;
    out += *got;
  }
}

std::string Noise(size_t size) {
  std::string bytes(size, '\0');
  uint32_t state = 1;
  for (char& c : bytes) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>((state >> 24) % 23);
  }
  return bytes;
}

class DecoderTest : public testing::Test {
 protected:
  void SetUp() override {
    const Fd nothing = FileOf("");
    LayerInput input(nothing.get(), 0);
    if (!internal::MakeIsalDecoder(input, "")) GTEST_SKIP() << "this build has no ISA-L";
  }
  void ExpectBothGive(const std::string& bytes, const std::string& expected) {
    for (const size_t piece : {size_t{1}, size_t{2}, size_t{7}, size_t{1000}, size_t{65536}}) {
      if (piece < 1000 && bytes.size() > 20000) continue;
      EXPECT_EQ(Sha256Of(Drain(internal::MakeIsalDecoder, bytes, piece)), Sha256Of(expected))
          << "ISA-L, pieces of " << piece;
      EXPECT_EQ(Sha256Of(Drain(internal::MakeZlibDecoder, bytes, piece)), Sha256Of(expected))
          << "zlib, pieces of " << piece;
    }
  }
};

TEST_F(DecoderTest, BothInflateWhatWasDeflated) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{100}, size_t{262144}, size_t{262145}, size_t{1000000}})
    for (const int level : {0, 1, 9}) ExpectBothGive(MakeGzip(Noise(size), level), Noise(size));
  ExpectBothGive(MakeGzip(std::string(3 << 20, '\0')), std::string(3 << 20, '\0'));
}

TEST_F(DecoderTest, MembersInARowAreOneStream) {
  ExpectBothGive(MakeGzip("one") + MakeGzip("") + MakeGzip(Noise(5000)) + MakeGzip("four"),
                 "one" + Noise(5000) + "four");
}

// The same verdict on every prefix and on every damaged byte of a small stream.
TEST_F(DecoderTest, BothRefuseTheSameStreams) {
  const std::string gzip = MakeGzip(Noise(200)) + MakeGzip("second");
  for (size_t size = 0; size < gzip.size(); ++size) {
    const std::string prefix = gzip.substr(0, size);
    const bool isal = Drain(internal::MakeIsalDecoder, prefix, 64).starts_with("error");
    EXPECT_EQ(isal, Drain(internal::MakeZlibDecoder, prefix, 64).starts_with("error")) << "prefix of " << size;
    for (const int flip : {0x01, 0x80, 0xff}) {
      std::string damaged = gzip;
      damaged[size] = static_cast<char>(damaged[size] ^ flip);
      const std::string ours = Drain(internal::MakeIsalDecoder, damaged, 64),
                        theirs = Drain(internal::MakeZlibDecoder, damaged, 64);
      EXPECT_EQ(ours.starts_with("error"), theirs.starts_with("error"))
          << "byte " << size << " ^ " << flip << ": " << ours << " against " << theirs;
    }
  }
  EXPECT_TRUE(Drain(internal::MakeIsalDecoder, gzip + "x", 64).starts_with("error"));
  EXPECT_TRUE(Drain(internal::MakeZlibDecoder, gzip + "x", 64).starts_with("error"));
}

TEST(ZstdDecoderTest, FramesInARowSkippableOnesAndRefusals) {
  const std::string skippable("\x50\x2a\x4d\x18\x04\0\0\0abcd", 12),
      bytes = MakeZstd(Noise(500000)) + skippable + MakeZstd("tail");
  const auto drain = [](const std::string& stream, size_t piece) {
    const Fd file = FileOf(stream);
    LayerInput input(file.get(), stream.size(), piece);
    Result<std::unique_ptr<Decoder>> decoder = OpenDecoder(Compression::kZstd, input);
    std::string out;
    while (decoder) {
      const Result<std::string_view> got = (*decoder)->Next();
      if (!got) return "error: " + got.error().message;
      if (got->empty()) return out;
      out += *got;
    }
    return "error: " + decoder.error().message;
  };
  for (const size_t piece : {size_t{1}, size_t{100}, size_t{65536}})
    EXPECT_EQ(Sha256Of(drain(bytes, piece)), Sha256Of(Noise(500000) + "tail"));
  EXPECT_TRUE(drain(bytes.substr(0, bytes.size() - 1), 100).starts_with("error"));
  EXPECT_TRUE(drain(bytes + "garbage", 100).starts_with("error"));
}

TEST(LayerInputTest, NeverTakesMoreThanItsLimit) {
  const Fd file = FileOf(std::string(1000, 'x'));
  LayerInput input(file.get(), 999, 300);
  Result<std::string_view> got = std::string_view();
  for (int i = 0; i < 4; ++i) got = input.Next();
  EXPECT_FALSE(got);
}

}  // namespace
}  // namespace caisson::image
