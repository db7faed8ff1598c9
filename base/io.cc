// SPDX-License-Identifier: Apache-2.0
#include "base/io.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace caisson {
namespace {

constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

std::string ParentOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

Result<Pipe> MakePipe(int extra_flags) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | extra_flags) != 0) return FailErrno(errno, "make a pipe");
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

Result<Fd> OpenAt(int dir, const std::string& path, int flags, mode_t mode) {
  Fd fd(::openat(dir, path.c_str(), flags | O_CLOEXEC, mode));
  if (!fd) return FailErrno(errno, "open {}", path);
  return fd;
}

Result<void> WriteAll(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t written = ::write(fd, data.data(), data.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FailErrno(errno, "write {} bytes", data.size());
    data.remove_prefix(static_cast<size_t>(written));
  }
  return {};
}

Result<std::string> ReadAll(int fd, size_t limit) {
  std::string data;
  char buffer[16384];
  for (;;) {
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno(errno, "read");
    if (got == 0) return data;
    if (data.size() + static_cast<size_t>(got) > limit) return Fail(ErrorCode::kTooLarge, "more than {} bytes", limit);
    data.append(buffer, static_cast<size_t>(got));
  }
}

Result<std::string> ReadFile(const std::string& path, size_t limit) {
  const Fd fd = TRY(OpenAt(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return FailErrno(errno, "stat {}", path);
  if (!S_ISREG(info.st_mode)) return Fail(ErrorCode::kInvalid, "{} is not a regular file", path);
  return TRY_IN(path, ReadAll(fd.get(), limit));
}

Result<std::string> ReadAt(int fd, size_t size, uint64_t offset) {
  std::string data(size, '\0');
  size_t done = 0;
  while (done < size) {
    const ssize_t got = ::pread(fd, data.data() + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno(errno, "read {} bytes at {}", size, offset);
    if (got == 0) return Fail(ErrorCode::kCorrupt, "file ends {} bytes early", size - done);
    done += static_cast<size_t>(got);
  }
  return data;
}

Result<void> WriteFileDurably(int dir, const std::string& path, std::string_view data, mode_t mode) {
  const std::string temporary = path + ".new";
  const Fd file = TRY(OpenAt(dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, mode));
  TRY_IN(temporary, WriteAll(file.get(), data));
  if (::fsync(file.get()) != 0) return FailErrno(errno, "fsync {}", temporary);
  if (::renameat(dir, temporary.c_str(), dir, path.c_str()) != 0) return FailErrno(errno, "rename {}", temporary);
  const Fd parent = TRY(OpenAt(dir, ParentOf(path), O_RDONLY | O_DIRECTORY));
  if (::fsync(parent.get()) != 0) return FailErrno(errno, "fsync directory of {}", path);
  return {};
}

Result<void> MakeDirectories(const std::string& path, mode_t mode) {
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string prefix = path.substr(0, slash);
    if (::mkdir(prefix.c_str(), mode) != 0 && errno != EEXIST) return FailErrno(errno, "make directory {}", prefix);
    if (slash == std::string::npos) return {};
  }
}

Result<Fd> MakeSealedMemfd(const char* name, std::string_view data) {
  Fd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return FailErrno(errno, "make memory file {}", name);
  TRY_IN(name, WriteAll(fd.get(), data));
  if (::fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0) return FailErrno(errno, "seal memory file {}", name);
  return fd;
}

Result<size_t> CheckSealedMemfd(int fd) {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals)
    return Fail(ErrorCode::kInvalid, "descriptor is not a sealed memory file");
  struct stat info {};
  if (::fstat(fd, &info) != 0) return FailErrno(errno, "stat memory file");
  return static_cast<size_t>(info.st_size);
}

}  // namespace caisson
