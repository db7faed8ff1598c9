// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/launcher_host.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/check.h"
#include "base/io.h"
#include "sandbox/launcher/cgroups.h"
#include "sandbox/launcher/environment.h"
#include "sandbox/launcher/event_loop.h"
#include "sandbox/launcher/server.h"

namespace caisson::sandbox {
namespace {

namespace fs = std::filesystem;

// Other tests of this program leave the host's mounts for good; ours go back to them.
const Fd host_mounts(::open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));

std::string ProgramPath() { return fs::read_symlink("/proc/self/exe"); }

std::string InstanceOf(pid_t launcher) { return fmt::format("l{:07x}", launcher); }

// The launcher's whole life, in the child. Its worker is this very program (launcher_stand_in.cc).
Result<void> Serve(Fd channel, const std::string& data_dir, const LauncherTestOptions& test) {
  const Fd worker(::open("/proc/self/exe", O_PATH | O_CLOEXEC));
  EnvironmentOptions options;
  options.data_dir = data_dir;
  options.init_program = test.init_program;
  if (options.init_program.empty()) options.init_program = fs::path(ProgramPath()).parent_path() / "caisson-init";
  options.instance = InstanceOf(::getpid());
  options.best_effort = true;
  Environment environment = TRY(Environment::Prepare(options));
  EventLoop loop = TRY(EventLoop::Open());
  ServerOptions server_options;
  server_options.worker_program = worker.get();
  server_options.worker_deadline = test.worker_deadline;
  server_options.send_deadline = test.send_deadline;
  server_options.node_json = "{\"node\":true}";
  std::unique_ptr<Server> server;
  server_options.on_shutdown = [&] { loop.After(std::chrono::milliseconds(0), [&] { server->Disconnect(); }); };
  server = TRY(Server::Start(loop, environment, server_options));
  server->Connect(std::move(channel));
  const std::function<void()> check = [&] {
    if (server->connected()) {
      loop.After(std::chrono::milliseconds(20), check);
    } else {
      server->EndAll([&] { loop.Stop(); });
    }
  };
  check();
  loop.Run();
  environment.cgroups.RemoveParent();
  return {};
}

std::vector<pid_t> ChildrenOf(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children");
  std::vector<pid_t> children;
  for (pid_t child; file >> child;) children.push_back(child);
  return children;
}

std::string NameOf(pid_t pid) {
  std::string name;
  std::ifstream("/proc/" + std::to_string(pid) + "/comm") >> name;
  return name;
}

}  // namespace

bool Eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 3000; ++i) {
    if (condition()) return true;
    ::poll(nullptr, 0, 20);
  }
  return false;
}

