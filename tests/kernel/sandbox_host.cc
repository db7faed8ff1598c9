// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/sandbox_host.h"

#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <ostream>

#include "base/check.h"
#include "base/io.h"

namespace caisson::sandbox {
namespace {

std::string ProgramDirectory() { return std::filesystem::read_symlink("/proc/self/exe").parent_path(); }

std::string TemporaryDirectory() {
  const char* base = std::getenv("TMPDIR");
  std::string path = std::string(base != nullptr ? base : "/tmp") + "/caisson-kernel-test-XXXXXX";
  CHECK(::mkdtemp(path.data()) != nullptr);
  CHECK(::chmod(path.c_str(), 0755) == 0);
  return path;
}

size_t CountEntries(const std::string& path) {
  DIR* directory = ::opendir(path.c_str());
  if (directory == nullptr) return 0;
  size_t count = 0;
  while (const dirent* entry = ::readdir(directory)) count += entry->d_name[0] != '.' ? 1 : 0;
  ::closedir(directory);
  return count;
}

// Bytes that are there now; false at the end of file.
bool ReadSome(int pipe, std::string& to) {
  char buffer[65536];
  for (;;) {
    const ssize_t got = ::read(pipe, buffer, sizeof buffer);
    if (got == 0) return false;
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    to.append(buffer, static_cast<size_t>(got));
  }
}

}  // namespace

void Layer::Directory(const std::string& path, mode_t mode, uid_t owner) const {
  for (size_t slash = path.find('/');; slash = path.find('/', slash + 1)) {
    const std::string prefix = path.substr(0, slash);
    const int made = ::mkdirat(directory(), prefix.c_str(), 0755);
    CHECK(made == 0 || errno == EEXIST);
    if (slash == std::string::npos) break;
  }
  CHECK(::fchownat(directory(), path.c_str(), owner, owner, 0) == 0);
  CHECK(::fchmodat(directory(), path.c_str(), mode, 0) == 0);
}

void Layer::File(const std::string& path, std::string_view content, mode_t mode, uid_t owner) const {
  if (const size_t slash = path.rfind('/'); slash != std::string::npos) Directory(path.substr(0, slash));
  const Fd file(::openat(directory(), path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  CHECK(file && WriteAll(file.get(), content).has_value());
  CHECK(::fchown(file.get(), owner, owner) == 0 && ::fchmod(file.get(), mode) == 0);
}

void Layer::Link(const std::string& path, const std::string& target) const {
  CHECK(::symlinkat(target.c_str(), directory(), path.c_str()) == 0);
}

void Layer::Fifo(const std::string& path) const { CHECK(::mkfifoat(directory(), path.c_str(), 0666) == 0); }

std::ostream& operator<<(std::ostream& out, const Footprint& f) {
  return out << "mounts " << f.mounts << ", descriptors " << f.descriptors << ", children " << f.children
             << ", cgroups " << f.cgroups << ", ids " << f.ids_in_use;
}

SandboxHost& SandboxHost::Get() {
  static SandboxHost host;
  return host;
}

SandboxHost::SandboxHost() : data_dir_(TemporaryDirectory()) {
  Result<std::string> busybox = ReadFile("/bin/busybox", 8 << 20);
  CHECK(busybox.has_value());
  EnvironmentOptions options{.data_dir = data_dir_,
                             .init_program = ProgramDirectory() + "/caisson-init",
                             .cgroup_parent = "",
                             .instance = fmt::format("t{:07x}", ::getpid()),
                             .best_effort = true};
  Result<Environment> environment = Environment::Prepare(options);
  if (!environment) fmt::print(stderr, "prepare: {}\n", environment.error().message);
  CHECK(environment.has_value());
  environment_ = *std::move(environment);

  busybox_ = std::make_unique<Layer>(MakeLayer());
  busybox_->File("bin/busybox", *busybox, 0755);
  for (const char* name :
       {"sh",    "cat",   "echo",   "ls",       "id",    "sleep",    "true",  "false", "grep", "head",     "tail",
        "dd",    "kill",  "ln",     "mkdir",    "mount", "umount",   "chmod", "stat",  "ps",   "touch",    "rm",
        "wc",    "env",   "setsid", "hostname", "ip",    "ifconfig", "test",  "yes",   "find", "readlink", "mknod",
        "umask", "chown", "cp",     "seq",      "tr",    "sort",     "pwd",   "nc"}) {
    busybox_->Link(std::string("bin/") + name, "busybox");
  }
}

SandboxHost::~SandboxHost() {
  busybox_.reset();
  environment_.cgroups.RemoveParent();
  if (::setns(environment_.root.host_mount_namespace.get(), CLONE_NEWNS) == 0) {
    std::error_code ignored;
    std::filesystem::remove_all(data_dir_, ignored);
  }
}

Layer SandboxHost::MakeLayer() {
  const std::string name = fmt::format("layer-{}", layers_made_++);
  const int layers = environment_.root.layers_dir.get();
  CHECK(::mkdirat(layers, name.c_str(), 0755) == 0);
  Result<Fd> directory = OpenAt(layers, name, O_RDONLY | O_DIRECTORY);
  CHECK(directory.has_value());
  return Layer(*std::move(directory));
}

SandboxSpec SandboxHost::Shell(std::string_view script) const {
  SandboxSpec spec;
  spec.id = "job-of-a-test";
  spec.argv = {"/bin/sh", "-c", std::string(script)};
  spec.env = {"PATH=/bin"};
  spec.limits.memory_bytes = 64 << 20;
  spec.limits.disk_bytes = 16 << 20;
  spec.limits.pids = 64;
  return spec;
}

Result<Sandbox> SandboxHost::Launch(const SandboxSpec& spec, const std::vector<int>& layers_top_first, int payload) {
  std::vector<int> layers = layers_top_first;
  layers.push_back(busybox_->directory());
  return Sandbox::Launch(LaunchRequest{spec, layers, payload}, environment_);
}

RunResult SandboxHost::Run(const SandboxSpec& spec, const std::vector<int>& layers_top_first, int payload,
                           const std::function<void(Sandbox&)>& when_ready) {
  Result<Sandbox> sandbox = Launch(spec, layers_top_first, payload);
  if (!sandbox) {
    RunResult failed;
    failed.report.kind = ExitReport::Kind::kSetupFailed;
    failed.err = sandbox.error().message;
    return failed;
  }
  return Finish(*std::move(sandbox), when_ready);
}

RunResult SandboxHost::Finish(Sandbox sandbox, const std::function<void(Sandbox&)>& when_ready,
                              const std::function<void(const Remains&)>& look) {
  RunResult result;
  bool ended = false, out_open = true, err_open = true, told = !when_ready;
  while (!ended || out_open || err_open) {
    pollfd events[] = {{out_open ? sandbox.stdout_pipe() : -1, POLLIN, 0},
                       {err_open ? sandbox.stderr_pipe() : -1, POLLIN, 0},
                       {ended || result.executed ? -1 : sandbox.status_pipe(), POLLIN, 0},
                       {ended ? -1 : sandbox.pidfd(), POLLIN, 0}};
    CHECK(::poll(events, 4, 60'000) > 0);
    if (events[0].revents != 0) out_open = ReadSome(sandbox.stdout_pipe(), result.out);
    if (events[1].revents != 0) err_open = ReadSome(sandbox.stderr_pipe(), result.err);
    if (events[2].revents != 0) result.executed = sandbox.ReadStatus();
    ended = ended || events[3].revents != 0;
    if (!told && result.out.find("ready\n") != std::string::npos) {
      told = true;
      when_ready(sandbox);
    }
  }
  Remains remains;
  result.report = std::move(sandbox).Reap(remains);
  if (look) look(remains);
  remains.mount_namespace.reset();
  remains.upper.reset();
  remains.cgroup.WaitUntilEmpty();
  CHECK(remains.cgroup.Remove().has_value());
  return result;
}

Footprint SandboxHost::Measure() {
  Footprint footprint;
  const Result<std::string> table = ReadFile("/proc/self/mountinfo", 1 << 20);
  const Result<std::string> children = ReadFile(fmt::format("/proc/self/task/{}/children", ::getpid()), 1 << 20);
  CHECK(table.has_value() && children.has_value());
  footprint.mounts = static_cast<size_t>(std::count(table->begin(), table->end(), '\n'));
  footprint.children = static_cast<size_t>(std::count(children->begin(), children->end(), ' '));
  footprint.descriptors = CountEntries("/proc/self/fd");
  footprint.cgroups = static_cast<size_t>(environment_.cgroups.Sweep());
  footprint.ids_in_use = environment_.ids.in_use();
  return footprint;
}

std::string MakeProgram(std::string_view code) {
  constexpr uint64_t kBase = 0x400000;
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_entry = kBase + sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr);
  header.e_phoff = sizeof(Elf64_Ehdr);
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 1;
  Elf64_Phdr segment{};
  segment.p_type = PT_LOAD;
  segment.p_flags = PF_R | PF_X;
  segment.p_vaddr = segment.p_paddr = kBase;
  segment.p_filesz = segment.p_memsz = sizeof header + sizeof segment + code.size();
  segment.p_align = 4096;
  std::string file(reinterpret_cast<const char*>(&header), sizeof header);
  file.append(reinterpret_cast<const char*>(&segment), sizeof segment);
  return file.append(code);
}

}  // namespace caisson::sandbox
