// SPDX-License-Identifier: Apache-2.0
// Every limit on a layer of image/layer/limits.h is reached: what is just within it is taken, what is just over it is
// refused. Those that would need gigabytes are put smaller.
#include "image/layer/limits.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <filesystem>

#include "base/check.h"
#include "base/io.h"
#include "image/layer/path.h"
#include "image/worker/decoder.h"
#include "image/worker/unpack.h"
#include "tests/image/tar_builder.h"
#include "tests/image/temporary.h"

namespace caisson::image {
namespace {

using testing::HasSubstr;

constexpr char kAccepted[] = "accepted";

class LimitsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    ::umask(0);
  }
  // The refusal, or kAccepted. Each layer goes to a directory of its own.
  std::string Verdict(const std::string& layer, Compression compression, const UnpackLimits& limits = {}) {
    const std::string path = fmt::format("{}/{}", directory_.path(), ++layers_);
    CHECK(::mkdir(path.c_str(), 0755) == 0);
    const Fd out = *OpenAt(AT_FDCWD, path, O_PATH | O_DIRECTORY);
    const Fd input = FileOf(EncodeUnpackOrder({compression, layer.size()}) + layer);
    const Result<UnpackReport> report = UnpackLayer(input.get(), out.get(), limits);
    return report ? kAccepted : report.error().message;
  }
  std::string Verdict(const TarBuilder& tar, const UnpackLimits& limits = {}) {
    return Verdict(tar.Finish(), Compression::kNone, limits);
  }

  TemporaryDirectory directory_;
  int layers_ = 0;
};

TEST_F(LimitsTest, Entries) {
  TarBuilder tar;
  for (int i = 0; i < 5; ++i) tar.File(std::to_string(i), "");
  EXPECT_EQ(Verdict(tar, {.entries = 5}), kAccepted);
  EXPECT_THAT(Verdict(tar, {.entries = 4}), HasSubstr("more than 4 entries"));
  EXPECT_EQ(UnpackLimits{}.entries, kMaxEntries);
}

TEST_F(LimitsTest, BytesOfTheStream) {
  const std::string tar = TarBuilder().File("a", std::string(3000, 'x')).Finish();
  EXPECT_EQ(Verdict(tar, Compression::kNone, {.unpacked_bytes = tar.size()}), kAccepted);
  EXPECT_THAT(Verdict(tar, Compression::kNone, {.unpacked_bytes = tar.size() - 1}), HasSubstr("unpacks to more than"));
  EXPECT_THAT(Verdict(MakeGzip(tar), Compression::kGzip, {.unpacked_bytes = tar.size() - 1}),
              HasSubstr("unpacks to more than"));
  EXPECT_EQ(UnpackLimits{}.unpacked_bytes, kMaxUnpackedBytes);
}

// Files that are larger than what the stream holds of them.
TEST_F(LimitsTest, BytesOfAllFilesTogether) {
  const auto sparse = [](const std::string& name) {
    std::string map = "1\n0\n4\n";
    map.resize(512, '\0');
    return TarItem{.path = "GNUSparseFile.0/" + name,
                   .content = map + "data",
                   .pax = {{"GNU.sparse.major", "1"},
                           {"GNU.sparse.minor", "0"},
                           {"GNU.sparse.name", name},
                           {"GNU.sparse.realsize", "1000000"}}};
  };
  const TarBuilder tar = TarBuilder().Add(sparse("a")).Add(sparse("b"));
  EXPECT_EQ(Verdict(tar, {.unpacked_bytes = 2'000'000}), kAccepted);
  EXPECT_THAT(Verdict(tar, {.unpacked_bytes = 1'999'999}), HasSubstr("files have more than"));
}

TEST_F(LimitsTest, Ratio) {
  const std::string gzip = MakeGzip(TarBuilder().File("zeros", std::string(4 << 20, '\0')).Finish(), 9);
  EXPECT_EQ(Verdict(gzip, Compression::kGzip), kAccepted);  // the allowance
  EXPECT_THAT(Verdict(gzip, Compression::kGzip, {.ratio_free_bytes = 1 << 20}), HasSubstr("swells to more than"));
  const std::string honest = MakeGzip(TarBuilder().File("zeros", std::string(4 << 20, '\0')).Finish(), 0);
  EXPECT_EQ(Verdict(honest, Compression::kGzip, {.ratio_free_bytes = 1 << 20}), kAccepted);
}

