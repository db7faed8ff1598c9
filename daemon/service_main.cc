// SPDX-License-Identifier: Apache-2.0
// caisson-service: HTTP API, queue, downloads and orchestration, as an unprivileged user. Only the launcher starts it:
// descriptor 3 is the channel, 4 the settings; /mnt/data and /mnt/run are all of the host's directories that it may
// write. It ends when the channel closes. docs/ARCHITECTURE.md shows its threads.
#include <grp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <thread>

#include "api/server.h"
#include "base/io.h"
#include "base/json/json.h"
#include "base/log.h"
#include "daemon/service_credentials.h"
#include "daemon/service_images.h"
#include "daemon/service_policy.h"
#include "daemon/service_ports.h"
#include "daemon/settings/settings.h"
#include "executor/launcher_port.h"
#include "queue/log_store.h"
#include "queue/store.h"

namespace caisson::daemon {
namespace {

constexpr int kChannelFd = 3;
constexpr int kSettingsFd = 4;
constexpr char kDataDir[] = "/mnt/data";
constexpr char kRunDir[] = "/mnt/run";
constexpr auto kWithoutEnd = std::chrono::hours(24 * 365);

// Signals that end the service arrive on a descriptor, so that no handler runs beside our threads.
Result<Fd> BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  if (::pthread_sigmask(SIG_BLOCK, &signals, nullptr) != 0) return FailErrno(errno, "block signals");
  std::signal(SIGPIPE, SIG_IGN);
  Fd fd(::signalfd(-1, &signals, SFD_CLOEXEC));
  if (!fd) return FailErrno(errno, "make a signal descriptor");
  return fd;
}

// Each connection and each running job takes some descriptors; the usual soft limit of 1,024 is for users of select().
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// The node key, logins and tokens are in our memory: no core file and no debugger of the same user may have it. A core
// limit of 1 and not 0, because with 0 a core handler of the host would still be started.
void KeepMemoryPrivate() {
  const rlimit no_core{1, 1};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::prctl(PR_SET_DUMPABLE, 0);
}

int ReadSignal(const Fd& signals) {
  signalfd_siginfo info{};
  while (::read(signals.get(), &info, sizeof info) < 0 && errno == EINTR) {
  }
  return static_cast<int>(info.ssi_signo);
}

Result<Settings> ReceiveSettings() {
  const Fd memory(kSettingsFd);
  const size_t size = TRY(CheckSealedMemfd(memory.get()));
  return FromToml(TRY(ReadAt(memory.get(), size, 0)), "settings from the launcher");
}

uint32_t GroupNumber(const std::string& group) {
  if (group.find_first_not_of("0123456789") == std::string::npos && !group.empty())
    return static_cast<uint32_t>(std::strtoul(group.c_str(), nullptr, 10));
  const struct group* entry = ::getgrnam(group.c_str());  // NOLINT(concurrency-mt-unsafe): before any thread
  if (!entry) LogInfo("no_admin_group", {{"group", group}, {"effect", "only root is admin on the socket"}});
  return entry ? entry->gr_gid : 0;
}

// The limits that this node cannot enforce and, under strict, refuses to do without.
Result<std::vector<std::string>> UnenforceableLimits(sandbox::LauncherClient& launcher, const Settings& settings) {
  std::vector<std::string> missing;
  if (settings.best_effort()) return missing;
  const Json node = TRY_IN("the launcher's description of this node", ParseJson(TRY(launcher.Node())));
  const Json* enforces = node.Find("enforces");
  for (const char* limit : {"memory", "pids", "cpu"}) {
    const Json* enforced = enforces ? enforces->Find(limit) : nullptr;
    if (!enforced || !enforced->AsBool() || !*enforced->AsBool()) missing.emplace_back(limit);
  }
  return missing;
}

int SlotsOf(const Settings& settings) {
  if (settings.slots > 0) return static_cast<int>(settings.slots);
  return static_cast<int>(2 * std::max(1U, std::thread::hardware_concurrency()));
}

// What jobs may have together: more would let one job make the kernel take memory back from another tenant's.
uint64_t MemoryOf(const Settings& settings) {
  if (settings.memory_bytes > 0) return static_cast<uint64_t>(settings.memory_bytes);
  return static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)) / 10 * 9;
}

