// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/environment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/io.h"
#include "sandbox/launcher/lean_root.h"
#include "sandbox/launcher/mount_api.h"

namespace caisson::sandbox {
namespace {

constexpr size_t kMaxInitBytes = 4 << 20;

// A clone3 beside other threads can deadlock the child.
Result<void> CheckSingleThreaded() {
  const std::string status = TRY(ReadFile("/proc/self/status", 64 << 10));
  if (status.find("\nThreads:\t1\n") == std::string::npos) {
    return Fail(ErrorCode::kInternal, "the launcher must have one thread");
  }
  return {};
}

// A descriptor below 3 that is not open would be given to a pipe, and the child would overwrite it.
Result<void> OpenMissingStdio() {
  for (;;) {
    Fd null = TRY(OpenAt(AT_FDCWD, "/dev/null", O_RDWR));
    if (null.get() > 2) return {};
    (void)null.release();  // stays open for as long as the launcher lives
  }
}

constexpr unsigned kMemfdExec = 0x10;  // MFD_EXEC; kernels before 6.3 answer EINVAL, and allow executing anyway

Result<Fd> MakeExecutableMemfd(std::string_view program) {
  Fd file(::memfd_create("caisson-init", MFD_CLOEXEC | MFD_ALLOW_SEALING | kMemfdExec));
  if (!file && errno == EINVAL) file = Fd(::memfd_create("caisson-init", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file) return FailErrno(errno, "make an executable memory file");
  TRY(WriteAll(file.get(), program));
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return FailErrno(errno, "seal a memory file");
  }
  return file;
}

// For hosts that forbid executing memory files (vm.memfd_noexec = 2): the same on a read-only mount that is attached
// nowhere.
Result<Fd> MakeFileOnReadOnlyMount(std::string_view program) {
  const Fd mount = TRY(MakeMount("tmpfs", {{"size", "4m"}, {"mode", "0700"}}, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV));
  {
    const Fd file = TRY(OpenAt(mount.get(), "caisson-init", O_WRONLY | O_CREAT | O_EXCL, 0755));
    TRY(WriteAll(file.get(), program));
    if (::fchmod(file.get(), 0555) != 0) return FailErrno(errno, "chmod caisson-init");
  }
  TRY(AddMountAttributes(mount.get(), MOUNT_ATTR_RDONLY));
  return OpenAt(mount.get(), "caisson-init", O_RDONLY);
}

// A copy, out of reach: a job gets at the program that runs as its pid 1, and must find nothing to write to.
Result<Fd> LoadInit(const std::string& path) {
  const std::string program = TRY_IN("pid 1's program (caisson-init)", ReadFile(path, kMaxInitBytes));
  if (program.compare(0, 4, "\177ELF") != 0) return Fail(ErrorCode::kInvalid, "{} is not a program", path);
  if (Result<Fd> memory = MakeExecutableMemfd(program)) return memory;
  return MakeFileOnReadOnlyMount(program);
}

}  // namespace

Result<Environment> Environment::Prepare(EnvironmentOptions options) {
  Environment environment;
  TRY(CheckSingleThreaded());
  TRY(OpenMissingStdio());
  environment.cgroups = TRY_IN("cgroups", Cgroups::Open(options.cgroup_parent, options.instance));
  environment.ids = TRY_IN("ids for sandboxes", IdRanges::Open({}));
  environment.init_program = TRY(LoadInit(options.init_program));
  environment.seccomp = TRY(SeccompFilter::Compile());
  Pipe liveness = TRY(MakePipe());
  environment.liveness_read = std::move(liveness.read);
  environment.liveness_write = std::move(liveness.write);
  // What a child shares with us until its exec, nobody else of our uid shall read.
  if (::prctl(PR_SET_DUMPABLE, 0) != 0) return FailErrno(errno, "make the launcher's memory private");
  environment.root = TRY_IN("the launcher's own root", EnterLeanRoot(options.data_dir));
  // From here on no path of the host can be named.
  environment.overlay = TRY(FindOverlayMethod());
  environment.options = std::move(options);
  return environment;
}

}  // namespace caisson::sandbox
