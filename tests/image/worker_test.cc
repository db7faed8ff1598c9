// SPDX-License-Identifier: Apache-2.0
// The real caisson-worker in its namespaces: what it may still do when the first hostile byte comes, and that nothing
// outside its directory is touched. Needs root and strace.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>

#include "base/io.h"
#include "image/layer/report.h"
#include "image/worker_stream.h"
#include "tests/image/tar_builder.h"
#include "tests/image/temporary.h"
#include "tests/image/worker_store.h"

namespace caisson::image {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

class WorkerTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    ::signal(SIGPIPE, SIG_IGN);
    store_ = std::make_unique<WorkerStore>(directory_.path());
  }

  struct Running {
    std::unique_ptr<WorkerStream> stream;
    std::unique_ptr<StoreWorker> worker;
  };
  Running StartUnpack() {
    WorkerStream::WorkerEnds ends;
    Running running{*WorkerStream::Make(ends, nullptr), {}};
    running.worker = *store_->StartUnpack(ends.input.get(), ends.report.get());
    return running;
  }
  Result<UnpackReport> Unpack(const TarBuilder& tar) {
    const std::string bytes = tar.Finish();
    Running running = StartUnpack();
    if (!running.stream->Write(EncodeUnpackOrder({Compression::kNone, bytes.size()}) + bytes))
      return Fail(ErrorCode::kInternal, "write");
    const std::string report = *running.stream->FinishAndReadReport();
    const Result<void> ended = running.worker->Wait();
    Result<UnpackReport> decoded = DecodeUnpackReport(report);
    EXPECT_EQ(ended.has_value(), decoded.has_value());
    return decoded;
  }

  TemporaryDirectory directory_;
  std::unique_ptr<WorkerStore> store_;
};

// The pid of the caisson-worker among the descendants of this test.
pid_t FindWorker() {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string status = ReadFile("/proc/" + name + "/status", 1 << 16).value_or("");
    if (status.find("Name:\tcaisson-worker\n") == std::string::npos ||
        status.find("Seccomp:\t2\n") == std::string::npos)
      continue;
    // Its grandparent is this process.
    const auto parent = [](const std::string& text) {
      return text.substr(text.find("PPid:\t") + 6, text.find('\n', text.find("PPid:\t")) - text.find("PPid:\t") - 6);
    };
    const std::string above = ReadFile("/proc/" + parent(status) + "/status", 1 << 16).value_or("");
    if (parent(above) == std::to_string(::getpid())) return std::stoi(name);
  }
  return -1;
}

TEST_F(WorkerTest, FirstHostileByteMeetsAConfinedProcess) {
  Running running = StartUnpack();
  pid_t worker = -1;
  while ((worker = FindWorker()) < 0) ASSERT_FALSE(running.stream->worker_ended());  // it waits for its order
  const std::string proc = fmt::format("/proc/{}/", worker), status = *ReadFile(proc + "status", 1 << 16);
  for (const char* line : {"CapInh:\t0000000000000000", "CapPrm:\t000000000000001b", "CapEff:\t000000000000001b",
                           "CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"})
    EXPECT_THAT(status, HasSubstr(line));
  EXPECT_THAT(status, testing::Not(HasSubstr("Uid:\t0\t")));
  for (const char* space : {"user", "mnt", "pid", "net", "ipc"})
    EXPECT_NE(std::filesystem::read_symlink(proc + "ns/" + space),
              std::filesystem::read_symlink("/proc/self/ns/" + std::string(space)));
  std::istringstream mounts(*ReadFile(proc + "mountinfo", 1 << 20));
  std::vector<std::string> points;
  for (std::string line, word; std::getline(mounts, line);) {
    std::istringstream words(line);
    for (int i = 0; i < 5; ++i) words >> word;
    points.push_back(word);
  }
  EXPECT_THAT(points, testing::UnorderedElementsAre("/", "/out"));
  std::vector<std::string> descriptors;
  for (const auto& entry : std::filesystem::directory_iterator(proc + "fd"))
    descriptors.push_back(entry.path().filename());
  EXPECT_THAT(descriptors, testing::Each(testing::AnyOf("0", "1", "2", "3")));  // 3 is `out`
}

