// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/cgroups.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <optional>
#include <sstream>
#include <vector>

#include "base/io.h"

namespace caisson::sandbox {
namespace {

constexpr size_t kMaxFileBytes = 64 << 10;
constexpr uint32_t kCpuPeriodMicros = 100'000;
constexpr int kMaxNameTries = 1000;

Result<void> WriteFile(int directory, const std::string& name, std::string_view value) {
  const Fd file = TRY(OpenAt(directory, name, O_WRONLY));
  if (::write(file.get(), value.data(), value.size()) < 0) return FailErrno(errno, "write {} to {}", value, name);
  return {};
}

// For files that only some kernels have: their absence is not an error.
Result<void> WriteFileIfPresent(int directory, const std::string& name, std::string_view value) {
  Result<void> written = WriteFile(directory, name, value);
  if (!written && written.error().sys_errno == ENOENT) return {};
  return written;
}

std::optional<std::string> ReadFileAt(int directory, const std::string& name) {
  const Result<Fd> file = OpenAt(directory, name, O_RDONLY);
  if (!file) return std::nullopt;
  Result<std::string> text = ReadAll(file->get(), kMaxFileBytes);
  if (!text) return std::nullopt;
  return *std::move(text);
}

std::optional<uint64_t> ParseNumber(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

std::optional<uint64_t> ReadNumber(int directory, const std::string& name) {
  const std::optional<std::string> text = ReadFileAt(directory, name);
  return text ? ParseNumber(*text) : std::nullopt;
}

// The number after `key` in a file of "key value" lines.
std::optional<uint64_t> ReadKey(int directory, const std::string& name, std::string_view key) {
  const std::optional<std::string> text = ReadFileAt(directory, name);
  if (!text) return std::nullopt;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    if (line.size() > key.size() && line.compare(0, key.size(), key) == 0 && line[key.size()] == ' ') {
      return ParseNumber(std::string_view(line).substr(key.size() + 1));
    }
  }
  return std::nullopt;
}

bool HasWord(std::string_view words, std::string_view word) {
  std::istringstream stream{std::string(words)};
  for (std::string one; stream >> one;) {
    if (one == word) return true;
  }
  return false;
}

// Where a cgroup2 file system is mounted, whole (not a part of it): /sys/fs/cgroup, or beside v1 controllers
// /sys/fs/cgroup/unified. Empty for none.
std::string FindMountPoint() {
  const Result<std::string> table = ReadFile("/proc/self/mountinfo", 16 << 20);
  if (!table) return {};
  std::istringstream lines(*table);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string skip, root, point;
    fields >> skip >> skip >> skip >> root >> point;
    const size_t separator = line.find(" - ");
    if (separator != std::string::npos && line.compare(separator + 3, 8, "cgroup2 ") == 0 && root == "/") return point;
  }
  return {};
}

// This process's path in the v2 tree, "/" for the root.
std::string OwnPath() {
  const Result<std::string> text = ReadFile("/proc/self/cgroup", kMaxFileBytes);
  if (!text) return "/";
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    if (line.compare(0, 3, "0::") == 0) return line.substr(3);
  }
  return "/";
}

// systemd marks what it has handed over to a service (Delegate=yes).
bool IsDelegated(const std::string& path) {
  char value[2] = {};
  return ::getxattr(path.c_str(), "trusted.delegate", value, sizeof value) == 1 && value[0] == '1';
}

// Asks for each controller by itself, since one that is missing would refuse the whole list.
void EnableControllers(int directory) {
  for (const char* controller : {"+memory", "+pids", "+cpu", "+hugetlb"}) {
    (void)WriteFile(directory, "cgroup.subtree_control", controller);
  }
}

