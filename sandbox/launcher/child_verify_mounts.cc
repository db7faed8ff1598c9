// SPDX-License-Identifier: Apache-2.0
// The step that reads the job's mount table back: exactly the mounts that were made, of the right types, with the
// flags that were asked for, and nothing above the root.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "sandbox/launcher/child.h"
#include "sandbox/raw_syscall.h"

namespace caisson::sandbox {
namespace {

using raw::Call;

constexpr size_t kTableBytes = 24 << 10;  // 35 lines of at most some 600 bytes; one that is longer fails the step

// A stretch of the table; no allocation, no library.
struct Piece {
  const char* begin;
  const char* end;
};

CAISSON_BARE bool Equals(Piece piece, const char* text) {
  const char* at = piece.begin;
  for (; *text != '\0' && at != piece.end && *at == *text; ++at, ++text) {
  }
  return *text == '\0' && at == piece.end;
}

// Cuts off what is in front of the next `separator` (or all).
CAISSON_BARE Piece CutAt(Piece& rest, char separator) {
  Piece piece{rest.begin, rest.begin};
  while (piece.end != rest.end && *piece.end != separator) ++piece.end;
  rest.begin = piece.end == rest.end ? piece.end : piece.end + 1;
  return piece;
}

CAISSON_BARE bool HasFlag(Piece options, Piece flag) {
  while (options.begin != options.end) {
    const Piece option = CutAt(options, ',');
    if (option.end - option.begin != flag.end - flag.begin) continue;
    bool equal = true;
    for (long i = 0; i < flag.end - flag.begin; ++i) equal = equal && option.begin[i] == flag.begin[i];
    if (equal) return true;
  }
  return false;
}

CAISSON_BARE bool HasAllFlags(Piece options, const char* flags) {
  Piece rest{flags, flags};
  while (*rest.end != '\0') ++rest.end;
  while (rest.begin != rest.end) {
    if (!HasFlag(options, CutAt(rest, ','))) return false;
  }
  return true;
}

// One line of mountinfo: id, parent, device, root, mount point, options, optional fields, "-", type, source, ...
// Finds the expectation that it fulfils and marks it; false where it is none of ours.
CAISSON_BARE bool Fulfils(Piece line, ChildContext& context) {
  for (int i = 0; i < 4; ++i) CutAt(line, ' ');
  const Piece point = CutAt(line, ' ');
  const Piece options = CutAt(line, ' ');
  while (line.begin != line.end && !Equals(CutAt(line, ' '), "-")) {
  }
  const Piece type = CutAt(line, ' ');
  for (size_t i = 0; i < context.mount_count; ++i) {
    ExpectedMount& expected = context.mounts[i];
    if (expected.path == nullptr || !Equals(point, expected.path)) continue;
    if (!Equals(type, expected.type) || !HasAllFlags(options, expected.flags)) return false;
    expected.path = nullptr;  // twice would be one too many
    return true;
  }
  return false;
}

CAISSON_BARE long ReadTable(int proc, char* buffer, size_t size) {
  const long file = Call(__NR_openat, proc, "self/mountinfo", O_RDONLY | O_CLOEXEC, 0);
  if (file < 0) return file;
  size_t length = 0;
  long got = 1;
  while (got > 0 && length < size) {
    got = Call(__NR_read, file, buffer + length, size - length);
    if (got > 0) length += static_cast<size_t>(got);
  }
  Call(__NR_close, file);
  if (got < 0) return got;
  return length == size ? -E2BIG : static_cast<long>(length);
}

}  // namespace

CAISSON_BARE long VerifyMounts(ChildContext& context) {
  char table[kTableBytes];
  const long length = ReadTable(context.proc, table, sizeof table);
  if (length < 0) return length;
  Piece rest{table, table + length};
  size_t lines = 0;
  for (; rest.begin != rest.end; ++lines) {
    if (!Fulfils(CutAt(rest, '\n'), context)) return -EXDEV;
  }
  if (lines != context.mount_count) return -EXDEV;

  struct stat root {
  }, above{};
  if (const long error = Call(__NR_stat, "/", &root); error != 0) return error;
  if (const long error = Call(__NR_stat, "/..", &above); error != 0) return error;
  return root.st_dev == above.st_dev && root.st_ino == above.st_ino ? 0 : -EXDEV;
}

}  // namespace caisson::sandbox
