// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/data_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <memory>

#include "base/io.h"

namespace caisson::sandbox {
namespace {

constexpr size_t kInstanceLength = 8;
constexpr int kLockTries = 60;  // three seconds in all
constexpr int kLockPauseMs = 50;

bool IsNumber(std::string_view text, uint32_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

Result<ServiceUser> Checked(const std::string& user, ServiceUser numbers) {
  constexpr uid_t kNone = static_cast<uid_t>(-1);
  if (numbers.uid == 0 || numbers.gid == 0)
    return Fail(ErrorCode::kInvalid, "service_user {} is root: the service must not be", user);
  if (numbers.uid == kNone || numbers.gid == kNone) return Fail(ErrorCode::kInvalid, "service_user {} is no id", user);
  return numbers;
}

struct Owned {
  Fd directory;
  bool made = false;
};

// Opens `name` below `parent`, making it if need be. The last step must not be a link: somebody could point it away.
Result<Owned> OpenOrMake(int parent, const std::string& name, mode_t mode) {
  Owned owned;
  if (::mkdirat(parent, name.c_str(), mode) == 0) {
    owned.made = true;
  } else if (errno != EEXIST) {
    return FailErrno(errno, "make directory {}", name);
  }
  owned.directory = TRY(OpenAt(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  if (owned.made && ::fchmod(owned.directory.get(), mode) != 0) return FailErrno(errno, "set the mode of {}", name);
  return owned;
}

Result<void> CheckRootOwned(int directory, const std::string& path) {
  struct stat info {};
  if (::fstat(directory, &info) != 0) return FailErrno(errno, "stat {}", path);
  if (info.st_uid != 0 || (info.st_mode & 022) != 0)
    return Fail(ErrorCode::kDenied,
                "{} must belong to root and be writable by nobody else: chown root:root {} && chmod 755 {}", path, path,
                path);
  return {};
}

Result<void> MakeRootOwned(int parent, const std::string& name, const std::string& path, mode_t mode) {
  const Owned owned = TRY(OpenOrMake(parent, name, mode));
  return CheckRootOwned(owned.directory.get(), path);
}

Result<void> MakeServiceOwned(int parent, const std::string& name, const std::string& path, const ServiceUser& user) {
  const Owned owned = TRY(OpenOrMake(parent, name, 0700));
  const int fd = owned.directory.get();
  if (owned.made && ::fchown(fd, user.uid, user.gid) != 0) return FailErrno(errno, "give {} to the service user", path);
  struct stat info {};
  if (::fstat(fd, &info) != 0) return FailErrno(errno, "stat {}", path);
  if (info.st_uid != user.uid)
    return Fail(ErrorCode::kDenied, "{} belongs to user {}, but the service runs as {}: chown -R {}:{} {}", path,
                info.st_uid, user.uid, user.uid, user.gid, path);
  return {};
}

Result<std::string> MakeInstanceId() {
  std::array<uint8_t, kInstanceLength> random;
  if (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size()))
    return FailErrno(errno, "get random bytes");
  std::string id;
  for (const uint8_t byte : random) id.push_back("abcdefghijklmnopqrstuvwxyz012345"[byte % 32]);
  return id;
}

Result<std::string> ReadInstanceId(int directory) {
  const Result<Fd> file = OpenAt(directory, "instance", O_RDONLY | O_NOFOLLOW);
  if (!file) {
    if (file.error().code != ErrorCode::kNotFound) return tl::unexpected(file.error());
    const std::string id = TRY(MakeInstanceId());
    TRY(WriteFileDurably(directory, "instance", id + "\n", 0644));
    return id;
  }
  std::string id = TRY_IN("instance", ReadAll(file->get(), 64));
  if (!id.empty() && id.back() == '\n') id.pop_back();
  const auto allowed = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (id.size() != kInstanceLength || !std::all_of(id.begin(), id.end(), allowed))
    return Fail(ErrorCode::kCorrupt, "the file instance does not hold {} characters of a-z and 0-9; remove it",
                kInstanceLength);
  return id;
}

// Waits a little for the lock: the processes of a launcher that was killed hold copies of its descriptor until they
// have ended too, and whoever starts the next one may be faster than that.
Result<Fd> Lock(int directory, const std::string& path) {
  Fd lock = TRY(OpenAt(directory, "lock", O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  for (int tries = 0; ::flock(lock.get(), LOCK_EX | LOCK_NB) != 0; ++tries) {
    if (errno != EWOULDBLOCK) return FailErrno(errno, "lock {}", path);
    if (tries == kLockTries)
      return Fail(ErrorCode::kConflict,
                  "another caissond uses {}; a second one needs --data-dir and --run-dir of its own", path);
    (void)::poll(nullptr, 0, kLockPauseMs);
  }
  return lock;
}

bool IsEmpty(int directory) {
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(::dup(directory)), ::closedir);
  if (!stream) return false;
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") return false;
  }
  return true;
}

}  // namespace

Result<ServiceUser> ResolveServiceUser(const std::string& user) {
  if (const size_t colon = user.find(':'); colon != std::string::npos) {
    ServiceUser numbers;
    if (!IsNumber(std::string_view(user).substr(0, colon), numbers.uid) ||
        !IsNumber(std::string_view(user).substr(colon + 1), numbers.gid))
      return Fail(ErrorCode::kInvalid, "service_user {} is neither a name nor UID:GID", user);
    return Checked(user, numbers);
  }
  const passwd* entry = ::getpwnam(user.c_str());  // before anything else runs: one thread
  if (entry == nullptr)
    return Fail(ErrorCode::kNotFound,
                "there is no user {} for the service: useradd --system --home-dir /nonexistent --shell "
                "/usr/sbin/nologin {}",
                user, user);
  return Checked(user, {entry->pw_uid, entry->pw_gid});
}

Result<DataDirectory> DataDirectory::Open(const std::string& path, const ServiceUser& user) {
  DataDirectory data;
  data.path_ = path;
  TRY(MakeDirectories(path, 0755));
  data.directory_ = TRY(OpenAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY));
  const int fd = data.directory_.get();
  TRY(CheckRootOwned(fd, path));
  if (::fchmod(fd, 0755) != 0) return FailErrno(errno, "set the mode of {}", path);  // the service passes through
  data.lock_ = TRY(Lock(fd, path));
  data.instance_ = TRY_IN(path, ReadInstanceId(fd));
  TRY_IN(path, MakeRootOwned(fd, "layers", path + "/layers", 0700));
  TRY_IN(path, MakeRootOwned(fd, "tmp", path + "/tmp", 0700));
  TRY_IN(path, MakeServiceOwned(fd, "service", path + "/service", user));
  return data;
}

Result<void> MakeRunDirectory(const std::string& path, const ServiceUser& user) {
  TRY(MakeDirectories(path, 0755));
  const Fd directory = TRY(OpenAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY));
  struct stat info {};
  if (::fstat(directory.get(), &info) != 0) return FailErrno(errno, "stat {}", path);
  if (info.st_uid == user.uid) return {};
  if (!IsEmpty(directory.get()))
    return Fail(ErrorCode::kDenied, "{} is neither empty nor of the service user {}: give another --run-dir", path,
                user.uid);
  if (::fchown(directory.get(), user.uid, user.gid) != 0) return FailErrno(errno, "give {} to the service user", path);
  if (::fchmod(directory.get(), 0755) != 0) return FailErrno(errno, "set the mode of {}", path);
  return {};
}

}  // namespace caisson::sandbox
