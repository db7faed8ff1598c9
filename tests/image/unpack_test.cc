// SPDX-License-Identifier: Apache-2.0
// What the entries of a layer become, and what is refused, by the parser in this process. The confinement around it is
// worker_test.cc.
#include "image/worker/unpack.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/crypto/crypto.h"
#include "base/io.h"
#include "image/layer/limits.h"
#include "image/worker/beneath.h"
#include "image/worker/verify.h"
#include "tests/image/tar_builder.h"
#include "tests/image/temporary.h"

namespace caisson::image {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class UnpackTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    ::umask(0);
    ASSERT_EQ(::mkdir((directory_.path() + "/out").c_str(), 0755), 0);
    out_ = *OpenAt(AT_FDCWD, directory_.path() + "/out", O_PATH | O_DIRECTORY);
  }

  Result<UnpackReport> UnpackBytes(const std::string& layer, Compression compression) {
    const Fd input = FileOf(EncodeUnpackOrder({compression, layer.size()}) + layer);
    const bool first = NamesIn(out_.get())->empty();
    Result<UnpackReport> report = UnpackLayer(input.get(), out_.get());
    // Of every layer here that is taken: what was written has the checksum that was reported.
    if (first && report) {
      const Result<VerifyReport> read = VerifyTree(out_.get());
      EXPECT_TRUE(read && read->unreadable.empty() && read->tree_sum == report->tree_sum);
    }
    return report;
  }
  UnpackReport Unpack(const TarBuilder& tar) {
    const Result<UnpackReport> report = UnpackBytes(tar.Finish(), Compression::kNone);
    if (!report) ADD_FAILURE() << report.error().message;
    return report ? *report : UnpackReport{};
  }
  std::string Refusal(const TarBuilder& tar) {
    const Result<UnpackReport> report = UnpackBytes(tar.Finish(), Compression::kNone);
    return report ? "accepted" : report.error().message;
  }

  std::string PathOf(const std::string& path) const { return directory_.path() + "/out/" + path; }
  struct stat StatOf(const std::string& path) const {
    struct stat info {};
    EXPECT_EQ(::lstat(PathOf(path).c_str(), &info), 0) << path;
    return info;
  }
  bool Exists(const std::string& path) const {
    struct stat info {};
    return ::lstat(PathOf(path).c_str(), &info) == 0;
  }
  bool IsWhiteout(const std::string& path) const {
    const struct stat info = StatOf(path);
    return S_ISCHR(info.st_mode) && info.st_rdev == 0;
  }
  std::string ContentOf(const std::string& path) const {
    return ReadFile(PathOf(path), 1 << 20).value_or("unreadable");
  }

  TemporaryDirectory directory_;
  Fd out_;
};

// ---- what entries become ----

TEST_F(UnpackTest, FileGetsContentOwnerModeAndTime) {
  Unpack(TarBuilder()
             .Add({.path = "bin", .type = '5', .mode = 0711, .uid = 7})
             .Add({.path = "bin/tool", .content = "hello", .mode = 04755, .uid = 33, .gid = 1234, .mtime = 123456789}));
  const struct stat info = StatOf("bin/tool");
  EXPECT_EQ(info.st_mode, static_cast<mode_t>(S_IFREG | 04755));
  EXPECT_EQ(info.st_uid, 33u);
  EXPECT_EQ(info.st_gid, 1234u);
  EXPECT_EQ(info.st_mtim.tv_sec, 123456789);
  EXPECT_EQ(ContentOf("bin/tool"), "hello");
  EXPECT_EQ(StatOf("bin").st_mode, static_cast<mode_t>(S_IFDIR | 0711));
  EXPECT_EQ(StatOf("bin").st_uid, 7u);
  EXPECT_EQ(StatOf("bin").st_mtim.tv_sec, 1'000'000'000);  // not that of the file made inside
}

TEST_F(UnpackTest, DiffIdCoversEveryByteAfterTheEndToo) {
  const std::string tar = TarBuilder().File("a", "b").Finish() + std::string(4096, '\0') + "something else";
  const Result<UnpackReport> report = UnpackBytes(tar, Compression::kNone);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->diff_id, Sha256Of(tar));
  EXPECT_EQ(report->unpacked_bytes, tar.size());
  EXPECT_EQ(report->entries, 1u);
}

