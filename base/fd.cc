// SPDX-License-Identifier: Apache-2.0
#include "base/fd.h"

#include <unistd.h>

#include <cerrno>

namespace caisson {

void Fd::reset() {
  if (fd_ < 0) return;
  const int saved = errno;  // a destructor must not change what the caller is about to report
  ::close(std::exchange(fd_, -1));
  errno = saved;
}

}  // namespace caisson
