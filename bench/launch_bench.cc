// SPDX-License-Identifier: Apache-2.0
// launch_bench [--rounds N] [--json]: what a launch costs, from the request to the exit status and the end of the
// output, of `busybox echo hi`. The rows run in random order in every round, in one run, so that noise hits all alike:
//
//   floor         clone3 (vfork-style) with the same six namespaces, exec, wait: nothing else
//   caisson-cold  the service's whole way: message, everything new, exit event
//   crun          crun run with its own default configuration, where it is installed
//
// A sample with a wrong output or status ends the run. Needs root, busybox-static.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <random>

#include "base/check.h"
#include "base/io.h"
#include "base/json/json.h"
#include "sandbox/launcher/bare_clone.h"
#include "sandbox/launcher/server.h"
#include "sandbox/launcher_client.h"

namespace caisson::bench {
namespace {

using Micros = std::chrono::duration<double, std::micro>;
using Clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

constexpr char kWanted[] = "hi\n";

[[noreturn]] void Give(const std::string& why) {
  std::fprintf(stderr, "launch_bench: %s\n", why.c_str());
  std::exit(1);
}
template <typename T>
T Need(Result<T> result, const char* what) {
  if (!result) Give(std::string(what) + ": " + result.error().message);
  return internal::Unwrap(std::move(result));
}

// A data directory with one layer: a root file system with busybox in it. Removed at the end.
class Workplace {
 public:
  Workplace() {
    const char* base = std::getenv("TMPDIR");
    std::string path = std::string(base ? base : "/var/tmp") + "/caisson-bench.XXXXXX";
    if (!::mkdtemp(path.data())) Give("cannot make a directory in " + path);
    path_ = path;
    layer_ = *LayerName::Parse(std::string(64, 'a'));
    fs::create_directories(path_ / "tmp");
    fs::create_directories(root() / "bin");
    fs::copy_file("/bin/busybox", root() / "bin/busybox");
    for (const char* directory : {"layers", "tmp"}) fs::permissions(path_ / directory, fs::perms::owner_all);
  }
  ~Workplace() { fs::remove_all(path_); }
  fs::path path() const { return path_; }
  fs::path root() const { return path_ / "layers" / layer_.hex(); }
  const LayerName& layer() const { return layer_; }

 private:
  fs::path path_;
  LayerName layer_;
};

// ---- floor ------------------------------------------------------------------------------------------------------
struct FloorChild {
  const char* program;
  int output;
};

void RunFloorChild(void* argument) {
  const auto& child = *static_cast<FloorChild*>(argument);
  ::syscall(SYS_dup3, child.output, 1, 0);
  const char* const argv[] = {child.program, "echo", "hi", nullptr};
  const char* const env[] = {nullptr};
  ::syscall(SYS_execve, child.program, argv, env);
  ::syscall(SYS_exit_group, 127);
}

void CheckOutput(const std::string& name, const std::string& output, bool clean_exit) {
  if (output != kWanted || !clean_exit) Give(name + ": wrong sample: \"" + output + "\"");
}

void RunFloor(const std::string& program) {
  alignas(16) static char stack[sandbox::kBareStackBytes];
  Pipe pipe = Need(MakePipe(), "pipe");
  FloorChild child{program.c_str(), pipe.write.get()};
  const auto started =
      Need(sandbox::StartBareChild({.flags = CLONE_VM | CLONE_VFORK | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC |
                                             CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_NEWNET},
                                   stack, RunFloorChild, &child),
           "clone3");
  pipe.write.reset();
  const std::string output = Need(ReadAll(pipe.read.get(), 4096), "read");
  siginfo_t info{};
  ::waitid(P_PIDFD, static_cast<id_t>(started.pidfd.get()), &info, WEXITED);
  CheckOutput("floor", output, info.si_code == CLD_EXITED && info.si_status == 0);
}

// ---- caisson ----------------------------------------------------------------------------------------------------
// A launcher of our own in a child process, and the service's end of its channel.
class Launcher {
 public:
  explicit Launcher(const Workplace& place) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) Give("no socketpair");
    process_ = ::fork();
    if (process_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::close(ends[0]);
      Serve(place, Fd(ends[1]));
    }
    ::close(ends[1]);
    channel_ = Fd(ends[0]);
  }
  ~Launcher() {
    client_.reset();
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }

  void Connect(const LayerName& layer) {
    client_ = Need(sandbox::LauncherClient::Open(std::move(channel_), {.on_exited =
                                                                           [this](auto, sandbox::ExitReport report) {
                                                                             const std::lock_guard lock(mutex_);
                                                                             report_ = std::move(report);
                                                                             ended_.notify_one();
                                                                           },
                                                                       .on_worker_done = [](auto, auto) {},
                                                                       .on_closed = [] {}}),
                   "connect to the launcher");
    rootfs_ = Need(client_->OpenRootfs({&layer, 1}), "open the root file system");
  }

