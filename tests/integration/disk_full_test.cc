// SPDX-License-Identifier: Apache-2.0
// The data directory on a small file system of its own (ext4 on a loop device): images that do not fit are refused in
// clear words, leave nothing, and harm nobody.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <random>

#include "tests/integration/daemon.h"
#include "tests/integration/host_state.h"

namespace caisson::integration {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kDiskSize[] = "160M";
constexpr uint64_t kImageBytes = 200 << 20;  // does not fit
constexpr uint64_t kFloorBytes = 16 << 20;

// An ext4 file system in a file, mounted at `target` as long as this lives.
class SmallDisk {
 public:
  explicit SmallDisk(const std::string& target) : target_(target) {
    const std::string file = directory_.path() + "/disk";
    const Finished made = RunProgram({"mkfs.ext4", "-q", "-F", "-O", "^has_journal", file, kDiskSize});
    EXPECT_EQ(made.status, 0) << made.err;
    RunProgram({"mkdir", "-p", target_});
    const Finished mounted = RunProgram({"mount", "-o", "loop", file, target_});
    EXPECT_EQ(mounted.status, 0) << mounted.err;
  }
  ~SmallDisk() { EXPECT_EQ(umount2(target_.c_str(), MNT_DETACH), 0); }
  uint64_t free_bytes() const {
    struct statvfs info {};
    EXPECT_EQ(statvfs(target_.c_str(), &info), 0);
    return info.f_bavail * info.f_frsize;
  }

 private:
  TemporaryDirectory directory_;
  const std::string target_;
};

class DiskFullTest : public testing::Test {
 protected:
  DiskFullTest()
      : daemon_(fmt::format("min_free_bytes = {}\n[registries.\"{}\"]\nplain_http = true\n", kFloorBytes,
                            registry_.address()),
                {.start = false}),
        disk_(daemon_.data_dir()) {
    registry_.PushBusybox();
    daemon_.Start();
  }
  ~DiskFullTest() override { daemon_.Stop(); }

  // An image with a file of this size: of zeros, so that only the unpacking shows that it does not fit, or of noise.
  std::string PushLarge(const std::string& name, uint64_t bytes, bool noise) {
    const TemporaryDirectory root;
    std::string contents(bytes, '\0');
    std::mt19937 random(1);
    for (size_t i = 0; noise && i < contents.size(); i += 4) {
      const uint32_t word = random();
      contents.replace(i, 4, reinterpret_cast<const char*>(&word), 4);
    }
    WriteFile(root.path() + "/large", contents);
    std::vector<std::string> options = {"--add", root.path()};
    if (noise) options.emplace_back("--uncompressed");
    registry_.Push(name, options);
    return registry_.Name(name);
  }
  void ExpectRefusedAndNothingLeft(const std::string& image) {
    const std::string other = daemon_.Submit(
        fmt::format(R"({{"image":"{}","command":["sh","-c","echo went on"]}})", registry_.Name("busybox:1")));
    EXPECT_EQ(daemon_.WaitFinal(other).StringOr("state", ""), "succeeded");
    const uint64_t before = disk_.free_bytes();
    const Finished pull = daemon_.Caisson({"image", "pull", image});
    EXPECT_NE(pull.status, 0) << pull.out;
    EXPECT_THAT(pull.err, HasSubstr("disk"));
    EXPECT_THAT(pull.err, HasSubstr("free"));
    // Nothing of it stays, and the floor was never touched for long.
    EXPECT_TRUE(WaitUntil([&] { return ListDirectory(daemon_.data_dir() + "/tmp").empty(); }));
    EXPECT_THAT(ListDirectory(daemon_.data_dir() + "/service/partial"), IsEmpty());
    EXPECT_TRUE(WaitUntil([&] { return disk_.free_bytes() + (4 << 20) > before; }))
        << before << " " << disk_.free_bytes();
    // The next image that fits comes and runs.
    const Finished smaller = daemon_.Caisson({"run", small_, "--", "sh", "-c", "wc -c </large"});
    EXPECT_EQ(smaller.out, fmt::format("{}\n", 20 << 20)) << smaller.err;
  }

  Registry registry_;
  Daemon daemon_;
  SmallDisk disk_;
  const std::string small_ = PushLarge("small:1", 20 << 20, true);
};

TEST_F(DiskFullTest, AnImageThatCannotFitIsRefusedBeforeItIsFetched) {
  const std::string image = PushLarge("noise:1", kImageBytes, true);
  registry_.TakeRequests();
  ExpectRefusedAndNothingLeft(image);
  const std::vector<std::string> requests = registry_.TakeRequests();
  const auto blobs = std::count_if(requests.begin(), requests.end(), [](const std::string& request) {
    return request.starts_with("GET ") && request.find("/noise/blobs/") != std::string::npos;
  });
  EXPECT_LE(blobs, 1) << testing::PrintToString(requests);  // its config
}

TEST_F(DiskFullTest, AnImageThatSwellsOverTheDiskIsRefusedInTheMiddle) {
  ExpectRefusedAndNothingLeft(PushLarge("zeros:1", kImageBytes, false));
}

TEST_F(DiskFullTest, AJobThatNeedsItFailsInClearWordsAndOthersRunOn) {
  const std::string image = PushLarge("zeros:1", kImageBytes, false);
  const std::string running = daemon_.Submit(fmt::format(
      R"({{"image":"{}","command":["sh","-c","while [ ! -e /tmp/end ]; do usleep 100000; i=$((i+1)); [ $i -lt 20 ] || break; done; echo whole"]}})",
      registry_.Name("busybox:1")));
  ASSERT_TRUE(daemon_.WaitState(running, "running"));
  const Finished job = daemon_.Caisson({"run", image, "--", "true"});
  EXPECT_NE(job.status, 0);
  EXPECT_THAT(job.err, HasSubstr("disk"));
  EXPECT_EQ(daemon_.WaitFinal(running).StringOr("state", ""), "succeeded");
  EXPECT_EQ(daemon_.Caisson({"logs", running}).out, "whole\n");
}

}  // namespace
}  // namespace caisson::integration
