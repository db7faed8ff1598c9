// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/child_process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/check.h"
#include "base/io.h"

namespace caisson::sandbox {

Result<Fd> StartChild(const ChildOptions& options, const std::function<void()>& body) {
  int pidfd = -1;
  clone_args arguments{};
  arguments.flags = options.clone_flags | CLONE_PIDFD;
  arguments.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  arguments.exit_signal = SIGCHLD;
  if (options.cgroup >= 0) {
    arguments.flags |= CLONE_INTO_CGROUP;
    arguments.cgroup = static_cast<uint64_t>(options.cgroup);
  }
  const long pid = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid < 0) return FailErrno(errno, "start a process");
  if (pid > 0) return Fd(pidfd);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::setsid();  // so that Ctrl-C on a terminal reaches only the launcher
  body();
  ::_exit(127);
}

Result<ChildEnd> ReapChild(int pidfd) {
  siginfo_t info{};
  int failed;
  do {
    failed = ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd), &info, WEXITED);
  } while (failed != 0 && errno == EINTR);
  if (failed != 0) return FailErrno(errno, "wait for a child");
  return ChildEnd{info.si_code != CLD_EXITED, info.si_status};
}

void KillChild(int pidfd, int signal) { ::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0); }

void EndWithLauncher(int liveness_read, int liveness_write) {
  ::close(liveness_write);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  pollfd launcher{liveness_read, POLLIN, 0};
  if (::poll(&launcher, 1, 0) != 0) ::_exit(127);  // hung up: the launcher died before the line above
}

void SetOomScore(int score) {
  const Fd file(::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  (void)WriteAll(file.get(), std::to_string(score));
}

Result<void> ArrangeDescriptors(std::initializer_list<int> descriptors) {
  const int count = static_cast<int>(descriptors.size());
  // First out of the way of each other, then into place; dup2 clears close-on-exec.
  int moved[16];
  CHECK(count <= 16);
  int place = 0;
  for (const int fd : descriptors) {
    moved[place] = fd < 0 ? -1 : ::fcntl(fd, F_DUPFD_CLOEXEC, count);
    if (fd >= 0 && moved[place] < 0) return FailErrno(errno, "arrange descriptors");
    ++place;
  }
  for (int i = 0; i < count; ++i) {
    if (moved[i] >= 0 && ::dup2(moved[i], i) != i) return FailErrno(errno, "arrange descriptors");
  }
  if (::close_range(static_cast<unsigned>(count), ~0U, CLOSE_RANGE_CLOEXEC) != 0)
    return FailErrno(errno, "mark descriptors close-on-exec");
  return {};
}

}  // namespace caisson::sandbox
