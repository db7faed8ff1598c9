// SPDX-License-Identifier: Apache-2.0
// SandboxSpec: everything that the sandbox needs to know to run one program, complete and in numbers: no user name,
// no image, no job. Made by the service (executor/sandbox_plan), validated again by the launcher, which does not
// trust it. ExitReport: how the program ended, from the kernel's facts alone. Plain values.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"

namespace caisson::sandbox {

// Greatest accepted values; what is over them is refused before any side effect (docs/SPECIFICATION.md).
inline constexpr uint32_t kMaxId = 65534;  // ids inside a sandbox are 0..65534
inline constexpr size_t kMaxGroups = 32;   // supplementary groups
inline constexpr size_t kMaxLayers = 130;  // fix-up layer and image layers of one rootfs
inline constexpr size_t kMaxStringBytes =
    128 << 10;  // one argument or environment string, NUL included (kernel's MAX_ARG_STRLEN)
inline constexpr size_t kMaxArgumentBytes = 1 << 20;  // argv and environment together, with 8 bytes a pointer
inline constexpr size_t kMaxPathBytes = 4095;         // working directory
inline constexpr uint64_t kMinMemoryBytes = 8 << 20;  // below it setting up fails unpredictably

struct Attributes {
  uint32_t mode = 0755;  // permission bits with set-id and sticky
  uint32_t uid = 0;      // as stored in the image
  uint32_t gid = 0;
};

// The directories that the launcher makes in the private upper before anything of the image is visible, with the
// image's own attributes where the image has a real directory there.
enum class MountPoint : uint8_t { kRoot, kDev, kProc, kSys, kTmp, kRun, kEtc, kCount };
using MountPointAttributes = std::array<Attributes, static_cast<size_t>(MountPoint::kCount)>;
// Attributes of an image that says nothing: 0755 root, /tmp 1777.
MountPointAttributes DefaultMountPointAttributes();
// "", "dev", "proc", ... relative to the root, in the order of MountPoint.
const char* MountPointPath(MountPoint point);

struct Limits {
  uint32_t cpu_millis = 1000;            // thousandths of a core
  uint64_t memory_bytes = 512ULL << 20;  // memory.max; swap is 0
  uint32_t pids = 512;                   // processes and threads of the job, our pid 1 not counted
  uint64_t disk_bytes = 256ULL << 20;    // private upper; is memory, so never above memory_bytes
};

struct SandboxSpec {
  std::string id;                 // the job's id: hostname and part of the cgroup's name; [a-z0-9-]{1,63}
  std::vector<std::string> argv;  // at least one, the first not empty
  std::vector<std::string> env;   // "NAME=value"
  std::string working_dir = "/";  // absolute
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> groups;
  int stop_signal = 15;
  Limits limits;
  std::chrono::milliseconds timeout{0};     // from the payload's exec; 0 is none
  std::chrono::milliseconds grace{10'000};  // between the stop signal and the kill
  MountPointAttributes mount_points = DefaultMountPointAttributes();
};

// What a host could not enforce, under isolation = "best-effort".
enum Unenforced : uint32_t { kUnenforcedMemory = 1, kUnenforcedPids = 2, kUnenforcedCpu = 4 };

struct Usage {
  std::optional<uint64_t> cpu_micros;  // user and system
  std::optional<uint64_t> memory_peak_bytes;
  std::optional<uint64_t> pids_peak;
};

struct StepTiming {
  std::string step;
  uint32_t micros = 0;
};

struct ExitReport {
  enum class Kind : uint32_t {
    kExited,       // status = exit code
    kSignaled,     // status = signal
    kExecFailed,   // the payload's exec failed: status = errno
    kSetupFailed,  // a step before it failed: `step`, status = errno
    kKilled,       // ended before its status was known (Kill, or pid 1 died)
  };
  Kind kind = Kind::kKilled;
  int32_t status = 0;
  bool timed_out = false;    // the launcher's timer started the stop sequence
  bool stopped = false;      // Stop() did
  bool oom = false;          // memory.events counted an oom_kill
  bool disk_full = false;    // no free block or inode was left in the upper or /tmp at the reap
  bool foreign_abi = false;  // SIGSYS by a system call of another ABI
  std::string step;          // of kSetupFailed
  Usage usage;
  std::vector<StepTiming> timings;
};

}  // namespace caisson::sandbox