image::RegistryTable RegistriesOf(const Settings& settings) {
  image::RegistryTable registries;
  for (const auto& [host, entry] : settings.registries)
    registries[host] = {.plain_http = entry.plain_http,
                        .ca_file = entry.ca_file,
                        .client_cert = entry.client_cert,
                        .client_key = entry.client_key,
                        .mirrors = entry.mirrors,
                        .mirror_tags = entry.mirror_tags,
                        .blocked = entry.blocked};
  return registries;
}

// Rights that ended long ago go with the images.
void PruneRights(queue::JobStore& store) {
  if (const Result<int> pruned = store.PruneImageGrants(); !pruned)
    LogWarn("rights_not_pruned", {{"error", pruned.error().message}, {"effect", "tried again later"}});
}

// Every part of the running service, in the order of their dependencies: destroyed in reverse.
struct Service {
  WorkerExits worker_exits;
  LayerTree layers{worker_exits};
  SandboxExits sandbox_exits;
  std::unique_ptr<queue::JobStore> store;
  std::unique_ptr<queue::LogStore> logs;
  std::unique_ptr<sandbox::LauncherClient> launcher;
  std::unique_ptr<executor::LauncherPort> launcher_port;
  std::unique_ptr<Credentials> credentials;
  image::ImagePolicy policy;
  std::unique_ptr<image::ImageStore> images;
  std::unique_ptr<executor::Executor> executor;
  std::unique_ptr<Images> images_port;
  std::unique_ptr<RunningJobs> jobs_port;
  std::unique_ptr<Node> node;
  std::unique_ptr<api::ApiServer> api;
};

sandbox::LauncherEvents EventsFor(Service& service) {
  return {
      .on_exited = [&service](sandbox::SandboxHandle handle,
                              sandbox::ExitReport report) { service.sandbox_exits.Report(handle, std::move(report)); },
      .on_worker_done = [&service](sandbox::WorkerHandle handle,
                                   sandbox::WorkerExit exit) { service.worker_exits.Report(handle, exit); },
      .on_closed =
          [] {
            // Everything durable is on disk already, and every sandbox died with the launcher.
            LogError("launcher_gone", {{"action", "the service ends"}});
            ::_exit(1);
          },
  };
}

Result<void> OpenImages(Service& service, const Settings& settings) {
  service.credentials = TRY(Credentials::Make(*service.store, settings.auth_json, settings.node_key));
  service.policy = TRY(MakeImagePolicy(settings));
  service.images = TRY(image::OpenImageStore({
      .directory = kDataDir,
      .registries = RegistriesOf(settings),
      .store = &service.layers,
      .credentials = service.credentials.get(),
      .policy = &service.policy,
      .on_collected = [&store = *service.store] { PruneRights(store); },
      .gc_high_percent = static_cast<int>(settings.gc_high_percent),
      .gc_low_percent = static_cast<int>(settings.gc_low_percent),
      .min_free_bytes = static_cast<uint64_t>(settings.min_free_bytes),
  }));
  return {};
}

