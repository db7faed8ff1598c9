// SPDX-License-Identifier: Apache-2.0
// Images whose own /dev, /proc, /etc, /tmp and /run are traps: they run, and the host is as it was.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <regex>
#include <set>
#include <sstream>

#include "tests/integration/daemon.h"
#include "tests/integration/host_state.h"

namespace caisson::integration {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr char kMountPoints[][8] = {"dev", "proc", "etc", "tmp", "run"};

class HostileImageTest : public testing::Test {
 protected:
  HostileImageTest() {
    mkdir((canary_.path() + "/inside").c_str(), 0777);
    WriteFile(canary_.path() + "/inside/file", "untouched\n");
  }
  // A root file system with busybox alone, and at each mount point what `make` puts there.
  std::string PushTrap(const std::string& name, const std::function<void(const std::string& path)>& make) {
    const TemporaryDirectory root;
    mkdir((root.path() + "/bin").c_str(), 0755);
    std::filesystem::copy_file("/bin/busybox", root.path() + "/bin/busybox");
    for (const char* point : kMountPoints) make(root.path() + "/" + point);
    registry_.Push(name, {"--no-base", "--add", root.path(), "--config", R"("Cmd":["/bin/busybox","true"])"});
    return registry_.Name(name);
  }
  void ExpectRunsAndHarmsNothing(const std::string& image) {
    const Finished run = daemon_.Caisson(
        {"run", image, "--", "/bin/busybox", "sh", "-c",
         "PATH=/bin; b=busybox; echo x >/tmp/x; echo x >/run/x; $b ls -d /proc/self /dev/null /dev/shm /etc/hosts "
         "/etc/resolv.conf /etc/hostname; echo end"});
    EXPECT_EQ(run.status, 0) << run.out << run.err;
    EXPECT_THAT(run.out, HasSubstr("end\n"));
    EXPECT_EQ(ReadWholeFile(canary_.path() + "/inside/file"), "untouched\n");
    EXPECT_EQ(ListDirectory(canary_.path() + "/inside"), (std::vector<std::string>{"file"}));
  }

