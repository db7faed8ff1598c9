// SPDX-License-Identifier: Apache-2.0
// The fix-up layer, held against the kernel: layers are unpacked by the real code, merged, and mounted with overlayfs;
// what the mount shows must be what the layers mean.
#include "image/worker/merge.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>

#include "base/io.h"
#include "image/layer/limits.h"
#include "image/worker/unpack.h"
#include "image/worker/verify.h"
#include "tests/image/tar_builder.h"
#include "tests/image/temporary.h"

namespace caisson::image {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class MergeTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    ::umask(0);
    ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    for (const char* name : {"merged", "fixup"}) ASSERT_EQ(::mkdir((directory_.path() + "/" + name).c_str(), 0755), 0);
  }
  void TearDown() override { ::umount2(Merged("").c_str(), MNT_DETACH); }

  std::string LayerPath(size_t i) const { return fmt::format("{}/{}", directory_.path(), i); }
  std::string Merged(const std::string& path) const { return directory_.path() + "/merged/" + path; }

  // Base first.
  void AddLayer(const TarBuilder& tar) {
    const size_t i = order_.layers.size();
    ASSERT_EQ(::mkdir(LayerPath(i).c_str(), 0755), 0);
    const Fd out = *OpenAt(AT_FDCWD, LayerPath(i), O_PATH | O_DIRECTORY);
    const std::string bytes = tar.Finish();
    const Result<UnpackReport> report =
        UnpackLayer(FileOf(EncodeUnpackOrder({Compression::kNone, bytes.size()}) + bytes).get(), out.get());
    ASSERT_TRUE(report) << report.error().message;
    order_.layers.push_back(report->facts);
    for (const auto* list : {&report->facts.opaque, &report->facts.replaced})
      for (const std::string& path : *list)
        ASSERT_EQ(::setxattr((LayerPath(i) + "/" + path).c_str(), "trusted.overlay.opaque", "y", 1, 0), 0);
  }

  Result<MergeReport> TryMerge() {
    std::vector<Fd> fds;
    std::vector<int> top_first;
    for (size_t i = order_.layers.size(); i-- > 0;) {
      fds.push_back(*OpenAt(AT_FDCWD, LayerPath(i), O_PATH | O_DIRECTORY));
      top_first.push_back(fds.back().get());
    }
    const Fd out = *OpenAt(AT_FDCWD, directory_.path() + "/fixup", O_PATH | O_DIRECTORY);
    Result<MergeReport> report = MergeLayers(order_, top_first, out.get());
    if (report) {
      EXPECT_EQ(VerifyTree(out.get())->tree_sum, report->tree_sum);
    }
    return report;
  }
  MergeReport MergeAndMount() {
    const Result<MergeReport> report = TryMerge();
    EXPECT_TRUE(report) << report.error().message;
    std::string lower = "lowerdir=" + directory_.path() + "/fixup";
    for (size_t i = order_.layers.size(); i-- > 0;) lower += ":" + LayerPath(i);
    EXPECT_EQ(::mount("overlay", Merged("").c_str(), "overlay", MS_RDONLY, lower.c_str()), 0) << strerror(errno);
    return report.value_or(MergeReport{});
  }

  struct stat StatOf(const std::string& path) const {
    struct stat info {};
    EXPECT_EQ(::lstat(Merged(path).c_str(), &info), 0) << path << ": " << strerror(errno);
    return info;
  }
  std::vector<std::string> NamesIn(const std::string& path) const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(Merged(path)))
      names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }
  std::string AccountFileRefusal() {
    const Result<MergeReport> report = TryMerge();
    return report ? "accepted: " + report->passwd : report.error().message;
  }

  TemporaryDirectory directory_;
  MergeOrder order_;
};

