// SPDX-License-Identifier: Apache-2.0
// The compiled filter against its profile and against what is written of it: every number, and the arguments of the
// calls that are judged by them. The programs are run by a small interpreter of classic BPF.
#include "sandbox/launcher/seccomp_filter.h"

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "sandbox/launcher/seccomp_profile.h"

namespace caisson::sandbox {
namespace {

constexpr uint32_t kArchI386 = AUDIT_ARCH_I386;
constexpr uint32_t kX32Bit = 0x40000000;

uint32_t RunProgram(const std::vector<sock_filter>& program, const seccomp_data& data) {
  uint32_t accumulator = 0;
  for (size_t at = 0; at < program.size(); ++at) {
    const sock_filter& op = program[at];
    switch (op.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        std::memcpy(&accumulator, reinterpret_cast<const char*>(&data) + op.k, sizeof accumulator);
        break;
      case BPF_ALU | BPF_AND | BPF_K: accumulator &= op.k; break;
      case BPF_JMP | BPF_JA: at += op.k; break;
      case BPF_JMP | BPF_JEQ | BPF_K: at += accumulator == op.k ? op.jt : op.jf; break;
      case BPF_JMP | BPF_JGT | BPF_K: at += accumulator > op.k ? op.jt : op.jf; break;
      case BPF_JMP | BPF_JGE | BPF_K: at += accumulator >= op.k ? op.jt : op.jf; break;
      case BPF_RET | BPF_K: return op.k;
      default: ADD_FAILURE() << "instruction " << op.code; return 0;
    }
  }
  ADD_FAILURE() << "the program has no end";
  return 0;
}

class SeccompFilterTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    Result<SeccompFilter> compiled = SeccompFilter::Compile();
    ASSERT_TRUE(compiled.has_value()) << compiled.error().message;
    filter_ = new SeccompFilter(*std::move(compiled));
  }
  static void TearDownTestSuite() {
    delete filter_;
    filter_ = nullptr;
  }

  // As the kernel does: every program, the strictest answer.
  static uint32_t Judge(uint32_t number, std::vector<uint64_t> arguments = {}, uint32_t arch = AUDIT_ARCH_X86_64) {
    seccomp_data data{};
    data.nr = static_cast<int>(number);
    data.arch = arch;
    for (size_t i = 0; i < arguments.size(); ++i) data.args[i] = arguments[i];
    uint32_t strictest = SECCOMP_RET_ALLOW;
    for (const auto& program : filter_->programs()) {
      const uint32_t answer = RunProgram(program, data);
      if (static_cast<int32_t>(answer & SECCOMP_RET_ACTION_FULL) <
          static_cast<int32_t>(strictest & SECCOMP_RET_ACTION_FULL)) {
        strictest = answer;
      }
    }
    return strictest;
  }
  static uint32_t Number(const std::string& name) {
    for (const SyscallNumber& newer : NewerSyscallNumbers()) {
      if (name == newer.name) return static_cast<uint32_t>(newer.number);
    }
    return static_cast<uint32_t>(seccomp_syscall_resolve_name(name.c_str()));
  }
  static uint32_t Errno(int error) { return SECCOMP_RET_ERRNO | static_cast<uint32_t>(error); }
  static uint32_t Call(const std::string& name, std::vector<uint64_t> arguments = {}) {
    return Judge(Number(name), std::move(arguments));
  }

  static SeccompFilter* filter_;
};
SeccompFilter* SeccompFilterTest::filter_ = nullptr;

std::map<uint32_t, Verdict> VerdictsByNumber() {
  std::map<uint32_t, Verdict> verdicts;
  for (const SyscallGroup& group : SyscallGroups()) {
    std::istringstream names(group.names);
    for (std::string name; names >> name;) {
      int number = seccomp_syscall_resolve_name(name.c_str());
      for (const SyscallNumber& newer : NewerSyscallNumbers()) {
        if (name == newer.name) number = newer.number;
      }
      EXPECT_GE(number, 0) << name;
      EXPECT_TRUE(verdicts.emplace(static_cast<uint32_t>(number), group.verdict).second) << name << " is judged twice";
    }
  }
  return verdicts;
}

TEST_F(SeccompFilterTest, EveryCallOfTheKernelsHeaderIsJudged) {
  const std::map<uint32_t, Verdict> verdicts = VerdictsByNumber();
  std::ifstream header("/usr/include/x86_64-linux-gnu/asm/unistd_64.h");
  ASSERT_TRUE(header.is_open());
  int seen = 0;
  for (std::string word, name; header >> word;) {
    if (word != "#define") continue;
    uint32_t number = 0;
    if (header >> name && name.rfind("__NR_", 0) == 0 && header >> number) {
      ++seen;
      EXPECT_TRUE(verdicts.contains(number)) << name;
    }
  }
  EXPECT_GT(seen, 350);
}