TEST_F(UnpackTest, GzipZstdAndPlainGiveTheSameLayer) {
  const std::string tar = TarBuilder().File("a", std::string(300000, 'x')).Finish();
  const Digest diff_id = Sha256Of(tar);
  EXPECT_EQ(UnpackBytes(MakeGzip(tar), Compression::kGzip)->diff_id, diff_id);
  EXPECT_EQ(UnpackBytes(MakeZstd(tar), Compression::kZstd)->diff_id, diff_id);
  EXPECT_EQ(UnpackBytes(tar, Compression::kNone)->diff_id, diff_id);
}

TEST_F(UnpackTest, EmptyLayerIsAnEmptyLayer) {
  EXPECT_EQ(UnpackBytes(std::string(1024, '\0'), Compression::kNone)->entries, 0u);
  EXPECT_EQ(UnpackBytes(MakeGzip(std::string(1024, '\0')), Compression::kGzip)->entries, 0u);
  EXPECT_EQ(UnpackBytes("", Compression::kNone)->entries, 0u);
  EXPECT_EQ(UnpackBytes(MakeGzip(""), Compression::kGzip)->entries, 0u);
}

TEST_F(UnpackTest, NamesKeepTheirBytes) {
  const std::string decomposed = "e\xCC\x81", composed = "\xC3\xA9", latin1 = "caf\xE9";
  Unpack(TarBuilder()
             .Add({.path = "x/" + decomposed, .content = "1", .pax = {{"path", "x/" + decomposed}}})
             .Add({.path = "x/" + composed, .content = "2", .pax = {{"path", "x/" + composed}}})
             .Add({.path = "x/" + latin1, .content = "3", .pax = {{"path", "x/" + latin1}}})
             .Add({.path = "x/plain-" + latin1, .content = "4"}));
  EXPECT_EQ(ContentOf("x/" + decomposed), "1");
  EXPECT_EQ(ContentOf("x/" + composed), "2");
  EXPECT_EQ(ContentOf("x/" + latin1), "3");
  EXPECT_EQ(ContentOf("x/plain-" + latin1), "4");
}

TEST_F(UnpackTest, LongNamesInPaxAndGnuForm) {
  const std::string name = std::string(200, 'n'), path = "d/" + name + "/" + name;
  TarBuilder tar;
  tar.File(path, "pax");
  tar.Raw(TarBuilder::Header({.path = "././@LongLink", .type = 'L', .magic = std::string("ustar  \0", 8)},
                             path.size() + 3))
      .Raw(path + "2\0\0");
  tar.Add({.path = "short", .content = "gnu", .magic = std::string("ustar  \0", 8)});
  Unpack(tar);
  EXPECT_EQ(ContentOf(path), "pax");
  EXPECT_EQ(ContentOf(path + "2"), "gnu");
}

TEST_F(UnpackTest, OldGnuSparseFilesHaveTheirHoles) {
  TarItem item{.path = "s", .type = 'S', .magic = std::string("ustar  \0", 8)};
  item.patch = [](std::string& block) {
    block.replace(386, 24, std::string("00000010000\0", 12) + std::string("00000000005\0", 12));  // 5 bytes at 4096
    block.replace(410, 24, std::string("00000023420\0", 12) + std::string("00000000000\0", 12));  // nothing at 10000
    block.replace(483, 12, std::string("00000023420\0", 12));                                     // 10000 in all
  };
  Unpack(TarBuilder().Raw(TarBuilder::Header(item, 5)).Raw("hello").File("after", "x"));
  EXPECT_EQ(StatOf("s").st_size, 10000);
  EXPECT_EQ(ContentOf("s").substr(4096, 6), std::string("hello\0", 6));
  EXPECT_EQ(ContentOf("after"), "x");
}

