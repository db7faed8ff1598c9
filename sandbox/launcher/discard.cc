// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/discard.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace caisson::sandbox {

void Discard(int pipe, uint64_t bytes) {
  int held = 0;
  if (::ioctl(pipe, FIONREAD, &held) != 0 || held <= 0) return;
  bytes = std::min(bytes, static_cast<uint64_t>(held));
  char buffer[65536];
  while (bytes > 0) {
    const ssize_t got = ::read(pipe, buffer, std::min<uint64_t>(bytes, sizeof buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    bytes -= static_cast<uint64_t>(got);
  }
}

}  // namespace caisson::sandbox