  Registry registry_;
  Daemon daemon_{registry_};
  TemporaryDirectory canary_;
};

TEST_F(HostileImageTest, MountPointsThatAreLinksToTheHost) {
  ExpectRunsAndHarmsNothing(PushTrap("links:1", [&](const std::string& path) {
    ASSERT_EQ(symlink((canary_.path() + "/inside").c_str(), path.c_str()), 0);
  }));
}

TEST_F(HostileImageTest, MountPointsThatClimbOut) {
  ExpectRunsAndHarmsNothing(PushTrap("climb:1", [&](const std::string& path) {
    ASSERT_EQ(symlink(("../../../../../../../.." + canary_.path() + "/inside").c_str(), path.c_str()), 0);
  }));
}

TEST_F(HostileImageTest, MountPointsThatAreLoops) {
  ExpectRunsAndHarmsNothing(PushTrap("loops:1", [&](const std::string& path) {
    ASSERT_EQ(symlink(std::filesystem::path(path).filename().c_str(), path.c_str()), 0);
  }));
}

TEST_F(HostileImageTest, MountPointsThatAreFiles) {
  ExpectRunsAndHarmsNothing(
      PushTrap("files:1", [&](const std::string& path) { WriteFile(path, "not a directory\n"); }));
}

TEST_F(HostileImageTest, MountPointsThatAreFifos) {
  ExpectRunsAndHarmsNothing(
      PushTrap("fifos:1", [&](const std::string& path) { ASSERT_EQ(mkfifo(path.c_str(), 0666), 0); }));
}

TEST_F(HostileImageTest, AnImageWithoutAnyMountPoint) {
  ExpectRunsAndHarmsNothing(PushTrap("bare:1", [](const std::string&) {}));
}

// strace of launcher and child, up to pivot_root: what follows happens inside the job's own root.
TEST_F(HostileImageTest, TheLauncherLooksUpNoNameInsideTheImage) {
  const std::string image = PushTrap("traced:1", [&](const std::string& path) {
    ASSERT_EQ(symlink((canary_.path() + "/inside").c_str(), path.c_str()), 0);
  });
  EXPECT_EQ(daemon_.Caisson({"run", image}).status, 0);  // pulled, so that what follows is a launch alone
  const std::string trace = canary_.path() + "/trace", said = canary_.path() + "/said";
  Process strace({"strace", "-f", "-y", "-e", "trace=%file", "-o", trace, "-p", std::to_string(daemon_.launcher())},
                 {.err_file = said});
  ASSERT_TRUE(WaitUntil([&] { return ReadWholeFile(said).find("attached") != std::string::npos; }))
      << ReadWholeFile(said);
  EXPECT_EQ(daemon_.Caisson({"run", image}).status, 0);
  strace.Signal(SIGINT);
  strace.Wait();

  // PID CALL(FD</PATH>, "NAME"...
  const std::regex by_directory(R"re((\d+) +(\w+)\((?:\d+|AT_FDCWD)<([^>]*)>, "([^"]*)"(.*))re");
  const std::regex absolute(R"re((\d+) +(\w+)\("(/[^"]*)".*)re");
  const std::set<std::string> ours = {"proc", "dev", "sys", "tmp", "run", "run/caisson"};  // made in the upper before
  std::set<std::string> entered;  // processes that are in their own root
  int in_layers = 0, in_root = 0;
  std::istringstream lines(ReadWholeFile(trace));
  for (std::string line; std::getline(lines, line);) {
    const std::string pid = line.substr(0, line.find(' '));
    if (entered.count(pid) > 0) continue;
    if (line.find("pivot_root(") != std::string::npos) entered.insert(pid);
    if (line.find(" execve(\"") != std::string::npos) entered.insert(pid);  // the payload, forked by pid 1
    if (entered.count(pid) > 0 || line.find(" symlinkat(") != std::string::npos)
      continue;  // a link's text is no look-up
    std::smatch match;
    if (std::regex_match(line, match, by_directory)) {
      const std::string directory = match[3], name = match[4], rest = match[5];
      if (directory.find("/data/layers/") != std::string::npos) {
        EXPECT_EQ(name, "") << line;  // a layer is opened whole
        ++in_layers;
      } else if (directory == "/job") {
        if (name.empty()) continue;
        EXPECT_TRUE(ours.count(name) > 0) << line;
        EXPECT_THAT(rest, AllOf(HasSubstr("RESOLVE_NO_SYMLINKS"), HasSubstr("RESOLVE_BENEATH"))) << line;
        ++in_root;
      }
      EXPECT_THAT(name, Not(HasSubstr(canary_.path()))) << line;
    } else if (std::regex_match(line, match, absolute)) {
      EXPECT_EQ(match[3], "/") << line;
    }
  }
  EXPECT_GT(in_layers, 0);
  EXPECT_GT(in_root, 0);
  EXPECT_FALSE(entered.empty());
}

// A layer whose entries climb out of it. Made with tar's own rewriting, as no well-behaved tool makes such a thing.
TEST_F(HostileImageTest, LayersThatClimbOutAreRefused) {
  const TemporaryDirectory source;
  WriteFile(source.path() + "/evil", "evil\n");
  const std::string target = canary_.path() + "/inside/evil";
  const std::pair<const char*, std::string> cases[] = {{"absolute", "s,^evil,/" + target.substr(1) + ","},
                                                       {"dotdot", "s,^evil,../../../../../../.." + target + ","}};
  for (const auto& [name, rewrite] : cases) {
    const std::string tar = source.path() + "/" + name + ".tar";
    ASSERT_EQ(RunProgram({"tar", "-P", "-C", source.path(), "--transform", rewrite, "-cf", tar, "evil"}).status, 0);
    registry_.Push(std::string(name) + ":1", {"--add-tar", tar});
    daemon_.Caisson({"run", registry_.Name(std::string(name) + ":1"), "--", "true"});
    EXPECT_EQ(ListDirectory(canary_.path() + "/inside"), (std::vector<std::string>{"file"})) << name;
  }
}

}  // namespace
}  // namespace caisson::integration