TEST_F(UnpackTest, PaxSparseFilesHaveTheirHoles) {
  // GNU 1.0: the map stands in front of the data.
  std::string body = "1\n8192\n5\n";
  body.resize(512, '\0');
  body += "hello";
  Unpack(TarBuilder()
             .Add({.path = "GNUSparseFile.0/s",
                   .content = body,
                   .pax = {{"GNU.sparse.major", "1"},
                           {"GNU.sparse.minor", "0"},
                           {"GNU.sparse.name", "dir/s"},
                           {"GNU.sparse.realsize", "20000"}}})
             .File("after", "x"));
  EXPECT_EQ(StatOf("dir/s").st_size, 20000);
  EXPECT_EQ(ContentOf("dir/s").substr(8192, 5), "hello");
  EXPECT_EQ(ContentOf("after"), "x");
}

TEST_F(UnpackTest, DevicesAreSkippedAndCounted) {
  const UnpackReport report = Unpack(TarBuilder()
                                         .Add({.path = "null", .type = '3', .device_major = 1, .device_minor = 3})
                                         .Add({.path = "disk", .type = '4', .device_major = 8}));
  EXPECT_EQ(report.devices_skipped, 2u);
  EXPECT_FALSE(Exists("null"));
  EXPECT_FALSE(Exists("disk"));
}

TEST_F(UnpackTest, FifosAreKept) {
  Unpack(TarBuilder().Add({.path = "pipe", .type = '6', .mode = 0620, .uid = 5}));
  EXPECT_EQ(StatOf("pipe").st_mode, static_cast<mode_t>(S_IFIFO | 0620));
  EXPECT_EQ(StatOf("pipe").st_uid, 5u);
}

