// SPDX-License-Identifier: Apache-2.0
// Who may what: each role's identity as the kernel shows it, and what its program is linked with.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sstream>

#include "tests/integration/daemon.h"

namespace caisson::integration {
namespace {

using testing::HasSubstr;
using testing::Not;

// /proc/PID/status by field.
using Status = std::map<std::string, std::string>;

Status ReadStatus(pid_t pid) {
  Status status;
  std::istringstream lines(ReadWholeFile(fmt::format("/proc/{}/status", pid)));
  for (std::string line; std::getline(lines, line);)
    if (const size_t colon = line.find(":\t"); colon != std::string::npos)
      status[line.substr(0, colon)] = line.substr(colon + 2);
  return status;
}

uint64_t Capabilities(const Status& status, const std::string& set) {
  const auto found = status.find(set);
  return found == status.end() ? ~0ULL : std::stoull(found->second, nullptr, 16);
}

std::string NamespaceOf(pid_t pid, const std::string& kind) {
  char target[256];
  const ssize_t length = readlink(fmt::format("/proc/{}/ns/{}", pid, kind).c_str(), target, sizeof target);
  return length > 0 ? std::string(target, static_cast<size_t>(length)) : std::string();
}

constexpr uint64_t Bit(int capability) { return 1ULL << capability; }

// DESIGN: what launching needs, and no more.
constexpr uint64_t kLauncherCapabilities = Bit(CAP_SYS_ADMIN) | Bit(CAP_SYS_CHROOT) | Bit(CAP_SETUID) |
                                           Bit(CAP_SETGID) | Bit(CAP_SETPCAP) | Bit(CAP_CHOWN) | Bit(CAP_FOWNER) |
                                           Bit(CAP_FSETID) | Bit(CAP_DAC_OVERRIDE) | Bit(CAP_MKNOD) | Bit(CAP_KILL) |
                                           Bit(CAP_NET_ADMIN) | Bit(CAP_SYS_PTRACE) | Bit(CAP_SYS_RESOURCE);

void ExpectNoCapability(const Status& status) {
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"})
    EXPECT_EQ(Capabilities(status, set), 0u) << set;
}

class RolesTest : public testing::Test {
 protected:
  RolesTest() { registry_.PushBusybox(); }
  std::string SubmitSleep() {
    return daemon_.Submit(fmt::format(R"({{"image":"{}","command":["sleep","600"]}})", registry_.Name("busybox:1")));
  }
  // The processes of running jobs: those named "sleep".
  std::vector<pid_t> Sleepers() const {
    std::vector<pid_t> pids;
    for (const Daemon::Role& role : daemon_.Roles())
      if (role.name == "sleep") pids.push_back(role.pid);
    return pids;
  }

