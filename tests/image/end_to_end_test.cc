// SPDX-License-Identifier: Apache-2.0
// Images made by umoci, pushed by skopeo, served by docker-registry, pulled through the real worker, and mounted by the
// kernel: the tree must be the one that umoci unpacks.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/io.h"
#include "image/image_store.h"
#include "tests/image/registry_server.h"
#include "tests/image/temporary.h"
#include "tests/image/worker_store.h"

namespace caisson::image {
namespace {

using testing::IsEmpty;

void WriteText(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
}

class EndToEndTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    if (!RegistryServer::Available() || RunProgram({"umoci", "--version"}) != 0 ||
        RunProgram({"skopeo", "--version"}) != 0)
      GTEST_SKIP() << "needs docker-registry, umoci and skopeo";
    registry_ = std::make_unique<RegistryServer>();
    worker_store_ = std::make_unique<WorkerStore>(directory_.path() + "/data");
    Reopen();
  }

  void Reopen() {
    ImageStoreOptions options{.directory = directory_.path() + "/service", .store = worker_store_.get()};
    options.registries[registry_->address()] = {.plain_http = true};
    store_ = *OpenImageStore(options);
  }

  std::string layout() const { return directory_.path() + "/layout"; }
  std::string bundle() const { return directory_.path() + "/bundle"; }
  std::string rootfs(const std::string& path) const { return bundle() + "/rootfs/" + path; }

  void Umoci(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "umoci");
    const std::string log = directory_.path() + "/umoci.log";
    ASSERT_EQ(RunProgram(arguments, log), 0) << *ReadFile(log, 1 << 20);
  }
  void NewImage() {
    Umoci({"init", "--layout", layout()});
    Umoci({"new", "--image", layout() + ":1"});
    Umoci({"unpack", "--image", layout() + ":1", bundle()});
  }
  // What was changed in the bundle becomes a further layer.
  void AddLayer() { Umoci({"repack", "--refresh-bundle", "--image", layout() + ":1", bundle()}); }

  // The image that the registry has under NAME:TAG, pulled.
  ImageRecord Pull(const std::string& name_and_tag, bool may_use_cached = false) {
    const Result<ResolvedReference> resolved =
        store_->Resolve(registry_->address() + "/" + name_and_tag, PullPolicy::kAlways, {});
    if (!resolved) ADD_FAILURE() << resolved.error().message;
    Result<ImageRecord> record = store_->Pull(*resolved, may_use_cached, {});
    if (!record) ADD_FAILURE() << record.error().message;
    return record ? *record : ImageRecord{};
  }

  void ExpectSameTreeAsUmoci(const ImageRecord& record) {
    const std::string fresh = directory_.path() + "/fresh", target = directory_.path() + "/merged";
    Umoci({"unpack", "--image", layout() + ":1", fresh});
    std::filesystem::create_directory(target);
    const Result<void> mounted = MountOverlay(*worker_store_, record.rootfs, target);
    ASSERT_TRUE(mounted) << mounted.error().message;
    auto expected = DescribeTree(fresh + "/rootfs"), actual = DescribeTree(target);
    expected.erase("");  // the launcher makes the root's attributes from the record
    actual.erase("");
    EXPECT_EQ(CompareTrees(expected, actual), "");
    UnmountOverlay(target);
  }

  TemporaryDirectory directory_;
  std::unique_ptr<RegistryServer> registry_;
  std::unique_ptr<WorkerStore> worker_store_;
  std::unique_ptr<ImageStore> store_;
};

TEST_F(EndToEndTest, ThreeLayersWithWhiteoutsLinksAndOwnersMountAsTheyShould) {
  NewImage();
  std::filesystem::create_directories(rootfs("etc"));
  std::filesystem::create_directories(rootfs("usr/share/doc"));
  std::filesystem::create_directories(rootfs("tmp"));
  ASSERT_EQ(::chmod(rootfs("tmp").c_str(), 01777), 0);
  WriteText(rootfs("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/var/www:/bin/sh\n");
  WriteText(rootfs("etc/group"), "root:x:0:\nweb:x:33:\n");
  WriteText(rootfs("usr/share/doc/one"), std::string(100000, 'x'));
  WriteText(rootfs("usr/share/doc/two"), "two");
  std::filesystem::create_hard_link(rootfs("usr/share/doc/two"), rootfs("usr/share/doc/three"));
  std::filesystem::create_symlink("/usr/share/doc", rootfs("doc"));
  ASSERT_EQ(::chown(rootfs("usr/share/doc/one").c_str(), 33, 1234), 0);
  ASSERT_EQ(::chmod(rootfs("usr/share/doc/one").c_str(), 04750), 0);
  AddLayer();
  std::filesystem::remove(rootfs("usr/share/doc/two"));
  std::filesystem::remove(rootfs("usr/share/doc/three"));
  WriteText(rootfs("etc/new"), "new");
  AddLayer();
  std::filesystem::remove_all(rootfs("usr/share/doc"));
  std::filesystem::create_directories(rootfs("usr/share/doc"));
  WriteText(rootfs("usr/share/doc/only"), "only");
  AddLayer();
  registry_->Push(layout() + ":1", "test/image:1");
  const ImageRecord record = Pull("test/image:1");
  EXPECT_EQ(record.layers.size(), 3u);
  EXPECT_EQ(record.directories.at("tmp").mode, 01777u);
  EXPECT_EQ(record.passwd, "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/var/www:/bin/sh\n");
  ExpectSameTreeAsUmoci(record);
  EXPECT_THAT(worker_store_->TemporaryNames(), IsEmpty());
}

TEST_F(EndToEndTest, SecondPullAsksForNoBlobUnderAnotherTagEither) {
  NewImage();
  WriteText(rootfs("file"), "content");
  AddLayer();
  registry_->Push(layout() + ":1", "test/image:1");
  registry_->Push(layout() + ":1", "test/image:2");
  const ImageRecord first = Pull("test/image:1");
  const int blobs = registry_->CountRequests("GET /v2/test/image/blobs");
  EXPECT_EQ(blobs, 2);  // config and layer
  const int workers = worker_store_->started();
  EXPECT_EQ(Pull("test/image:1").manifest, first.manifest);
  EXPECT_EQ(Pull("test/image:2").manifest, first.manifest);
  Reopen();
  EXPECT_EQ(Pull("test/image:2", true).rootfs, first.rootfs);
  EXPECT_EQ(registry_->CountRequests("GET /v2/test/image/blobs"), blobs);
  EXPECT_EQ(worker_store_->started(), workers);
}

}  // namespace
}  // namespace caisson::image