std::string ReadToEnd(int pipe) {
  std::string data;
  char buffer[65536];
  for (;;) {
    const ssize_t got = ::read(pipe, buffer, sizeof buffer);
    if (got == 0) return data;
    if (got > 0) data.append(buffer, static_cast<size_t>(got));
    if (got > 0) continue;
    pollfd ready{pipe, POLLIN, 0};
    CHECK(errno == EAGAIN && ::poll(&ready, 1, 60'000) > 0);
  }
}

std::string PeekAtLeast(int pipe, size_t count) {
  Pipe copy = *MakePipe();
  CHECK(::fcntl(copy.write.get(), F_SETPIPE_SZ, 1 << 20) > 0);
  std::string data;
  CHECK(Eventually([&] {
    const ssize_t teed = ::tee(pipe, copy.write.get(), 1 << 20, SPLICE_F_NONBLOCK);
    if (teed <= 0) return false;
    data.resize(static_cast<size_t>(teed));
    CHECK(::read(copy.read.get(), data.data(), data.size()) == teed);
    return data.size() >= count;
  }));
  return data;
}

// ---- Events -----------------------------------------------------------------------------------------------------

LauncherEvents Events::Callbacks() {
  return {
      [this](SandboxHandle handle, ExitReport report) {
        const std::lock_guard lock(mutex_);
        exits_[handle.value] = std::move(report);
        changed_.notify_all();
      },
      [this](WorkerHandle handle, WorkerExit exit) {
        const std::lock_guard lock(mutex_);
        workers_[handle.value] = exit;
        changed_.notify_all();
      },
      [this] {
        const std::lock_guard lock(mutex_);
        closed_ = true;
        changed_.notify_all();
      },
  };
}

ExitReport Events::WaitForExit(SandboxHandle handle) {
  std::unique_lock lock(mutex_);
  CHECK(changed_.wait_for(lock, std::chrono::minutes(1), [&] { return exits_.contains(handle.value); }));
  return exits_[handle.value];
}

WorkerExit Events::WaitForWorker(WorkerHandle handle) {
  std::unique_lock lock(mutex_);
  CHECK(changed_.wait_for(lock, std::chrono::minutes(1), [&] { return workers_.contains(handle.value); }));
  return workers_[handle.value];
}

void Events::WaitForClose() {
  std::unique_lock lock(mutex_);
  CHECK(changed_.wait_for(lock, std::chrono::minutes(1), [&] { return closed_; }));
}

// ---- Launcher ---------------------------------------------------------------------------------------------------

LauncherTest::LauncherTest() {
  CHECK(::setns(host_mounts.get(), CLONE_NEWNS) == 0);
  const char* base = std::getenv("TMPDIR");
  data_dir_ = std::string(base != nullptr ? base : "/tmp") + "/caisson-launcher-test-XXXXXX";
  CHECK(::mkdtemp(data_dir_.data()) != nullptr);
  CHECK(::chmod(data_dir_.c_str(), 0755) == 0);
  for (const std::string& directory : {layers(), tmp()}) CHECK(::mkdir(directory.c_str(), 0700) == 0);
}

LauncherTest::~LauncherTest() {
  if (launcher_ > 0) End();
  if (!killed_instance_.empty()) {  // what the next launcher of this instance would do
    Result<Cgroups> cgroups = Cgroups::Open("", killed_instance_);
    CHECK(cgroups.has_value());
    cgroups->Sweep();
    cgroups->RemoveParent();
  }
  std::error_code ignored;
  fs::remove_all(data_dir_, ignored);
}

void LauncherTest::StartBare(const LauncherTestOptions& options) {
  SocketPair pair = *MakeSocketPair();
  launcher_ = ::fork();
  CHECK(launcher_ >= 0);
  if (launcher_ == 0) {
    pair.ours.reset();
    const Result<void> served = Serve(std::move(pair.theirs), data_dir_, options);
    if (!served) fmt::print(stderr, "launcher: {}\n", served.error().message);
    ::_exit(served ? 0 : 1);
  }
  channel = std::move(pair.ours);
}

void LauncherTest::Start(const LauncherTestOptions& options) {
  StartBare(options);
  client = *LauncherClient::Open(std::move(channel), events.Callbacks());
  ASSERT_TRUE(client->List()) << "the launcher does not answer";
}

void LauncherTest::End() {
  client.reset();
  channel.reset();
  int status = -1;
  CHECK(::waitpid(std::exchange(launcher_, -1), &status, 0) > 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "the launcher ended with wait status " << status;
}

void LauncherTest::KillLauncher() {
  const std::string instance = InstanceOf(launcher_);
  CHECK(::kill(launcher_, SIGKILL) == 0);
  CHECK(::waitpid(std::exchange(launcher_, -1), nullptr, 0) > 0);
  killed_instance_ = instance;
}

// ---- Images -----------------------------------------------------------------------------------------------------

LayerName LauncherTest::MakeLayer(uint8_t first, std::string& path) {
  LayerName name;
  name.bytes.fill(0x11);
  name.bytes[0] = first;
  path = layers() + "/" + name.hex();
  CHECK(::mkdir(path.c_str(), 0755) == 0);
  return name;
}

LayerName LauncherTest::Busybox() {
  std::string path;
  const LayerName name = MakeLayer(0xbb, path);
  CHECK(::mkdir((path + "/bin").c_str(), 0755) == 0);
  fs::copy_file("/bin/busybox", path + "/bin/busybox");
  CHECK(::chmod((path + "/bin/busybox").c_str(), 0755) == 0);
  for (const char* command : {"sh", "cat", "echo", "sleep", "id", "head", "yes", "seq", "true"})
    fs::create_symlink("busybox", path + "/bin/" + command);
  return name;
}

RootfsHandle LauncherTest::OpenBusybox() {
  const LayerName layer = Busybox();
  const Result<RootfsHandle> rootfs = client->OpenRootfs(std::span(&layer, 1));
  CHECK(rootfs.has_value());
  return *rootfs;
}

SandboxSpec LauncherTest::Shell(const std::string& script) {
  SandboxSpec spec;
  spec.id = "launcher-test";
  spec.argv = {"/bin/sh", "-c", script};
  spec.env = {"PATH=/bin"};
  spec.limits = {1000, 64 << 20, 64, 16 << 20};
  return spec;
}

// ---- What is there ----------------------------------------------------------------------------------------------

std::vector<std::string> LauncherTest::NamesIn(const std::string& directory) const {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

void LauncherTest::WaitForEmptyTmp() const {
  EXPECT_TRUE(Eventually([&] { return NamesIn(tmp()).empty(); })) << NamesIn(tmp()).size() << " left in tmp/";
}

std::set<pid_t> LauncherTest::Descendants() const {
  std::set<pid_t> found;
  std::vector<pid_t> open = ChildrenOf(launcher_);
  std::erase_if(open, [](pid_t pid) { return NameOf(pid) == "caisson-janitor"; });
  while (!open.empty()) {
    const pid_t pid = open.back();
    open.pop_back();
    found.insert(pid);
    for (const pid_t child : ChildrenOf(pid)) open.push_back(child);
  }
  return found;
}

size_t LauncherTest::CountDescriptors() const { return NamesIn("/proc/" + std::to_string(launcher_) + "/fd").size(); }

size_t LauncherTest::SettledDescriptors() const {
  size_t last = 0;
  CHECK(Eventually([&] {
    const size_t now = CountDescriptors();
    return std::exchange(last, now) == now;
  }));
  return last;
}

size_t LauncherTest::CountMounts() const {
  std::ifstream file("/proc/" + std::to_string(launcher_) + "/mountinfo");
  size_t lines = 0;
  for (std::string line; std::getline(file, line);) ++lines;
  return lines;
}

}  // namespace caisson::sandbox
