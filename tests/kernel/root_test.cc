// SPDX-License-Identifier: Apache-2.0
// What a job sees as its root: layers, our mount points over hostile ones, the mount table, the working directory,
// the payload, the scratch limit. Both ways of assembling the overlay.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <sstream>

#include "base/io.h"
#include "tests/kernel/sandbox_host.h"

namespace caisson::sandbox {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Kind = ExitReport::Kind;

// The way that the launcher has chosen on this kernel, and the one that works on all.
enum class Assembly { kChosen, kAttached };

class RootTest : public testing::TestWithParam<Assembly> {
 protected:
  void SetUp() override {
    before_ = host_.environment().overlay;
    if (GetParam() == Assembly::kAttached) {
      const Result<OverlayMethod> method = FindOverlayMethod(OverlayAssembly::kAttached);
      ASSERT_TRUE(method.has_value()) << method.error().message;
      host_.environment().overlay = *method;
    }
    footprint_ = host_.Measure();
  }
  void TearDown() override {
    EXPECT_EQ(host_.Measure(), footprint_);
    host_.environment().overlay = before_;
  }

  std::string Output(std::string_view script, const std::vector<int>& layers = {}) {
    const RunResult result = host_.Run(host_.Shell(script), layers);
    return result.report.kind == Kind::kSetupFailed ? result.err : result.out;
  }