TEST_F(MergeTest, ImplicitDirectoriesKeepTheAttributesOfTheLayerBelow) {
  AddLayer(TarBuilder()
               .Add({.path = "tmp",
                     .type = '5',
                     .mode = 01777,
                     .uid = 5,
                     .gid = 6,
                     .mtime = 77,
                     .pax = {{"SCHILY.xattr.user.note", "kept"}}})
               .Directory("var", 0711)
               .Directory("var/spool", 0700));
  AddLayer(TarBuilder().File("tmp/x", "").File("var/spool/mail/y", ""));
  const MergeReport report = MergeAndMount();
  EXPECT_EQ(StatOf("tmp").st_mode & 07777u, 01777u);
  EXPECT_EQ(StatOf("tmp").st_uid, 5u);
  EXPECT_EQ(StatOf("tmp").st_gid, 6u);
  EXPECT_EQ(StatOf("tmp").st_mtim.tv_sec, 77);
  EXPECT_EQ(StatOf("var").st_mode & 07777u, 0711u);
  EXPECT_EQ(StatOf("var/spool").st_mode & 07777u, 0700u);
  EXPECT_EQ(StatOf("var/spool/mail").st_mode & 07777u, 0755u);
  char value[16];
  EXPECT_EQ(::getxattr(Merged("tmp").c_str(), "user.note", value, sizeof value), 4);
  EXPECT_EQ(report.directories.at("tmp"), (DirectoryAttributes{01777, 5, 6}));
  EXPECT_EQ(report.directories_written, 3u);
}

TEST_F(MergeTest, ExplicitDirectoryOfAnUpperLayerWins) {
  AddLayer(TarBuilder().Directory("d", 0700));
  AddLayer(TarBuilder().Directory("d", 0711));
  AddLayer(TarBuilder().File("d/x", ""));
  MergeAndMount();
  EXPECT_EQ(StatOf("d").st_mode & 07777u, 0711u);
}

TEST_F(MergeTest, DirectoryMadeAgainDoesNotInheritFromTheOneItReplaced) {
  AddLayer(TarBuilder().Directory("d", 0700).File("d/old", ""));
  AddLayer(TarBuilder().File(".wh.d", "").File("d/new", ""));
  AddLayer(TarBuilder().File("d/newer", ""));
  MergeAndMount();
  EXPECT_EQ(StatOf("d").st_mode & 07777u, 0755u);
  EXPECT_THAT(NamesIn("d"), testing::ElementsAre("new", "newer"));
}

TEST_F(MergeTest, OpaqueImplicitDirectoryKeepsItsAttributesAndLosesItsChildren) {
  AddLayer(TarBuilder().Directory("d", 01777).File("d/old", "").Directory("d/sub", 0700).File("d/sub/old", ""));
  AddLayer(TarBuilder().File("d/.wh..wh..opq", "").File("d/sub/new", ""));
  MergeAndMount();
  EXPECT_EQ(StatOf("d").st_mode & 07777u, 01777u);
  EXPECT_EQ(StatOf("d/sub").st_mode & 07777u, 0755u);  // the old one is hidden
  EXPECT_THAT(NamesIn("d"), testing::ElementsAre("sub"));
  EXPECT_THAT(NamesIn("d/sub"), testing::ElementsAre("new"));
}

TEST_F(MergeTest, WhiteoutsNeverShowAsGhostNames) {
  AddLayer(TarBuilder().File("base/x", ""));
  AddLayer(TarBuilder()
               .File("only-here/.wh.gone", "")
               .File("only-here/deep/.wh.gone", "")
               .File("only-here/stays", "")
               .Directory("opaque")
               .File("opaque/.wh..wh..opq", "")
               .File("opaque/.wh.gone", ""));
  MergeAndMount();
  EXPECT_THAT(NamesIn("only-here"), testing::ElementsAre("deep", "stays"));
  EXPECT_THAT(NamesIn("only-here/deep"), IsEmpty());
  EXPECT_THAT(NamesIn("opaque"), IsEmpty());
  EXPECT_THAT(NamesIn(""), testing::ElementsAre("base", "only-here", "opaque"));
}

TEST_F(MergeTest, WhatIsHiddenOrNoDirectoryIsLeftAlone) {
  AddLayer(TarBuilder().Directory("a", 0700).File("a/x", "").Directory("b", 0700).Directory("c", 0700));
  AddLayer(TarBuilder().File("a/y", "").File("b/.wh.none", "").File("c/z", ""));
  AddLayer(TarBuilder().File("a", "a file").File(".wh.b", "").Symlink("c", "/etc"));
  const MergeReport report = MergeAndMount();
  EXPECT_TRUE(S_ISREG(StatOf("a").st_mode));
  EXPECT_TRUE(S_ISLNK(StatOf("c").st_mode));
  EXPECT_THAT(NamesIn(""), testing::ElementsAre("a", "c"));
  EXPECT_EQ(report.directories_written, 0u);
}