TEST_F(SeccompFilterTest, EveryNumberUpToTheNewestIsJudgedOrAHole) {
  const std::map<uint32_t, Verdict> verdicts = VerdictsByNumber();
  EXPECT_EQ(verdicts.rbegin()->first, static_cast<uint32_t>(kNewestJudgedSyscall));
  for (uint32_t number = 0; number <= kNewestJudgedSyscall; ++number) {
    const bool hole = number >= 337 && number <= 423;  // the kernel's table jumps there
    EXPECT_NE(verdicts.contains(number), hole) << number;
  }
}

TEST_F(SeccompFilterTest, EveryNumberGetsItsVerdict) {
  const std::map<uint32_t, Verdict> verdicts = VerdictsByNumber();
  std::set<uint32_t> by_arguments;
  for (const ArgumentRule& rule : ArgumentRules()) by_arguments.insert(Number(rule.name));
  for (uint32_t number = 0; number < 2000; ++number) {
    if (by_arguments.contains(number)) continue;
    const auto verdict = verdicts.find(number);
    uint32_t expected = Errno(ENOSYS);
    if (verdict != verdicts.end()) {
      expected = verdict->second.action == Verdict::Action::kAllow ? SECCOMP_RET_ALLOW : Errno(verdict->second.error);
    }
    EXPECT_EQ(Judge(number), expected) << number;
  }
  EXPECT_EQ(Judge(0xffffffff), Errno(ENOSYS));
}

TEST_F(SeccompFilterTest, ForeignAbiKillsTheProcess) {
  for (uint32_t number = 0; number < 600; ++number) {
    EXPECT_EQ(Judge(number, {}, kArchI386), SECCOMP_RET_KILL_PROCESS) << number;
    EXPECT_EQ(Judge(number, {}, AUDIT_ARCH_AARCH64), SECCOMP_RET_KILL_PROCESS) << number;
    EXPECT_EQ(Judge(number | kX32Bit), SECCOMP_RET_KILL_PROCESS) << number;
  }
}

TEST_F(SeccompFilterTest, KnownRefusals) {
  for (const char* name :
       {"mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "fsopen", "open_tree_attr", "ptrace", "bpf",
        "perf_event_open", "pidfd_getfd", "kcmp", "open_by_handle_at", "vmsplice"}) {
    EXPECT_EQ(Call(name), Errno(EPERM)) << name;
  }
  for (const char* name : {"clone3", "io_uring_setup", "userfaultfd", "fanotify_init", "memfd_secret", "io_setup",
                           "keyctl", "add_key", "request_key", "statmount", "listmount", "mincore"}) {
    EXPECT_EQ(Call(name), Errno(ENOSYS)) << name;
  }
  EXPECT_EQ(Call("name_to_handle_at"), Errno(EOPNOTSUPP));
  EXPECT_EQ(Call("sync"), Errno(0));
  for (const char* name : {"uretprobe", "rseq", "openat2", "statx", "faccessat2", "seccomp", "mseal", "syncfs"}) {
    EXPECT_EQ(Call(name), SECCOMP_RET_ALLOW) << name;
  }
}

TEST_F(SeccompFilterTest, CloneMakesNoNamespace) {
  EXPECT_EQ(Call("clone", {17}), SECCOMP_RET_ALLOW);
  EXPECT_EQ(Call("clone", {0x3d0f00}), SECCOMP_RET_ALLOW);  // pthread_create's
  for (const uint64_t flag : {0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000}) {
    EXPECT_EQ(Call("clone", {flag | 17}), Errno(EPERM)) << flag;
    EXPECT_EQ(Call("clone", {(1ULL << 40) | flag}), Errno(EPERM)) << flag;
  }
}

TEST_F(SeccompFilterTest, SocketsByFamilyTypeAndProtocol) {
  for (uint64_t family = 0; family < 50; ++family) {
    for (uint64_t type = 1; type < 12; ++type) {
      for (const uint64_t protocol : {0, 1, 6, 12, 17, 58, 132, 255, 262}) {
        uint32_t expected = Errno(EAFNOSUPPORT);
        if (family == AF_UNIX) expected = SECCOMP_RET_ALLOW;
        if (family == AF_NETLINK) expected = protocol == 0 ? SECCOMP_RET_ALLOW : Errno(EPROTONOSUPPORT);
        if (family == AF_PACKET) expected = Errno(EPERM);
        if (family == AF_INET || family == AF_INET6) {
          const bool fits = (type == SOCK_STREAM && (protocol == 0 || protocol == 6)) ||
                            (type == SOCK_DGRAM && (protocol == 0 || protocol == 17));
          const bool raw = type == SOCK_RAW || (family == AF_INET && type == SOCK_PACKET);
          expected = fits ? SECCOMP_RET_ALLOW : raw ? Errno(EPERM) : Errno(EPROTONOSUPPORT);
        }
        // Flags in the type, and rubbish in the upper halves, which the kernel does not look at, change nothing.
        EXPECT_EQ(Call("socket", {family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol}), expected)
            << family << " " << type << " " << protocol;
        EXPECT_EQ(Call("socket", {family | 1ULL << 32, type | 1ULL << 33, protocol | 1ULL << 63}), expected);
      }
    }
  }
  EXPECT_EQ(Call("socketpair", {AF_UNIX, SOCK_STREAM}), SECCOMP_RET_ALLOW);
  EXPECT_EQ(Call("socketpair", {AF_TIPC, SOCK_STREAM}), Errno(EAFNOSUPPORT));
}

