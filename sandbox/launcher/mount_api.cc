// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/mount_api.h"

#include <fcntl.h>
#include <sys/mount.h>

#include <cerrno>

namespace caisson::sandbox {

Result<Fd> MakeMount(const char* type, std::initializer_list<MountOption> options, uint64_t attributes) {
  const Fd context(::fsopen(type, FSOPEN_CLOEXEC));
  if (!context) return FailErrno(errno, "open file system type {}", type);
  for (const auto& [key, value] : options) {
    const bool flag = value.empty();
    if (::fsconfig(context.get(), flag ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING, key, flag ? nullptr : value.c_str(),
                   0) != 0) {
      return FailErrno(errno, "{} option {}={}", type, key, value);
    }
  }
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    return FailErrno(errno, "make {}", type);
  Fd mount(::fsmount(context.get(), FSMOUNT_CLOEXEC, static_cast<unsigned>(attributes)));
  if (!mount) return FailErrno(errno, "mount {}", type);
  return mount;
}

Result<Fd> CloneMount(int fd, const std::string& path) {
  Fd clone(::open_tree(fd, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (path.empty() ? AT_EMPTY_PATH : 0)));
  if (!clone) return FailErrno(errno, "copy the mount of {}", path.empty() ? "a directory" : path);
  return clone;
}

Result<void> AddMountAttributes(int mount, uint64_t attributes, int user_namespace) {
  mount_attr change{};
  change.attr_set = attributes;
  if (user_namespace >= 0) {
    change.attr_set |= MOUNT_ATTR_IDMAP;
    change.userns_fd = static_cast<uint64_t>(user_namespace);
  }
  if (::mount_setattr(mount, "", AT_EMPTY_PATH, &change, sizeof change) != 0) {
    if (user_namespace >= 0) return FailErrno(errno, "map the ids of a mount");
    return FailErrno(errno, "set the attributes of a mount");
  }
  return {};
}

Result<void> AttachMount(int mount, const char* path) {
  if (::move_mount(mount, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) != 0) return FailErrno(errno, "attach {}", path);
  return {};
}

}  // namespace caisson::sandbox
