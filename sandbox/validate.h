// SPDX-License-Identifier: Apache-2.0
// What a SandboxSpec must satisfy before anything is done with it. Called by the launcher, which does not trust the
// service; the service may call it too, to refuse early. Pure functions, any thread.
#pragma once

#include <string_view>

#include "base/result.h"
#include "sandbox/spec.h"

namespace caisson::sandbox {

inline constexpr size_t kMaxWorkingDirectoryDepth = 64;  // each component may cost a walk through many links
inline constexpr uint32_t kMinCpuMillis = 10;            // the kernel's smallest cpu.max quota is 1 ms in 100 ms
inline constexpr uint32_t kMaxCpuMillis = 1'000'000;
inline constexpr uint32_t kMaxPids = 4'000'000;  // below the kernel's PID_MAX_LIMIT, 4 Mi
inline constexpr uint64_t kMaxMemoryBytes = 1ULL << 46;
inline constexpr uint64_t kMinDiskBytes = 64 << 10;  // our own files in the upper need some pages

// [a-z0-9-]{1,63}, not beginning or ending with '-': the id is a host name and part of a cgroup's name.
bool IsValidSandboxId(std::string_view id);

// kInvalid, with the field and the reason, for the first rule that `spec` breaks.
Result<void> ValidateSpec(const SandboxSpec& spec);

}  // namespace caisson::sandbox