  std::string Run(std::vector<std::string> argv) {
    sandbox::SandboxSpec spec;
    spec.id = "bench";
    spec.argv = std::move(argv);
    spec.env = {"PATH=/bin"};
    spec.limits.memory_bytes = 64 << 20;
    spec.limits.disk_bytes = 16 << 20;
    const sandbox::Launched launched = Need(client_->Launch(rootfs_, spec, -1), "launch");
    std::string output = Need(ReadPipe(launched.stdout_pipe.get()), "read");
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [&] { return report_.has_value(); });
    const bool clean = report_->kind == sandbox::ExitReport::Kind::kExited && report_->status == 0;
    if (!clean) Give("caisson: the sandbox ended with " + std::to_string(report_->status) + " " + report_->step);
    timings_ = report_->timings;
    report_.reset();
    return output;
  }

  pid_t process() const { return process_; }
  const std::vector<sandbox::StepTiming>& timings() const { return timings_; }

 private:
  [[noreturn]] static void Serve(const Workplace& place, Fd channel) {
    const std::string programs = CAISSON_PROGRAMS;
    auto environment = Need(sandbox::Environment::Prepare({.data_dir = place.path(),
                                                           .init_program = programs + "/caisson-init",
                                                           .instance = "benchrun",
                                                           .best_effort = true}),
                            "prepare the launcher");
    auto loop = Need(sandbox::EventLoop::Open(), "event loop");
    auto server = Need(sandbox::Server::Start(loop, environment, {.node_json = "{}"}), "server");
    server->Connect(std::move(channel));
    loop.Run();
    ::_exit(0);
  }
  static Result<std::string> ReadPipe(int fd) {
    ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    return ReadAll(fd, 1 << 16);
  }

  pid_t process_ = -1;
  Fd channel_;
  std::unique_ptr<sandbox::LauncherClient> client_;
  sandbox::RootfsHandle rootfs_;
  std::mutex mutex_;
  std::condition_variable ended_;
  std::optional<sandbox::ExitReport> report_;
  std::vector<sandbox::StepTiming> timings_;
};

// ---- crun -------------------------------------------------------------------------------------------------------
// crun 1.8 refuses a host whose cgroup v2 root stands beside v1 controllers: in our own mount namespace it is
// unmounted.
void HideUnifiedCgroup() {
  if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    Give("no mount namespace");
  ::umount2("/sys/fs/cgroup/unified", MNT_DETACH);
}

