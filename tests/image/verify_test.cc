// SPDX-License-Identifier: Apache-2.0
// A stored layer's checksum: equal to the unpacking's as long as nothing has changed, and different after any change.
// That both agree on every layer of unpack_test.cc and merge_test.cc is checked there.
#include "image/worker/verify.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/io.h"
#include "image/worker/unpack.h"
#include "image/worker_stream.h"
#include "tests/image/tar_builder.h"
#include "tests/image/temporary.h"
#include "tests/image/worker_store.h"

namespace caisson::image {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TarBuilder EveryKind() {
  TarBuilder tar;
  tar.Directory("d", 01777)
      .Add({.path = "d/file", .content = "contents", .mode = 0640, .uid = 7, .gid = 8})
      .Add({.path = "d/noted", .content = "x", .pax = {{"SCHILY.xattr.user.b", "2"}, {"SCHILY.xattr.user.a", "1"}}})
      .Add({.path = "precise", .content = "x", .pax = {{"mtime", "12345.678901234"}}})
      .Add({.path = "empty"})
      .Symlink("link", "d/file")
      .HardLink("d/again", "d/file")
      .HardLink("third", "d/again")
      .File("implicit/below/file", std::string(300'000, 'y'))
      .File("d/.wh.gone", "")
      .File("implicit/.wh..wh..opq", "")
      .Add({.path = "fifo", .type = '6', .mode = 0620});
  return tar;
}

class VerifyTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    ::umask(0);
    ASSERT_EQ(::mkdir((directory_.path() + "/out").c_str(), 0755), 0);
    out_ = *OpenAt(AT_FDCWD, directory_.path() + "/out", O_PATH | O_DIRECTORY);
  }
  TreeSum Unpack(const TarBuilder& tar) {
    const std::string layer = tar.Finish();
    const Fd input = FileOf(EncodeUnpackOrder({Compression::kNone, layer.size()}) + layer);
    const Result<UnpackReport> report = UnpackLayer(input.get(), out_.get());
    EXPECT_TRUE(report) << (report ? "" : report.error().message);
    return report ? report->tree_sum : TreeSum{};
  }
  TreeSum Verified() const { return VerifyTree(out_.get())->tree_sum; }
  std::string PathOf(const std::string& path) const { return directory_.path() + "/out/" + path; }