  SandboxHost& host_ = SandboxHost::Get();
  OverlayMethod before_;
  Footprint footprint_;
};

INSTANTIATE_TEST_SUITE_P(Assemblies, RootTest, testing::Values(Assembly::kChosen, Assembly::kAttached),
                         [](const auto& way) { return way.param == Assembly::kAttached ? "Attached" : "Chosen"; });

TEST_P(RootTest, UpperLayersHideLowerOnes) {
  const Layer lower = host_.MakeLayer();
  const Layer upper = host_.MakeLayer();
  lower.File("a", "lower");
  lower.File("b", "lower");
  upper.File("b", "upper");
  EXPECT_EQ(Output("cat /a /b", {upper.directory(), lower.directory()}), "lowerupper");
}

TEST_P(RootTest, ManyLayersAreMerged) {
  std::vector<Layer> layers;
  std::vector<int> descriptors;
  for (size_t i = 0; i < kMaxLayers - 1; ++i) {
    layers.push_back(host_.MakeLayer());
    layers.back().File(fmt::format("file-{}", i), "x");
    descriptors.push_back(layers.back().directory());
  }
  EXPECT_EQ(Output("ls -d /file-* | wc -l", descriptors), fmt::format("{}\n", kMaxLayers - 1));
}

TEST_P(RootTest, OwnersAreTheImages) {
  const Layer layer = host_.MakeLayer();
  layer.File("theirs", "x", 0644, 1234);
  layer.File("nobodys", "x", 0644, 65534);
  EXPECT_EQ(Output("stat -c '%u %g %n' /theirs /nobodys /bin; touch /new; stat -c '%u' /new; echo y >> /theirs; stat "
                   "-c %u /theirs",
                   {layer.directory()}),
            "1234 1234 /theirs\n65534 65534 /nobodys\n0 0 /bin\n0\n1234\n");
  struct stat info {};
  ASSERT_EQ(::fstatat(layer.directory(), "theirs", &info, 0), 0);
  EXPECT_EQ(info.st_uid, 1234U);
  EXPECT_EQ(info.st_size, 1);  // the job's write went to its own copy
}

TEST_P(RootTest, WhatAJobWritesIsStoredWithItsOwnRangeOfIds) {
  SandboxSpec spec = host_.Shell("touch /new; chmod 4755 /new; cat /proc/self/uid_map");
  Result<Sandbox> sandbox = host_.Launch(spec);
  ASSERT_TRUE(sandbox.has_value()) << sandbox.error().message;
  struct stat info {};
  const RunResult result = host_.Finish(*std::move(sandbox), {}, [&](const Remains& remains) {
    EXPECT_EQ(::fstatat(remains.upper.get(), "u/new", &info, 0), 0);
  });
  std::istringstream map(result.out);
  uint64_t zero = 1, base = 0;
  map >> zero >> base;
  EXPECT_EQ(info.st_uid, base);
  EXPECT_GE(info.st_uid, 0x70000000U);
}

TEST_P(RootTest, TheNextJobFindsTheImageUntouched) {
  const Layer layer = host_.MakeLayer();
  layer.File("data", "original");
  EXPECT_EQ(Output("echo changed > /data; rm /bin/cat; rm /etc/hosts; echo z > /etc/hostname; cat /data; [ -e /bin/cat "
                   "] || echo gone",
                   {layer.directory()}),
            "changed\ngone\n");
  EXPECT_THAT(Output("/bin/cat /data; cat /etc/hosts; cat /etc/hostname", {layer.directory()}),
              AllOf(HasSubstr("original"), HasSubstr("localhost"), HasSubstr("job-of-a-test")));
}

TEST_P(RootTest, MountTableHasNoPathOfTheHost) {
  const std::string table = Output("cat /proc/self/mountinfo");
  for (const char* word : {"layer-", "caisson", "scratch", "/data", "/var", "/sys/fs", "sysfs"}) {
    EXPECT_THAT(table, Not(HasSubstr(word)));
  }
  EXPECT_THAT(table, AllOf(HasSubstr(" / / rw,nosuid,nodev"), HasSubstr("redirect_dir=nofollow")));
}

TEST_P(RootTest, MountPointsHaveTheGivenAttributes) {
  SandboxSpec spec = host_.Shell("stat -c '%a %u %g %n' / /run /etc");
  spec.mount_points[static_cast<size_t>(MountPoint::kRoot)] = {0711, 7, 8};
  spec.mount_points[static_cast<size_t>(MountPoint::kRun)] = {01777, 0, 5};
  spec.mount_points[static_cast<size_t>(MountPoint::kEtc)] = {02750, 9, 65534};
  EXPECT_EQ(host_.Run(spec).out, "711 7 8 /\n1777 0 5 /run\n2750 9 65534 /etc\n");
  EXPECT_EQ(Output("stat -c '%a %u %g %n' / /tmp /run /etc /dev/shm /sys"),
            "755 0 0 /\n1777 0 0 /tmp\n755 0 0 /run\n755 0 0 /etc\n1777 0 0 /dev/shm\n555 0 0 /sys\n");
}

// An image whose directories of our mount points are something else, whose links lead to what the launcher has.
void PlantHostile(const Layer& layer, int kind, const std::string& target) {
  for (const char* name : {"dev", "proc", "sys", "tmp", "run", "etc"}) {
    switch (kind) {
      case 0: layer.Link(name, target); break;
      case 1: layer.Link(name, std::string("/") + name); break;  // a loop
      case 2: layer.File(name, "a file"); break;
      case 3: layer.Fifo(name); break;
      case 4: layer.Directory(name, 0700, 1000); break;
    }
  }
}

TEST_P(RootTest, HostileMountPointsAreHiddenAndTheirTargetsUntouched) {
  const int data = host_.environment().root.data_dir.get();
  (void)::mkdirat(data, "canary", 0777);
  const Fd canary = *OpenAt(data, "canary", O_RDONLY | O_DIRECTORY);
  for (const char* target :
       {"/data/canary", "../../../../data/canary", "/", "/job", "/proc/1/root", "/proc/self/fd/3"}) {
    for (int kind = 0; kind < 5; ++kind) {
      const Layer layer = host_.MakeLayer();
      PlantHostile(layer, kind, target);
      EXPECT_EQ(
          Output("[ -c /dev/null ] && [ -d /proc/self ] && [ -f /etc/hosts ] && [ -d /run/caisson ] && touch /tmp/x "
                 "&& ls -A /sys | wc -l; for d in dev proc sys tmp run etc; do [ -L /$d ] && echo link $d; done; true",
                 {layer.directory()}),
          "0\n")
          << target << " " << kind;
    }
  }
  struct stat info {};
  ASSERT_EQ(::fstat(canary.get(), &info), 0);
  EXPECT_EQ(info.st_nlink, 2U);
  EXPECT_EQ(::unlinkat(data, "canary", AT_REMOVEDIR), 0) << "something was made in the canary directory";
}

TEST_P(RootTest, HostileFilesBelowOurDirectoriesAreHidden) {
  const Layer layer = host_.MakeLayer();
  layer.Directory("etc");
  layer.Link("etc/resolv.conf", "/proc/1/root/etc/shadow");
  layer.Fifo("etc/hosts");
  layer.Directory("etc/hostname");
  layer.Directory("run");
  layer.Link("run/caisson", "/data");
  layer.Directory("dev/shm", 0777);
  layer.Link("dev/null", "/etc/passwd");
  layer.File("proc/sysrq-trigger", "fake");
  layer.File("etc/passwd", "root:x:0:0::/:/bin/sh\n");
  EXPECT_EQ(
      Output("[ -f /etc/resolv.conf -a ! -L /etc/resolv.conf -a -f /etc/hosts -a -f /etc/hostname -a -d /run/caisson "
             "-a ! -L /run/caisson -a -c /dev/null -a ! -L /dev/null ] && echo ours; cat /etc/passwd",
             {layer.directory()}),
      "ours\nroot:x:0:0::/:/bin/sh\n");
}

TEST_P(RootTest, WorkingDirectoryOfTheImageIsEntered) {
  const Layer layer = host_.MakeLayer();
  layer.Directory("srv/app", 0750, 1000);
  layer.Directory("real/place");
  layer.Link("link", "/real");
  layer.Link("up", "../../../../real");
  SandboxSpec spec = host_.Shell("pwd");
  spec.uid = spec.gid = 1000;
  for (const auto& [asked, seen] :
       {std::pair{"/srv/app", "/srv/app"}, {"/link/place", "/real/place"}, {"/up", "/real"}, {"/", "/"}}) {
    spec.working_dir = asked;
    EXPECT_EQ(host_.Run(spec, {layer.directory()}).out, std::string(seen) + "\n") << asked;
  }
}

TEST_P(RootTest, MissingWorkingDirectoryIsMadeByTheJobsRoot) {
  const Layer layer = host_.MakeLayer();
  layer.Directory("real");
  layer.Link("link", "../../real");
  SandboxSpec spec = host_.Shell("pwd; stat -c '%a %u %g' .");
  spec.uid = spec.gid = 1000;
  for (const char* path : {"/new/deep/place", "//new//deep//place/", "/link/inside/it"}) {
    spec.working_dir = path;
    const std::string out = host_.Run(spec, {layer.directory()}).out;
    EXPECT_THAT(out, HasSubstr("755 0 0\n")) << path;
    EXPECT_THAT(out, testing::AnyOf(HasSubstr("/new/deep/place\n"), HasSubstr("/real/inside/it\n")));
  }
  struct stat info {};
  EXPECT_NE(::fstatat(layer.directory(), "real/inside", &info, 0), 0);
}

TEST_P(RootTest, ImpossibleWorkingDirectoryIsTheImagesFault) {
  const Layer layer = host_.MakeLayer();
  layer.Directory("closed", 0700, 0);
  layer.File("file", "x");
  layer.Link("loop", "loop");
  layer.Link("dangling", "/nowhere/at/all");
  layer.Link("magic", "/proc/self/cwd");
  layer.Link("fd", "/proc/self/fd/3");
  SandboxSpec spec = host_.Shell("pwd");
  spec.uid = spec.gid = 1000;
  for (const char* path :
       {"/closed", "/file", "/file/below", "/loop", "/dangling", "/dangling/below", "/magic", "/fd", "/proc/self/fd/7",
        "/proc/self/root", "/proc/1/cwd", "/proc/nothing", "/sys/new", "/dev/new"}) {
    spec.working_dir = path;
    std::vector<int> layers = {layer.directory(), host_.busybox().directory()};
    const Result<Sandbox> sandbox = Sandbox::Launch(LaunchRequest{spec, layers, -1}, host_.environment());
    ASSERT_FALSE(sandbox.has_value()) << path;
    EXPECT_EQ(sandbox.error().code, ErrorCode::kInvalid) << path << ": " << sandbox.error().message;
    EXPECT_THAT(sandbox.error().message, HasSubstr("working directory")) << path;
  }
}

TEST_P(RootTest, PayloadComesOnStandardInputAndAsAFile) {
  std::string bytes;
  for (int i = 0; i < 300'000; ++i) bytes.push_back(static_cast<char>(i * 7 + i / 251));
  const Fd payload = *MakeSealedMemfd("payload", bytes);
  const RunResult result = host_.Run(host_.Shell("cat; cat /run/caisson/payload"), {}, payload.get());
  EXPECT_TRUE(result.out == bytes + bytes);
  EXPECT_EQ(::lseek(payload.get(), 0, SEEK_CUR), 300'000);  // where writing left it: the position is not touched
}

TEST_P(RootTest, PayloadFileCannotBeChanged) {
  const Fd payload = *MakeSealedMemfd("payload", "the payload");
  EXPECT_EQ(
      host_
          .Run(host_.Shell(
                   "cd /run/caisson; stat -c %a payload; echo x 2>/dev/null >> payload; chmod 666 payload 2>/dev/null; "
                   "echo x >> /proc/self/fd/0; cat payload; ls /proc/$$/fd; true"),
               {}, payload.get())
          .out,
      "444\nthe payload0\n1\n2\n");
}

TEST_P(RootTest, EmptyPayloadIsAnEmptyFileAndNoPayloadIsNone) {
  const Fd payload = *MakeSealedMemfd("payload", "");
  EXPECT_EQ(host_.Run(host_.Shell("cat | wc -c; stat -c %s /run/caisson/payload"), {}, payload.get()).out, "0\n0\n");
  EXPECT_EQ(Output("cat | wc -c; ls -A /run/caisson; readlink /proc/self/fd/0"), "0\n/dev/null\n");
}

TEST_P(RootTest, PayloadLargerThanTheDiskFailsTheSetUp) {
  const Fd payload = *MakeSealedMemfd("payload", std::string(2 << 20, 'x'));
  SandboxSpec spec = host_.Shell("true");
  spec.limits.disk_bytes = 1 << 20;
  const RunResult result = host_.Run(spec, {}, payload.get());
  EXPECT_EQ(result.report.kind, Kind::kSetupFailed);
  EXPECT_EQ(result.report.step, "copy payload");
  EXPECT_EQ(result.report.status, ENOSPC);
  EXPECT_TRUE(result.report.disk_full);
}

TEST_P(RootTest, FullDiskIsReported) {
  SandboxSpec spec = host_.Shell("");
  spec.limits.disk_bytes = 1 << 20;
  for (const char* script : {"dd if=/dev/zero of=/file bs=64k", "dd if=/dev/zero of=/tmp/file bs=64k",
                             "mkdir /d; i=0; while : > /d/$i; do i=$((i+1)); done; exit 1"}) {
    spec.argv[2] = script;
    const RunResult result = host_.Run(spec);
    EXPECT_EQ(result.report.kind, Kind::kExited) << script;
    EXPECT_EQ(result.report.status, 1) << script;
    EXPECT_TRUE(result.report.disk_full) << script;
    EXPECT_THAT(result.err, HasSubstr("No space left on device"));
  }
  spec.argv[2] = "dd if=/dev/zero of=/file bs=64k count=8";
  EXPECT_FALSE(host_.Run(spec).report.disk_full);
}

TEST_P(RootTest, DeviceNodesOfAnImageAreDead) {
  const Layer layer = host_.MakeLayer();
  ASSERT_EQ(::mknodat(layer.directory(), "zero", S_IFCHR | 0666, makedev(1, 5)), 0);
  EXPECT_EQ(Output("head -c 1 /zero 2>/dev/null | wc -c", {layer.directory()}), "0\n");
}

TEST_P(RootTest, SetUserIdProgramsOfAnImageGainNothing) {
  // geteuid(), and exit with it: mov $107,%eax; syscall; mov %eax,%edi; mov $60,%eax; syscall
  const std::string exit_with_euid("\xb8\x6b\0\0\0\x0f\x05\x89\xc7\xb8\x3c\0\0\0\x0f\x05", 16);
  const Layer layer = host_.MakeLayer();
  layer.File("setuid", MakeProgram(exit_with_euid), 04755, 0);
  SandboxSpec spec = host_.Shell("exec /setuid");
  EXPECT_EQ(host_.Run(spec, {layer.directory()}).report.status, 0);
  spec.uid = spec.gid = 100;
  EXPECT_EQ(host_.Run(spec, {layer.directory()}).report.status, 100);
}

}  // namespace
}  // namespace caisson::sandbox
