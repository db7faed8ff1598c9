// SPDX-License-Identifier: Apache-2.0
#include "image/worker/verify.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "base/encoding.h"
#include "image/layer/limits.h"
#include "image/worker/beneath.h"
#include "image/worker/tree_sum.h"

namespace caisson::image {
namespace {

constexpr size_t kReadBytes = 256 << 10;

// Set by us at the unpacking, or able to give a program rights. Labels of the host's security modules and the
// launcher's trusted.* come and go without the image's doing.
bool Counts(std::string_view name) { return name.starts_with("user.") || name == "security.capability"; }

Result<std::string> XattrValue(int fd, const std::string& name) {
  std::string value(kMaxXattrValueBytes, '\0');
  const ssize_t size = ::fgetxattr(fd, name.c_str(), value.data(), value.size());
  if (size < 0) return FailErrno(errno, "read extended attribute {}", EscapeForLog(name, 80));
  value.resize(static_cast<size_t>(size));
  return value;
}

// Holes are not read.
Result<void> ReadContents(int file, uint64_t size, ContentSum& contents) {
  std::string buffer(static_cast<size_t>(std::min<uint64_t>(size, kReadBytes)), '\0');
  contents.Reset();
  while (contents.size() < size) {
    const off_t data = ::lseek(file, static_cast<off_t>(contents.size()), SEEK_DATA);
    if (data < 0 && errno != ENXIO) return FailErrno(errno, "seek");
    const uint64_t start = data < 0 ? size : std::min(static_cast<uint64_t>(data), size);
    contents.UpdateZeros(start - contents.size());
    if (start == size) break;
    const off_t hole = ::lseek(file, data, SEEK_HOLE);
    if (hole < 0) return FailErrno(errno, "seek");
    const uint64_t end = std::min(static_cast<uint64_t>(hole), size);
    while (contents.size() < end) {
      const size_t wanted = static_cast<size_t>(std::min<uint64_t>(buffer.size(), end - contents.size()));
      const ssize_t got = ::pread(file, buffer.data(), wanted, static_cast<off_t>(contents.size()));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return FailErrno(errno, "read");
      if (got == 0) return Fail(ErrorCode::kCorrupt, "it is cut off");
      contents.Update(std::string_view(buffer).substr(0, static_cast<size_t>(got)));
    }
  }
  return {};
}

class Verifier {
 public:
  Result<VerifyReport> Run(int root) {
    VisitDirectory(root, "");
    if (too_deep_) return Fail(ErrorCode::kInvalid, "the layer's directories are deeper than any image's");
    report_.tree_sum = summer_.Finish();
    std::sort(report_.unreadable.begin(), report_.unreadable.end());
    return std::move(report_);
  }

 private:
  // The depth is bounded (kMaxPathDepth), and so are recursion and descriptors.
  void VisitDirectory(int directory, const std::string& path, size_t depth = 0) {
    if (depth > kMaxPathDepth) {
      too_deep_ = true;
      return;
    }
    const Result<void> visited = ListDirectory(directory, path, depth);
    if (!visited) NoteUnreadable(path, visited.error());
  }

  Result<void> ListDirectory(int parent, const std::string& path, size_t depth) {
    ++report_.entries;
    const Fd directory = TRY(OpenBeneath(parent, "", O_RDONLY | O_DIRECTORY));
    struct stat info {};
    if (::fstat(directory.get(), &info) != 0) return FailErrno(errno, "stat");
    summer_.AddDirectory(path, TRY(ReadAttributes(directory.get(), info)));
    for (const std::string& name : TRY(NamesIn(directory.get()))) {
      const std::string entry = path.empty() ? name : path + "/" + name;
      if (const Result<void> visited = VisitEntry(directory.get(), name, entry, depth); !visited)
        NoteUnreadable(entry, visited.error());
    }
    return {};
  }

