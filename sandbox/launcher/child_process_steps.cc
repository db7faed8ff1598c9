// SPDX-License-Identifier: Apache-2.0
// Steps of a sandbox's first process that make it the process it is to be: see child.h for what they may do.
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cerrno>

#include "sandbox/init_protocol.h"
#include "sandbox/launcher/child.h"
#include "sandbox/launcher/upper.h"
#include "sandbox/raw_syscall.h"

namespace caisson::sandbox {
namespace {

using raw::Call;

constexpr char kOomScore[] = "500";                // of all that runs on the host, jobs go first
constexpr int kIoprioOfProcess = 1;                // IOPRIO_WHO_PROCESS
constexpr int kIoprioBestEffort4 = (2 << 13) | 4;  // IOPRIO_CLASS_BE
constexpr long kTimerSlackNanos = 50'000;
constexpr int kClearOfPlaces = 64;  // no descriptor there is one of the few that pid 1 gets

CAISSON_BARE long Length(const char* text) {
  long length = 0;
  while (text[length] != '\0') ++length;
  return length;
}

// Opens a path all of whose directories the launcher made in the upper.
CAISSON_BARE long OpenOurs(const char* path, uint64_t flags) {
  open_how how{};
  how.flags = flags | O_CLOEXEC | O_NOCTTY;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS;
  return Call(__NR_openat2, AT_FDCWD, path, &how, sizeof how);
}

// 0 or a negative errno, for calls that return a descriptor or a count.
CAISSON_BARE long ErrorOf(long result) { return result < 0 ? result : 0; }

}  // namespace

CAISSON_BARE long WatchParent(ChildContext&) {
  if (const long error = Call(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); error != 0) return error;
  Call(__NR_umask, 022);
  return ErrorOf(Call(__NR_setsid));  // no terminal of the launcher's
}

// Raising is always allowed. With CAP_SYS_RESOURCE the kernel takes it as the floor too, below which the job cannot
// go; a launcher without it has said so in the doctor's table.
CAISSON_BARE long RaiseOomScore(ChildContext& context) {
  const long file = Call(__NR_openat, context.host_proc, "self/oom_score_adj", O_WRONLY | O_CLOEXEC, 0);
  if (file < 0) return file;
  const long written = Call(__NR_write, file, kOomScore, sizeof kOomScore - 1);
  Call(__NR_close, file);
  // A launcher that runs at a higher score itself, and may not lower one, leaves it there.
  return written == -EACCES ? 0 : ErrorOf(written);
}

// Whatever the launcher was started with. What it may not raise stays: then its operator has lowered it on purpose.
CAISSON_BARE long ResetScheduling(ChildContext&) {
  const sched_param normal{};
  const uint64_t every_processor[16] = {~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL,
                                        ~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL, ~0ULL};
  const long results[] = {Call(__NR_sched_setscheduler, 0, SCHED_OTHER, &normal),
                          Call(__NR_setpriority, PRIO_PROCESS, 0, 0),
                          Call(__NR_ioprio_set, kIoprioOfProcess, 0, kIoprioBestEffort4),
                          Call(__NR_sched_setaffinity, 0, sizeof every_processor, every_processor),
                          Call(__NR_prctl, PR_SET_TIMERSLACK, kTimerSlackNanos, 0, 0, 0)};
  for (const long result : results) {
    if (result < 0 && result != -EPERM && result != -EACCES) return result;
  }
  return 0;
}

CAISSON_BARE long AttachOutput(ChildContext& context) {
  if (const long error = ErrorOf(Call(__NR_dup3, context.stdout_pipe, 1, 0)); error != 0) return error;
  if (const long error = ErrorOf(Call(__NR_dup3, context.stderr_pipe, 2, 0)); error != 0) return error;
  return Call(__NR_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC);
}

CAISSON_BARE long SetHostName(ChildContext& context) {
  if (const long error = Call(__NR_sethostname, context.host_name, Length(context.host_name)); error != 0) return error;
  constexpr char kNoDomain[] = "(none)";
  return Call(__NR_setdomainname, kNoDomain, sizeof kNoDomain - 1);
}

CAISSON_BARE long BringLoopbackUp(ChildContext&) {
  const long socket = Call(__NR_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return socket;
  ifreq request{};
  request.ifr_name[0] = 'l';
  request.ifr_name[1] = 'o';
  request.ifr_flags = IFF_UP;
  const long error = Call(__NR_ioctl, socket, SIOCSIFFLAGS, &request);
  Call(__NR_close, socket);
  return error;
}

// The payload's file, as the job sees it, or our own /dev/null: never a file of the host.
CAISSON_BARE long OpenStandardInput(ChildContext& context) {
  const bool payload = context.payload_source >= 0;
  const long input = OpenOurs(payload ? kPayloadPath : "dev/null", O_RDONLY);
  if (input < 0) return input;
  if (payload) {
    context.payload_file = static_cast<int>(OpenOurs(kPayloadPath, O_WRONLY));
    if (context.payload_file < 0) return context.payload_file;
  }
  const long error = ErrorOf(Call(__NR_dup3, input, 0, 0));
  Call(__NR_close, input);
  return error;
}

// The limit of descriptors is only made room for: until the exec our table is a copy of the launcher's, which may hold
// more than a job is to have, and a lower limit would refuse the steps below every descriptor.
CAISSON_BARE long SetResourceLimits(ChildContext& context) {
  rlimit descriptors{};
  if (const long error = Call(__NR_prlimit64, 0, RLIMIT_NOFILE, nullptr, &descriptors); error != 0) return error;
  const rlim_t wanted = context.limits[RLIMIT_NOFILE].rlim_max;
  if (descriptors.rlim_max < wanted) descriptors.rlim_max = wanted;
  descriptors.rlim_cur = descriptors.rlim_max;
  for (unsigned resource = 0; resource < kResourceLimits; ++resource) {
    const rlimit* const limit = resource == RLIMIT_NOFILE ? &descriptors : &context.limits[resource];
    const long error = Call(__NR_prlimit64, 0, resource, limit, nullptr);
    if (error != 0) return error;
  }
  return 0;
}

// The change of ids has cleared the parent-death signal. A launcher that died before this second call is noticed by
// the liveness pipe (getppid() is 0 in a pid namespace of its own); our copy of its write end would keep it silent.
CAISSON_BARE long WatchLauncher(ChildContext& context) {
  if (const long error = Call(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); error != 0) return error;
  Call(__NR_close, context.liveness_write);
  pollfd launcher{context.liveness_read, 0, 0};
  const long ready = Call(__NR_poll, &launcher, 1, 0);
  if (ready < 0) return ready;
  return (launcher.revents & POLLHUP) != 0 ? -ESRCH : 0;
}

// What pid 1 gets goes to the places that it expects; the rest is closed by its exec. The second close_range is the
// one that counts, since steps after the first have opened descriptors.
CAISSON_BARE long ArrangeChildDescriptors(ChildContext& context) {
  // All stay blocked through the exec: pid 1 would lose a stop signal that came before it has blocked it itself. It
  // gives the payload an empty mask.
  const uint64_t all_signals = ~uint64_t{0};
  if (const long error = Call(__NR_rt_sigprocmask, SIG_SETMASK, &all_signals, nullptr, sizeof all_signals);
      error != 0) {
    return error;
  }
  int* const moved[] = {&context.status_pipe, &context.payload_source, &context.payload_file, &context.init_program};
  for (int* descriptor : moved) {  // away from the places, which may be taken by one of them
    if (*descriptor < 0) continue;
    const long copy = Call(__NR_fcntl, *descriptor, F_DUPFD_CLOEXEC, kClearOfPlaces);
    if (copy < 0) return copy;
    *descriptor = static_cast<int>(copy);
  }
  const struct {
    int from;
    int to;
  } places[] = {{context.status_pipe, kStatusDescriptor},
                {context.payload_source, kPayloadSourceDescriptor},
                {context.payload_file, kPayloadFileDescriptor}};
  for (const auto& place : places) {
    if (place.from < 0) continue;  // what is at that number is close-on-exec since the first close_range
    if (const long error = ErrorOf(Call(__NR_dup3, place.from, place.to, 0)); error != 0) return error;
  }
  return Call(__NR_close_range, kFirstForeignDescriptor, ~0U, CLOSE_RANGE_CLOEXEC);
}

CAISSON_BARE long LimitDescriptors(ChildContext& context) {
  return Call(__NR_prlimit64, 0, RLIMIT_NOFILE, &context.limits[RLIMIT_NOFILE], nullptr);
}

CAISSON_BARE long InstallSeccomp(ChildContext& context) {
  for (const sock_fprog& filter : context.filters) {
    const long error = Call(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter);
    if (error != 0) return error;
  }
  return 0;
}

// Of our own program, never of a file of the image: the launcher waits for this exec, and a FIFO there would hold it.
CAISSON_BARE long ExecInit(ChildContext& context) {
  return Call(__NR_execveat, context.init_program, "", context.argv, context.envp, AT_EMPTY_PATH);
}

}  // namespace caisson::sandbox
