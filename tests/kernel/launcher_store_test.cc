// SPDX-License-Identifier: Apache-2.0
// Layers and store workers of a real launcher.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/io.h"
#include "tests/kernel/launcher_host.h"

namespace caisson::sandbox {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

namespace fs = std::filesystem;

LayerName Name(uint8_t first) {
  LayerName name;
  name.bytes.fill(0x22);
  name.bytes[0] = first;
  return name;
}

class LauncherStoreTest : public LauncherTest {
 protected:
  struct Worker {
    WorkerHandle handle;
    Fd report;
  };
  Worker StartWorker(const std::string& order, WorkerVerb verb = WorkerVerb::kUnpack,
                     std::span<const LayerName> layers = {}) {
    const Fd input = *MakeSealedMemfd("order", order);
    ::lseek(input.get(), 0, SEEK_SET);
    Pipe report = *MakePipe();
    const Result<WorkerHandle> handle = client->StartWorker(verb, input.get(), report.write.get(), layers);
    EXPECT_TRUE(handle) << (handle ? "" : handle.error().message);
    return {handle ? *handle : WorkerHandle{}, std::move(report.read)};
  }
  // One that has made its tree and ended.
  WorkerHandle Unpacked() {
    const Worker worker = StartWorker("tree");
    EXPECT_EQ(events.WaitForWorker(worker.handle).wait_status, 0);
    return worker.handle;
  }
  std::string Opaque(const std::string& path) const {
    char value[8] = {};
    const ssize_t length = ::lgetxattr(path.c_str(), "trusted.overlay.opaque", value, sizeof value);
    return length < 0 ? "" : std::string(value, static_cast<size_t>(length));
  }
  ErrorCode CodeOf(const Result<void>& result) { return result ? static_cast<ErrorCode>(-1) : result.error().code; }
};

TEST_F(LauncherStoreTest, AWorkerHasIdsNamespacesAndThreeDescriptorsOfItsOwn) {
  Start();
  const Worker worker = StartWorker("look");
  EXPECT_EQ(events.WaitForWorker(worker.handle).wait_status, 0);
  const std::string report = ReadToEnd(worker.report.get());
  EXPECT_THAT(report, HasSubstr("verb unpack\n"));
  EXPECT_THAT(report, HasSubstr("ids 0 0 0\n"));
  EXPECT_THAT(report, HasSubstr("pid 1\n"));
  EXPECT_THAT(report, HasSubstr("descriptors 3\n"));
  EXPECT_THAT(report, HasSubstr("no_new_privs 1\n"));
  EXPECT_THAT(report, HasSubstr("here out \n"));
  EXPECT_THAT(report, HasSubstr("oom score 500\n"));
}

TEST_F(LauncherStoreTest, AFinishedWorkersDirectoryBecomesALayerWithTheImagesIds) {
  Start();
  const WorkerHandle worker = Unpacked();
  const std::string opaque[] = {"kept", "kept/deeper"};
  const Result<void> committed = client->CommitLayer(worker, Name(1), opaque);
  ASSERT_TRUE(committed) << committed.error().message;
  const std::string layer = layers() + "/" + Name(1).hex();
  EXPECT_EQ(Opaque(layer + "/kept"), "y");
  EXPECT_EQ(Opaque(layer + "/kept/deeper"), "y");
  struct stat info {};
  ASSERT_EQ(::stat((layer + "/kept/file").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 5U);  // as stored in the image, not as the worker's range has it
  EXPECT_EQ(info.st_gid, 6U);
  EXPECT_THAT(NamesIn(tmp()), IsEmpty());
  const auto stored = client->ListLayers();
  ASSERT_TRUE(stored);
  ASSERT_EQ(stored->size(), 1U);
  EXPECT_EQ((*stored)[0].name, Name(1));
  EXPECT_GT((*stored)[0].bytes, 4096U);
  EXPECT_FALSE((*stored)[0].in_use);
  EXPECT_EQ(CodeOf(client->DiscardWorker(worker)), ErrorCode::kNotFound);
}

TEST_F(LauncherStoreTest, ASecondCommitOfAnExistingLayerKeepsTheFirst) {
  Start();
  const WorkerHandle first = Unpacked();
  const WorkerHandle second = Unpacked();
  ASSERT_TRUE(client->CommitLayer(first, Name(1), {}));
  const std::string layer = layers() + "/" + Name(1).hex();
  struct stat before {
  }, after{};
  ASSERT_EQ(::stat(layer.c_str(), &before), 0);
  ASSERT_TRUE(client->CommitLayer(second, Name(1), {}));
  ASSERT_EQ(::stat(layer.c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
  WaitForEmptyTmp();
}

TEST_F(LauncherStoreTest, OpaqueDirectoriesAreNeverSoughtThroughLinksOrOutside) {
  Start();
  const WorkerHandle worker = Unpacked();
  for (const char* bad : {"link", "link/deeper", "../tmp", "/etc", "kept/file", "absent", ""}) {
    const std::string opaque[] = {bad};
    EXPECT_FALSE(client->CommitLayer(worker, Name(1), opaque)) << bad;
  }
  EXPECT_THAT(NamesIn(layers()), IsEmpty());
  EXPECT_EQ(Opaque("/etc"), "");
  ASSERT_TRUE(client->CommitLayer(worker, Name(1), {}));  // the directory is still there for another try
}

TEST_F(LauncherStoreTest, OnlyAnEndedAndSuccessfulWorkerCanBeCommitted) {
  Start();
  const Worker hanging = StartWorker("hang");
  EXPECT_EQ(CodeOf(client->CommitLayer(hanging.handle, Name(1), {})), ErrorCode::kConflict);
  ASSERT_TRUE(client->KillWorker(hanging.handle));
  EXPECT_EQ(events.WaitForWorker(hanging.handle).wait_status, 128 + SIGKILL);
  EXPECT_EQ(CodeOf(client->CommitLayer(hanging.handle, Name(1), {})), ErrorCode::kConflict);
  const Worker failing = StartWorker("fail");
  EXPECT_EQ(events.WaitForWorker(failing.handle).wait_status, 3);
  EXPECT_EQ(CodeOf(client->CommitLayer(failing.handle, Name(1), {})), ErrorCode::kConflict);
  ASSERT_TRUE(client->DiscardWorker(hanging.handle));
  ASSERT_TRUE(client->DiscardWorker(failing.handle));
  WaitForEmptyTmp();
  EXPECT_THAT(NamesIn(layers()), IsEmpty());
}

TEST_F(LauncherStoreTest, CommitsThatWaitTogetherEachGetTheirOwnAnswer) {
  Start();
  std::vector<WorkerHandle> workers;
  for (int i = 0; i < 6; ++i) workers.push_back(Unpacked());
  const std::string bad[] = {"link/deeper"}, good[] = {"kept"};
  std::vector<Result<void>> results(workers.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < workers.size(); ++i)
    threads.emplace_back(
        [&, i] { results[i] = client->CommitLayer(workers[i], Name(static_cast<uint8_t>(i)), i == 2 ? bad : good); });
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < workers.size(); ++i) EXPECT_EQ(results[i].has_value(), i != 2) << i;
  EXPECT_EQ(NamesIn(layers()).size(), workers.size() - 1);
  EXPECT_EQ(Opaque(layers() + "/" + Name(5).hex() + "/kept"), "y");
  const Result<std::vector<StoredLayer>> stored = client->ListLayers();
  ASSERT_TRUE(stored);
  for (const StoredLayer& layer : *stored) EXPECT_GT(layer.bytes, 4096U);
  EXPECT_TRUE(client->CommitLayer(workers[2], Name(2), good));
  WaitForEmptyTmp();
}

TEST_F(LauncherStoreTest, NothingOfAWorkerWritesIntoItsLayerAfterItsEnd) {
  Start();
  const Worker worker = StartWorker("linger");
  EXPECT_EQ(events.WaitForWorker(worker.handle).wait_status, 0);
  EXPECT_TRUE(Eventually([&] { return Descendants().empty(); }));  // (a janitor may not have its name yet)
  ASSERT_TRUE(client->CommitLayer(worker.handle, Name(1), {}));
  const std::string late = layers() + "/" + Name(1).hex() + "/late";
  const auto size = fs::file_size(late);
  EXPECT_GT(size, 0U);
  std::this_thread::yield();
  EXPECT_EQ(fs::file_size(late), size);
}

TEST_F(LauncherStoreTest, AWorkerThatReportsWithoutEndIsHeldUpAndEndedWithoutHarm) {
  Start();
  const Worker worker = StartWorker("flood");
  EXPECT_EQ(PeekAtLeast(worker.report.get(), 1).substr(0, 12), "verb unpack\n");
  const WorkerHandle honest = Unpacked();  // beside it
  EXPECT_TRUE(client->CommitLayer(honest, Name(1), {}));
  ASSERT_TRUE(client->DiscardWorker(worker.handle));
  EXPECT_EQ(events.WaitForWorker(honest).wait_status, 0);
  WaitForEmptyTmp();
  EXPECT_THAT(NamesIn(layers()), ElementsAre(Name(1).hex()));
}

TEST_F(LauncherStoreTest, AWorkersMemoryIsLimited) {
  Start();
  const Worker worker = StartWorker("swell");
  const WorkerExit exit = events.WaitForWorker(worker.handle);
  const std::string report = ReadToEnd(worker.report.get());
  EXPECT_TRUE(report.find("memory ended with " + std::to_string(ENOMEM)) != std::string::npos ||
              exit.wait_status == 128 + SIGKILL)  // by its cgroup, where that has limits
      << report;
}

TEST_F(LauncherStoreTest, AWorkerCannotMultiply) {
  Start();
  const Worker worker = StartWorker("multiply");
  EXPECT_THAT(PeekAtLeast(worker.report.get(), 13), HasSubstr("verb unpack\n"));
  EXPECT_TRUE(Eventually([&] { return PeekAtLeast(worker.report.get(), 13).find("made ") != std::string::npos; }));
  EXPECT_THAT(Descendants().size(), ::testing::Le(8U));
  ASSERT_TRUE(client->DiscardWorker(worker.handle));
  WaitForEmptyTmp();
  EXPECT_THAT(Descendants(), IsEmpty());
}

TEST_F(LauncherStoreTest, VerifyAndExportSeeNothingThatTheyCouldWrite) {
  Start();
  std::string path;
  const LayerName layer = MakeLayer(2, path);
  for (const WorkerVerb verb : {WorkerVerb::kVerify, WorkerVerb::kExport}) {
    const Worker worker = StartWorker("layers", verb, std::span(&layer, 1));
    EXPECT_EQ(events.WaitForWorker(worker.handle).wait_status, 0);
    const std::string report = ReadToEnd(worker.report.get());
    EXPECT_THAT(report, HasSubstr(verb == WorkerVerb::kVerify ? "verb verify\n" : "verb export\n"));
    EXPECT_THAT(report, HasSubstr("write -" + std::to_string(EROFS)));
    EXPECT_THAT(report, HasSubstr("out -" + std::to_string(EROFS)));
    ASSERT_TRUE(client->DiscardWorker(worker.handle));
  }
  WaitForEmptyTmp();
}

TEST_F(LauncherStoreTest, ALayerThatAWorkerReadsCannotBeRemoved) {
  Start();
  std::string path;
  const LayerName layer = MakeLayer(2, path);
  const Worker worker = StartWorker("hang", WorkerVerb::kExport, std::span(&layer, 1));
  EXPECT_EQ(CodeOf(client->RemoveLayer(layer)), ErrorCode::kConflict);
  ASSERT_TRUE(client->KillWorker(worker.handle));
  events.WaitForWorker(worker.handle);
  EXPECT_TRUE(client->RemoveLayer(layer));
  ASSERT_TRUE(client->DiscardWorker(worker.handle));
  WaitForEmptyTmp();
}

// A layer of many files is quickly sent and slowly deleted: nobody else waits for that.
TEST_F(LauncherStoreTest, RemovalsHoldUpNeitherCommitsNorLaunches) {
  Start();
  std::vector<LayerName> doomed;
  for (int i = 0; i < 300; ++i) {
    LayerName name = Name(0xee);
    name.bytes[1] = static_cast<uint8_t>(i);
    name.bytes[2] = static_cast<uint8_t>(i >> 8);
    doomed.push_back(name);
    const std::string path = layers() + "/" + name.hex();
    fs::create_directory(path);
    for (int file = 0; file < 30; ++file) std::ofstream(path + "/" + std::to_string(file)) << "x";
  }
  const WorkerHandle worker = Unpacked();
  for (const LayerName& name : doomed) ASSERT_TRUE(client->RemoveLayer(name));
  EXPECT_TRUE(client->CommitLayer(worker, Name(1), {}));
  const Result<Launched> launched = client->Launch(OpenBusybox(), Shell("true"), -1);
  ASSERT_TRUE(launched);
  events.WaitForExit(launched->handle);
  WaitForEmptyTmp();
}

TEST_F(LauncherStoreTest, AWorkerIsKilledAtItsDeadline) {
  Start({.worker_deadline = std::chrono::milliseconds(200)});
  const Worker worker = StartWorker("hang");
  const WorkerExit exit = events.WaitForWorker(worker.handle);
  EXPECT_TRUE(exit.timed_out);
  EXPECT_EQ(exit.wait_status, 128 + SIGKILL);
}

TEST_F(LauncherStoreTest, DiscardingARunningWorkerEndsItAndItsDirectory) {
  Start();
  const Worker worker = StartWorker("hang");
  EXPECT_EQ(PeekAtLeast(worker.report.get(), 1), "verb unpack\n");
  EXPECT_EQ(NamesIn(tmp()).size(), 1U);
  ASSERT_TRUE(client->DiscardWorker(worker.handle));
  WaitForEmptyTmp();
  EXPECT_EQ(ReadToEnd(worker.report.get()), "verb unpack\n");
}

TEST_F(LauncherStoreTest, AMergeSeesItsLayersReadOnlyAndCannotChangeThat) {
  Start();
  std::string top, below;
  const LayerName layers_top_first[] = {MakeLayer(2, top), MakeLayer(3, below)};
  std::ofstream(top + "/topmost") << "x";
  const Worker worker = StartWorker("layers", WorkerVerb::kMerge, layers_top_first);
  EXPECT_EQ(events.WaitForWorker(worker.handle).wait_status, 0);
  const std::string report = ReadToEnd(worker.report.get());
  EXPECT_THAT(report, HasSubstr("verb merge\n"));
  EXPECT_THAT(report, ::testing::AnyOf(HasSubstr("layers 0 1 \n"), HasSubstr("layers 1 0 \n")));
  EXPECT_THAT(report, HasSubstr("first topmost \n"));
  EXPECT_THAT(report, HasSubstr("write -" + std::to_string(EROFS)));
  EXPECT_THAT(report, HasSubstr("remount -" + std::to_string(EPERM)));
  EXPECT_THAT(report, HasSubstr("unmount -" + std::to_string(EINVAL)));
}

TEST_F(LauncherStoreTest, ALayerInUseCannotBeRemoved) {
  Start();
  const LayerName layer = Busybox();
  const RootfsHandle rootfs = *client->OpenRootfs(std::span(&layer, 1));
  EXPECT_EQ(CodeOf(client->RemoveLayer(layer)), ErrorCode::kConflict);
  EXPECT_TRUE((*client->ListLayers())[0].in_use);
  const Result<Launched> launched = client->Launch(rootfs, Shell("sleep 100"), -1);
  ASSERT_TRUE(launched);
  ASSERT_TRUE(client->CloseRootfs(rootfs));
  EXPECT_EQ(CodeOf(client->RemoveLayer(layer)), ErrorCode::kConflict);  // the sandbox holds it
  ASSERT_TRUE(client->Kill(launched->handle));
  events.WaitForExit(launched->handle);
  EXPECT_TRUE(Eventually([&] { return client->RemoveLayer(layer).has_value(); }));
  EXPECT_THAT(NamesIn(layers()), IsEmpty());
  EXPECT_EQ(CodeOf(client->RemoveLayer(layer)), ErrorCode::kNotFound);
  WaitForEmptyTmp();
}

TEST_F(LauncherStoreTest, ARemovalWorkerGetsALayerThatHasLeftTheStore) {
  Start();
  std::string path;
  const LayerName layer = MakeLayer(4, path);
  std::ofstream(path + "/file") << "x";
  const Worker worker = StartWorker("look", WorkerVerb::kRemove, std::span(&layer, 1));
  EXPECT_EQ(events.WaitForWorker(worker.handle).wait_status, 0);
  EXPECT_THAT(ReadToEnd(worker.report.get()), HasSubstr("verb remove\n"));
  EXPECT_THAT(NamesIn(layers()), IsEmpty());
  ASSERT_TRUE(client->DiscardWorker(worker.handle));
  WaitForEmptyTmp();
}

TEST_F(LauncherStoreTest, ATreeOfAnyDepthAndShapeIsRemoved) {
  std::string path;
  const LayerName layer = MakeLayer(5, path);
  Fd at(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int depth = 0; depth < 3000; ++depth) {
    ASSERT_EQ(::mkdirat(at.get(), "d", 0), 0);
    ASSERT_EQ(::symlinkat("/etc", at.get(), "link"), 0);
    at = Fd(::openat(at.get(), "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  at.reset();
  const std::string outside = data_dir_ + "/canary";
  std::ofstream(outside) << "x";
  fs::create_symlink(data_dir_, path + "/up");
  Start();
  const Result<void> removed = client->RemoveLayer(layer);
  ASSERT_TRUE(removed) << removed.error().message;
  WaitForEmptyTmp();
  EXPECT_TRUE(fs::exists(outside));
}

TEST_F(LauncherStoreTest, LeftoversInTmpAreSweptAtTheStartAndForeignNamesInLayersKept) {
  fs::create_directories(tmp() + "/0badcafe-1/sub");
  std::ofstream(tmp() + "/0badcafe-1/sub/file") << "x";
  std::ofstream(tmp() + "/file") << "x";
  std::ofstream(layers() + "/README") << "not a layer";
  Start();
  WaitForEmptyTmp();
  EXPECT_THAT(NamesIn(layers()), ElementsAre("README"));
  EXPECT_THAT(*client->ListLayers(), IsEmpty());
}

TEST_F(LauncherStoreTest, AJanitorThatDiesIsReplacedAndItsWorkDone) {
  Start();
  const WorkerHandle worker = Unpacked();
  std::ifstream children("/proc/" + std::to_string(launcher()) + "/task/" + std::to_string(launcher()) + "/children");
  for (pid_t child; children >> child;) ASSERT_EQ(::kill(child, SIGKILL), 0);
  const Result<void> committed = client->CommitLayer(worker, Name(1), {});
  EXPECT_TRUE(committed) << committed.error().message;
  EXPECT_THAT(NamesIn(layers()), ElementsAre(Name(1).hex()));
  const Result<Launched> launched = client->Launch(OpenBusybox(), Shell("true"), -1);
  ASSERT_TRUE(launched);
  events.WaitForExit(launched->handle);
}

TEST_F(LauncherStoreTest, WorkersEndWithTheirService) {
  Start();
  const Worker worker = StartWorker("hang");
  EXPECT_EQ(PeekAtLeast(worker.report.get(), 1), "verb unpack\n");
  EXPECT_EQ(Descendants().size(), 1U);
  End();
  EXPECT_THAT(NamesIn(tmp()).size(), ::testing::Le(1U));  // at the latest the next start's sweep takes it
  EXPECT_EQ(ReadToEnd(worker.report.get()), "verb unpack\n");
}

}  // namespace
}  // namespace caisson::sandbox