TEST_F(LimitsTest, PathsNamesAndDepth) {
  const auto path_of = [](size_t bytes) {
    std::string path;
    while (path.size() < bytes) path += std::string(99, 'p') + "/";
    path.resize(bytes);
    if (path.back() == '/') path.back() = 'p';
    return path;
  };
  const auto file = [](const std::string& path) {
    return TarBuilder().Add({.path = "x", .content = "1", .pax = {{"path", path}}});
  };
  EXPECT_EQ(Verdict(file(path_of(kMaxPathBytes))), kAccepted);
  EXPECT_NE(Verdict(file(path_of(kMaxPathBytes + 1))), kAccepted);
  EXPECT_EQ(Verdict(file(std::string(kMaxNameBytes, 'n'))), kAccepted);
  EXPECT_NE(Verdict(file(std::string(kMaxNameBytes + 1, 'n'))), kAccepted);
  const auto deep = [](size_t names) {
    std::string path = "f";
    for (size_t i = 1; i < names; ++i) path = "d/" + path;
    return path;
  };
  EXPECT_EQ(Verdict(file(deep(kMaxPathDepth))), kAccepted);
  EXPECT_NE(Verdict(file(deep(kMaxPathDepth + 1))), kAccepted);
}

TEST_F(LimitsTest, TargetsOfLinks) {
  const auto link = [](size_t bytes) {
    return TarBuilder().Add({.path = "l", .type = '2', .link = "x", .pax = {{"linkpath", std::string(bytes, 't')}}});
  };
  EXPECT_EQ(Verdict(link(kMaxLinkBytes)), kAccepted);
  EXPECT_THAT(Verdict(link(kMaxLinkBytes + 1)), HasSubstr("empty or too long"));
}

