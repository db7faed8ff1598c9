// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/bare_clone.h"

#include <asm/unistd.h>
#include <linux/sched.h>
#include <signal.h>

#include <cerrno>

#include "sandbox/raw_syscall.h"

namespace caisson::sandbox {
namespace {

// clone3, and in the child the call of `body` on the new stack. By hand, since the child must not come back through
// a frame that it shares with its parent.
CAISSON_BARE __attribute__((noinline)) long Clone3(clone_args* arguments, void (*body)(void*), void* argument) {
  long result = __NR_clone3;
  register void* function asm("r12") = reinterpret_cast<void*>(body);
  register void* parameter asm("r13") = argument;
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
      : "D"(arguments), "S"(sizeof *arguments), "r"(function), "r"(parameter)
      : "rcx", "r11", "memory");
  return result;
}

}  // namespace

Result<BareChild> StartBareChild(const BareCloneOptions& options, std::span<char> stack, void (*body)(void*),
                                 void* argument) {
  int pidfd = -1;
  clone_args arguments{};
  arguments.flags = options.flags | CLONE_PIDFD | CLONE_CLEAR_SIGHAND | (options.cgroup >= 0 ? CLONE_INTO_CGROUP : 0);
  arguments.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  arguments.exit_signal = SIGCHLD;
  arguments.stack = reinterpret_cast<uint64_t>(stack.data());
  arguments.stack_size = stack.size();
  if (options.cgroup >= 0) arguments.cgroup = static_cast<uint64_t>(options.cgroup);

  // A handler of ours must not run in the child on our memory.
  sigset_t all, before;
  sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, &before);
  const long pid = Clone3(&arguments, body, argument);
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return FailErrno(static_cast<int>(-pid), "clone a process");
  return BareChild{static_cast<pid_t>(pid), Fd(pidfd)};
}

}  // namespace caisson::sandbox