TEST_F(WorkerTest, IdsAreStoredAsTheImageSaysThem) {
  struct stat info {};
  const std::string bytes = TarBuilder()
                                .Add({.path = "f", .content = "x", .mode = 06755, .uid = 33, .gid = 65535})
                                .File("d/.wh.gone", "")
                                .Finish();
  Running running = StartUnpack();
  ASSERT_TRUE(running.stream->Write(EncodeUnpackOrder({Compression::kNone, bytes.size()}) + bytes));
  ASSERT_TRUE(running.stream->FinishAndReadReport());
  ASSERT_TRUE(running.worker->Wait());
  LayerName name{};
  ASSERT_TRUE(running.worker->Commit(name, {}));
  ASSERT_EQ(::lstat((store_->PathOf(name) + "/f").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777u, 06755u);
  EXPECT_EQ(info.st_uid, 33u);
  EXPECT_EQ(info.st_gid, 65535u);
  ASSERT_EQ(::lstat((store_->PathOf(name) + "/d/gone").c_str(), &info), 0);
  EXPECT_TRUE(S_ISCHR(info.st_mode) && info.st_rdev == 0);
  EXPECT_TRUE(store_->RemoveLayer(name));
}

TEST_F(WorkerTest, WhatIsNotCommittedIsGone) {
  ASSERT_TRUE(Unpack(TarBuilder().File("f", "x")));
  EXPECT_FALSE(Unpack(TarBuilder().File("../f", "x")));
  EXPECT_THAT(store_->TemporaryNames(), IsEmpty());
}

TEST_F(WorkerTest, TraceShowsNoNameOutsideAndNoForbiddenCall) {
  if (RunProgram({"strace", "-V"}) != 0) GTEST_SKIP() << "needs strace";
  const std::string trace = directory_.path() + "/trace";
  // strace writes it as the worker's user.
  ASSERT_EQ(::chmod(directory_.path().c_str(), 0711), 0);
  ASSERT_TRUE(OpenAt(AT_FDCWD, trace + ".1", O_WRONLY | O_CREAT, 0666));
  ASSERT_EQ(::chmod((trace + ".1").c_str(), 0666), 0);
  store_->TraceTo(trace);
  TarBuilder tar;
  tar.Directory("usr")
      .File("usr/caf\xC3\xA9", "x")
      .Symlink("etc", "/etc")
      .HardLink("usr/y", "usr/caf\xC3\xA9")
      .File("usr/.wh.z", "")
      .Add({.path = "p", .type = '6'});
  tar.Add({.path = "usr/e\xCC\x81",
           .content = "x",
           .pax = {{"path", "usr/e\xCC\x81"}, {"SCHILY.xattr.user.a", "b"}, {"mtime", "1.5"}}})
      .Directory("d", 0)
      .File("d/deep/f", std::string(2 << 20, 'x'));
  const Result<UnpackReport> report = Unpack(tar);
  ASSERT_TRUE(report) << report.error().message;
  std::istringstream lines(*ReadFile(trace + ".1", 64 << 20));
  bool confined = false;
  int after = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.find("socket(") != std::string::npos) confined = true;  // the probe: the filter acts from here on
    if (!confined || line.find("socket(") != std::string::npos) continue;
    ++after;
    EXPECT_EQ(line.find("EPERM"), std::string::npos) << line;  // a call that the filter does not know
    const size_t quote = line.find("\"/");
    if (quote == std::string::npos || line.find("symlinkat(\"/etc\"") != std::string::npos ||
        line.find("write(") != std::string::npos)
      continue;
    const bool ours = line.find("\"/\"") != std::string::npos || line.find("\"/..\"") != std::string::npos ||
                      line.find("\"/proc\"") != std::string::npos || line.find("\"/out\"") != std::string::npos;
    EXPECT_TRUE(ours) << line;
  }
  EXPECT_GT(after, 40);
}

TEST_F(WorkerTest, CalledByHandItSaysWhatItIs) {
  const std::string log = directory_.path() + "/log";
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "caisson-worker";
  EXPECT_EQ(RunProgram({program}, log), 2);
  EXPECT_THAT(*ReadFile(log, 1 << 16), HasSubstr("not meant to be run by hand"));
}

}  // namespace
}  // namespace caisson::image
