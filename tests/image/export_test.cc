// SPDX-License-Identifier: Apache-2.0
// The exported archive of an image, unpacked by GNU tar, against what the kernel's overlayfs shows of the same layers.
#include "image/worker/export.h"

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
#include "image/worker/merge.h"
#include "image/worker/unpack.h"
#include "image/worker_stream.h"
#include "tests/image/tar_builder.h"
#include "tests/image/temporary.h"
#include "tests/image/worker_store.h"

namespace caisson::image {
namespace {

using testing::HasSubstr;

LayerName NameOfLayer(size_t i) {
  LayerName name{};
  name.bytes[0] = static_cast<uint8_t>(i);
  return name;
}

// Layers of a WorkerStore, unpacked, merged and exported by the real worker.
class ExportTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    ::signal(SIGPIPE, SIG_IGN);
    store_ = std::make_unique<WorkerStore>(directory_.path());
  }

  // Base first.
  void AddLayer(const TarBuilder& tar) {
    const std::string bytes = tar.Finish();
    WorkerStream::WorkerEnds ends;
    const auto stream = *WorkerStream::Make(ends, nullptr);
    const auto worker = *store_->StartUnpack(ends.input.get(), ends.report.get());
    ends = {};
    ASSERT_TRUE(stream->Write(EncodeUnpackOrder({Compression::kNone, bytes.size()}) + bytes));
    const Result<UnpackReport> report = DecodeUnpackReport(*stream->FinishAndReadReport());
    ASSERT_TRUE(report) << report.error().message;
    ASSERT_TRUE(worker->Wait());
    std::vector<std::string> opaque = report->facts.opaque;
    opaque.insert(opaque.end(), report->facts.replaced.begin(), report->facts.replaced.end());
    ASSERT_TRUE(worker->Commit(NameOfLayer(order_.layers.size()), opaque));
    top_first_.insert(top_first_.begin(), NameOfLayer(order_.layers.size()));
    order_.layers.push_back(report->facts);
  }

  Result<std::string> Export() {
    WorkerStream::WorkerEnds ends;
    const auto stream = TRY(WorkerStream::Make(ends, nullptr));
    const auto worker = TRY(store_->StartExport(ends.input.get(), ends.report.get(), top_first_));
    ends = {};
    TRY(stream->Write(EncodeMergeOrder(order_)));
    std::string archive;
    FramedReader reader([&archive](std::string_view bytes) -> Result<void> {
      archive.append(bytes);
      return {};
    });
    TRY(stream->FinishAndReadOutput([&reader](std::string_view bytes) { return reader.Feed(bytes); }));
    TRY(reader.Finish());
    TRY(worker->Wait());
    return archive;
  }

  // The fix-up layer on top, as a job has it.
  std::vector<LayerName> Merged() {
    WorkerStream::WorkerEnds ends;
    const auto stream = *WorkerStream::Make(ends, nullptr);
    const auto worker = *store_->StartMerge(ends.input.get(), ends.report.get(), top_first_);
    ends = {};
    EXPECT_TRUE(stream->Write(EncodeMergeOrder(order_)));
    const Result<MergeReport> report = DecodeMergeReport(*stream->FinishAndReadReport());
    EXPECT_TRUE(report) << report.error().message;
    EXPECT_TRUE(worker->Wait());
    EXPECT_TRUE(worker->Commit(NameOfLayer(200), {}));
    std::vector<LayerName> rootfs = top_first_;
    rootfs.insert(rootfs.begin(), NameOfLayer(200));
    return rootfs;
  }

  void ExpectTarHasWhatTheMountShows() {
    const Result<std::string> archive = Export();
    ASSERT_TRUE(archive) << archive.error().message;
    const std::string file = directory_.path() + "/rootfs.tar", unpacked = directory_.path() + "/unpacked",
                      mounted = directory_.path() + "/mounted", log = directory_.path() + "/log";
    ASSERT_TRUE(WriteFileDurably(AT_FDCWD, file, *archive, 0600));
    for (const std::string& name : {unpacked, mounted}) ASSERT_EQ(::mkdir(name.c_str(), 0700), 0);
    ASSERT_EQ(
        RunProgram({"tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf", file, "-C", unpacked}, log), 0)
        << *ReadFile(log, 1 << 20);
    ASSERT_TRUE(MountOverlay(*store_, Merged(), mounted));
    auto expected = DescribeTree(mounted), actual = DescribeTree(unpacked);
    UnmountOverlay(mounted);
    EXPECT_GT(actual.size(), 1u);
    EXPECT_EQ(CompareTrees(expected, actual), "");
  }

  TemporaryDirectory directory_;
  std::unique_ptr<WorkerStore> store_;
  MergeOrder order_;
  std::vector<LayerName> top_first_;
};

