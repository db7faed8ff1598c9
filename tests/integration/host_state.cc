// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/host_state.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>

namespace caisson::integration {
namespace {

std::string ReadLink(const std::string& path) {
  char target[4096];
  const ssize_t length = readlink(path.c_str(), target, sizeof target);
  return length > 0 ? std::string(target, static_cast<size_t>(length)) : std::string();
}

// "socket:[123]" and "/memfd:log (deleted)" without the numbers that differ each time.
std::string Kind(const std::string& target) {
  const size_t bracket = target.find(":[");
  return bracket == std::string::npos ? target : target.substr(0, bracket);
}

void AddCounts(std::vector<std::string>& lines, const std::string& what, const std::map<std::string, int>& counts) {
  for (const auto& [name, count] : counts) lines.push_back(fmt::format("{} {} x{}", what, name, count));
}

void AddDescriptors(std::vector<std::string>& lines, const Daemon::Role& role) {
  std::map<std::string, int> kinds;
  const std::string directory = fmt::format("/proc/{}/fd", role.pid);
  for (const std::string& fd : ListDirectory(directory)) {
    const std::string kind = Kind(ReadLink(directory + "/" + fd));
    // Connections of the service come and go with its clients, and libcurl keeps some for the next request.
    if (!(role.name == "caisson-service" && kind == "socket")) ++kinds[kind];
  }
  AddCounts(lines, "fd of " + role.name, kinds);
}

void AddMounts(std::vector<std::string>& lines, const Daemon::Role& role) {
  std::map<std::string, int> points;
  std::ifstream table(fmt::format("/proc/{}/mountinfo", role.pid));
  for (std::string line; std::getline(table, line);) {
    std::istringstream fields(line);
    std::string skip, point;
    fields >> skip >> skip >> skip >> skip >> point;
    ++points[point];
  }
  AddCounts(lines, "mount of " + role.name, points);
}

// Locks that the launcher holds: those of id blocks, and of its data directory.
void AddLocks(std::vector<std::string>& lines, pid_t launcher) {
  std::ifstream table("/proc/locks");
  int held = 0;
  for (std::string line; std::getline(table, line);) {
    std::istringstream fields(line);
    std::string skip;
    long pid = 0;
    fields >> skip >> skip >> skip >> skip >> pid;
    held += pid == launcher;
  }
  lines.push_back(fmt::format("locks of the launcher x{}", held));
}

void AddEntries(std::vector<std::string>& lines, const std::string& what, const std::string& directory) {
  for (const std::string& name : ListDirectory(directory)) lines.push_back(what + " " + name);
}

// The directories that hold nothing while no job and no pull runs.
void AddTemporaryFiles(std::vector<std::string>& lines, const Daemon& daemon) {
  AddEntries(lines, "tmp", daemon.data_dir() + "/tmp");
  AddEntries(lines, "partial", daemon.data_dir() + "/service/partial");
  AddEntries(lines, "run", daemon.run_dir());
}

void AddCgroups(std::vector<std::string>& lines, const std::string& parent) {
  if (parent.empty()) return;
  for (const std::string& name : ListDirectory(parent))
    if (access((parent + "/" + name + "/cgroup.procs").c_str(), F_OK) == 0) lines.push_back("cgroup " + name);
}

std::vector<std::string> MountsOfTheHost(const Daemon& daemon) {
  std::vector<std::string> lines;
  std::ifstream table("/proc/self/mountinfo");
  for (std::string line; std::getline(table, line);)
    if (line.find(daemon.data_dir()) != std::string::npos || line.find(daemon.run_dir()) != std::string::npos)
      lines.push_back("mount of the host " + line);
  return lines;
}

}  // namespace

std::vector<std::string> HostState(const Daemon& daemon) {
  std::vector<std::string> lines = MountsOfTheHost(daemon);
  std::vector<Daemon::Role> roles = daemon.Roles();
  for (const Daemon::Role& role : roles) lines.push_back("process " + role.name);
  roles.push_back({.pid = daemon.launcher(), .parent = 0, .name = "launcher"});
  for (const Daemon::Role& role : roles) {
    AddDescriptors(lines, role);
    AddMounts(lines, role);
  }
  AddLocks(lines, daemon.launcher());
  AddCgroups(lines, daemon.cgroup_parent());
  AddTemporaryFiles(lines, daemon);
  std::sort(lines.begin(), lines.end());
  return lines;
}

void ExpectSameState(const std::vector<std::string>& before, const Daemon& daemon, milliseconds limit) {
  std::vector<std::string> now;
  const bool same = WaitUntil(
      [&] {
        now = HostState(daemon);
        return now == before;
      },
      limit);
  if (same) return;
  std::vector<std::string> gone, came;
  std::set_difference(before.begin(), before.end(), now.begin(), now.end(), std::back_inserter(gone));
  std::set_difference(now.begin(), now.end(), before.begin(), before.end(), std::back_inserter(came));
  ADD_FAILURE() << "the host is not as before\n gone: " << testing::PrintToString(gone)
                << "\n left behind: " << testing::PrintToString(came);
}

void ExpectNothingLeft(const Daemon& daemon) {
  EXPECT_TRUE(WaitUntil([&] { return DescendantsOf(daemon.launcher()).empty(); }));
  EXPECT_THAT(MountsOfTheHost(daemon), testing::IsEmpty());
  EXPECT_THAT(ListDirectory(daemon.data_dir() + "/tmp"), testing::IsEmpty());
  std::vector<std::string> cgroups;
  AddCgroups(cgroups, daemon.cgroup_parent());
  EXPECT_THAT(cgroups, testing::IsEmpty());
}

}  // namespace caisson::integration
