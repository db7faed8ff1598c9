// SPDX-License-Identifier: Apache-2.0
#include "sandbox/validate.h"

#include <algorithm>

#include "base/encoding.h"

namespace caisson::sandbox {
namespace {

constexpr int kLastSignal = 64;

bool IsLetterOrUnderscore(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool HasNul(std::string_view text) { return text.find('\0') != std::string_view::npos; }

Result<void> CheckString(std::string_view what, std::string_view text) {
  if (HasNul(text)) return Fail(ErrorCode::kInvalid, "{} has a NUL byte", what);
  if (text.size() + 1 > kMaxStringBytes) {
    return Fail(ErrorCode::kInvalid, "{} has {} bytes; at most {} are possible", what, text.size(),
                kMaxStringBytes - 1);
  }
  return {};
}

Result<void> CheckEnvironmentEntry(std::string_view entry) {
  TRY(CheckString("an environment variable", entry));
  const std::string_view name = entry.substr(0, entry.find('='));
  const bool named =
      !name.empty() && IsLetterOrUnderscore(name[0]) &&
      std::all_of(name.begin(), name.end(), [](char c) { return IsLetterOrUnderscore(c) || IsDigit(c); });
  if (!named || name.size() == entry.size()) {
    return Fail(ErrorCode::kInvalid, "environment variable \"{}\": must be NAME=value, NAME of letters, digits and _",
                EscapeForLog(name, 64));
  }
  return {};
}

Result<void> CheckArguments(const SandboxSpec& spec) {
  if (spec.argv.empty() || spec.argv[0].empty()) return Fail(ErrorCode::kInvalid, "the command is empty");
  size_t total = 0;
  for (const std::string& argument : spec.argv) {
    TRY(CheckString("an argument", argument));
    total += argument.size() + 1 + sizeof(char*);
  }
  for (const std::string& entry : spec.env) {
    TRY(CheckEnvironmentEntry(entry));
    total += entry.size() + 1 + sizeof(char*);
  }
  if (total > kMaxArgumentBytes) {
    return Fail(ErrorCode::kInvalid, "arguments and environment have {} bytes together; at most {} are possible", total,
                kMaxArgumentBytes);
  }
  return {};
}

// ".." is refused, since its meaning would depend on links of the image.
bool HasParentComponent(std::string_view path) {
  for (size_t start = 0; start <= path.size();) {
    const size_t end = std::min(path.find('/', start), path.size());
    if (path.substr(start, end - start) == "..") return true;
    start = end + 1;
  }
  return false;
}

size_t CountComponents(std::string_view path) {
  size_t count = 0;
  for (size_t i = 0; i < path.size(); ++i) count += path[i] != '/' && (i == 0 || path[i - 1] == '/') ? 1 : 0;
  return count;
}

Result<void> CheckWorkingDirectory(std::string_view path) {
  if (path.empty() || path[0] != '/') {
    return Fail(ErrorCode::kInvalid, "working directory \"{}\" is not absolute", EscapeForLog(path));
  }
  if (path.size() > kMaxPathBytes) {
    return Fail(ErrorCode::kInvalid, "working directory has {} bytes; at most {} are possible", path.size(),
                kMaxPathBytes);
  }
  if (HasNul(path)) return Fail(ErrorCode::kInvalid, "working directory has a NUL byte");
  if (HasParentComponent(path)) {
    return Fail(ErrorCode::kInvalid, "working directory \"{}\" has a \"..\"", EscapeForLog(path));
  }
  if (const size_t depth = CountComponents(path); depth > kMaxWorkingDirectoryDepth) {
    return Fail(ErrorCode::kInvalid, "working directory has {} components; at most {} are possible", depth,
                kMaxWorkingDirectoryDepth);
  }
  return {};
}

Result<void> CheckIdentity(const SandboxSpec& spec) {
  if (spec.uid > kMaxId) return Fail(ErrorCode::kInvalid, "uid {} is above {}", spec.uid, kMaxId);
  if (spec.gid > kMaxId) return Fail(ErrorCode::kInvalid, "gid {} is above {}", spec.gid, kMaxId);
  if (spec.groups.size() > kMaxGroups) {
    return Fail(ErrorCode::kInvalid, "{} supplementary groups; at most {} are possible", spec.groups.size(),
                kMaxGroups);
  }
  for (const uint32_t group : spec.groups) {
    if (group > kMaxId) return Fail(ErrorCode::kInvalid, "group {} is above {}", group, kMaxId);
  }
  return {};
}

Result<void> CheckLimits(const Limits& limits) {
  if (limits.cpu_millis < kMinCpuMillis || limits.cpu_millis > kMaxCpuMillis) {
    return Fail(ErrorCode::kInvalid, "cpu of {} thousandths is outside {} to {}", limits.cpu_millis, kMinCpuMillis,
                kMaxCpuMillis);
  }
  if (limits.memory_bytes < kMinMemoryBytes || limits.memory_bytes > kMaxMemoryBytes) {
    return Fail(ErrorCode::kInvalid, "memory of {} bytes is outside {} to {}", limits.memory_bytes, kMinMemoryBytes,
                kMaxMemoryBytes);
  }
  if (limits.pids < 1 || limits.pids > kMaxPids) {
    return Fail(ErrorCode::kInvalid, "{} processes are outside 1 to {}", limits.pids, kMaxPids);
  }
  if (limits.disk_bytes < kMinDiskBytes) {
    return Fail(ErrorCode::kInvalid, "disk of {} bytes is below {}", limits.disk_bytes, kMinDiskBytes);
  }
  if (limits.disk_bytes > limits.memory_bytes) {
    return Fail(ErrorCode::kInvalid, "disk of {} bytes is above the memory of {}: scratch space is memory",
                limits.disk_bytes, limits.memory_bytes);
  }
  return {};
}

Result<void> CheckMountPoints(const MountPointAttributes& points) {
  for (const Attributes& attributes : points) {
    if (attributes.mode > 07777 || attributes.uid > kMaxId || attributes.gid > kMaxId) {
      return Fail(ErrorCode::kInvalid, "attributes {:o} {}:{} of a mount point are out of range", attributes.mode,
                  attributes.uid, attributes.gid);
    }
  }
  return {};
}

}  // namespace

bool IsValidSandboxId(std::string_view id) {
  if (id.empty() || id.size() > 63 || id.front() == '-' || id.back() == '-') return false;
  return std::all_of(id.begin(), id.end(), [](char c) { return (c >= 'a' && c <= 'z') || IsDigit(c) || c == '-'; });
}

Result<void> ValidateSpec(const SandboxSpec& spec) {
  if (!IsValidSandboxId(spec.id)) {
    return Fail(ErrorCode::kInvalid, "id \"{}\" is not made of 1 to 63 of a-z, 0-9 and inner '-'",
                EscapeForLog(spec.id));
  }
  TRY(CheckArguments(spec));
  TRY(CheckWorkingDirectory(spec.working_dir));
  TRY(CheckIdentity(spec));
  if (spec.stop_signal < 1 || spec.stop_signal > kLastSignal) {
    return Fail(ErrorCode::kInvalid, "stop signal {} is outside 1 to {}", spec.stop_signal, kLastSignal);
  }
  if (spec.timeout.count() < 0 || spec.grace.count() < 0) return Fail(ErrorCode::kInvalid, "a time is negative");
  TRY(CheckLimits(spec.limits));
  return CheckMountPoints(spec.mount_points);
}

}  // namespace caisson::sandbox
