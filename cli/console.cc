// SPDX-License-Identifier: Apache-2.0
#include "cli/console.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/io.h"

namespace caisson::cli {
namespace {

constexpr size_t kMaxPayloadBytes = 64 << 20;

}  // namespace

Result<void> Console::Print(std::string_view text) const {
  TRY_IN("standard output", WriteAll(out, text));
  return {};
}

void Console::Say(std::string_view text) const {
  std::string line = "caisson: ";
  for (const char c : text) {
    line += c;
    if (c == '\n') line += "  ";
  }
  line += '\n';
  static_cast<void>(WriteAll(err, line).has_value());
}

bool Console::err_is_terminal() const { return isatty(err) == 1; }

Result<std::optional<std::string>> ReadPayload(int fd) {
  struct stat status {};
  if (fstat(fd, &status) != 0) {
    if (errno == EBADF) return std::nullopt;  // closed by the caller: "<&-"
    return FailErrno(errno, "standard input");
  }
  if (!S_ISFIFO(status.st_mode) && !S_ISREG(status.st_mode) && !S_ISSOCK(status.st_mode)) return std::nullopt;
  return TRY_IN("payload on standard input", ReadAll(fd, kMaxPayloadBytes));
}

}  // namespace caisson::cli
