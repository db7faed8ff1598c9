// SPDX-License-Identifier: Apache-2.0
// What this host can enforce and use, found by doing it, never by comparing versions: the table of `caisson doctor`,
// the node's status, and the words with which the launcher refuses to start. Each gap comes with the command that mends
// it. Runs as root on the launcher's only thread, with the host's files in sight; leaves nothing behind.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "sandbox/launcher/cgroups.h"

namespace caisson::sandbox {

enum class CheckState { kOk, kMissing, kDegraded };

struct Check {
  std::string name;
  CheckState state = CheckState::kOk;
  std::string detail;   // what was found, and what it means
  std::string fix;      // a command, or words; empty when there is nothing to do
  bool needed = false;  // without it no job can run
};

struct HostReport {
  std::string kernel;
  std::string isolation;
  bool memory = false;  // limits that can be enforced
  bool pids = false;
  bool cpu = false;
  std::vector<Check> checks;

  bool strict_possible() const;
  // The first check that is needed and missing; null when jobs can run.
  const Check* FirstObstacle() const;
};

struct DoctorOptions {
  std::string data_dir;  // need not exist yet
  std::string service_user;
  std::string isolation;
};

// Everything but cgroups, whose tree only one at a time may set up.
HostReport ExamineHost(const DoctorOptions& options);
void ExamineCgroups(Cgroups& cgroups, HostReport& report);
// For `caissond doctor`, without a running launcher's tree: makes one for the moment.
void ExamineCgroups(const std::string& cgroup_parent, HostReport& report);

std::string ToJson(const HostReport& report);
std::string ToText(const HostReport& report);

}  // namespace caisson::sandbox
