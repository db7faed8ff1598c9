// SPDX-License-Identifier: Apache-2.0
// The kernel's descriptor-based mount calls as Results, for the launcher's own thread (not for code between clone
// and exec). Detached mounts are plain Fds: dropping the last descriptor of one unmounts it.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>

#include "base/fd.h"
#include "base/result.h"

namespace caisson::sandbox {

using MountOption = std::pair<const char*, std::string>;  // key, value; an empty value is a flag

// A new detached mount of a file system type. `attributes` are MOUNT_ATTR_*.
Result<Fd> MakeMount(const char* type, std::initializer_list<MountOption> options, uint64_t attributes);

// A detached copy of what `fd` (and `path` beneath it, empty for itself) shows. The original must be in this mount
// namespace.
Result<Fd> CloneMount(int fd, const std::string& path = "");

// Adds attributes to a mount, to `user_namespace` (or -1) as its id mapping too.
Result<void> AddMountAttributes(int mount, uint64_t attributes, int user_namespace = -1);

// Attaches a detached mount at a path of this namespace.
Result<void> AttachMount(int mount, const char* path);

}  // namespace caisson::sandbox
