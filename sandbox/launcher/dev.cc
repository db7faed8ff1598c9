// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/dev.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "sandbox/launcher/mount_api.h"

namespace caisson::sandbox {
namespace {

constexpr uint64_t kMaxShmBytes = 64 << 20;

struct Node {
  const char* name;
  unsigned major;
  unsigned minor;
};
// No console, kmsg, mem, fuse, kvm, net/tun or mqueue.
constexpr Node kNodes[] = {{"null", 1, 3}, {"zero", 1, 5},   {"full", 1, 7},
                           {"tty", 5, 0},  {"random", 1, 8}, {"urandom", 1, 9}};

struct Link {
  const char* name;
  const char* target;
};
constexpr Link kLinks[] = {{"fd", "/proc/self/fd"},
                           {"stdin", "/proc/self/fd/0"},
                           {"stdout", "/proc/self/fd/1"},
                           {"stderr", "/proc/self/fd/2"},
                           {"ptmx", "pts/ptmx"}};

Result<void> MakeNode(int dev, const Node& node, uint32_t owner) {
  if (::mknodat(dev, node.name, S_IFCHR | 0666, makedev(node.major, node.minor)) != 0) {
    return FailErrno(errno, "make /dev/{}", node.name);
  }
  if (::fchownat(dev, node.name, owner, owner, AT_SYMLINK_NOFOLLOW) != 0 || ::fchmodat(dev, node.name, 0666, 0) != 0) {
    return FailErrno(errno, "set the attributes of /dev/{}", node.name);
  }
  return {};
}

Result<void> MakeEntries(int dev, uint32_t owner) {
  for (const Node& node : kNodes) TRY(MakeNode(dev, node, owner));
  for (const Link& link : kLinks) {
    if (::symlinkat(link.target, dev, link.name) != 0) return FailErrno(errno, "make /dev/{}", link.name);
  }
  for (const char* name : {"shm", "pts"}) {
    if (::mkdirat(dev, name, 0755) != 0) return FailErrno(errno, "make /dev/{}", name);
  }
  return {};
}

}  // namespace

Result<SmallMounts> MakeSmallMounts(const Limits& limits, uint32_t id_base) {
  const std::string id = std::to_string(id_base);
  const uint64_t tmp_bytes = std::min(limits.disk_bytes, limits.memory_bytes / 2);
  const uint64_t tmp_inodes = std::max<uint64_t>(4096, tmp_bytes / (8 << 10));
  const uint64_t inert = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  SmallMounts mounts;
  mounts.dev = TRY(MakeMount("tmpfs", {{"size", "64k"}, {"nr_inodes", "64"}, {"mode", "755"}, {"uid", id}, {"gid", id}},
                             MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC));
  TRY(MakeEntries(mounts.dev.get(), id_base));
  TRY(AddMountAttributes(mounts.dev.get(), MOUNT_ATTR_RDONLY));  // nodes stay writable, names and modes do not
  mounts.shm = TRY(MakeMount("tmpfs",
                             {{"size", std::to_string(std::min(kMaxShmBytes, limits.memory_bytes))},
                              {"nr_inodes", "4096"},
                              {"mode", "1777"},
                              {"uid", id},
                              {"gid", id}},
                             inert));
  mounts.tmp = TRY(MakeMount("tmpfs",
                             {{"size", std::to_string(tmp_bytes)},
                              {"nr_inodes", std::to_string(tmp_inodes)},
                              {"mode", "1777"},
                              {"uid", id},
                              {"gid", id}},
                             MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV));
  mounts.empty = TRY(MakeMount("tmpfs", {{"size", "4k"}, {"nr_inodes", "2"}, {"mode", "555"}, {"uid", id}, {"gid", id}},
                               inert | MOUNT_ATTR_RDONLY));
  return mounts;
}

}  // namespace caisson::sandbox