  Registry registry_;
  Daemon daemon_{registry_};
};

// It holds the node's key and logins of registries.
TEST_F(RolesTest, TheServicesMemoryIsForNobodyToRead) {
  const pid_t service = daemon_.service();
  struct stat info {};
  ASSERT_EQ(stat(fmt::format("/proc/{}/mem", service).c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 0u) << "dumpable: a process of the same user may read it";
  EXPECT_THAT(ReadWholeFile(fmt::format("/proc/{}/limits", service)),
              testing::ContainsRegex("Max core file size  +1  +1 "));
}

TEST_F(RolesTest, TheLauncherHoldsWhatLaunchingNeedsAndNoMore) {
  const Status status = ReadStatus(daemon_.launcher());
  EXPECT_EQ(status.at("Uid"), "0\t0\t0\t0");
  EXPECT_EQ(status.at("Threads"), "1");
  for (const char* set : {"CapPrm", "CapEff", "CapBnd"})
    EXPECT_EQ(Capabilities(status, set) & ~kLauncherCapabilities, 0u) << set << " " << status.at(set);
  EXPECT_EQ(Capabilities(status, "CapInh"), 0u);
  EXPECT_EQ(Capabilities(status, "CapAmb"), 0u);
  // No socket of the network, and no connection to anybody but the service.
  const std::string sockets = ReadWholeFile(fmt::format("/proc/{}/net/tcp", daemon_.launcher()));
  for (const std::string& fd : ListDirectory(fmt::format("/proc/{}/fd", daemon_.launcher()))) {
    char target[256];
    const ssize_t length =
        readlink(fmt::format("/proc/{}/fd/{}", daemon_.launcher(), fd).c_str(), target, sizeof target);
    const std::string link(target, static_cast<size_t>(std::max<ssize_t>(length, 0)));
    if (!link.starts_with("socket:[")) continue;
    EXPECT_THAT(sockets, Not(HasSubstr(" " + link.substr(8, link.size() - 9) + " "))) << "a TCP socket in the launcher";
  }
}

TEST_F(RolesTest, JanitorsHaveOneThreadAndNoMoreThanTheLaunchersRights) {
  std::vector<std::string> janitors;
  for (const Daemon::Role& role : daemon_.Roles()) {
    if (role.parent != daemon_.launcher() || role.name == "caisson-service") continue;
    const Status status = ReadStatus(role.pid);
    EXPECT_EQ(status.at("Threads"), "1") << role.name;
    EXPECT_EQ(Capabilities(status, "CapPrm") & ~kLauncherCapabilities, 0u);
    janitors.push_back(role.name);
  }
  // One for what finished sandboxes leave, one for the layer store, one for what is removed from it: an unmount never
  // waits behind a syncfs, nor a commit behind a large tree that goes.
  EXPECT_THAT(janitors, testing::ElementsAre("caisson-janitor", "caisson-janitor", "caisson-janitor"));
}

TEST_F(RolesTest, TheServiceHoldsNothing) {
  const pid_t service = daemon_.service();
  ASSERT_GT(service, 0);
  const Status status = ReadStatus(service);
  EXPECT_EQ(status.at("Uid"), "59999\t59999\t59999\t59999");
  EXPECT_EQ(status.at("Gid"), "59999\t59999\t59999\t59999");
  EXPECT_THAT(status.at("Groups"), testing::AnyOf("", " ", "59999 "));
  ExpectNoCapability(status);
  EXPECT_EQ(status.at("NoNewPrivs"), "1");
  // Of the host it sees its data and its run directory to write to, and not the layer tree.
  EXPECT_NE(NamespaceOf(service, "mnt"), NamespaceOf(getpid(), "mnt"));
  const std::string root = fmt::format("/proc/{}/root", service);
  EXPECT_EQ(ListDirectory(root + "/mnt"), (std::vector<std::string>{"data", "run"}));
}

TEST_F(RolesTest, AJobHoldsNothingAndSharesNothing) {
  const std::string first = SubmitSleep(), second = SubmitSleep();
  ASSERT_TRUE(daemon_.WaitState(first, "running") && daemon_.WaitState(second, "running"));
  ASSERT_TRUE(WaitUntil([&] { return Sleepers().size() == 2; }));
  const std::vector<pid_t> pids = Sleepers();
  for (const pid_t pid : pids) {
    const Status status = ReadStatus(pid);
    ExpectNoCapability(status);
    EXPECT_EQ(status.at("NoNewPrivs"), "1");
    EXPECT_EQ(status.at("Seccomp"), "2");
    EXPECT_GE(std::stoull(status.at("Uid")), 0x70000000u);
    for (const char* kind : {"user", "mnt", "pid", "ipc", "uts", "net", "cgroup"})
      EXPECT_NE(NamespaceOf(pid, kind), NamespaceOf(getpid(), kind)) << kind;
    EXPECT_THAT(ReadWholeFile(fmt::format("/proc/{}/uid_map", pid)), HasSubstr(" 65536\n"));
  }
  for (const char* kind : {"user", "mnt", "pid", "ipc", "uts", "net"})
    EXPECT_NE(NamespaceOf(pids[0], kind), NamespaceOf(pids[1], kind)) << kind;
  EXPECT_NE(ReadStatus(pids[0]).at("Uid"), ReadStatus(pids[1]).at("Uid"));
}

TEST_F(RolesTest, AStoreWorkerIsConfined) {
  // A layer that takes a while to unpack, so that its worker can be looked at.
  const TemporaryDirectory extra;
  for (int i = 0; i < 600; ++i) WriteFile(fmt::format("{}/{}", extra.path(), i), "x");
  registry_.Push("many:1", {"--add", extra.path()});
  const std::string id =
      daemon_.Submit(fmt::format(R"({{"image":"{}","command":["true"]}})", registry_.Name("many:1")));
  bool confined = false;
  bool seen = false;
  WaitUntil(
      [&] {
        for (const Daemon::Role& role : daemon_.Roles()) {
          if (role.name != "caisson-worker") continue;
          const Status status = ReadStatus(role.pid);
          if (status.count("Seccomp") == 0) continue;
          seen = true;
          const bool caps_ok = (Capabilities(status, "CapPrm") &
                                ~(Bit(CAP_CHOWN) | Bit(CAP_DAC_OVERRIDE) | Bit(CAP_FOWNER) | Bit(CAP_FSETID))) == 0;
          confined = confined || (status.at("Seccomp") == "2" && status.at("NoNewPrivs") == "1" && caps_ok &&
                                  std::stoull(status.at("Uid")) >= 0x70000000u &&
                                  NamespaceOf(role.pid, "user") != NamespaceOf(getpid(), "user") &&
                                  NamespaceOf(role.pid, "net") != NamespaceOf(getpid(), "net"));
        }
        const std::string state = daemon_.Job(id).StringOr("state", "");
        return confined || state == "succeeded" || state == "failed";
      },
      seconds(60));
  EXPECT_TRUE(seen);
  EXPECT_TRUE(confined);
  EXPECT_EQ(daemon_.WaitFinal(id).StringOr("state", ""), "succeeded");
}

// libarchive is linked statically: seen in the program's symbols, not by ldd.
TEST(ProgramsTest, OnlyTheWorkerLinksArchivesAndOnlyTheServiceTlsHttpAndTheStore) {
  const std::map<std::string, std::vector<std::string>> wanted = {
      {"caissond", {}}, {"caisson-service", {"libssl", "libcurl", "libsqlite3"}}, {"caisson-worker", {}}};
  for (const auto& [program, libraries] : wanted) {
    const std::string path = std::string(CAISSON_PROGRAMS "/") + program;
    const Finished ldd = RunProgram({"ldd", path});
    for (const char* library : {"libarchive", "libssl", "libcurl", "libsqlite3"}) {
      const bool allowed = std::find(libraries.begin(), libraries.end(), library) != libraries.end();
      EXPECT_EQ(ldd.out.find(library) != std::string::npos, allowed) << program << " " << library;
    }
    const bool reads_archives = RunProgram({"nm", path}).out.find("archive_read_new") != std::string::npos;
    EXPECT_EQ(reads_archives, program == "caisson-worker") << program;
  }
}

}  // namespace
}  // namespace caisson::integration
