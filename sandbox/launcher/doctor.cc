// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/doctor.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>

#include "base/encoding.h"
#include "sandbox/launcher/host_probes.h"

namespace caisson::sandbox {
namespace {

constexpr char kUnifiedHierarchy[] =
    "boot with systemd.unified_cgroup_hierarchy=1, so that the controllers are on cgroup v2; or --isolation "
    "best-effort";

std::string_view StateName(CheckState state) {
  switch (state) {
    case CheckState::kOk: return "ok";
    case CheckState::kMissing: return "missing";
    case CheckState::kDegraded: return "degraded";
  }
  return "";
}

std::string Quote(std::string_view text) {
  std::string quoted = "\"";
  const bool sound = IsValidUtf8(text);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || c == '"' || c == '\\' || byte == 0x7f) {
      quoted += fmt::format("\\u{:04x}", byte);
    } else {
      quoted.push_back(byte < 0x80 || sound ? c : '?');
    }
  }
  return quoted + "\"";
}

std::string CheckJson(const Check& check) {
  return fmt::format(R"({{"name":{},"state":{},"detail":{},"fix":{}}})", Quote(check.name),
                     Quote(StateName(check.state)), Quote(check.detail), Quote(check.fix));
}

Check LimitCheck(const char* controller, bool there, const char* without) {
  if (there) return {controller, CheckState::kOk, fmt::format("the {} limit of a job is enforced", controller), ""};
  return {controller, CheckState::kMissing, without, kUnifiedHierarchy};
}

Check CgroupCheck(Cgroups& cgroups) {
  Check check{"cgroup2", CheckState::kOk, cgroups.why(), ""};
  if (!cgroups.available()) {
    check.state = CheckState::kMissing;
    check.fix = "mount -t cgroup2 none /sys/fs/cgroup";
    return check;
  }
  Result<Cgroup> probe = cgroups.Make("probe", Limits());
  if (!probe) {
    check.state = CheckState::kMissing;
    check.detail += ": " + probe.error().message;
    check.fix = "--cgroup-parent PATH, or Delegate=yes in the unit";
    return check;
  }
  if (::faccessat(probe->directory(), "cgroup.kill", W_OK, 0) != 0) {
    check.state = CheckState::kDegraded;
    check.detail += "; cgroup.kill is missing, jobs are ended through their pid 1";
  }
  (void)probe->Remove();
  return check;
}

}  // namespace

bool HostReport::strict_possible() const { return FirstObstacle() == nullptr && memory && pids && cpu; }

const Check* HostReport::FirstObstacle() const {
  const auto found = std::find_if(checks.begin(), checks.end(), [](const Check& check) {
    return check.needed && check.state == CheckState::kMissing;
  });
  return found == checks.end() ? nullptr : &*found;
}

HostReport ExamineHost(const DoctorOptions& options) {
  HostReport report;
  utsname host{};
  ::uname(&host);
  report.kernel = host.release;
  report.isolation = options.isolation;
  report.checks.push_back(ExamineRoot());
  report.checks.push_back(ExamineServiceUser(options.service_user));
  report.checks.push_back(ExamineNamespaces());
  report.checks.push_back(ExamineUserNamespaces());
  report.checks.push_back(ExamineIdmappedMounts(options.data_dir));
  report.checks.push_back(ExamineOverlay());
  report.checks.push_back(ExamineSeccomp());
  report.checks.push_back(ExamineMemoryFileExec());
  report.checks.push_back(ExamineOpenFiles());
  report.checks.push_back(ExamineResourceCapability());
  report.checks.push_back(ExamineCorePattern());
  return report;
}

void ExamineCgroups(Cgroups& cgroups, HostReport& report) {
  report.memory = cgroups.has_memory();
  report.pids = cgroups.has_pids();
  report.cpu = cgroups.has_cpu();
  report.checks.push_back(CgroupCheck(cgroups));
  report.checks.push_back(LimitCheck("memory", report.memory, "a job can take more memory than it asked for"));
  report.checks.push_back(LimitCheck("pids", report.pids, "only RLIMIT_NPROC bounds a job's processes"));
  report.checks.push_back(LimitCheck("cpu", report.cpu, "a job can use every core"));
}

void ExamineCgroups(const std::string& cgroup_parent, HostReport& report) {
  if (::geteuid() != 0) return;
  Result<Cgroups> cgroups = Cgroups::Open(cgroup_parent, fmt::format("dr{:06}", ::getpid() % 1000000));
  if (!cgroups) {
    report.checks.push_back({"cgroup2", CheckState::kMissing, cgroups.error().message, "another --cgroup-parent"});
    return;
  }
  ExamineCgroups(*cgroups, report);
  cgroups->RemoveParent();
}

std::string ToJson(const HostReport& report) {
  std::string checks;
  for (const Check& check : report.checks) checks += (checks.empty() ? "" : ",") + CheckJson(check);
  return fmt::format(
      R"({{"kernel":{},"isolation":{},"strict_possible":{},"enforces":{{"memory":{},"pids":{},"cpu":{}}},"checks":[{}]}})",
      Quote(report.kernel), Quote(report.isolation), report.strict_possible(), report.memory, report.pids, report.cpu,
      checks);
}

std::string ToText(const HostReport& report) {
  std::string text = fmt::format("kernel {}, isolation {}\n\n", report.kernel, report.isolation);
  for (const Check& check : report.checks) {
    text += fmt::format("{:<9} {:<18} {}\n", StateName(check.state), check.name, check.detail);
    if (check.state != CheckState::kOk && !check.fix.empty()) text += fmt::format("{:<28} -> {}\n", "", check.fix);
  }
  return text + (report.strict_possible() ? "\nAll limits can be enforced: isolation = \"strict\" works here.\n"
                 : report.FirstObstacle() ? "\nJobs cannot run here until what is missing above is mended.\n"
                                          : "\nNot all limits can be enforced: jobs run only with isolation = "
                                            "\"best-effort\".\n");
}

}  // namespace caisson::sandbox
