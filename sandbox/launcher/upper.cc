// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/upper.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/io.h"
#include "sandbox/launcher/mount_api.h"

namespace caisson::sandbox {
namespace {

constexpr uint64_t kBytesPerInode = 8 << 10;
constexpr uint64_t kMinInodes = 4096;

constexpr const char* kHosts =
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n";
constexpr const char* kResolvConf = "# This job has no network beyond its loopback interface.\n";

// A directory with exactly these attributes, whatever the umask. `directory` is one that we have just made.
Result<void> MakeDirectory(int parent, const char* name, const Attributes& attributes, uint32_t id_base) {
  if (*name != '\0' && ::mkdirat(parent, name, 0700) != 0) return FailErrno(errno, "make {} in the upper", name);
  const Fd directory = TRY(OpenAt(parent, *name == '\0' ? "." : name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  if (::fchown(directory.get(), id_base + attributes.uid, id_base + attributes.gid) != 0) {
    return FailErrno(errno, "chown {} in the upper", name);
  }
  if (::fchmod(directory.get(), attributes.mode) != 0) return FailErrno(errno, "chmod {} in the upper", name);
  return {};
}

Result<void> MakeFile(int root, const char* path, std::string_view text, uint32_t owner, mode_t mode) {
  const Fd file = TRY(OpenAt(root, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  TRY_IN(path, WriteAll(file.get(), text));
  if (::fchown(file.get(), owner, owner) != 0) return FailErrno(errno, "chown {}", path);
  if (::fchmod(file.get(), mode) != 0) return FailErrno(errno, "chmod {}", path);
  return {};
}

Result<void> MakeMountPoints(int root, const MountPointAttributes& points, uint32_t id_base) {
  for (size_t i = 0; i < points.size(); ++i) {
    TRY(MakeDirectory(root, MountPointPath(static_cast<MountPoint>(i)), points[i], id_base));
  }
  return {};
}

Result<void> MakeFiles(int root, const SandboxSpec& spec, uint32_t id_base, bool with_payload) {
  TRY(MakeFile(root, "etc/resolv.conf", kResolvConf, id_base, 0644));
  TRY(MakeFile(root, "etc/hosts", fmt::format("{}127.0.1.1\t{}\n", kHosts, spec.id), id_base, 0644));
  TRY(MakeFile(root, "etc/hostname", spec.id + "\n", id_base, 0644));
  TRY(MakeDirectory(root, "run/caisson", Attributes{}, id_base));
  // The host's root owns it, an id that the job does not have: nobody inside can make it writable.
  if (with_payload) TRY(MakeFile(root, kPayloadPath, "", 0, 0444));
  return {};
}

}  // namespace

Result<Fd> MakeUpper(const SandboxSpec& spec, uint32_t id_base, bool with_payload) {
  const uint64_t inodes = std::max(kMinInodes, spec.limits.disk_bytes / kBytesPerInode);
  Fd tmpfs = TRY(MakeMount(
      "tmpfs",
      {{"size", std::to_string(spec.limits.disk_bytes)}, {"nr_inodes", std::to_string(inodes)}, {"mode", "0700"}},
      MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV));
  for (const char* name : {kUpperDirectory, kWorkDirectory}) {
    if (::mkdirat(tmpfs.get(), name, 0700) != 0) return FailErrno(errno, "make {} in the upper", name);
  }
  const Fd root = TRY(OpenAt(tmpfs.get(), kUpperDirectory, O_RDONLY | O_DIRECTORY));
  TRY(MakeMountPoints(root.get(), spec.mount_points, id_base));
  TRY(MakeFiles(root.get(), spec, id_base, with_payload));
  return tmpfs;
}

}  // namespace caisson::sandbox
