// SPDX-License-Identifier: Apache-2.0
// caisson-init: pid 1 of every sandbox. It fills the payload's file, starts the payload, reaps orphans, passes the
// stop signal on, reports how the payload ended, and ends with it, which makes the kernel kill all that is left.
// No libc, no heap, no file of its own: it runs from a sealed memory file under the job's identity and filter, so
// nothing in it is a secret and nothing it holds gives power. sandbox/init_protocol.h has its command line.
#include <asm/signal.h>
#include <linux/close_range.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/wait.h>
#include <stddef.h>
#include <stdint.h>

#include "sandbox/init/exec_search.h"
#include "sandbox/init_protocol.h"
#include "sandbox/raw_syscall.h"

namespace caisson::sandbox {
namespace {

using raw::Call;

constexpr size_t kCopyBytes = 64 << 10;
constexpr size_t kChildStackBytes = 32 << 10;

alignas(16) char copy_buffer[kCopyBytes];
alignas(16) char child_stack[kChildStackBytes];

[[noreturn]] void Exit(int status) {
  for (;;) Call(__NR_exit_group, status);
}

void Report(InitEvent event, int32_t value, uint64_t peak_rss_kib = 0) {
  const InitRecord record{event, value, peak_rss_kib};
  Call(__NR_write, kStatusDescriptor, &record, sizeof record);
}

int ParseNumber(const char* text) {
  int value = 0;
  for (; *text >= '0' && *text <= '9'; ++text) value = value * 10 + (*text - '0');
  return value;
}

long WriteAll(int fd, const char* data, long size) {
  while (size > 0) {
    const long written = Call(__NR_write, fd, data, size);
    if (written == -EINTR) continue;
    if (written <= 0) return written < 0 ? written : -EIO;
    data += written;
    size -= written;
  }
  return 0;
}

// By offset, so that the position of a descriptor which others share stays where it is. Done here and not by the
// launcher, so that the pages are charged to the job's cgroup.
long CopyPayload() {
  for (long offset = 0;;) {
    const long got = Call(__NR_pread64, kPayloadSourceDescriptor, copy_buffer, sizeof copy_buffer, offset);
    if (got == -EINTR) continue;
    if (got <= 0) return got;
    if (const long error = WriteAll(kPayloadFileDescriptor, copy_buffer, got); error != 0) return error;
    offset += got;
  }
}

struct PayloadStart {
  char** argv;
  char** envp;
  long exec_error;  // written by the child, which shares our memory until its exec
};

[[noreturn]] void RunPayload(PayloadStart& start) {
  Call(__NR_setsid);  // its kill(0, ...) shall not reach pid 1
  const uint64_t none = 0;
  Call(__NR_rt_sigprocmask, SIG_SETMASK, &none, nullptr, sizeof none);
  start.exec_error = ExecuteBySearch(start.argv, start.envp);
  Exit(127);
}

// vfork by hand, on a stack of the child's own: we go on once the child has exec'd or ended, and then know which.
long StartPayload(PayloadStart& start) {
  char* const top = child_stack + sizeof child_stack;
  void (*const run)(PayloadStart&) = RunPayload;
  long result = __NR_clone;
  register long tls asm("r8") = 0;
  register long child_tid asm("r10") = 0;
  register void* function asm("r12") = reinterpret_cast<void*>(run);
  register void* argument asm("r13") = &start;
  asm volatile(
      "syscall\n"
      "test %%rax, %%rax\n"
      "jnz 1f\n"
      "xor %%ebp, %%ebp\n"
      "mov %%r13, %%rdi\n"
      "call *%%r12\n"
      "ud2\n"
      "1:"
      : "+a"(result)
      : "D"(CLONE_VM | CLONE_VFORK | SIGCHLD), "S"(top), "d"(0), "r"(child_tid), "r"(tls), "r"(function), "r"(argument)
      : "rcx", "r11", "memory");
  return result;
}

// Reaps whatever has ended. True once the payload has: then `status` is its wait status.
bool Reap(long payload, int& status, uint64_t& peak_rss_kib) {
  for (;;) {
    int ended_status = 0;
    struct {
      long times[4];
      long max_rss_kib;
      long rest[13];
    } usage{};
    const long pid = Call(__NR_wait4, -1, &ended_status, WNOHANG | __WALL, &usage);
    if (pid == -EINTR) continue;
    if (pid <= 0) return false;
    if (static_cast<uint64_t>(usage.max_rss_kib) > peak_rss_kib)
      peak_rss_kib = static_cast<uint64_t>(usage.max_rss_kib);
    if (pid != payload) continue;
    status = ended_status;
    return true;
  }
}

constexpr uint64_t SignalBit(int signal) { return uint64_t{1} << (signal - 1); }

[[noreturn]] void Main(long argc, char** argv) {
  Call(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);  // the payload may have our uid: it must not look into us
  Call(__NR_fcntl, kStatusDescriptor, F_SETFD, FD_CLOEXEC);
  if (argc <= kInitWords) Exit(2);
  const int stop_signal = ParseNumber(argv[1]);
  if (argv[2][0] == '1') {
    if (const long error = CopyPayload(); error != 0) {
      Report(InitEvent::kCopyFailed, static_cast<int32_t>(-error));
      Exit(1);
    }
  }
  Call(__NR_close_range, kPayloadSourceDescriptor, ~0U, 0);

  // Every signal is blocked, by the launcher before our exec. Blocked and not ignored: such a signal waits for us, even
  // though pid 1 ignores what it has no handler for.
  PayloadStart start{argv + kInitWords, argv + argc + 1, 0};
  const long payload = StartPayload(start);
  if (payload < 0 || start.exec_error != 0) {
    Report(InitEvent::kExecFailed, static_cast<int32_t>(payload < 0 ? -payload : -start.exec_error));
    Exit(127);
  }
  Report(InitEvent::kExecuted, 0);

  const uint64_t waited = SignalBit(SIGCHLD) | SignalBit(SIGTERM);
  int status = 0;
  uint64_t peak_rss_kib = 0;
  while (!Reap(payload, status, peak_rss_kib)) {
    if (Call(__NR_rt_sigtimedwait, &waited, nullptr, nullptr, sizeof waited) == SIGTERM) {
      Call(__NR_kill, payload, stop_signal);
    }
  }
  Report(InitEvent::kEnded, status, peak_rss_kib);
  Exit(0);
}

}  // namespace
}  // namespace caisson::sandbox

extern "C" [[noreturn]] void CaissonInitStart(long* stack) {
  caisson::sandbox::Main(stack[0], reinterpret_cast<char**>(stack + 1));
}

// The kernel enters here with argc at the stack's top; the compiler may call these two for us.
asm(".globl _start\n"
    "_start:\n"
    "xor %ebp, %ebp\n"
    "mov %rsp, %rdi\n"
    "and $-16, %rsp\n"
    "call CaissonInitStart\n"
    "ud2\n");

extern "C" void* memset(void* to, int value, size_t size) {
  for (size_t i = 0; i < size; ++i) static_cast<char*>(to)[i] = static_cast<char>(value);
  return to;
}

extern "C" void* memcpy(void* to, const void* from, size_t size) {
  for (size_t i = 0; i < size; ++i) static_cast<char*>(to)[i] = static_cast<const char*>(from)[i];
  return to;
}