  TemporaryDirectory directory_;
  Fd out_;
};

TEST_F(VerifyTest, AnUnchangedLayerHasTheSumOfItsUnpacking) {
  const TreeSum sum = Unpack(EveryKind());
  const Result<VerifyReport> report = VerifyTree(out_.get());
  ASSERT_TRUE(report);
  EXPECT_EQ(report->tree_sum, sum);
  EXPECT_EQ(report->entries, 14u);
  EXPECT_EQ(report->bytes, 8u + 1 + 1 + 300'000);
  EXPECT_THAT(report->unreadable, IsEmpty());
  EXPECT_NE(sum, TreeSum{});
}

TEST_F(VerifyTest, EntriesThatReplaceOthersAreSummedAsTheyStand) {
  TarBuilder tar;
  tar.File("file", "first").File("file", "second");
  tar.Directory("turned").File("turned/inside", "x").File("turned", "a file now");
  tar.File("other", "x").Directory("other").File("other/inside", "y");
  tar.Symlink("s", "a").Symlink("s", "b");
  tar.File("w/.wh.back", "").File("w/back", "made after its whiteout");
  const TreeSum sum = Unpack(tar);
  EXPECT_EQ(Verified(), sum);
}

TEST_F(VerifyTest, TimesThatTheFileSystemCannotKeepDoNotCountAsDamage) {
  TarBuilder tar;
  tar.Add({.path = "old", .pax = {{"mtime", "-99999999999"}}})
      .Add({.path = "late", .pax = {{"mtime", "99999999999.5"}}});
  tar.Add({.path = "link", .type = '2', .link = "x", .pax = {{"mtime", "1.25"}}});
  const TreeSum sum = Unpack(tar);
  EXPECT_EQ(Verified(), sum);
}

TEST_F(VerifyTest, TheLaunchersOwnAttributesDoNotCount) {
  const TreeSum sum = Unpack(EveryKind());
  ASSERT_EQ(::setxattr(PathOf("d").c_str(), "trusted.overlay.opaque", "y", 1, 0), 0);
  ASSERT_EQ(::setxattr(PathOf("").c_str(), "trusted.caisson.bytes", "12", 2, 0), 0);
  EXPECT_EQ(Verified(), sum);
}

// A system call of a test, which must succeed.
void Do(int result) { ASSERT_EQ(result, 0) << std::strerror(errno); }

TEST_F(VerifyTest, EveryChangeChangesTheSum) {
  const auto write = [](const std::string& path, const char* text, std::streamoff at) {
    std::fstream file(path, std::ios::in | std::ios::out);
    file.seekp(at);
    file << text;
  };
  const auto keep_time = [](const std::string& path, auto change) {
    struct stat before {};
    ASSERT_EQ(::lstat(path.c_str(), &before), 0);
    change();
    const timespec times[2] = {before.st_mtim, before.st_mtim};
    ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW), 0);
  };
  struct Change {
    const char* name;
    std::function<void()> make;
  };
  const Change changes[] = {
      {"a byte", [&] { keep_time(PathOf("d/file"), [&] { write(PathOf("d/file"), "C", 0); }); }},
      {"a byte far inside",
       [&] { keep_time(PathOf("implicit/below/file"), [&] { write(PathOf("implicit/below/file"), "Y", 299'999); }); }},
      {"a longer file", [&] { keep_time(PathOf("empty"), [&] { Do(::truncate(PathOf("empty").c_str(), 1)); }); }},
      {"a shorter file", [&] { keep_time(PathOf("d/file"), [&] { Do(::truncate(PathOf("d/file").c_str(), 7)); }); }},
      {"a mode", [&] { Do(::chmod(PathOf("d/file").c_str(), 0641)); }},
      {"a directory's mode", [&] { Do(::chmod(PathOf("implicit").c_str(), 0700)); }},
      {"an owner", [&] { Do(::chown(PathOf("d/file").c_str(), 0, 8)); }},
      {"a group", [&] { Do(::lchown(PathOf("link").c_str(), 0, 1)); }},
      {"a time", [&] { Do(::utimensat(AT_FDCWD, PathOf("empty").c_str(), nullptr, 0)); }},
      {"a part of a second",
       [&] {
         const timespec times[2] = {{0, UTIME_OMIT}, {12345, 678901235}};
         Do(::utimensat(AT_FDCWD, PathOf("precise").c_str(), times, 0));
       }},
      {"a missing file", [&] { keep_time(PathOf("d"), [&] { Do(::unlink(PathOf("d/noted").c_str())); }); }},
      {"an added file", [&] { keep_time(PathOf("d"), [&] { std::ofstream(PathOf("d/new")); }); }},
      {"an added directory", [&] { keep_time(PathOf("d"), [&] { Do(::mkdir(PathOf("d/new").c_str(), 0755)); }); }},
      {"a renamed file",
       [&] { keep_time(PathOf("d"), [&] { Do(::rename(PathOf("d/noted").c_str(), PathOf("d/noteD").c_str())); }); }},
      {"a changed link",
       [&] {
         keep_time(PathOf(""), [&] {
           keep_time(PathOf("link"), [&] {
             Do(::unlink(PathOf("link").c_str()));
             Do(::symlink("d/filE", PathOf("link").c_str()));
           });
         });
       }},
      {"a broken hard link",
       [&] {
         keep_time(PathOf(""), [&] {
           keep_time(PathOf("third"), [&] {
             Do(::unlink(PathOf("third").c_str()));
             std::ofstream(PathOf("third")) << "contents";
             Do(::chown(PathOf("third").c_str(), 7, 8));
             Do(::chmod(PathOf("third").c_str(), 0640));
           });
         });
       }},
      {"a changed attribute", [&] { Do(::setxattr(PathOf("d/noted").c_str(), "user.a", "9", 1, 0)); }},
      {"a missing attribute", [&] { Do(::removexattr(PathOf("d/noted").c_str(), "user.b")); }},
      {"an added attribute", [&] { Do(::setxattr(PathOf("d").c_str(), "user.c", "", 0, 0)); }},
      {"a missing whiteout", [&] { keep_time(PathOf("d"), [&] { Do(::unlink(PathOf("d/gone").c_str())); }); }},
      {"a whiteout that became a file",
       [&] {
         keep_time(PathOf("d"), [&] {
           Do(::unlink(PathOf("d/gone").c_str()));
           std::ofstream(PathOf("d/gone"));
         });
       }},
      {"a FIFO's mode", [&] { Do(::chmod(PathOf("fifo").c_str(), 0600)); }},
      {"a socket", [&] { keep_time(PathOf("d"), [&] { ::mknod(PathOf("d/s").c_str(), S_IFSOCK | 0600, 0); }); }},
  };
  for (const Change& change : changes) {
    std::filesystem::remove_all(PathOf(""));
    ASSERT_EQ(::mkdir(PathOf("").c_str(), 0755), 0);
    out_ = *OpenAt(AT_FDCWD, directory_.path() + "/out", O_PATH | O_DIRECTORY);
    const TreeSum sum = Unpack(EveryKind());
    ASSERT_EQ(Verified(), sum);
    change.make();
    EXPECT_NE(Verified(), sum) << change.name;
  }
}

TEST_F(VerifyTest, TheWorkerVerifiesAStoredLayerReadOnly) {
  WorkerStore store(directory_.path());
  const std::string layer = EveryKind().Finish();
  WorkerStream::WorkerEnds ends;
  std::unique_ptr<WorkerStream> stream = *WorkerStream::Make(ends, nullptr);
  std::unique_ptr<StoreWorker> worker = *store.StartUnpack(ends.input.get(), ends.report.get());
  ends = {};
  ASSERT_TRUE(stream->Write(EncodeUnpackOrder({Compression::kNone, layer.size()}) + layer));
  const Result<UnpackReport> unpacked = DecodeUnpackReport(*stream->FinishAndReadReport());
  ASSERT_TRUE(unpacked) << unpacked.error().message;
  ASSERT_TRUE(worker->Wait());
  ASSERT_TRUE(worker->Commit(LayerName{}, unpacked->facts.opaque));

  stream = *WorkerStream::Make(ends, nullptr);
  worker = *store.StartVerify(ends.input.get(), ends.report.get(), LayerName{});
  ends = {};
  const Result<VerifyReport> verified = DecodeVerifyReport(*stream->FinishAndReadReport());
  ASSERT_TRUE(verified) << verified.error().message;
  EXPECT_TRUE(worker->Wait());
  EXPECT_EQ(verified->tree_sum, unpacked->tree_sum);
  EXPECT_THAT(verified->unreadable, IsEmpty());
}

TEST_F(VerifyTest, ASumHasOneSpelling) {
  const TreeSum sum{0x1, 0xabc0000000000000};
  EXPECT_EQ(sum.ToHex(), "abc00000000000000000000000000001");
  EXPECT_EQ(*TreeSum::Parse(sum.ToHex()), sum);
  for (const char* bad : {"", "abc", "ABC00000000000000000000000000001", "+bc00000000000000000000000000001",
                          "abc000000000000000000000000000010", "xbc00000000000000000000000000001"})
    EXPECT_FALSE(TreeSum::Parse(bad)) << bad;
}

}  // namespace
}  // namespace caisson::image
