// SPDX-License-Identifier: Apache-2.0
#include "tests/image/worker_store.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <filesystem>

#include "base/check.h"
#include "base/io.h"
#include "image/worker/beneath.h"

namespace caisson::image {
namespace {

constexpr uint32_t kFirstHostId = 0x60000000;

// A user namespace with ids 0 to 65535 mapped, held by a descriptor.
Result<Fd> MakeUserNamespace() {
  Pipe ready = TRY(MakePipe());
  const pid_t child = ::fork();
  if (child == 0) {
    const bool made = ::unshare(CLONE_NEWUSER) == 0;
    if (::write(ready.write.get(), made ? "1" : "0", 1) == 1) ::pause();
    ::_exit(0);
  }
  char byte = 0;
  CHECK(::read(ready.read.get(), &byte, 1) == 1);
  Result<Fd> user_namespace = Fail(ErrorCode::kInternal, "unshare");
  if (byte == '1') {
    const std::string map = fmt::format("0 {} 65536", kFirstHostId);
    for (const char* name : {"uid_map", "gid_map"}) {
      const Fd file = TRY(OpenAt(AT_FDCWD, fmt::format("/proc/{}/{}", child, name), O_WRONLY));
      TRY(WriteAll(file.get(), map));
    }
    user_namespace = OpenAt(AT_FDCWD, fmt::format("/proc/{}/ns/user", child), O_RDONLY);
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  return user_namespace;
}

Result<Fd> CloneIdmapped(const std::string& path, int user_namespace, bool read_only) {
  Fd mount(static_cast<int>(::syscall(SYS_open_tree, AT_FDCWD, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  if (!mount) return FailErrno(errno, "open_tree {}", path);
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (read_only ? MOUNT_ATTR_RDONLY : 0u);
  attributes.userns_fd = static_cast<uint64_t>(user_namespace);
  if (::syscall(SYS_mount_setattr, mount.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0)
    return FailErrno(errno, "idmap {}", path);
  return mount;
}

struct Start {
  int user_namespace;
  int out;
  std::vector<int> layers;
  int input, report;
  std::vector<const char*> argv;
  std::string program;
};

[[noreturn]] void Die(const char* step) {
  dprintf(2, "worker set-up: %s: %s\n", step, strerror(errno));
  ::_exit(3);
}

void Attach(int mount, const char* path) {
  if (::mkdir(path, 0755) != 0) Die(path);
  if (::syscall(SYS_move_mount, mount, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) != 0) Die("move_mount");
}

// In a child of a process with threads: only what is safe after fork.
[[noreturn]] void RunChild(const Start& start) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::setns(start.user_namespace, CLONE_NEWUSER) != 0) Die("setns");
  if (::setgid(0) != 0 || ::setuid(0) != 0) Die("setuid");
  if (::unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) != 0) Die("unshare");
  const pid_t worker = ::fork();
  if (worker != 0) {
    ::syscall(SYS_close_range, 3, ~0u, 0);  // or pipes of other workers would never end
    int status = 0;
    ::waitpid(worker, &status, 0);
    ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::mount("tmpfs", "/mnt", "tmpfs", 0, nullptr) != 0 || ::chdir("/mnt") != 0) Die("tmpfs");
  Attach(start.out, "out");
  if (!start.layers.empty() && ::mkdir("layers", 0755) != 0) Die("layers");
  for (size_t i = 0; i < start.layers.size(); ++i) {
    char path[32];
    snprintf(path, sizeof path, "layers/%zu", i);
    Attach(start.layers[i], path);
  }
  // Over the numbers that they may have themselves.
  const int input = ::fcntl(start.input, F_DUPFD, 100), report = ::fcntl(start.report, F_DUPFD, 100);
  if (::dup2(input, 0) < 0 || ::dup2(report, 1) < 0) Die("dup2");
  ::execv(start.program.c_str(), const_cast<char**>(start.argv.data()));
  Die("exec");
}

std::string ProgramsDirectory() { return std::filesystem::read_symlink("/proc/self/exe").parent_path().string(); }

}  // namespace

class RunningWorker : public StoreWorker {
 public:
  RunningWorker(WorkerStore& store, std::string out, pid_t pid) : store_(store), out_(std::move(out)), pid_(pid) {}
  ~RunningWorker() override {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    if (!committed_) std::filesystem::remove_all(out_);
  }
  Result<void> Wait() override {
    int status = 0;
    CHECK(::waitpid(pid_, &status, 0) == pid_);
    pid_ = -1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
    return Fail(ErrorCode::kInternal, "the store worker ended with status {}",
                WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  }
  Result<void> Commit(const LayerName& name, std::span<const std::string> opaque_directories) override {
    const Fd out = TRY(OpenAt(AT_FDCWD, out_, O_RDONLY | O_DIRECTORY));
    for (const std::string& path : opaque_directories) {
      const Fd directory = TRY(OpenBeneath(out.get(), path, O_RDONLY | O_DIRECTORY));
      if (::fsetxattr(directory.get(), "trusted.overlay.opaque", "y", 1, 0) != 0)
        return FailErrno(errno, "set opaque {}", path);
    }
    const std::lock_guard lock(store_.mutex_);
    if (::access(store_.PathOf(name).c_str(), F_OK) == 0) return {};
    if (::rename(out_.c_str(), store_.PathOf(name).c_str()) != 0) return FailErrno(errno, "commit");
    committed_ = true;
    return {};
  }

 private:
  WorkerStore& store_;
  const std::string out_;
  pid_t pid_;
  bool committed_ = false;
};

WorkerStore::WorkerStore(std::string directory) : directory_(std::move(directory)) {
  CHECK(MakeDirectories(directory_ + "/layers", 0700));
  CHECK(MakeDirectories(directory_ + "/tmp", 0700));
}

Result<std::unique_ptr<StoreWorker>> WorkerStore::StartUnpack(int input, int report) {
  return StartNew("unpack", input, report, {});
}

Result<std::unique_ptr<StoreWorker>> WorkerStore::StartMerge(int input, int report,
                                                             std::span<const LayerName> layers_top_first) {
  return StartNew(layers_top_first.empty() ? "unpack" : "merge", input, report, layers_top_first);
}

Result<std::unique_ptr<StoreWorker>> WorkerStore::StartVerify(int input, int report, const LayerName& layer) {
  return StartNew("verify", input, report, {&layer, 1});
}

Result<std::unique_ptr<StoreWorker>> WorkerStore::StartExport(int input, int output,
                                                              std::span<const LayerName> layers_top_first) {
  return StartNew("export", input, output, layers_top_first);
}

Result<std::unique_ptr<StoreWorker>> WorkerStore::StartNew(const char* verb, int input, int report,
                                                           std::span<const LayerName> layers_top_first) {
  const std::string out = fmt::format("{}/tmp/{}", directory_, ++started_);
  if (::mkdir(out.c_str(), 0755) != 0) return FailErrno(errno, "make {}", out);
  const pid_t pid = TRY(Start(verb, out, input, report, layers_top_first));
  return std::make_unique<RunningWorker>(*this, out, pid);
}

Result<bool> WorkerStore::HasLayer(const LayerName& name) { return ::access(PathOf(name).c_str(), F_OK) == 0; }

Result<std::vector<StoredLayer>> WorkerStore::ListLayers() {
  std::vector<StoredLayer> layers;
  for (const auto& entry : std::filesystem::directory_iterator(directory_ + "/layers")) {
    StoredLayer layer{TRY(LayerName::Parse(entry.path().filename().string()))};
    for (const auto& file : std::filesystem::recursive_directory_iterator(entry))
      if (file.is_regular_file() && !file.is_symlink()) layer.bytes += file.file_size();
    layers.push_back(layer);
  }
  return layers;
}

Result<void> WorkerStore::RemoveLayer(const LayerName& name) {
  if (!TRY(HasLayer(name))) return Fail(ErrorCode::kNotFound, "layer {} is not in the store", name.hex());
  const Fd null = TRY(OpenAt(AT_FDCWD, "/dev/null", O_RDWR));
  const pid_t pid = TRY(Start("remove", PathOf(name), null.get(), null.get(), {}));
  int status = 0;
  CHECK(::waitpid(pid, &status, 0) == pid);
  if (status != 0) return Fail(ErrorCode::kInternal, "remove ended with status {}", status);
  if (::rmdir(PathOf(name).c_str()) != 0) return FailErrno(errno, "remove {}", PathOf(name));
  return {};
}

std::vector<std::string> WorkerStore::TemporaryNames() const {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory_ + "/tmp"))
    names.push_back(entry.path().filename());
  return names;
}

Result<pid_t> WorkerStore::Start(const char* verb, const std::string& out, int input, int report,
                                 std::span<const LayerName> layers_top_first) {
  const std::lock_guard lock(mutex_);
  const Fd user_namespace = TRY(MakeUserNamespace());
  const Fd out_mount = TRY(CloneIdmapped(out, user_namespace.get(), false));
  std::vector<Fd> layers;
  struct Start start {};
  for (const LayerName& name : layers_top_first) {
    layers.push_back(TRY(CloneIdmapped(PathOf(name), user_namespace.get(), true)));
    start.layers.push_back(layers.back().get());
  }
  const std::string program = ProgramsDirectory() + "/caisson-worker";
  const std::string trace_file = fmt::format("{}.{}", trace_, started_.load());
  start.program = program;
  start.argv = {"caisson-worker", verb, nullptr};
  if (!trace_.empty()) {
    start.program = "/usr/bin/strace";
    start.argv = {"strace", "-f", "-y", "-o", trace_file.c_str(), program.c_str(), verb, nullptr};
  }
  start.user_namespace = user_namespace.get();
  start.out = out_mount.get();
  start.input = input;
  start.report = report;
  const pid_t pid = ::fork();
  if (pid < 0) return FailErrno(errno, "fork");
  if (pid == 0) RunChild(start);
  return pid;
}

Result<void> MountOverlay(const WorkerStore& store, std::span<const LayerName> layers_top_first,
                          const std::string& target) {
  if (::unshare(CLONE_NEWNS) != 0) return FailErrno(errno, "unshare");
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return FailErrno(errno, "make mounts private");
  std::string lower;
  for (const LayerName& name : layers_top_first) lower += (lower.empty() ? "" : ":") + store.PathOf(name);
  // One layer alone cannot be mounted: an empty one below it changes nothing.
  if (layers_top_first.size() == 1) {
    const std::string empty = target + "-empty";
    if (::mkdir(empty.c_str(), 0755) != 0) return FailErrno(errno, "make {}", empty);
    lower += ":" + empty;
  }
  if (::mount("overlay", target.c_str(), "overlay", MS_RDONLY, ("lowerdir=" + lower).c_str()) != 0)
    return FailErrno(errno, "mount overlay of {}", lower);
  return {};
}

void UnmountOverlay(const std::string& target) { CHECK(::umount2(target.c_str(), MNT_DETACH) == 0); }

}  // namespace caisson::image