  Result<void> VisitEntry(int parent, const std::string& name, const std::string& path, size_t depth) {
    struct stat info {};
    if (::fstatat(parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return FailErrno(errno, "stat");
    if (S_ISDIR(info.st_mode)) {
      const Fd directory = TRY(OpenBeneath(parent, name, O_PATH | O_DIRECTORY));
      VisitDirectory(directory.get(), path, depth + 1);
      return {};
    }
    ++report_.entries;
    if (S_ISREG(info.st_mode)) return VisitFile(parent, name, path, info);
    if (S_ISLNK(info.st_mode)) return VisitSymlink(parent, name, path, info);
    if (S_ISFIFO(info.st_mode)) {
      summer_.AddFifo(path, TRY(ReadAttributes(-1, info)));
    } else if (S_ISCHR(info.st_mode) && info.st_rdev == 0) {
      summer_.AddWhiteout(path);
    } else {
      summer_.AddStrange(path, info.st_mode);
    }
    return {};
  }

  Result<void> VisitFile(int parent, const std::string& name, const std::string& path, const struct stat& info) {
    const bool has_names = info.st_nlink > 1;
    const auto known = has_names ? files_.find(info.st_ino) : files_.end();
    if (has_names) summer_.AddName(info.st_ino, path);
    if (known != files_.end()) {
      summer_.AddFile(path, known->second);
      return {};
    }
    const TreeSum sum = TRY(SumOfFile(parent, name, contents_));
    report_.bytes += contents_.size();
    if (has_names) files_[info.st_ino] = sum;
    summer_.AddFile(path, sum);
    return {};
  }

  Result<void> VisitSymlink(int parent, const std::string& name, const std::string& path, const struct stat& info) {
    std::string target(kMaxLinkBytes + 1, '\0');
    const ssize_t size = ::readlinkat(parent, name.c_str(), target.data(), target.size());
    if (size < 0) return FailErrno(errno, "read link");
    target.resize(static_cast<size_t>(size));
    summer_.AddSymlink(path, target, TRY(ReadAttributes(-1, info)));
    return {};
  }

  void NoteUnreadable(const std::string& path, const Error& error) {
    summer_.AddStrange(path, static_cast<uint64_t>(error.sys_errno));
    if (report_.unreadable.size() < kMaxUnreadablePaths) report_.unreadable.push_back(path);
  }

  VerifyReport report_;
  TreeSummer summer_;
  ContentSum contents_;
  std::map<ino_t, TreeSum> files_;  // those with several names
  bool too_deep_ = false;
};

}  // namespace

Result<EntryAttributes> ReadAttributes(int fd, const struct stat& info) {
  EntryAttributes attributes{.mode = info.st_mode & 07777, .uid = info.st_uid, .gid = info.st_gid};
  attributes.mtime = info.st_mtim;
  if (fd < 0) return attributes;
  const ssize_t length = ::flistxattr(fd, nullptr, 0);
  if (length == 0 || (length < 0 && errno == ENOTSUP)) return attributes;
  if (length < 0) return FailErrno(errno, "list extended attributes");
  std::string names(static_cast<size_t>(length), '\0');
  const ssize_t size = ::flistxattr(fd, names.data(), names.size());
  if (size < 0) return FailErrno(errno, "list extended attributes");
  names.resize(static_cast<size_t>(size));
  for (size_t start = 0; start < names.size(); start = names.find('\0', start) + 1) {
    const std::string name = names.c_str() + start;
    if (Counts(name)) attributes.xattrs.emplace_back(name, TRY(XattrValue(fd, name)));
  }
  return attributes;
}

Result<TreeSum> SumOfFile(int parent, const std::string& name, ContentSum& contents) {
  const Fd file = TRY(OpenBeneath(parent, name, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return FailErrno(errno, "stat");
  if (!S_ISREG(info.st_mode)) return Fail(ErrorCode::kCorrupt, "it is no regular file any more");
  TRY(ReadContents(file.get(), static_cast<uint64_t>(info.st_size), contents));
  return TreeSummer::OfFile(TRY(ReadAttributes(file.get(), info)), contents);
}

Result<VerifyReport> VerifyTree(int root) { return Verifier().Run(root); }

}  // namespace caisson::image
