// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/service_process.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>

#include "base/io.h"
#include "base/log.h"
#include "sandbox/channel.h"
#include "sandbox/launcher/child_process.h"
#include "sandbox/launcher/privileges.h"

namespace caisson::sandbox {
namespace {

constexpr std::chrono::milliseconds kFirstBackoff{100};
constexpr std::chrono::milliseconds kLastBackoff{10'000};
constexpr std::chrono::seconds kProvenAfter{30};  // a service that ran so long begins with the first backoff again

// What of the launcher's environment concerns downloads; everything else stays here.
constexpr const char* kPassedOn[] = {"http_proxy", "https_proxy", "no_proxy",     "HTTP_PROXY",   "HTTPS_PROXY",
                                     "NO_PROXY",   "all_proxy",   "SSL_CERT_DIR", "SSL_CERT_FILE"};

std::vector<std::string> ServiceEnvironment() {
  std::vector<std::string> environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/nonexistent"};
  for (const char* name : kPassedOn) {
    if (const char* value = std::getenv(name)) environment.push_back(std::string(name) + "=" + value);
  }
  return environment;
}

Result<void> EnterHostMounts(int host_mount_namespace) {
  if (::setns(host_mount_namespace, CLONE_NEWNS) != 0) return FailErrno(errno, "return to the host's mounts");
  return {};
}

Result<Fd> CopyOfTree(const std::string& path) {
  Fd tree(static_cast<int>(
      ::syscall(SYS_open_tree, AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW)));
  if (!tree) return FailErrno(errno, "copy the mount of {}", path);
  return tree;
}

Result<void> Attach(const Fd& tree, const char* place) {
  if (::mkdir(place, 0755) != 0) return FailErrno(errno, "make {}", place);
  if (::syscall(SYS_move_mount, tree.get(), "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return FailErrno(errno, "attach {}", place);
  return {};
}

// The host's files as they are, for libraries and certificates, and over /mnt the service's own directories. Their
// copies are taken first, since either may itself lie below /mnt.
Result<void> MakeMounts(const ServiceOptions& options) {
  TRY(EnterHostMounts(options.host_mount_namespace));
  if (::unshare(CLONE_NEWNS) != 0) return FailErrno(errno, "make a mount namespace");
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return FailErrno(errno, "make mounts private");
  const Fd data = TRY(CopyOfTree(options.service_dir));
  const Fd run = TRY(CopyOfTree(options.run_dir));
  constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (::mount("caisson-service", "/mnt", "tmpfs", kFlags, "size=16k,nr_inodes=16,mode=755") != 0)
    return FailErrno(errno, "mount a tmpfs on /mnt");
  TRY(Attach(data, "/mnt/data"));
  TRY(Attach(run, "/mnt/run"));
  if (::mount(nullptr, "/mnt", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | kFlags, nullptr) != 0)
    return FailErrno(errno, "make /mnt read-only");
  if (::chdir("/mnt/data") != 0) return FailErrno(errno, "enter /mnt/data");
  return {};
}

Result<void> Execute(int program) {
  std::vector<std::string> strings = ServiceEnvironment();
  std::vector<char*> environment;
  for (std::string& string : strings) environment.push_back(string.data());
  environment.push_back(nullptr);
  char name[] = "caisson-service";
  char* const arguments[] = {name, nullptr};
  ::execveat(program, "", arguments, environment.data(), AT_EMPTY_PATH);
  return FailErrno(errno, "execute caisson-service");
}

// In the child. Returns only with an error.
Result<void> Become(const ServiceOptions& options, int channel, int settings) {
  TRY(MakeMounts(options));
  SetOomScore(0);
  const Fd nothing = TRY(OpenAt(AT_FDCWD, "/dev/null", O_RDONLY));
  TRY(DropAllPrivileges(options.user.uid, options.user.gid));
  EndWithLauncher(options.liveness_read, options.liveness_write);
  TRY(ArrangeDescriptors({nothing.get(), STDERR_FILENO, STDERR_FILENO, channel, settings}));
  return Execute(options.program.get());
}

// Opens a path of the host, which this process cannot name any more: a child goes there and sends the descriptor.
Result<Fd> OpenOnHost(int host_mount_namespace, const std::string& path) {
  const SocketPair pair = TRY(MakeSocketPair());
  const auto body = [&] {
    if (!EnterHostMounts(host_mount_namespace)) return;
    const Fd file(::open(path.c_str(), O_PATH | O_CLOEXEC));
    const int descriptor = file.get();
    (void)SendPacket(pair.theirs.get(), "x", std::span(&descriptor, file ? 1 : 0), Waiting::kReturn);
  };
  const Fd child = TRY(StartChild({}, body));
  TRY(ReapChild(child.get()));
  std::optional<Packet> packet = TRY(ReceivePacket(pair.ours.get(), Waiting::kReturn));
  if (!packet || packet->descriptors.empty()) return Fail(ErrorCode::kNotFound, "cannot open {}", path);
  return std::move(packet->descriptors[0]);
}

}  // namespace

ServiceProcess::ServiceProcess(EventLoop& loop, ServiceOptions options, Events events)
    : loop_(loop), options_(std::move(options)), events_(std::move(events)) {}

ServiceProcess::~ServiceProcess() {
  loop_.Unwatch(watch_);
  loop_.Cancel(restart_timer_);
  loop_.Cancel(kill_timer_);
  if (!pidfd_) return;
  KillChild(pidfd_.get(), SIGKILL);
  (void)ReapChild(pidfd_.get());
}

Result<void> ServiceProcess::Start() {
  SocketPair channel = TRY(MakeSocketPair());
  const Fd settings = TRY(MakeSealedMemfd("caisson-settings", options_.settings_toml));
  const auto body = [&] {
    const Result<void> failed = Become(options_, channel.theirs.get(), settings.get());
    LogError("service_not_started", {{"error", failed.error().message}});
  };
  pidfd_ = TRY_IN("start the service", StartChild({}, body));
  started_ = EventLoop::Clock::now();
  watch_ = loop_.Watch(pidfd_.get(), EPOLLIN, [this](uint32_t) { OnDeath(); });
  events_.on_channel(std::move(channel.ours));
  return {};
}

void ServiceProcess::OnDeath() {
  loop_.Unwatch(watch_);
  loop_.Cancel(kill_timer_);
  const Result<ChildEnd> end = ReapChild(pidfd_.get());
  pidfd_.reset();
  events_.on_gone();
  if (ending_) return events_.on_ended();
  if (std::exchange(replacing_, false)) {
    TakeProgramAtPath();
    backoff_ = std::chrono::milliseconds(0);
  } else {
    LogError("service_died", {{"signaled", end && end->signaled}, {"status", end ? end->status : -1}});
    if (EventLoop::Clock::now() - started_ > kProvenAfter) backoff_ = std::chrono::milliseconds(0);
    backoff_ = std::clamp(backoff_ * 2, kFirstBackoff, kLastBackoff);
  }
  StartLater();
}

void ServiceProcess::StartLater() {
  restart_timer_ = loop_.After(backoff_, [this] {
    restart_timer_ = 0;
    if (const Result<void> started = Start(); !started) {
      LogError("service_not_started", {{"error", started.error().message}});
      backoff_ = std::clamp(backoff_ * 2, kFirstBackoff, kLastBackoff);
      StartLater();
    }
  });
}

void ServiceProcess::TakeProgramAtPath() {
  Result<Fd> program = OpenOnHost(options_.host_mount_namespace, options_.program_path);
  if (program) {
    options_.program = std::move(*program);
  } else {
    LogError("service_not_replaced", {{"error", program.error().message}, {"action", "the old program is started"}});
  }
}

void ServiceProcess::Replace() {
  if (ending_ || replacing_) return;
  if (!pidfd_) return TakeProgramAtPath();  // between two: the next one is the new program already
  replacing_ = true;
  KillChild(pidfd_.get(), SIGHUP);
}

void ServiceProcess::End() {
  const bool first = !std::exchange(ending_, true);
  loop_.Cancel(restart_timer_);
  if (!pidfd_) {
    if (first) events_.on_ended();
    return;
  }
  KillChild(pidfd_.get(), SIGTERM);
  if (!first) return;
  kill_timer_ = loop_.After(options_.end_deadline, [this] {
    kill_timer_ = 0;
    LogError("service_killed", {{"error", "it did not end in time"}});
    if (pidfd_) KillChild(pidfd_.get(), SIGKILL);
  });
}

}  // namespace caisson::sandbox
