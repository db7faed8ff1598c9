// SPDX-License-Identifier: Apache-2.0
#include "daemon/settings/secret_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/encoding.h"
#include "base/io.h"

namespace caisson::daemon {
namespace {

constexpr size_t kMaxAuthBytes = 1 << 20;
constexpr size_t kMaxPemBytes = 64 << 10;
constexpr size_t kKeyBytes = 32;  // AES-256

constexpr mode_t kNotOthers = 077;    // of a secret: group and others may do nothing
constexpr mode_t kNotWritable = 022;  // of what is public, but must be root's word
constexpr uid_t kOwner = 0;

std::string Named(std::string_view setting, const std::string& path) {
  return fmt::format("{} {}", setting, EscapeForLog(path));
}

std::string ParentOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Whoever else may write there could give the daemon secrets of his own; whoever may read a secret has it.
Result<void> CheckOwner(int fd, const std::string& path, mode_t forbidden, bool must_be_file) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return FailErrno(errno, "stat");
  if (must_be_file && !S_ISREG(info.st_mode)) return Fail(ErrorCode::kInvalid, "is not a regular file");
  if (info.st_uid == kOwner && (info.st_mode & forbidden) == 0) return {};
  const bool secret = forbidden == kNotOthers;
  return Fail(ErrorCode::kDenied, "must belong to root and be {} by nobody else: chown root:root {} && chmod {} {}",
              secret ? "readable" : "writable", path, secret ? "600" : "go-w", path);
}

Result<std::string> ReadOwned(const std::string& path, size_t limit, mode_t forbidden) {
  const Fd file = TRY(OpenAt(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  TRY(CheckOwner(file.get(), path, forbidden, true));
  return ReadAll(file.get(), limit);
}

// ---- The node's key ---------------------------------------------------------------------------------------------

// Upwards by "..", comparing directories rather than the texts of paths: links and bind mounts must not hide one.
Result<bool> IsBelow(int directory, const std::string& ancestor) {
  struct stat wanted {};
  if (::stat(ancestor.c_str(), &wanted) != 0) return FailErrno(errno, "stat {}", ancestor);
  Fd current = TRY(OpenAt(directory, ".", O_PATH | O_DIRECTORY));
  for (struct stat last{};;) {
    struct stat info {};
    if (::fstat(current.get(), &info) != 0) return FailErrno(errno, "stat a directory");
    if (info.st_dev == wanted.st_dev && info.st_ino == wanted.st_ino) return true;
    if (info.st_dev == last.st_dev && info.st_ino == last.st_ino) return false;  // ".." of the root is the root
    last = info;
    current = TRY(OpenAt(current.get(), "..", O_PATH | O_DIRECTORY));
  }
}

Result<std::string> NewKey() {
  std::array<uint8_t, kKeyBytes> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    return FailErrno(errno, "get random bytes");
  return HexEncode(bytes);
}

Result<void> Sync(int fd, std::string_view what) {
  if (::fsync(fd) != 0) return FailErrno(errno, "fsync {}", what);
  return {};
}

// Written under another name and linked to its own when it is on disk: after a crash there is a whole key or none, and
// of two that make one at the same time, both use the first.
Result<void> MakeKey(int directory, const std::string& name) {
  const std::string key = TRY(NewKey());
  const std::string temporary = fmt::format("{}.new-{}", name, TRY(NewKey()).substr(0, 8));
  const Fd file = TRY(OpenAt(directory, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  Result<void> made = WriteAll(file.get(), key + "\n");
  if (made) made = Sync(file.get(), temporary);
  if (made && ::linkat(directory, temporary.c_str(), directory, name.c_str(), 0) != 0 && errno != EEXIST)
    made = FailErrno(errno, "name the new key");
  (void)::unlinkat(directory, temporary.c_str(), 0);
  TRY(std::move(made));
  return Sync(directory, "its directory");
}

Result<Fd> OpenKeyDirectory(const Settings& settings) {
  const std::string parent = ParentOf(settings.node_key_file);
  // Ours to make only where nobody said otherwise: a typing error must not leave directories about.
  if (settings.node_key_file == Settings().node_key_file) TRY(MakeDirectories(parent, 0755));
  Fd directory = TRY(OpenAt(AT_FDCWD, parent, O_RDONLY | O_DIRECTORY));
  TRY_IN(parent, CheckOwner(directory.get(), parent, kNotWritable, false));
  if (TRY(IsBelow(directory.get(), settings.data_dir)))
    return Fail(ErrorCode::kInvalid,
                "is inside data_dir {}: a copy of that directory must not hold the key to what is sealed in it",
                settings.data_dir);
  return directory;
}

Result<Secret> ReadOrMakeKey(const Settings& settings) {
  const std::string& path = settings.node_key_file;
  const std::string name = path.substr(path.rfind('/') + 1);
  const Fd directory = TRY(OpenKeyDirectory(settings));
  if (::faccessat(directory.get(), name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno != ENOENT) return FailErrno(errno, "look for it");
    TRY(MakeKey(directory.get(), name));
  }
  const Fd file = TRY(OpenAt(directory.get(), name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  TRY(CheckOwner(file.get(), path, kNotOthers, true));
  std::string text = TRY(ReadAll(file.get(), 2 * kKeyBytes + 2));
  if (text.ends_with('\n')) text.pop_back();
  std::array<uint8_t, kKeyBytes> bytes{};
  if (!HexDecode(text, bytes))
    return Fail(
        ErrorCode::kCorrupt,
        "does not hold {} hex digits: restore it from a backup, or remove it: a new one is made, and every stored "
        "registry login must be given again",
        2 * kKeyBytes);
  return Secret(std::move(text));
}

// ---- The others -------------------------------------------------------------------------------------------------

Result<Secret> ReadAuthFile(const Settings& settings) {
  auto text = ReadOwned(settings.auth_file, kMaxAuthBytes, kNotOthers);
  const bool optional = settings.auth_file == Settings().auth_file;
  if (!text && optional && text.error().code == ErrorCode::kNotFound) return Secret();
  return Secret(TRY(std::move(text)));
}

}  // namespace

Result<void> ReadSecretFiles(Settings& settings) {
  settings.auth_json = TRY_IN(Named("auth_file", settings.auth_file), ReadAuthFile(settings));
  settings.node_key = TRY_IN(Named("node_key_file", settings.node_key_file), ReadOrMakeKey(settings));
  for (SignatureEntry& rule : settings.signatures) {
    rule.key_pems.clear();
    for (const std::string& path : rule.keys)
      rule.key_pems.push_back(TRY_IN(Named("signatures: key", path), ReadOwned(path, kMaxPemBytes, kNotWritable)));
  }
  return {};
}

}  // namespace caisson::daemon