TEST_F(UnpackTest, IdsAbove65535BecomeOverflowWithoutSetIdBits) {
  const UnpackReport report = Unpack(TarBuilder()
                                         .Add({.path = "f", .mode = 06755, .uid = 1'000'000, .gid = 70'000})
                                         .Add({.path = "edge", .mode = 04755, .uid = 65535}));
  EXPECT_EQ(report.ids_changed, 1u);
  EXPECT_EQ(StatOf("f").st_uid, kOverflowId);
  EXPECT_EQ(StatOf("f").st_gid, kOverflowId);
  EXPECT_EQ(StatOf("f").st_mode & 07777u, 0755u);
  EXPECT_EQ(StatOf("edge").st_uid, 65535u);
  EXPECT_EQ(StatOf("edge").st_mode & 07777u, 04755u);
}

TEST_F(UnpackTest, OnlyUserXattrsAreKept) {
  const UnpackReport report = Unpack(TarBuilder().Add({.path = "f",
                                                       .pax = {{"SCHILY.xattr.user.mime", std::string("a\0b", 3)},
                                                               {"SCHILY.xattr.user.overlay.redirect", "/etc"},
                                                               {"SCHILY.xattr.security.capability", "x"},
                                                               {"LIBARCHIVE.xattr.user.x", "eA"}}}));
  char names[256];
  const ssize_t size = ::listxattr(PathOf("f").c_str(), names, sizeof names);
  EXPECT_EQ(std::string(names, static_cast<size_t>(size)), std::string("user.mime\0", 10));
  char value[16];
  EXPECT_EQ(::getxattr(PathOf("f").c_str(), "user.mime", value, sizeof value), 3);
  EXPECT_EQ(report.xattrs_dropped, 3u);
}

// ---- order, duplicates, types ----

TEST_F(UnpackTest, LastOfTwoEntriesStays) {
  Unpack(TarBuilder()
             .File("a", "first")
             .File("a", "second")
             .Symlink("b", "x")
             .File("b", "file")
             .Directory("c")
             .File("c/inside", "x")
             .File("c", "now a file")
             .File("d", "file")
             .Directory("d")
             .File("d/inside", "x"));
  EXPECT_EQ(ContentOf("a"), "second");
  EXPECT_EQ(ContentOf("b"), "file");
  EXPECT_EQ(ContentOf("c"), "now a file");
  EXPECT_EQ(ContentOf("d/inside"), "x");
}

TEST_F(UnpackTest, DirectoryEntryReplacesALinkAndNeverFollowsIt) {
  ASSERT_EQ(::mkdir((directory_.path() + "/canary").c_str(), 0700), 0);
  Unpack(TarBuilder().Symlink("d", directory_.path() + "/canary").Directory("d", 0777).File("d/f", "x"));
  EXPECT_TRUE(S_ISDIR(StatOf("d").st_mode));
  struct stat canary {};
  ASSERT_EQ(::stat((directory_.path() + "/canary").c_str(), &canary), 0);
  EXPECT_EQ(canary.st_mode & 07777u, 0700u);
}

TEST_F(UnpackTest, ImplicitParentsAreMadeAndReported) {
  const UnpackReport report = Unpack(
      TarBuilder().File("usr/lib/x", "1").Directory("usr/share", 0700).Directory("usr/lib", 0711).File("opt/y", "2"));
  EXPECT_THAT(report.facts.implicit, ElementsAre("", "opt", "usr"));
  EXPECT_EQ(StatOf("usr").st_mode & 07777u, 0755u);
  EXPECT_EQ(StatOf("usr/lib").st_mode & 07777u, 0711u);
}

TEST_F(UnpackTest, RootEntryDescribesTheRoot) {
  const UnpackReport report =
      Unpack(TarBuilder().Add({.path = "./", .type = '5', .mode = 0700, .uid = 5}).File("./a", "x"));
  EXPECT_THAT(report.facts.implicit, IsEmpty());
  EXPECT_EQ(StatOf("").st_mode & 07777u, 0700u);
  EXPECT_EQ(StatOf("").st_uid, 5u);
}

TEST_F(UnpackTest, HardLinksStayInsideTheLayer) {
  Unpack(TarBuilder().File("a/one", "x").HardLink("b/two", "a/one").HardLink("b/three", "./a/one"));
  EXPECT_EQ(StatOf("b/two").st_ino, StatOf("a/one").st_ino);
  EXPECT_EQ(StatOf("a/one").st_nlink, 3u);
}

// ---- whiteouts ----

TEST_F(UnpackTest, WhiteoutsBecomeOverlaysMark) {
  const UnpackReport report = Unpack(TarBuilder().File("etc/.wh.motd", "").File(".wh.top", ""));
  EXPECT_TRUE(IsWhiteout("etc/motd"));
  EXPECT_TRUE(IsWhiteout("top"));
  EXPECT_FALSE(Exists("etc/.wh.motd"));
  EXPECT_THAT(report.facts.whiteouts, ElementsAre("", "etc"));
}

TEST_F(UnpackTest, WhiteoutNeverHidesWhatTheLayerItselfHas) {
  const UnpackReport report =
      Unpack(TarBuilder().File("before", "1").File(".wh.before", "").File(".wh.after", "").File("after", "2"));
  EXPECT_EQ(ContentOf("before"), "1");
  EXPECT_EQ(ContentOf("after"), "2");
  EXPECT_THAT(report.facts.whiteouts, IsEmpty());
}

TEST_F(UnpackTest, DirectoryMadeAgainAfterItsWhiteoutHidesTheOldOne) {
  const UnpackReport report = Unpack(TarBuilder()
                                         .File(".wh.a", "")
                                         .Directory("a")
                                         .File("a/x", "")
                                         .File("b/y", "")
                                         .File(".wh.b", "")
                                         .File(".wh.c", "")
                                         .File("c/z", ""));
  EXPECT_THAT(report.facts.replaced, ElementsAre("a", "b", "c"));
  EXPECT_THAT(report.facts.opaque, IsEmpty());
  EXPECT_TRUE(Exists("c/z"));
}

TEST_F(UnpackTest, OpaqueMarkIsReportedNotWritten) {
  const UnpackReport report =
      Unpack(TarBuilder().File("a/.wh..wh..opq", "").File("a/x", "1").Directory("b").File("b/.wh..wh..opq", ""));
  EXPECT_THAT(report.facts.opaque, ElementsAre("a", "b"));
  EXPECT_FALSE(Exists("a/.wh..wh..opq"));
  EXPECT_THAT(Unpack(TarBuilder().File(".wh..wh..opq", "")).facts.opaque, ElementsAre(""));
}

TEST_F(UnpackTest, WhiteoutInsideADirectoryThatVanishesIsForgotten) {
  const UnpackReport report =
      Unpack(TarBuilder().File("d/.wh.x", "").File("d/.wh..wh..opq", "").File("d", "a file now"));
  EXPECT_THAT(report.facts.whiteouts, IsEmpty());
  EXPECT_THAT(report.facts.opaque, IsEmpty());
}

// ---- refusals: B-11 ----

TEST_F(UnpackTest, PathsThatLeaveOrCannotBeAreRefused) {
  EXPECT_THAT(Refusal(TarBuilder().File("../x", "")), HasSubstr("\"..\""));
  EXPECT_THAT(Refusal(TarBuilder().File("a/../../x", "")), HasSubstr("\"..\""));
  EXPECT_THAT(Refusal(TarBuilder().File("/x", "")), HasSubstr("absolute"));
  EXPECT_THAT(Refusal(TarBuilder().File("a/" + std::string(300, 'n'), "")), HasSubstr("longer than 255"));
  EXPECT_THAT(Refusal(TarBuilder().Add({.path = "x", .pax = {{"path", std::string("a\0b", 3)}}})), HasSubstr("NUL"));
  std::string deep;
  for (int i = 0; i < 10000; ++i) deep += "d/";
  EXPECT_THAT(Refusal(TarBuilder().File(deep, "")), HasSubstr("too long"));
  EXPECT_THAT(Refusal(TarBuilder().File(deep.substr(0, 1000) + "f", "")), HasSubstr("deeper than"));
  EXPECT_THAT(Refusal(TarBuilder().File("", "")), HasSubstr("empty"));
}

// ---- refusals: B-12 ----

TEST_F(UnpackTest, NothingIsWrittenThroughALink) {
  EXPECT_THAT(Refusal(TarBuilder().Symlink("a", "/").File("a/etc/x", "")), HasSubstr("symbolic link"));
  EXPECT_THAT(Refusal(TarBuilder().Symlink("a", ".").Symlink("b", "a").File("b/x", "")), HasSubstr("symbolic link"));
  EXPECT_THAT(Refusal(TarBuilder().Directory("d").Symlink("d/up", "../..").File("d/up/canary", "")),
              HasSubstr("symbolic link"));
  EXPECT_THAT(Refusal(TarBuilder().File("f", "").File("f/x", "")), HasSubstr("not a directory"));
  EXPECT_THAT(Refusal(TarBuilder().Symlink("a", "/").File("a/.wh.etc", "")), HasSubstr("symbolic link"));
  EXPECT_THAT(Refusal(TarBuilder().Symlink("a", "/").File("a/.wh..wh..opq", "")), HasSubstr("symbolic link"));
}

TEST_F(UnpackTest, HardLinksOutOfTheLayerAreRefused) {
  EXPECT_THAT(Refusal(TarBuilder().HardLink("x", "/etc/shadow")), HasSubstr("absolute"));
  EXPECT_THAT(Refusal(TarBuilder().HardLink("x", "../../etc/shadow")), HasSubstr("\"..\""));
  EXPECT_THAT(Refusal(TarBuilder().HardLink("x", "etc/shadow")), HasSubstr("does not have"));
  EXPECT_THAT(Refusal(TarBuilder().Symlink("l", "/etc/shadow").HardLink("x", "l")), HasSubstr("not a regular file"));
  EXPECT_THAT(Refusal(TarBuilder().Symlink("etc", "/etc").HardLink("x", "etc/shadow")), HasSubstr("does not have"));
  EXPECT_THAT(Refusal(TarBuilder().Directory("d").HardLink("x", "d")), HasSubstr("not a regular file"));
  EXPECT_THAT(Refusal(TarBuilder().File(".wh.w", "").HardLink("x", "w")), HasSubstr("not a regular file"));
  EXPECT_THAT(Refusal(TarBuilder().File("x", "").HardLink("x", "x")), HasSubstr("to itself"));
}

// ---- refusals: B-13 and others ----

TEST_F(UnpackTest, WhatOnlyTheHostMayMakeIsRefused) {
  EXPECT_THAT(Refusal(TarBuilder().Add({.path = "f", .pax = {{"SCHILY.xattr.trusted.overlay.redirect", "/x"}}})),
              HasSubstr("trusted."));
  EXPECT_THAT(Refusal(TarBuilder().Add({.path = "w", .type = '3'})), HasSubstr("whiteout"));
  EXPECT_THAT(Refusal(TarBuilder().File(".wh..wh.aufs", "")), HasSubstr("unknown kind of whiteout"));
  EXPECT_THAT(Refusal(TarBuilder().File(".wh..wh.plnk/x", "")), HasSubstr("no directory"));
  EXPECT_THAT(Refusal(TarBuilder().File("a/.wh.", "")), HasSubstr("no name"));
  EXPECT_THAT(Refusal(TarBuilder().File("a/.wh..", "")), HasSubstr("no name"));
  EXPECT_THAT(Refusal(TarBuilder().File("a/.wh...", "")), HasSubstr("no name"));
  EXPECT_THAT(Refusal(TarBuilder().Add({.path = "s", .type = 's'})), HasSubstr("unknown type"));
}

TEST_F(UnpackTest, OwnersThatAreNoNumbersAreRefused) {
  EXPECT_THAT(Refusal(TarBuilder().Add({.path = "f", .mode = 04755, .pax = {{"uid", "4294967295"}}})),
              HasSubstr("owner"));
  EXPECT_THAT(Refusal(TarBuilder().Add({.path = "f", .pax = {{"gid", "4294967296"}}})), HasSubstr("owner"));
  EXPECT_THAT(Refusal(TarBuilder().Add({.path = "f", .pax = {{"uid", "-1"}}})), HasSubstr("not a number"));
  EXPECT_THAT(Refusal(TarBuilder().Add({.path = "f", .uid = 1ull << 40})), HasSubstr("owner"));
}

TEST_F(UnpackTest, LyingSizesAreRefusedBeforeAnythingIsWritten) {
  EXPECT_THAT(Refusal(TarBuilder().Add({.path = "f", .content = "x", .claimed_size = 8ll << 40})), HasSubstr("claims"));
  EXPECT_THAT(Refusal(TarBuilder().Add({.path = "s",
                                        .content = "0\n",
                                        .pax = {{"GNU.sparse.major", "1"},
                                                {"GNU.sparse.minor", "0"},
                                                {"GNU.sparse.realsize", "8796093022208"},
                                                {"GNU.sparse.name", "s"}}})),
              HasSubstr("claims"));
  EXPECT_THAT(Refusal(TarBuilder().Add({.path = "f", .content = "x", .claimed_size = 100000})), HasSubstr("cut off"));
  EXPECT_THAT(Refusal(TarBuilder().Add({.path = "d", .type = '5', .content = "body"})), HasSubstr("has contents"));
  EXPECT_THAT(Refusal(TarBuilder().File("a", "x").Add({.path = "h", .type = '1', .link = "a", .content = "body"})),
              HasSubstr("has contents"));
}

TEST_F(UnpackTest, DamagedHeadersAreRefused) {
  std::string tar = TarBuilder().File("a", "x").Finish();
  tar[0] ^= 1;
  EXPECT_THAT(UnpackBytes(tar, Compression::kNone).error().message, HasSubstr("checksum"));
  EXPECT_THAT(Refusal(TarBuilder().Pax("30 path=short\n").File("a", "")), HasSubstr("damaged extended header"));
  EXPECT_THAT(Refusal(TarBuilder().Pax("x path=a\n").File("a", "")), HasSubstr("not a number"));
  EXPECT_THAT(
      Refusal(
          TarBuilder().Pax(TarBuilder::PaxRecord("path", "b")).Pax(TarBuilder::PaxRecord("path", "c")).File("a", "")),
      HasSubstr("several extended headers"));
  EXPECT_THAT(Refusal(TarBuilder().Add({.path = "a", .pax = {{"path", "b"}, {"path", "c"}}})), HasSubstr("twice"));
  EXPECT_THAT(Refusal(TarBuilder().Add({.path = "a", .pax = {{"size", "0x10"}}})), HasSubstr("not a number"));
  EXPECT_THAT(Refusal(TarBuilder().Add({.path = "a", .pax = {{"mtime", "soon"}}})), HasSubstr("not a number"));
  EXPECT_THAT(Refusal(TarBuilder().Raw(std::string(512, '\0')).File("a", "")), HasSubstr("single empty block"));
  EXPECT_THAT(Refusal(TarBuilder().Raw(TarBuilder::Header({.path = "p", .type = 'x'}, 64 << 20))), HasSubstr("over"));
}

TEST_F(UnpackTest, CutOffAndTrailingStreamsAreRefused) {
  const std::string tar = TarBuilder().File("a", std::string(100000, 'y')).Finish(), gzip = MakeGzip(tar);
  EXPECT_THAT(UnpackBytes(gzip.substr(0, gzip.size() - 9), Compression::kGzip).error().message, HasSubstr("cut off"));
  EXPECT_THAT(UnpackBytes(gzip + "garbage", Compression::kGzip).error().message, HasSubstr("something else follows"));
  EXPECT_THAT(UnpackBytes(tar.substr(0, 5000), Compression::kNone).error().message, HasSubstr("cut off"));
  EXPECT_THAT(UnpackBytes(tar, Compression::kGzip).error().message, HasSubstr("its first bytes are uncompressed"));
  EXPECT_THAT(UnpackBytes(gzip, Compression::kNone).error().message, HasSubstr("its first bytes are gzip"));
  std::string damaged = gzip;
  damaged[damaged.size() - 6] ^= 1;  // the checksum
  EXPECT_THAT(UnpackBytes(damaged, Compression::kGzip).error().message, HasSubstr("damaged"));
}

TEST_F(UnpackTest, OrderNamesTheExactSize) {
  const std::string tar = TarBuilder().File("a", "x").Finish();
  const Fd longer = FileOf(EncodeUnpackOrder({Compression::kNone, tar.size() - 1}) + tar);
  EXPECT_THAT(UnpackLayer(longer.get(), out_.get()).error().message, HasSubstr("has more than"));
  const Fd shorter = FileOf(EncodeUnpackOrder({Compression::kNone, tar.size() + 1}) + tar);
  EXPECT_THAT(UnpackLayer(shorter.get(), out_.get()).error().message, HasSubstr("ends after"));
}

TEST_F(UnpackTest, ABombIsStopped) {
  const std::string swollen = MakeGzip(std::string(64 << 20, '\0'));
  std::string bomb;
  for (int i = 0; i < 40; ++i) bomb += swollen;  // 2.5 GiB from 2.5 MiB, as members of one stream
  const Result<UnpackReport> report = UnpackBytes(bomb, Compression::kGzip);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::kTooLarge);
  EXPECT_THAT(report.error().message, HasSubstr("swells"));
}

}  // namespace
}  // namespace caisson::image