Result<void> Start(Service& service, const Settings& settings) {
  const std::string data = kDataDir;
  service.store = TRY_IN(
      "open the job store",
      queue::OpenSqliteStore({.path = data + "/caisson.db", .grant_valid = std::chrono::hours(settings.grant_hours)}));
  service.logs = TRY_IN(
      "open the log store",
      queue::OpenLogStore({.directory = data + "/logs", .cap_bytes = static_cast<uint64_t>(settings.log_bytes)}));
  service.launcher = TRY(sandbox::LauncherClient::Open(Fd(kChannelFd), EventsFor(service)));
  service.layers.Attach(service.launcher.get());
  service.launcher_port = executor::MakeLauncherPort(*service.launcher);
  TRY(OpenImages(service, settings));

  // Jobs that this node may not run wait for one that may, or for other settings: no attempt of theirs is used up.
  const std::vector<std::string> unenforceable = TRY(UnenforceableLimits(*service.launcher, settings));
  const int slots = unenforceable.empty() ? SlotsOf(settings) : 0;
  if (slots == 0)
    LogError("jobs_wait", {{"because", "isolation is strict and this host cannot enforce every limit"},
                           {"action", "see caisson doctor, or start with --isolation best-effort"}});
  const image::PullPolicy pull_policy =
      image::ParsePullPolicy(settings.pull_policy).value_or(image::PullPolicy::kAlways);
  service.executor =
      TRY(executor::Executor::Start({.slots = slots, .memory_bytes = MemoryOf(settings), .pull_policy = pull_policy},
                                    {.store = service.store.get(),
                                     .logs = service.logs.get(),
                                     .images = service.images.get(),
                                     .launcher = service.launcher_port.get()}));
  service.sandbox_exits.Attach(*service.executor);
  service.images_port = std::make_unique<Images>(*service.images, *service.store);
  service.jobs_port = std::make_unique<RunningJobs>(*service.executor, unenforceable);
  service.node = std::make_unique<Node>(*service.launcher, *service.executor, slots);
  service.api =
      TRY_IN("start the API", api::ApiServer::Start({.unix_socket = std::string(kRunDir) + "/caisson.sock",
                                                     .listen = settings.listen,
                                                     .tls_cert = settings.tls_cert,
                                                     .tls_key = settings.tls_key,
                                                     .max_body_bytes = static_cast<uint64_t>(settings.body_bytes),
                                                     .admin_gid = GroupNumber(settings.admin_group),
                                                     .version = CAISSON_VERSION},
                                                    {.store = service.store.get(),
                                                     .logs = service.logs.get(),
                                                     .images = service.images_port.get(),
                                                     .jobs = service.jobs_port.get(),
                                                     .node = service.node.get(),
                                                     .registries = service.credentials.get()}));
  service.store->SetListener([&service](const queue::JobId& id, queue::JobState state) {
    if (state == queue::JobState::kQueued) service.executor->OnJobQueued();
    service.api->OnJobChanged(id, state);
  });
  service.executor->OnJobQueued();  // what was queued before the listener was there
  LogInfo("service_ready", {{"slots", slots}, {"listen", settings.listen}, {"port", service.api->tcp_port()}});
  return {};
}

// SIGTERM gives running jobs drain_seconds; SIGHUP (an upgrade) as long as they need. A further SIGTERM skips the wait.
Result<void> RunUntilSignal(Service& service, const Settings& settings, const Fd& signals) {
  const int signal = ReadSignal(signals);
  LogInfo("draining", {{"signal", signal}, {"busy", service.executor->busy()}});
  service.node->SetDraining();
  const Fd drained(::eventfd(0, EFD_CLOEXEC));
  if (!drained) return FailErrno(errno, "make an event descriptor");
  const std::chrono::milliseconds wait =
      signal == SIGHUP ? std::chrono::milliseconds(kWithoutEnd) : std::chrono::seconds(settings.drain_seconds);
  std::thread drain([&] {
    service.executor->Drain(wait);
    ::eventfd_write(drained.get(), 1);
  });
  pollfd ready[] = {{drained.get(), POLLIN, 0}, {signals.get(), POLLIN, 0}};
  while (::poll(ready, 2, -1) < 0 || !(ready[0].revents & POLLIN))
    if ((ready[1].revents & POLLIN) && ReadSignal(signals) != SIGHUP) service.executor->SkipDrainWait();
  drain.join();
  return {};
}

Result<void> Run() {
  KeepMemoryPrivate();  // before any secret is read
  RaiseDescriptorLimit();
  const Fd signals = TRY(BlockSignals());
  const Settings settings = TRY(ReceiveSettings());
  Service service;
  TRY(Start(service, settings));
  TRY(RunUntilSignal(service, settings, signals));
  service.store->SetListener(nullptr);
  service.api->Stop();
  LogInfo("service_stopped");
  return {};
}

}  // namespace
}  // namespace caisson::daemon

int main() {
  ::prctl(PR_SET_NAME, "caisson-service");  // executed by descriptor: older kernels show a number as the name
  caisson::SetUpLog("caisson-service");
  const caisson::Result<void> run = caisson::daemon::Run();
  if (!run) caisson::LogError("service_failed", {{"error", run.error().message}});
  ::_exit(run ? 0 : 1);
}