TEST_F(LimitsTest, ExtendedHeadersAndAttributes) {
  const auto padded = [](size_t bytes) {  // a header of exactly so many bytes
    std::string value(bytes - 20, 'c');
    while (TarBuilder::PaxRecord("comment", value).size() > bytes) value.pop_back();
    while (TarBuilder::PaxRecord("comment", value).size() < bytes) value += 'c';
    return TarBuilder().Pax(TarBuilder::PaxRecord("comment", value)).File("a", "");
  };
  EXPECT_EQ(Verdict(padded(900'000)), kAccepted);  // libarchive's own limit lies in between
  EXPECT_THAT(Verdict(padded(kMaxPaxBytes + 1)), HasSubstr("is over"));
  const auto attributes = [](size_t count) {
    TarItem item{.path = "a"};
    for (size_t i = 0; i < count; ++i) item.pax.emplace_back(fmt::format("SCHILY.xattr.trusted{}", i), "v");
    return TarBuilder().Add(item);
  };
  EXPECT_EQ(Verdict(attributes(kMaxXattrs)), kAccepted);
  EXPECT_THAT(Verdict(attributes(kMaxXattrs + 1)), HasSubstr("over its limits"));
  const auto attribute = [](size_t name, size_t value) {
    return TarBuilder().Add(
        {.path = "a", .pax = {{"SCHILY.xattr." + std::string(name, 'n'), std::string(value, 'v')}}});
  };
  EXPECT_EQ(Verdict(attribute(kMaxNameBytes, kMaxXattrValueBytes)), kAccepted);
  EXPECT_THAT(Verdict(attribute(kMaxNameBytes + 1, 1)), HasSubstr("over its limits"));
  EXPECT_THAT(Verdict(attribute(5, kMaxXattrValueBytes + 1)), HasSubstr("over its limits"));
}

TEST_F(LimitsTest, MemoryForWhatIsRemembered) {
  TarBuilder directories, whiteouts, links;
  links.File("0", "");
  for (int i = 1; i <= 50; ++i) {
    directories.Directory(std::to_string(i));
    whiteouts.File(".wh." + std::to_string(i), "");
    links.HardLink(std::to_string(i), "0");
  }
  for (const TarBuilder* tar : {&directories, &whiteouts, &links}) {
    EXPECT_EQ(Verdict(*tar, {.remembered_bytes = 50'000}), kAccepted);
    EXPECT_THAT(Verdict(*tar, {.remembered_bytes = 5'000}), HasSubstr("too much memory"));
  }
}

TEST_F(LimitsTest, ListsOfTheReport) {
  TarBuilder tar;
  for (int i = 0; i < 10; ++i) tar.File(fmt::format("d{}/f", i), "");  // and the root
  EXPECT_EQ(Verdict(tar, {.reported_paths = 11}), kAccepted);
  EXPECT_THAT(Verdict(tar, {.reported_paths = 10}), HasSubstr("more than 10 directories"));
}

// ---- streams ----

std::string ZstdWithWindow(std::string_view bytes, int window_log) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log)));
  CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0)));
  std::string out(ZSTD_compressBound(bytes.size()) + 1024, '\0');
  ZSTD_outBuffer to{out.data(), out.size(), 0};
  // In two steps: what is ended in one gets a window of its own size.
  ZSTD_inBuffer from{bytes.data(), bytes.size(), 0};
  CHECK(!ZSTD_isError(ZSTD_compressStream2(context, &to, &from, ZSTD_e_flush)));
  CHECK(ZSTD_compressStream2(context, &to, &from, ZSTD_e_end) == 0);
  ZSTD_freeCCtx(context);
  out.resize(to.pos);
  return out;
}

TEST_F(LimitsTest, TheWindowOfZstd) {
  const std::string tar = TarBuilder().File("a", "x").Finish();
  EXPECT_EQ(Verdict(ZstdWithWindow(tar, kZstdWindowLog), Compression::kZstd), kAccepted);
  EXPECT_THAT(Verdict(ZstdWithWindow(tar, kZstdWindowLog + 1), Compression::kZstd), HasSubstr("zstd stream"));
}

std::string Skippable(std::string_view bytes) {
  std::string frame("\x50\x2a\x4d\x18", 4);
  for (int shift = 0; shift < 32; shift += 8) frame += static_cast<char>(bytes.size() >> shift);
  return frame + std::string(bytes);
}

TEST_F(LimitsTest, SeveralZstdFramesAndSkippableOnesAreOneStream) {
  const std::string tar = TarBuilder().File("a", std::string(100'000, 'x')).Finish(), first = tar.substr(0, 777),
                    second = tar.substr(777);
  const std::string whole = Skippable("before") + MakeZstd(first) + Skippable("") + MakeZstd("") + MakeZstd(second) +
                            Skippable(std::string(300'000, 's'));
  EXPECT_EQ(Verdict(whole, Compression::kZstd), kAccepted);
  EXPECT_THAT(Verdict(whole + "x", Compression::kZstd), HasSubstr("zstd stream"));
  EXPECT_THAT(Verdict(whole.substr(0, whole.size() - 1), Compression::kZstd), HasSubstr("cut off"));
  EXPECT_THAT(Verdict(whole + "garbage", Compression::kZstd), HasSubstr("zstd stream"));
}

TEST_F(LimitsTest, SeveralGzipMembersAreOneStream) {
  const std::string tar = TarBuilder().File("a", std::string(100'000, 'x')).Finish();
  const std::string whole = MakeGzip(tar.substr(0, 777)) + MakeGzip("") + MakeGzip(tar.substr(777));
  EXPECT_EQ(Verdict(whole, Compression::kGzip), kAccepted);
  EXPECT_THAT(Verdict(whole + "x", Compression::kGzip), HasSubstr("something else follows"));
  EXPECT_THAT(Verdict(whole + std::string(512, '\0'), Compression::kGzip), HasSubstr("something else follows"));
}

// The same error whichever thread is ahead: the first in the order of the stream.
TEST_F(LimitsTest, TheFirstErrorOfTheStreamIsTheOneThatIsTold) {
  const std::string good = TarBuilder().File("a", std::string(3 << 20, 'x')).bytes();
  std::string bad_name =
      MakeGzip(good + TarBuilder().File("../b", "").File("c", std::string(3 << 20, 'y')).Finish(), 1);
  bad_name[bad_name.size() - 6] ^= 1;  // and then a wrong checksum
  std::string damaged = MakeGzip(good + TarBuilder().File("b", "").Finish(), 1);
  damaged[damaged.size() - 6] ^= 1;
  for (int i = 0; i < 20; ++i) {
    EXPECT_THAT(Verdict(bad_name, Compression::kGzip), HasSubstr("contains \"..\""));
    EXPECT_THAT(Verdict(damaged, Compression::kGzip), HasSubstr("damaged"));
  }
}

}  // namespace
}  // namespace caisson::image