Result<Fd> OpenDirectory(int directory, const std::string& name) {
  return OpenAt(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

// The names in a directory; empty when it cannot be read.
std::vector<std::string> ListNames(int directory) {
  std::vector<std::string> names;
  Result<Fd> again = OpenDirectory(directory, ".");
  if (!again) return names;
  DIR* stream = ::fdopendir(again->get());
  if (stream == nullptr) return names;
  again->release();  // the stream owns it now
  while (const dirent* entry = ::readdir(stream)) names.emplace_back(entry->d_name);
  ::closedir(stream);
  return names;
}

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

}  // namespace

Cgroup::Cgroup(Fd directory, Fd parent, std::string name)
    : directory_(std::move(directory)), parent_(std::move(parent)), name_(std::move(name)) {}

void Cgroup::Kill() const {
  if (exists()) (void)WriteFile(directory_.get(), "cgroup.kill", "1");
}

bool Cgroup::Populated() const {
  return exists() && ReadKey(directory_.get(), "cgroup.events", "populated").value_or(0) != 0;
}

void Cgroup::WaitUntilEmpty() const {
  if (!exists()) return;
  const Result<Fd> events = OpenAt(directory_.get(), "cgroup.events", O_RDONLY);
  if (!events) return;
  for (int tries = 0; tries < 50 && Populated(); ++tries) {
    pollfd change{events->get(), POLLPRI, 0};
    (void)::poll(&change, 1, 100);
    char text[64];
    (void)!::pread(events->get(), text, sizeof text, 0);  // arms the next notification
  }
}

Result<void> Cgroup::Remove() {
  if (!exists()) return {};
  if (::unlinkat(parent_.get(), name_.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
    return FailErrno(errno, "remove cgroup {}", name_);
  }
  directory_.reset();
  parent_.reset();
  return {};
}

Usage Cgroup::ReadUsage() const {
  Usage usage;
  if (!exists()) return usage;
  usage.cpu_micros = ReadKey(directory_.get(), "cpu.stat", "usage_usec");
  usage.memory_peak_bytes = ReadNumber(directory_.get(), "memory.peak");
  usage.pids_peak = ReadNumber(directory_.get(), "pids.peak");
  return usage;
}

bool Cgroup::OomKilled() const {
  return exists() && ReadKey(directory_.get(), "memory.events", "oom_kill").value_or(0) > 0;
}

Result<Cgroups> Cgroups::Open(const std::string& parent, const std::string& instance) {
  Cgroups cgroups;
  cgroups.prefix_ = instance + "-";
  const std::string top = FindMountPoint();
  if (top.empty()) {
    if (!parent.empty()) return Fail(ErrorCode::kUnsupported, "--cgroup-parent {}: no cgroup2 is mounted here", parent);
    cgroups.why_ = "no cgroup2 is mounted";
    return cgroups;
  }
  const std::string own = OwnPath();
  std::string path = parent;
  bool delegated = false;
  if (path.empty() && own != "/" && IsDelegated(top + own)) {
    path = own;
    delegated = true;
  }
  if (path.empty()) path = "/caisson-" + instance;
  Result<void> opened = cgroups.OpenParent(top, path, delegated);
  if (path == "/caisson-" + instance) cgroups.made_parent_ = true;  // left by an earlier launcher of this instance
  if (!opened) {
    if (!parent.empty()) return tl::unexpected(std::move(opened).error().Context("--cgroup-parent " + parent));
    Cgroups none;
    none.why_ = "cgroup2 at " + top + " cannot be used: " + opened.error().message;
    return none;
  }
  return cgroups;
}

// Walks down from the root, making what is missing and passing the controllers on, so that they reach the jobs' level.
Result<void> Cgroups::OpenParent(const std::string& top, const std::string& path, bool delegated) {
  Fd at = TRY(OpenDirectory(AT_FDCWD, top));
  std::istringstream components(path);
  for (std::string name; std::getline(components, name, '/');) {
    if (name.empty()) continue;
    if (name == "." || name == "..") return Fail(ErrorCode::kInvalid, "{} is no path of a cgroup", path);
    EnableControllers(at.get());
    made_parent_ = ::mkdirat(at.get(), name.c_str(), 0755) == 0;
    if (!made_parent_ && errno != EEXIST) return FailErrno(errno, "make cgroup {}{}", top, path);
    Fd next = TRY(OpenDirectory(at.get(), name));
    above_parent_ = std::move(at);
    at = std::move(next);
    parent_name_ = name;
  }
  if (delegated) {
    // A cgroup with processes may not pass controllers on: we move into a leaf.
    if (::mkdirat(at.get(), "launcher", 0755) != 0 && errno != EEXIST) return FailErrno(errno, "make cgroup launcher");
    TRY(WriteFile(at.get(), "launcher/cgroup.procs", "0"));
  }
  EnableControllers(at.get());
  const std::string passed_on = ReadFileAt(at.get(), "cgroup.subtree_control").value_or("");
  has_memory_ = HasWord(passed_on, "memory");
  has_pids_ = HasWord(passed_on, "pids");
  has_cpu_ = HasWord(passed_on, "cpu");
  has_hugetlb_ = HasWord(passed_on, "hugetlb");
  parent_ = std::move(at);
  std::string missing;
  for (const auto& [name, there] : {std::pair{"memory", has_memory_}, {"pids", has_pids_}, {"cpu", has_cpu_}}) {
    if (!there) missing.append(missing.empty() ? "" : ", ").append(name);
  }
  why_ = "cgroup2 at " + top + path + (missing.empty() ? " with all controllers" : " without controllers: " + missing);
  return {};
}

uint32_t Cgroups::Unenforceable() const {
  return (has_memory_ ? 0U : kUnenforcedMemory) | (has_pids_ ? 0U : kUnenforcedPids) | (has_cpu_ ? 0U : kUnenforcedCpu);
}

Result<void> Cgroups::WriteLimits(int directory, const Limits& limits) const {
  if (has_memory_) {
    TRY(WriteFile(directory, "memory.max", std::to_string(limits.memory_bytes)));
    TRY(WriteFileIfPresent(directory, "memory.swap.max", "0"));
    TRY(WriteFile(directory, "memory.oom.group", "1"));  // else half a job survives its out-of-memory kill
  }
  if (has_pids_) TRY(WriteFile(directory, "pids.max", std::to_string(uint64_t{limits.pids} + 1)));
  if (has_hugetlb_) {
    // The pool of huge pages is the host's: mmap(MAP_HUGETLB) cannot be told apart by the system call filter.
    for (const std::string& name : ListNames(directory)) {
      if (name.compare(0, 8, "hugetlb.") == 0 && EndsWith(name, ".max")) TRY(WriteFile(directory, name, "0"));
    }
  }
  return {};
}

Result<Cgroup> Cgroups::Make(const std::string& name, const Limits& limits) {
  if (!available()) return Cgroup();
  std::string full;
  int made = -1;
  for (int tries = 0; made != 0 && tries < kMaxNameTries; ++tries) {  // an earlier launcher's may still be there
    full = fmt::format("{}{}.{}", prefix_, name, made_++);
    made = ::mkdirat(parent_.get(), full.c_str(), 0755);
    if (made != 0 && errno != EEXIST) break;
  }
  if (made != 0) return FailErrno(errno, "make cgroup {}", full);
  Fd parent(::fcntl(parent_.get(), F_DUPFD_CLOEXEC, 0));
  Result<Fd> directory = OpenDirectory(parent_.get(), full);
  Result<void> written = directory && parent ? WriteLimits(directory->get(), limits)
                                             : Result<void>(FailErrno(errno, "open cgroup {}", full));
  if (!written) {
    ::unlinkat(parent_.get(), full.c_str(), AT_REMOVEDIR);
    return tl::unexpected(std::move(written).error().Context("cgroup " + full));
  }
  return Cgroup(*std::move(directory), std::move(parent), full);
}

Result<void> Cgroups::LimitCpu(const Cgroup& cgroup, const Limits& limits) const {
  if (!has_cpu_ || !cgroup.exists()) return {};
  const uint64_t quota = uint64_t{limits.cpu_millis} * kCpuPeriodMicros / 1000;
  TRY_IN("cgroup " + cgroup.name(),
         WriteFile(cgroup.directory(), "cpu.max", fmt::format("{} {}", quota, kCpuPeriodMicros)));
  return {};
}

int Cgroups::Sweep() {
  int swept = 0;
  if (!available()) return swept;
  for (const std::string& name : ListNames(parent_.get())) {
    if (name.compare(0, prefix_.size(), prefix_) != 0) continue;
    Result<Fd> directory = OpenDirectory(parent_.get(), name);
    Fd parent(::fcntl(parent_.get(), F_DUPFD_CLOEXEC, 0));
    if (!directory || !parent) continue;
    Cgroup left(*std::move(directory), std::move(parent), name);
    left.Kill();
    left.WaitUntilEmpty();
    if (left.Remove()) ++swept;
  }
  return swept;
}

void Cgroups::RemoveParent() {
  if (!available() || !made_parent_) return;
  ::unlinkat(above_parent_.get(), parent_name_.c_str(), AT_REMOVEDIR);
  parent_.reset();
}

}  // namespace caisson::sandbox
