// SPDX-License-Identifier: Apache-2.0
#include "image/worker/beneath.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <vector>

#include "base/encoding.h"

namespace caisson::image {
namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using DirectoryStream = std::unique_ptr<DIR, CloseDirectory>;

}  // namespace

Result<Fd> OpenBeneath(int directory, std::string_view path, int flags) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC | O_NOFOLLOW);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  const std::string name = path.empty() ? "." : std::string(path);
  Fd fd(static_cast<int>(::syscall(SYS_openat2, directory, name.c_str(), &how, sizeof how)));
  if (!fd) return FailErrno(errno, "open \"{}\"", EscapeForLog(name, 120));
  return fd;
}

Result<std::vector<std::string>> NamesIn(int directory) {
  Fd fd = TRY(OpenBeneath(directory, "", O_RDONLY | O_DIRECTORY));
  const DirectoryStream stream(::fdopendir(fd.get()));
  if (!stream) return FailErrno(errno, "read directory");
  fd.release();  // closedir closes it
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return FailErrno(errno, "read directory");
  return names;
}

Result<void> RemoveTree(int directory, const std::string& name) {
  if (::unlinkat(directory, name.c_str(), 0) == 0) return {};
  if (errno != EISDIR) return FailErrno(errno, "remove \"{}\"", EscapeForLog(name, 120));
  {
    const Fd inside = TRY(OpenBeneath(directory, name, O_RDONLY | O_DIRECTORY));
    TRY(RemoveContents(inside.get()));
  }
  if (::unlinkat(directory, name.c_str(), AT_REMOVEDIR) != 0)
    return FailErrno(errno, "remove \"{}\"", EscapeForLog(name, 120));
  return {};
}

// The depth of a layer is bounded (kMaxPathDepth), and so are recursion and descriptors.
Result<void> RemoveContents(int directory) {
  for (const std::string& name : TRY(NamesIn(directory))) TRY(RemoveTree(directory, name));
  return {};
}

}  // namespace caisson::image