TEST_F(MergeTest, MountPointsAreReportedOnlyWhereTheyAreDirectories) {
  AddLayer(TarBuilder()
               .Add({.path = ".", .type = '5', .mode = 0711, .uid = 3})
               .Directory("dev", 0700)
               .Directory("proc")
               .Directory("etc", 0750)
               .Directory("tmp"));
  AddLayer(TarBuilder().Symlink("proc", "/etc").File("etc/x", "").File("sys", "a file").File(".wh.tmp", ""));
  const MergeReport report = MergeAndMount();
  EXPECT_EQ(report.directories.size(), 3u);
  EXPECT_EQ(report.directories.at(""), (DirectoryAttributes{0711, 3, 0}));
  EXPECT_EQ(report.directories.at("dev").mode, 0700u);
  EXPECT_EQ(report.directories.at("etc").mode, 0750u);
}

TEST_F(MergeTest, AccountFilesComeFromTheTopmostLayerThatShows) {
  AddLayer(TarBuilder().File("etc/passwd", "old").File("etc/group", "g"));
  AddLayer(TarBuilder().File("etc/passwd", "new").File("etc/.wh.group", ""));
  const MergeReport report = MergeAndMount();
  EXPECT_EQ(report.passwd, "new");
  EXPECT_EQ(report.group, "");
}

TEST_F(MergeTest, LinksToAccountFilesAreResolvedInsideTheImage) {
  AddLayer(TarBuilder()
               .File("usr/etc/passwd", "inside")
               .Symlink("etc", "/usr/../../../usr/./etc")
               .File("usr/group", "g")
               .Symlink("usr/etc/group", "../../../../usr/group"));
  const MergeReport report = MergeAndMount();
  EXPECT_EQ(report.passwd, "inside");
  EXPECT_EQ(report.group, "g");
}

// K-06
TEST_F(MergeTest, LinksToTheHostsFilesFindNothing) {
  AddLayer(TarBuilder().Symlink("etc/passwd", "/proc/self/environ").Symlink("etc/group", "../../../etc/shadow"));
  EXPECT_EQ(MergeAndMount().passwd, "");
}

TEST_F(MergeTest, LinkLoopsEnd) {
  TarBuilder tar;
  for (int i = 0; i < 50; ++i) tar.Symlink(fmt::format("etc/l{}", i), fmt::format("l{}", i + 1));
  AddLayer(tar.File("etc/l50", "too far").Symlink("etc/passwd", "l0").Symlink("etc/group", "group"));
  const MergeReport report = MergeAndMount();
  EXPECT_EQ(report.passwd, "");
  EXPECT_EQ(report.group, "");
}

// K-05, K-07
TEST_F(MergeTest, AccountFilesThatAreNoFilesAreRefused) {
  AddLayer(TarBuilder().Add({.path = "etc/passwd", .type = '6'}));
  EXPECT_THAT(AccountFileRefusal(), HasSubstr("not a regular file"));
}
TEST_F(MergeTest, AccountDirectoryIsRefused) {
  AddLayer(TarBuilder().Directory("etc/passwd"));
  EXPECT_THAT(AccountFileRefusal(), HasSubstr("is a directory"));
}
TEST_F(MergeTest, HugeAccountFileIsRefused) {
  AddLayer(TarBuilder().Add({.path = "etc/passwd", .content = std::string(kMaxAccountFileBytes + 1, 'x')}));
  EXPECT_THAT(AccountFileRefusal(), HasSubstr("larger than"));
}

TEST_F(MergeTest, OrderAndLayersMustFit) {
  AddLayer(TarBuilder().File("a", ""));
  order_.layers.emplace_back();
  EXPECT_THAT(MergeLayers(order_, {}, -1).error().message, HasSubstr("the order names 2"));
  order_.layers.pop_back();
  EXPECT_THAT(AccountFileRefusal(), Not(HasSubstr("order")));
}

}  // namespace
}  // namespace caisson::image
