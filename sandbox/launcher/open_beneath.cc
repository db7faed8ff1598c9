// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/open_beneath.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace caisson::sandbox {

Result<Fd> OpenBeneath(int directory, const std::string& path, int flags) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC | O_NOFOLLOW;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  constexpr int kTries = 16;  // EAGAIN: somebody renames just now; bounded, since it could be done on purpose
  for (int i = 0; i < kTries; ++i) {
    Fd fd(static_cast<int>(::syscall(SYS_openat2, directory, path.c_str(), &how, sizeof how)));
    if (fd) return fd;
    if (errno != EAGAIN && errno != EINTR) break;
  }
  return FailErrno(errno, "open {}", path);
}

}  // namespace caisson::sandbox
