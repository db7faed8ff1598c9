// SPDX-License-Identifier: Apache-2.0
// Small descriptor-based input and output: whole reads and writes, pipes, sealed memory files, files of a known
// greatest size. Everything made here is close-on-exec. Any thread; no function keeps state.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace caisson {

struct Pipe {
  Fd read;
  Fd write;
};
Result<Pipe> MakePipe(int extra_flags = 0);  // O_NONBLOCK may be added

Result<Fd> OpenAt(int dir, const std::string& path, int flags, mode_t mode = 0);

// Writes all of `data`, over short writes and EINTR.
Result<void> WriteAll(int fd, std::string_view data);

// Reads until end of file; kTooLarge once more than `limit` bytes came.
Result<std::string> ReadAll(int fd, size_t limit);
// Opens and reads a regular file; kTooLarge past `limit`.
Result<std::string> ReadFile(const std::string& path, size_t limit);
// Reads exactly `size` bytes at `offset`, by pread.
Result<std::string> ReadAt(int fd, size_t size, uint64_t offset);

// Replaces `path` (relative to `dir`, AT_FDCWD allowed) by a file with `data`: temporary file, fsync, rename, fsync
// of the directory. After a crash there is the old file or the new one, never half.
Result<void> WriteFileDurably(int dir, const std::string& path, std::string_view data, mode_t mode);

// Creates the directory and its missing parents; an existing one is fine.
Result<void> MakeDirectories(const std::string& path, mode_t mode);

// A memory file with `data` that nobody can change any more (F_SEAL_WRITE, SHRINK, GROW, SEAL).
Result<Fd> MakeSealedMemfd(const char* name, std::string_view data);
// kInvalid unless `fd` is a memory file with those four seals; returns its size.
Result<size_t> CheckSealedMemfd(int fd);

}  // namespace caisson
