// SPDX-License-Identifier: Apache-2.0
// The job's system call policy as data: what is allowed, what is refused and how, and why. Deny by default:
//   - a number that is not named here (a newer kernel's, or a hole) answers ENOSYS, since a newer libc that probes must
//     hear "absent" and fall back, not "forbidden" and give up;
//   - a known call that a job may not make answers EPERM, never a kill: jobs must not die of a probe;
//   - a call of another ABI (int 0x80, x32) kills the process: these rules would not apply to it.
// The base is the allow-list that container engines have settled on, less what reaches beyond the job: see the
// reasons. Knowingly left open: mincore's information by other means (preadv2 with RWF_NOWAIT, timing).
#pragma once

#include <cstdint>
#include <span>

namespace caisson::sandbox {

inline constexpr int kNewestJudgedSyscall = 469;  // file_setattr, Linux 6.17

struct Verdict {
  enum class Action : uint8_t { kAllow, kErrno };
  Action action = Action::kAllow;
  uint16_t error = 0;  // of kErrno; 0 answers success without effect
};

// Names, separated by blanks, that share a verdict and its reason.
struct SyscallGroup {
  Verdict verdict;
  const char* reason;
  const char* names;
};
std::span<const SyscallGroup> SyscallGroups();

// Numbers of calls that libseccomp 2.5 does not know by name: there they would be silently absent.
struct SyscallNumber {
  const char* name;
  int number;
};
std::span<const SyscallNumber> NewerSyscallNumbers();

// A test of the lower (or upper) half of an argument. The kernel takes int arguments as 32 bits: a comparison of all
// 64 would let TIOCSTI | 1 << 32 pass, and refuse personality(-1).
struct ArgumentTest {
  uint8_t argument;
  uint32_t mask;
  uint32_t value;
  bool upper_half = false;
};

// Of the rules for a call the first whose tests all hold decides; a call that none fits is allowed.
struct ArgumentRule {
  const char* name;
  Verdict verdict;
  const char* reason;
  uint8_t test_count;
  ArgumentTest tests[3];
};
std::span<const ArgumentRule> ArgumentRules();

}  // namespace caisson::sandbox