TEST_F(ExportTest, TheArchiveHasWhatAJobWouldSee) {
  TarBuilder base;
  base.Add({.path = ".", .type = '5', .mode = 0751, .uid = 3, .mtime = 5})
      .Add({.path = "tmp",
            .type = '5',
            .mode = 01777,
            .uid = 5,
            .gid = 6,
            .mtime = 77,
            .pax = {{"SCHILY.xattr.user.note", "kept"}}})
      .File("etc/passwd", "root:x:0:0\n")
      .Add({.path = "bin/su", .content = "elf", .mode = 04755})
      .Add({.path = "bin/owned", .content = "x", .mode = 02711, .uid = 1000, .gid = 65535})
      .HardLink("bin/again", "bin/su")
      .Symlink("sbin", "bin")
      .File("gone/a", "1")
      .File("gone/b", "2")
      .File("turned/into/file", "3")
      .File("opaque/old", "4")
      .Add({.path = "precise", .content = "p", .pax = {{"mtime", "-12.25"}}});
  AddLayer(base);
  TarBuilder middle;
  middle.File("gone/.wh.a", "")
      .File("tmp/new", "implicit parent")
      .File("opaque/.wh..wh..opq", "")
      .File("opaque/new", "5")
      .File("turned", "a file now")
      .File(".wh.sbin", "")
      .File("sbin/real", "6")
      .Add({.path = "fifo", .type = '6', .mode = 0620});
  AddLayer(middle);
  TarBuilder top;
  top.File("new/deep/.wh.ghost", "").File("bin/owned", "replaced");
  AddLayer(top);
  ExpectTarHasWhatTheMountShows();
}

TEST_F(ExportTest, NamesOfAnyBytesAndLengthsSurvive) {
  const std::string odd = "caf\xC3\xA9", broken = "bad\xFF\xFEname",
                    deep = std::string(90, 'd') + "/" + std::string(200, 'e') + "/" + std::string(255, 'f');
  TarBuilder tar;
  tar.File(odd, "1").Add({.path = "x", .content = "2", .pax = {{"path", broken}}}).File("new\nline = 7", "3");
  tar.Add({.path = "x", .content = "4", .pax = {{"path", deep}}});
  tar.Add({.path = "link", .type = '2', .link = "x", .pax = {{"linkpath", std::string(3000, 't')}}});
  tar.Add({.path = "hard", .type = '1', .link = "x", .pax = {{"linkpath", deep}}});
  tar.Add({.path = "attributes",
           .content = "5",
           .pax = {{"SCHILY.xattr.user.bytes", std::string("a\0=\n\xFF", 5)}, {"SCHILY.xattr.user.empty", ""}}});
  AddLayer(tar);
  ExpectTarHasWhatTheMountShows();
}

TEST_F(ExportTest, HolesBecomeZerosAndTheBytesAreThoseOfTheFile) {
  // GNU's old sparse form: 4 bytes at 0, 4 bytes at 8 MiB - 4.
  TarBuilder tar;
  const uint64_t size = 8 << 20;
  TarItem item{.path = "sparse", .content = "headtail", .pax = {}};
  item.pax = {{"GNU.sparse.major", "1"},
              {"GNU.sparse.minor", "0"},
              {"GNU.sparse.name", "sparse"},
              {"GNU.sparse.realsize", std::to_string(size)}};
  std::string map = fmt::format("2\n0\n4\n{}\n4\n", size - 4);
  map.resize(512, '\0');
  item.path = "GNUSparseFile.0/sparse";
  item.content = map + "headtail";
  tar.Add(item).File("after", "x");
  AddLayer(tar);
  ExpectTarHasWhatTheMountShows();
}

TEST_F(ExportTest, TheSameLayersGiveTheSameBytes) {
  AddLayer(TarBuilder().File("b/2", "x").File("a/1", "y").HardLink("c", "b/2"));
  const Result<std::string> first = Export(), second = Export();
  ASSERT_TRUE(first && second);
  EXPECT_EQ(*first, *second);
  EXPECT_LT(first->find("a/1"), first->find("b/2"));
}

TEST_F(ExportTest, ARefusalFollowsTheArchivesEnd) {
  AddLayer(TarBuilder().File("a", "x"));
  order_.layers.push_back({});  // one more than there are
  const Result<std::string> archive = Export();
  ASSERT_FALSE(archive);
  EXPECT_THAT(archive.error().message, HasSubstr("/layers/1"));
}

TEST_F(ExportTest, AnArchiveThatIsCutOffIsNoArchive) {
  Pipe pipe = *MakePipe();
  FramedWriter writer(pipe.write.get());
  ASSERT_TRUE(writer.Write("data"));
  ASSERT_TRUE(writer.End());
  ASSERT_TRUE(WriteAll(pipe.write.get(), EncodeEmptyReport()));
  pipe.write.reset();
  const std::string whole = *ReadAll(pipe.read.get(), 1 << 20);
  for (size_t size = 0; size <= whole.size(); ++size) {
    std::string got;
    FramedReader reader([&got](std::string_view bytes) -> Result<void> {
      got.append(bytes);
      return {};
    });
    for (const char c : whole.substr(0, size)) ASSERT_TRUE(reader.Feed({&c, 1}));
    EXPECT_EQ(reader.Finish().has_value(), size == whole.size()) << size;
    if (size == whole.size()) {
      EXPECT_EQ(got, "data");
    }
  }
}

TEST_F(ExportTest, FramesBeyondTheLimitAndDataAfterTheReportAreRefused) {
  FramedReader reader([](std::string_view) -> Result<void> { return {}; });
  const Result<void> huge = reader.Feed(std::string_view("\xff\xff\xff\xff", 4));
  ASSERT_FALSE(huge);
  EXPECT_EQ(huge.error().code, ErrorCode::kCorrupt);
  FramedReader ended([](std::string_view) -> Result<void> { return {}; });
  ASSERT_TRUE(ended.Feed(std::string(4, '\0') + EncodeEmptyReport() + "more"));
  EXPECT_EQ(ended.Finish().error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace caisson::image
