// SPDX-License-Identifier: Apache-2.0
// Every layer of the corpus through the code that unpacks: in this process, and in the real worker as the launcher
// starts it. Around the place where a layer goes stands a small tree that has to stay as it is, whatever the layer
// says.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/crypto/crypto.h"
#include "base/io.h"
#include "image/worker/unpack.h"
#include "image/worker_stream.h"
#include "tests/hostile/corpus.h"
#include "tests/hostile/tree_words.h"
#include "tests/image/temporary.h"
#include "tests/image/worker_store.h"

namespace caisson::image {
namespace {

using testing::IsEmpty;

Compression CompressionOf(const HostileCase& hostile) {
  const std::string name = hostile.expected.StringOr("compression", "");
  return name == "gzip" ? Compression::kGzip : name == "zstd" ? Compression::kZstd : Compression::kNone;
}

class HostileLayersTest : public testing::TestWithParam<HostileCase> {
 protected:
  // DIR/place is the layer's or the store's; DIR/canary, with something in it, is nobody's.
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    ::umask(0);
    ::signal(SIGPIPE, SIG_IGN);
    CHECK(MakeDirectories(directory_.path() + "/canary/deeper", 0755));
    CHECK(MakeDirectories(place(), 0755));
    const Fd inside(::open((directory_.path() + "/canary/inside").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0640));
    CHECK(WriteAll(inside.get(), "untouched\n"));
    around_ = Around();
  }
  void TearDown() override {
    if (!around_.empty()) {
      EXPECT_EQ(CompareTrees(around_, Around()), "");
    }
  }
  // The whole tree but for what is inside the place.
  std::map<std::string, std::string> Around() const {
    std::map<std::string, std::string> tree = DescribeTree(directory_.path() + "/canary");
    struct stat info {};
    CHECK(::lstat(directory_.path().c_str(), &info) == 0);
    tree["above"] = fmt::format("{} entries, changed {}.{}", info.st_nlink, info.st_ctim.tv_sec, info.st_ctim.tv_nsec);
    CHECK(::lstat((directory_.path() + "/canary/inside").c_str(), &info) == 0);
    tree["inside"] = fmt::format("{} links, changed {}.{}", info.st_nlink, info.st_ctim.tv_sec, info.st_ctim.tv_nsec);
    return tree;
  }
  std::string place() const { return directory_.path() + "/place"; }

  std::string Input() const {
    const std::string layer = BytesOf("layers", GetParam());
    return EncodeUnpackOrder({CompressionOf(GetParam()), layer.size()}) + layer;
  }
  void ExpectAccepted(const UnpackReport& report, int root) const {
    const Json& expected = GetParam().expected;
    ASSERT_TRUE(GetParam().accepted()) << "accepted, but has to be refused";
    std::map<std::string, std::string> tree;
    for (const auto& [path, words] : *expected.Find("tree")->AsObject()) tree[path] = *words.AsString();
    EXPECT_EQ(CompareTrees(tree, WordsOfTree(root, report.facts)), "");
    EXPECT_EQ(report.devices_skipped, static_cast<uint64_t>(expected.IntOr("devices_skipped", 0)));
    EXPECT_EQ(report.ids_changed, static_cast<uint64_t>(expected.IntOr("ids_changed", 0)));
    EXPECT_EQ(report.xattrs_dropped, static_cast<uint64_t>(expected.IntOr("xattrs_dropped", 0)));
    const std::string diff_id = expected.StringOr("diff_id", "");  // where the stream is not compressed
    EXPECT_TRUE(diff_id.empty() || report.diff_id.hex() == diff_id);
  }

  TemporaryDirectory directory_;
  std::map<std::string, std::string> around_;
};

TEST_P(HostileLayersTest, BecomesWhatTheTableSays) {
  const Fd input = FileOf(Input());
  const Fd out = *OpenAt(AT_FDCWD, place(), O_PATH | O_DIRECTORY);
  const Result<UnpackReport> report = UnpackLayer(input.get(), out.get());
  if (!report) return ExpectRefusal(GetParam(), report.error());
  ExpectAccepted(*report, out.get());
  const Result<UnpackReport> decoded = DecodeUnpackReport(EncodeReport(*report));
  EXPECT_TRUE(decoded) << decoded.error().message;  // the service takes what the worker says
}

TEST_P(HostileLayersTest, BecomesTheSameInTheRealWorker) {
  WorkerStore store(place());
  std::unique_ptr<WorkerStream> stream;
  std::unique_ptr<StoreWorker> worker;
  {
    WorkerStream::WorkerEnds ends;  // closed on our side, or a worker that ends early would not end our writing
    stream = *WorkerStream::Make(ends, nullptr);
    worker = *store.StartUnpack(ends.input.get(), ends.report.get());
  }
  (void)stream->Write(Input());  // fails where the worker refuses before it has read everything
  const Result<std::string> bytes = stream->FinishAndReadReport();
  ASSERT_TRUE(bytes) << bytes.error().message;
  const Result<void> ended = worker->Wait();
  const Result<UnpackReport> report = DecodeUnpackReport(*bytes);
  EXPECT_EQ(ended.has_value(), report.has_value());
  if (!report) return ExpectRefusal(GetParam(), report.error());
  const LayerName name{};
  ASSERT_TRUE(worker->Commit(name, {}));
  ExpectAccepted(*report, OpenAt(AT_FDCWD, store.PathOf(name), O_PATH | O_DIRECTORY)->get());
  EXPECT_TRUE(store.RemoveLayer(name));
  EXPECT_THAT(store.TemporaryNames(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Corpus, HostileLayersTest, testing::ValuesIn(ReadCases("layers")),
                         NameOfCase<testing::TestParamInfo<HostileCase>>);

}  // namespace
}  // namespace caisson::image