TEST_F(SeccompFilterTest, TerminalAndNamespaceIoctlsAreRefusedWhateverTheUpperHalf) {
  for (const uint64_t request : {0x5412, 0x541c, 0x541d, 0x5423, 0xb701, 0xb702, 0xb704, 0x40806685}) {
    EXPECT_EQ(Call("ioctl", {0, request}), Errno(EPERM)) << request;
    for (int bit = 32; bit < 64; ++bit) EXPECT_EQ(Call("ioctl", {0, request | 1ULL << bit}), Errno(EPERM));
  }
  for (const uint64_t request : {TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIOCLEX}) {
    EXPECT_EQ(Call("ioctl", {0, request}), SECCOMP_RET_ALLOW) << request;
  }
}

TEST_F(SeccompFilterTest, PersonalityIsAskedButNotChanged) {
  EXPECT_EQ(Call("personality", {0}), SECCOMP_RET_ALLOW);
  EXPECT_EQ(Call("personality", {0xffffffff}), SECCOMP_RET_ALLOW);
  EXPECT_EQ(Call("personality", {~0ULL}), SECCOMP_RET_ALLOW);
  EXPECT_EQ(Call("personality", {0x0040000}), Errno(EPERM));  // ADDR_NO_RANDOMIZE
  EXPECT_EQ(Call("personality", {0x0400000}), Errno(EPERM));  // READ_IMPLIES_EXEC
  EXPECT_EQ(Call("personality", {0x0040000 | 1ULL << 32}), Errno(EPERM));
}

TEST_F(SeccompFilterTest, CoreLimitIsReadButNotChanged) {
  EXPECT_EQ(Call("setrlimit", {4, 0x1000}), Errno(0));
  EXPECT_EQ(Call("setrlimit", {7, 0x1000}), SECCOMP_RET_ALLOW);
  EXPECT_EQ(Call("prlimit64", {0, 4, 0, 0x1000}), SECCOMP_RET_ALLOW);
  EXPECT_EQ(Call("prlimit64", {0, 4, 0x1000, 0}), Errno(0));
  EXPECT_EQ(Call("prlimit64", {0, 4, 0x7f0000000000, 0}), Errno(0));  // a pointer whose lower half is 0
  EXPECT_EQ(Call("prlimit64", {0, 7, 0x1000, 0}), SECCOMP_RET_ALLOW);
}

TEST_F(SeccompFilterTest, NodesAreFilesFifosAndSocketsOnly) {
  for (const auto& [name, first] : {std::pair{"mknod", 1}, {"mknodat", 2}}) {
    for (const uint64_t type : {0U, 0100000U, 0010000U, 0140000U, 0020000U, 0060000U, 0040000U, 0120000U}) {
      std::vector<uint64_t> arguments(static_cast<size_t>(first), 0);
      arguments.push_back(type | 0644);
      const bool allowed = type == 0 || type == 0100000 || type == 0010000 || type == 0140000;
      EXPECT_EQ(Call(name, arguments), allowed ? SECCOMP_RET_ALLOW : Errno(EPERM)) << name << type;
    }
  }
}

TEST_F(SeccompFilterTest, OtherArgumentRules) {
  EXPECT_EQ(Call("setsockopt", {3, 6, 31}), Errno(ENOPROTOOPT));
  EXPECT_EQ(Call("setsockopt", {3, 6, 19}), Errno(ENOPROTOOPT));
  EXPECT_EQ(Call("setsockopt", {3, 17, 100}), Errno(ENOPROTOOPT));
  EXPECT_EQ(Call("setsockopt", {3, 6, 1}), SECCOMP_RET_ALLOW);
  EXPECT_EQ(Call("setsockopt", {3, 1, 31}), SECCOMP_RET_ALLOW);
  for (const uint64_t option : {35, 57, 62}) EXPECT_EQ(Call("prctl", {option}), Errno(EPERM));
  for (const uint64_t option : {1, 4, 15, 22, 38, 0x53564d41}) EXPECT_EQ(Call("prctl", {option}), SECCOMP_RET_ALLOW);
  EXPECT_EQ(Call("memfd_create", {0, MFD_CLOEXEC | MFD_ALLOW_SEALING}), SECCOMP_RET_ALLOW);
  EXPECT_EQ(Call("memfd_create", {0, MFD_HUGETLB}), Errno(EPERM));
  EXPECT_EQ(Call("shmget", {0, 4096, 01600}), SECCOMP_RET_ALLOW);
  EXPECT_EQ(Call("shmget", {0, 4096, 04600}), Errno(EPERM));
  EXPECT_EQ(Call("seccomp", {1, 0}), SECCOMP_RET_ALLOW);
  EXPECT_EQ(Call("seccomp", {1, 8}), Errno(EPERM));
}

}  // namespace
}  // namespace caisson::sandbox