int RunProgram(const std::vector<std::string>& argv, std::string* output) {
  Pipe pipe = Need(MakePipe(), "pipe");
  const pid_t child = ::vfork();
  if (child == 0) {
    ::dup2(pipe.write.get(), 1);
    std::vector<char*> pointers;
    for (const std::string& argument : argv) pointers.push_back(const_cast<char*>(argument.c_str()));
    pointers.push_back(nullptr);
    ::execvp(pointers[0], pointers.data());
    ::_exit(127);
  }
  pipe.write.reset();
  *output = Need(ReadAll(pipe.read.get(), 1 << 16), "read");
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

// crun's own default configuration (`crun spec`), with our command; empty where crun is missing or does not run.
std::string MakeBundle(const Workplace& place) {
  const fs::path bundle = place.path() / "bundle";
  fs::create_directories(bundle);
  std::string output;
  if (RunProgram({"sh", "-c", "cd " + bundle.string() + " && crun spec"}, &output) != 0) return "";
  std::ifstream file(bundle / "config.json");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto replace = [&](const std::string& from, const std::string& to) {
    const size_t at = text.find(from);
    if (at != std::string::npos) text.replace(at, from.size(), to);
  };
  replace("\"terminal\": true", "\"terminal\": false");
  replace("\"sh\"", "\"/bin/busybox\", \"echo\", \"hi\"");
  replace("\"rootfs\"", "\"" + place.root().string() + "\"");
  std::ofstream(bundle / "config.json") << text;
  return RunProgram({"crun", "run", "--bundle", bundle, "caisson-bench-try"}, &output) == 0 ? bundle.string() : "";
}

// ---- rows -------------------------------------------------------------------------------------------------------
struct Row {
  std::string name;
  std::function<void()> run;
  std::vector<double> micros;

  double At(double share) const { return micros[static_cast<size_t>(share * static_cast<double>(micros.size() - 1))]; }
};

size_t CountOpen(pid_t process, const char* what) {
  const fs::path path = "/proc/" + std::to_string(process) + "/" + what;
  if (fs::is_directory(path)) return static_cast<size_t>(std::distance(fs::directory_iterator(path), {}));
  std::ifstream file(path);
  return static_cast<size_t>(std::count(std::istreambuf_iterator<char>(file), {}, '\n'));
}

// What one launch promises, looked at once inside the timed configuration, so that no row wins by leaving it out.
void CheckPromises(Launcher& launcher) {
  const std::string status = launcher.Run({"/bin/busybox", "cat", "/proc/self/status"});
  for (const char* line : {"CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"})
    if (status.find(line) == std::string::npos) Give(std::string("the sandbox does not show ") + line);
}

void PrintTable(std::vector<Row>& rows) {
  const double floor = rows.front().At(0.5);
  const double ours = rows[1].At(0.5);
  std::printf("%-14s %10s %10s %10s %6s %9s %9s\n", "row", "median us", "min us", "p99 us", "n", "x floor",
              "x caisson");
  for (const Row& row : rows)
    std::printf("%-14s %10.0f %10.0f %10.0f %6zu %9.2f %9.2f\n", row.name.c_str(), row.At(0.5), row.At(0), row.At(0.99),
                row.micros.size(), row.At(0.5) / floor, row.At(0.5) / ours);
}

void PrintJson(const std::vector<Row>& rows) {
  Json::Array list;
  for (const Row& row : rows) {
    Json entry;
    entry.Set("name", row.name);
    entry.Set("median_us", row.At(0.5));
    entry.Set("min_us", row.At(0));
    entry.Set("p99_us", row.At(0.99));
    entry.Set("n", static_cast<int64_t>(row.micros.size()));
    list.push_back(std::move(entry));
  }
  Json document;
  document.Set("rows", std::move(list));
  std::printf("%s\n", document.Dump(true).c_str());
}

int Main(int rounds, bool json) {
  const Workplace place;
  Launcher launcher(place);  // forked before we have threads, and before our own mount namespace
  HideUnifiedCgroup();
  const std::string bundle = MakeBundle(place);
  launcher.Connect(place.layer());
  CheckPromises(launcher);

  const std::string busybox = place.root() / "bin/busybox";
  int number = 0;
  std::vector<Row> rows;
  rows.push_back({"floor", [&] { RunFloor(busybox); }, {}});
  rows.push_back({"caisson-cold",
                  [&] {
                    CheckOutput("caisson", launcher.Run({"/bin/busybox", "echo", "hi"}), true);
                  },
                  {}});
  if (!bundle.empty()) {
    rows.push_back({"crun",
                    [&] {
                      std::string output;
                      const int status = RunProgram(
                          {"crun", "run", "--bundle", bundle, "caisson-bench-" + std::to_string(number++)}, &output);
                      CheckOutput("crun", output, status == 0);
                    },
                    {}});
  } else {
    std::fprintf(stderr, "launch_bench: crun is not installed or does not run here: no such row\n");
  }

  const size_t descriptors = CountOpen(launcher.process(), "fd");
  const size_t mounts = CountOpen(launcher.process(), "mountinfo");
  std::mt19937 random(1);
  std::vector<size_t> order(rows.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  for (int round = 0; round < rounds; ++round) {
    std::shuffle(order.begin(), order.end(), random);
    for (const size_t index : order) {
      const auto start = Clock::now();
      rows[index].run();
      rows[index].micros.push_back(Micros(Clock::now() - start).count());
    }
  }
  for (Row& row : rows) std::sort(row.micros.begin(), row.micros.end());
  json ? PrintJson(rows) : PrintTable(rows);
  if (!json) {
    std::printf("steps of the last launch, us:");
    for (const sandbox::StepTiming& timing : launcher.timings())
      std::printf(" %s=%u", timing.step.c_str(), timing.micros);
    std::printf("\n");
  }

  launcher.Run({"/bin/busybox", "true"});  // one more round trip: what was released before it is released now
  const size_t descriptors_after = CountOpen(launcher.process(), "fd");
  const size_t mounts_after = CountOpen(launcher.process(), "mountinfo");
  std::fprintf(stderr, "launcher: %zu -> %zu descriptors, %zu -> %zu mounts\n", descriptors, descriptors_after, mounts,
               mounts_after);
  return mounts_after > mounts || descriptors_after > descriptors + 16 ? 1
                                                                       : 0;  // 16: the last sandboxes on their way out
}

}  // namespace
}  // namespace caisson::bench

int main(int argc, char** argv) {
  int rounds = 500;
  bool json = false;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--json") == 0) {
      json = true;
    } else if (std::strcmp(argv[i], "--rounds") == 0 && i + 1 < argc) {
      rounds = std::atoi(argv[++i]);
    } else {
      rounds = 0;
    }
  }
  if (rounds < 1) {
    std::fprintf(stderr, "usage: %s [--rounds N] [--json]\n", argv[0]);
    return 2;
  }
  return caisson::bench::Main(rounds, json);
}
