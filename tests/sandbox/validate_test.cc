// SPDX-License-Identifier: Apache-2.0
#include "sandbox/validate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace caisson::sandbox {
namespace {

SandboxSpec Valid() {
  SandboxSpec spec;
  spec.id = "0123456789abcdef01234567";
  spec.argv = {"true"};
  spec.env = {"PATH=/bin"};
  return spec;
}

std::string DirectoryOfDepth(size_t depth) {
  std::string path;
  for (size_t i = 0; i < depth; ++i) path += "//a";
  return path + "/";
}

struct Case {
  const char* what;
  std::function<void(SandboxSpec&)> change;
  bool valid;
};

TEST(ValidateSpecTest, EachFieldAtAndOverItsLimits) {
  const Case cases[] = {
      {"as it is", [](SandboxSpec&) {}, true},
      {"id empty", [](SandboxSpec& s) { s.id = ""; }, false},
      {"id of 63", [](SandboxSpec& s) { s.id = std::string(63, 'a'); }, true},
      {"id of 64", [](SandboxSpec& s) { s.id = std::string(64, 'a'); }, false},
      {"id upper case", [](SandboxSpec& s) { s.id = "A"; }, false},
      {"id with a slash", [](SandboxSpec& s) { s.id = "a/b"; }, false},
      {"id with a dot", [](SandboxSpec& s) { s.id = ".."; }, false},
      {"id with a newline", [](SandboxSpec& s) { s.id = "a\nb"; }, false},
      {"id beginning with a hyphen", [](SandboxSpec& s) { s.id = "-a"; }, false},
      {"id ending with a hyphen", [](SandboxSpec& s) { s.id = "a-"; }, false},
      {"no argument", [](SandboxSpec& s) { s.argv = {}; }, false},
      {"empty command", [](SandboxSpec& s) { s.argv = {""}; }, false},
      {"empty second argument",
       [](SandboxSpec& s) {
         s.argv = {"a", ""};
       },
       true},
      {"NUL in an argument",
       [](SandboxSpec& s) {
         s.argv = {"a", std::string("b\0c", 3)};
       },
       false},
      {"argument at the limit",
       [](SandboxSpec& s) {
         s.argv = {"a", std::string(kMaxStringBytes - 1, 'x')};
       },
       true},
      {"argument over the limit",
       [](SandboxSpec& s) {
         s.argv = {"a", std::string(kMaxStringBytes, 'x')};
       },
       false},
      {"all arguments over the limit",
       [](SandboxSpec& s) { s.argv = std::vector<std::string>(9, std::string(kMaxStringBytes - 1, 'x')); }, false},
      {"many small arguments", [](SandboxSpec& s) { s.argv = std::vector<std::string>(100'000, "x"); }, true},
      {"too many small arguments", [](SandboxSpec& s) { s.argv = std::vector<std::string>(110'000, "x"); }, false},
      {"variable without =", [](SandboxSpec& s) { s.env = {"PATH"}; }, false},
      {"variable without name", [](SandboxSpec& s) { s.env = {"=x"}; }, false},
      {"variable beginning with a digit", [](SandboxSpec& s) { s.env = {"1A=x"}; }, false},
      {"variable with a hyphen", [](SandboxSpec& s) { s.env = {"A-B=x"}; }, false},
      {"variable with NUL", [](SandboxSpec& s) { s.env = {std::string("A=\0", 3)}; }, false},
      {"variable with newline in its value", [](SandboxSpec& s) { s.env = {"_a1=x\ny=z"}; }, true},
      {"relative directory", [](SandboxSpec& s) { s.working_dir = "a"; }, false},
      {"empty directory", [](SandboxSpec& s) { s.working_dir = ""; }, false},
      {"directory with ..", [](SandboxSpec& s) { s.working_dir = "/a/../b"; }, false},
      {"directory ending with ..", [](SandboxSpec& s) { s.working_dir = "/a/.."; }, false},
      {"directory with dots", [](SandboxSpec& s) { s.working_dir = "/..a/b..c/..."; }, true},
      {"directory at the limit", [](SandboxSpec& s) { s.working_dir = "/" + std::string(kMaxPathBytes - 1, 'x'); },
       true},
      {"directory over the limit", [](SandboxSpec& s) { s.working_dir = "/" + std::string(kMaxPathBytes, 'x'); },
       false},
      {"deepest directory", [](SandboxSpec& s) { s.working_dir = DirectoryOfDepth(kMaxWorkingDirectoryDepth); }, true},
      {"directory too deep", [](SandboxSpec& s) { s.working_dir = DirectoryOfDepth(kMaxWorkingDirectoryDepth + 1); },
       false},
      {"directory of many slashes", [](SandboxSpec& s) { s.working_dir = std::string(200, '/') + "a"; }, true},
      {"directory with NUL", [](SandboxSpec& s) { s.working_dir = std::string("/a\0b", 4); }, false},
      {"greatest uid", [](SandboxSpec& s) { s.uid = kMaxId; }, true},
      {"uid too great", [](SandboxSpec& s) { s.uid = kMaxId + 1; }, false},
      {"uid -1", [](SandboxSpec& s) { s.uid = ~0U; }, false},
      {"gid too great", [](SandboxSpec& s) { s.gid = kMaxId + 1; }, false},
      {"32 groups", [](SandboxSpec& s) { s.groups.assign(kMaxGroups, 5); }, true},
      {"33 groups", [](SandboxSpec& s) { s.groups.assign(kMaxGroups + 1, 5); }, false},
      {"group too great", [](SandboxSpec& s) { s.groups = {kMaxId + 1}; }, false},
      {"stop signal 0", [](SandboxSpec& s) { s.stop_signal = 0; }, false},
      {"stop signal 64", [](SandboxSpec& s) { s.stop_signal = 64; }, true},
      {"stop signal 65", [](SandboxSpec& s) { s.stop_signal = 65; }, false},
      {"cpu below", [](SandboxSpec& s) { s.limits.cpu_millis = kMinCpuMillis - 1; }, false},
      {"cpu above", [](SandboxSpec& s) { s.limits.cpu_millis = kMaxCpuMillis + 1; }, false},
      {"memory below", [](SandboxSpec& s) { s.limits.memory_bytes = kMinMemoryBytes - 1; }, false},
      {"least memory",
       [](SandboxSpec& s) {
         s.limits.memory_bytes = kMinMemoryBytes;
         s.limits.disk_bytes = kMinMemoryBytes;
       },
       true},
      {"memory above", [](SandboxSpec& s) { s.limits.memory_bytes = kMaxMemoryBytes + 1; }, false},
      {"no process", [](SandboxSpec& s) { s.limits.pids = 0; }, false},
      {"too many processes", [](SandboxSpec& s) { s.limits.pids = kMaxPids + 1; }, false},
      {"disk above memory", [](SandboxSpec& s) { s.limits.disk_bytes = s.limits.memory_bytes + 1; }, false},
      {"disk below", [](SandboxSpec& s) { s.limits.disk_bytes = kMinDiskBytes - 1; }, false},
      {"negative time", [](SandboxSpec& s) { s.timeout = std::chrono::milliseconds(-1); }, false},
      {"mode too great", [](SandboxSpec& s) { s.mount_points[3].mode = 010000; }, false},
      {"mount point's owner too great", [](SandboxSpec& s) { s.mount_points[0].uid = kMaxId + 1; }, false},
  };
  for (const Case& one : cases) {
    SandboxSpec spec = Valid();
    one.change(spec);
    const Result<void> checked = ValidateSpec(spec);
    EXPECT_EQ(checked.has_value(), one.valid) << one.what << (checked ? "" : ": " + checked.error().message);
    if (!checked) {
      EXPECT_EQ(checked.error().code, ErrorCode::kInvalid) << one.what;
    }
  }
}

TEST(ValidateSpecTest, HostileNamesAreEscapedInItsMessages) {
  SandboxSpec spec = Valid();
  spec.env = {"\x1b]0;evil\x07=x"};
  const Result<void> checked = ValidateSpec(spec);
  ASSERT_FALSE(checked.has_value());
  EXPECT_THAT(checked.error().message, testing::Not(testing::HasSubstr("\x1b")));
}

TEST(SpecTest, MountPointsHavePathsAndUsualAttributes) {
  EXPECT_STREQ(MountPointPath(MountPoint::kRoot), "");
  EXPECT_STREQ(MountPointPath(MountPoint::kTmp), "tmp");
  EXPECT_STREQ(MountPointPath(MountPoint::kEtc), "etc");
  const MountPointAttributes attributes = DefaultMountPointAttributes();
  EXPECT_EQ(attributes[static_cast<size_t>(MountPoint::kTmp)].mode, 01777U);
  EXPECT_EQ(attributes[static_cast<size_t>(MountPoint::kRoot)].mode, 0755U);
}

}  // namespace
}  // namespace caisson::sandbox
