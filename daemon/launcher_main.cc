// SPDX-License-Identifier: Apache-2.0
// caissond, the launcher: root, one thread, no network, no parser but that of its own configuration. It makes the
// sandboxes, owns the layer tree, and keeps the service running. What this file does in order is its documentation.
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <map>

#include "base/check.h"
#include "base/io.h"
#include "base/log.h"
#include "daemon/settings/secret_files.h"
#include "daemon/settings/settings.h"
#include "sandbox/launcher/data_directory.h"
#include "sandbox/launcher/doctor.h"
#include "sandbox/launcher/environment.h"
#include "sandbox/launcher/event_loop.h"
#include "sandbox/launcher/privileges.h"
#include "sandbox/launcher/server.h"
#include "sandbox/launcher/service_process.h"

namespace caisson::daemon {
namespace {

constexpr int kUsageError = 2;
constexpr std::chrono::seconds kBeyondDrain{20};  // for the stop sequences after the service's drain

// ---- Small parts ------------------------------------------------------------------------------------------------

// Beside this program in a build directory, else where an installation has it.
Result<std::string> FindProgram(const std::string& name) {
  char self[4096];
  const ssize_t length = ::readlink("/proc/self/exe", self, sizeof self);
  if (length <= 0) return FailErrno(errno, "read /proc/self/exe");
  std::string directory(self, static_cast<size_t>(length));
  directory.resize(directory.rfind('/'));
  for (const std::string& path : {directory + "/" + name, directory + "/../libexec/caisson/" + name}) {
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return Fail(ErrorCode::kNotFound, "{} is neither in {} nor in {}/../libexec/caisson", name, directory, directory);
}

struct Program {
  std::string path;
  Fd fd;
};
Result<Program> OpenProgram(const std::string& name) {
  const std::string path = TRY(FindProgram(name));
  return Program{path, TRY(OpenAt(AT_FDCWD, path, O_PATH))};
}

// Its grants and paths are root's word: nobody else may have a hand in it.
Result<void> CheckConfigOwner(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return {};  // its absence was judged when it was read
  const bool others_write = (info.st_mode & S_IWOTH) != 0 || ((info.st_mode & S_IWGRP) != 0 && info.st_gid != 0);
  if (info.st_uid == 0 && !others_write) return {};
  return Fail(ErrorCode::kDenied,
              "the configuration {} must belong to root and be writable by nobody else: chown root:root {} && "
              "chmod 644 {}",
              path, path, path);
}

// Whatever the caller left open is nobody's business here, and a job's least of all.
void CloseInherited() { ::close_range(STDERR_FILENO + 1, ~0U, 0); }

// Each sandbox holds a dozen descriptors here.
void RaiseOpenFiles() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

// The launcher is the last that the kernel should kill for memory: every job would go with it.
void LowerOomScore() {
  const Result<Fd> file = OpenAt(AT_FDCWD, "/proc/self/oom_score_adj", O_WRONLY);
  if (file) (void)WriteAll(file->get(), "-900");  // refused without CAP_SYS_RESOURCE, as the doctor says
}

Result<Fd> BlockSignals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&signals, signal);
  if (::sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) return FailErrno(errno, "block signals");
  ::signal(SIGPIPE, SIG_IGN);
  Fd fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return FailErrno(errno, "make a signal descriptor");
  return fd;
}

sandbox::DoctorOptions DoctorOptionsFor(const Settings& settings) {
  return {settings.data_dir, settings.service_user, settings.isolation};
}

// ---- The launcher -----------------------------------------------------------------------------------------------

// Everything made before the loop runs, in the order of its making; destroyed in reverse.
struct Parts {
  sandbox::ServiceUser user;
  sandbox::DataDirectory data;
  Program service;
  Program worker;
  Fd signals;
  sandbox::HostReport host;
  sandbox::Environment environment;
};

// A host on which no job could run is refused now, not at the first job.
Result<void> CheckHost(const sandbox::HostReport& host) {
  const sandbox::Check* obstacle = host.FirstObstacle();
  if (obstacle == nullptr) return {};
  return Fail(ErrorCode::kUnsupported, "{}: {}; to mend it: {}", obstacle->name, obstacle->detail, obstacle->fix);
}

Result<sandbox::EnvironmentOptions> EnvironmentOptionsFor(const Settings& settings, const std::string& instance) {
  sandbox::EnvironmentOptions options;
  options.data_dir = settings.data_dir;
  options.init_program = TRY(FindProgram("caisson-init"));
  options.cgroup_parent = settings.cgroup_parent;
  options.instance = instance;
  options.best_effort = settings.best_effort();
  return options;
}

Result<Parts> Prepare(Settings& settings) {
  if (::geteuid() != 0)
    return Fail(ErrorCode::kDenied,
                "caissond needs root: it makes namespaces, mounts and cgroups for each job (try sudo)");
  CloseInherited();
  TRY(CheckConfigOwner(settings.config));
  Parts parts;
  parts.user = TRY(sandbox::ResolveServiceUser(settings.service_user));
  parts.data = TRY(sandbox::DataDirectory::Open(settings.data_dir, parts.user));  // and its lock: one launcher each
  TRY(ReadSecretFiles(settings));
  TRY(sandbox::MakeRunDirectory(settings.run_dir, parts.user));
  parts.host = sandbox::ExamineHost(DoctorOptionsFor(settings));
  TRY(CheckHost(parts.host));
  parts.service = TRY(OpenProgram("caisson-service"));
  parts.worker = TRY(OpenProgram("caisson-worker"));
  parts.signals = TRY(BlockSignals());
  RaiseOpenFiles();
  LowerOomScore();
  CHECK(sandbox::IsSingleThreaded());  // a clone3 beside other threads can deadlock in the child
  // The next line leaves the host's mounts: from here on, no path of the host can be named.
  parts.environment = TRY(sandbox::Environment::Prepare(TRY(EnvironmentOptionsFor(settings, parts.data.instance()))));
  TRY(sandbox::KeepLauncherCapabilities());
  sandbox::ExamineCgroups(parts.environment.cgroups, parts.host);
  parts.environment.cgroups.Sweep();  // of a launcher that was killed; only what bears our mark
  return parts;
}

sandbox::ServiceOptions ServiceOptionsFor(const Settings& settings, Parts& parts) {
  sandbox::ServiceOptions options;
  options.program_path = parts.service.path;
  options.program = std::move(parts.service.fd);
  options.service_dir = parts.data.service_dir();
  options.run_dir = settings.run_dir;
  options.user = parts.user;
  options.settings_toml = ToToml(settings);
  options.host_mount_namespace = parts.environment.root.host_mount_namespace.get();
  options.liveness_read = parts.environment.liveness_read.get();
  options.liveness_write = parts.environment.liveness_write.get();
  options.end_deadline = std::chrono::seconds(settings.drain_seconds) + kBeyondDrain;
  return options;
}

void OnSignal(int signals, sandbox::ServiceProcess& service) {
  signalfd_siginfo info{};
  while (::read(signals, &info, sizeof info) == sizeof info) {
    LogInfo("signal", {{"number", info.ssi_signo}});
    if (info.ssi_signo == SIGHUP) {
      service.Replace();
    } else {
      service.End();
    }
  }
}

Result<void> Serve(const Settings& settings, Parts& parts) {
  sandbox::EventLoop loop = TRY(sandbox::EventLoop::Open());
  std::unique_ptr<sandbox::ServiceProcess> service;
  sandbox::ServerOptions options;
  options.worker_program = parts.worker.fd.get();
  options.node_json = sandbox::ToJson(parts.host);
  options.on_shutdown = [&] { service->End(); };
  const auto server = TRY(sandbox::Server::Start(loop, parts.environment, std::move(options)));
  service = std::make_unique<sandbox::ServiceProcess>(
      loop, ServiceOptionsFor(settings, parts),
      sandbox::ServiceProcess::Events{
          .on_channel = [&](Fd channel) { server->Connect(std::move(channel)); },
          .on_gone = [&] { server->Disconnect(); },
          .on_ended = [&] { server->EndAll([&] { loop.Stop(); }); },
      });
  TRY(service->Start());
  loop.Watch(parts.signals.get(), EPOLLIN, [&](uint32_t) { OnSignal(parts.signals.get(), *service); });
  LogInfo("started", {{"version", CAISSON_VERSION},
                      {"data_dir", settings.data_dir},
                      {"isolation", settings.isolation},
                      {"strict_possible", parts.host.strict_possible()}});
  loop.Run();
  return {};
}

int RunLauncher(Settings settings) {
  Result<Parts> parts = Prepare(settings);
  const Result<void> served = parts ? Serve(settings, *parts) : tl::unexpected(parts.error());
  if (parts) parts->environment.cgroups.RemoveParent();
  if (!served) {
    LogError("not_started", {{"error", served.error().message}});
    return 1;
  }
  LogInfo("ended");
  return 0;
}

// ---- Others -----------------------------------------------------------------------------------------------------

int RunDoctor(const Settings& settings, bool json) {
  sandbox::HostReport report = sandbox::ExamineHost(DoctorOptionsFor(settings));
  sandbox::ExamineCgroups(settings.cgroup_parent, report);
  const std::string text = json ? sandbox::ToJson(report) + "\n" : sandbox::ToText(report);
  std::fputs(text.c_str(), stdout);
  return report.strict_possible() ? 0 : 1;
}

int Usage(const std::string& error) {
  std::fprintf(stderr, "caissond: %s\n", error.c_str());
  return kUsageError;
}

int Main(const std::vector<std::string>& arguments, const std::map<std::string, std::string>& environment) {
  const Result<CommandLine> line = ParseSettings(arguments, environment);
  if (!line) return Usage(line.error().message);
  if (line->help) {
    std::printf(
        "Usage: caissond [SETTING...]               run the daemon\n"
        "       caissond doctor [--json] [SETTING...]  say what this host can enforce\n\nSettings:\n%s",
        SettingsHelp().c_str());
    return 0;
  }
  if (line->version) {
    std::printf("caissond %s\n", CAISSON_VERSION);
    return 0;
  }
  const std::vector<std::string>& words = line->positional;
  if (words.empty()) return RunLauncher(line->settings);
  const bool json = words.size() == 2 && words[1] == "--json";
  if (words[0] == "doctor" && (words.size() == 1 || json)) return RunDoctor(line->settings, json);
  return Usage("unknown command \"" + words[0] + "\"; `caissond --help` lists the known ones");
}

}  // namespace
}  // namespace caisson::daemon

int main(int argc, char** argv, char** envp) {
  caisson::SetUpLog("caissond");
  std::map<std::string, std::string> environment;
  for (char** entry = envp; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const size_t equals = text.find('=');
    if (equals != std::string::npos) environment[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return caisson::daemon::Main({argv + 1, argv + argc}, environment);
}
