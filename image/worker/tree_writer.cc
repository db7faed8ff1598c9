// SPDX-License-Identifier: Apache-2.0
#include "image/worker/tree_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <limits>
#include <set>
#include <span>

#include "base/encoding.h"
#include "image/layer/limits.h"
#include "image/layer/path.h"
#include "image/worker/beneath.h"
#include "image/worker/verify.h"

namespace caisson::image {
namespace {

std::string Quoted(std::string_view path) { return "\"" + EscapeForLog(path, 120) + "\""; }

Result<void> SetXattrs(int fd, const std::string& path, const EntryAttributes& attributes) {
  for (const auto& [name, value] : attributes.xattrs)
    if (::fsetxattr(fd, name.c_str(), value.data(), value.size(), 0) != 0)
      return FailErrno(errno, "set extended attribute {} of {}", EscapeForLog(name, 80), Quoted(path));
  return {};
}

// chown first, as it clears set-id bits; times last, as the others change them.
Result<void> SetAttributes(int fd, const std::string& path, const EntryAttributes& attributes) {
  const timespec times[2] = {attributes.mtime, attributes.mtime};
  const bool owned_by_root = attributes.uid == 0 && attributes.gid == 0;  // as everything is when we make it
  if (!owned_by_root && ::fchown(fd, attributes.uid, attributes.gid) != 0)
    return FailErrno(errno, "change owner of {}", Quoted(path));
  if (::fchmod(fd, attributes.mode) != 0) return FailErrno(errno, "change mode of {}", Quoted(path));
  TRY(SetXattrs(fd, path, attributes));
  if (::futimens(fd, times) != 0) return FailErrno(errno, "set time of {}", Quoted(path));
  return {};
}

// Of a file that was made with its mode: what a chown, or a common umask where this is no worker, takes from it.
Result<void> SetFileAttributes(int fd, const std::string& path, const EntryAttributes& attributes) {
  constexpr uint32_t kBitsAtRisk = 07022;
  if (attributes.uid != 0 || attributes.gid != 0 || (attributes.mode & kBitsAtRisk) != 0)
    return SetAttributes(fd, path, attributes);
  TRY(SetXattrs(fd, path, attributes));
  const timespec times[2] = {attributes.mtime, attributes.mtime};
  if (::futimens(fd, times) != 0) return FailErrno(errno, "set time of {}", Quoted(path));
  return {};
}

// Of something that cannot be opened (a link, a FIFO) and that we have just made.
Result<void> SetAttributesAt(int parent, const std::string& path, const EntryAttributes& attributes) {
  const std::string name(NameOf(path));
  const timespec times[2] = {attributes.mtime, attributes.mtime};
  const bool owned_by_root = attributes.uid == 0 && attributes.gid == 0;
  if (!owned_by_root && ::fchownat(parent, name.c_str(), attributes.uid, attributes.gid, AT_SYMLINK_NOFOLLOW) != 0)
    return FailErrno(errno, "change owner of {}", Quoted(path));
  if (::utimensat(parent, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
    return FailErrno(errno, "set time of {}", Quoted(path));
  return {};
}

}  // namespace

Result<void> TreeWriter::AddDirectory(const std::string& path, EntryAttributes attributes) {
  if (!path.empty()) {
    const int parent = TRY(OpenParent(path));
    if (!directories_.contains(path)) TRY(MakeDirectory(parent, path));
  }
  Directory& directory = directories_[path];
  directory.implicit = false;
  directory.attributes = std::move(attributes);
  return {};
}

Result<Fd> TreeWriter::AddFile(const std::string& path, const EntryAttributes& attributes) {
  const int parent = TRY(OpenParent(path));
  const std::string name(NameOf(path));
  Fd file;
  TRY(MakeInPlace(parent, path, "make file", [&] {
    file = Fd(
        ::openat(parent, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, attributes.mode & 0777));
    return file ? 0 : -1;
  }));
  return file;
}

Result<void> TreeWriter::FinishFile(Fd file, const std::string& path, const EntryAttributes& attributes,
                                    const ContentSum& contents) {
  TRY(SetFileAttributes(file.get(), path, attributes));
  CheckTime(attributes.mtime, [&](struct stat* info) { return ::fstat(file.get(), info); });
  summer_.AddFile(path, TreeSummer::OfFile(attributes, contents));
  return {};
}

Result<void> TreeWriter::AddSymlink(const std::string& path, const std::string& target,
                                    const EntryAttributes& attributes) {
  const int parent = TRY(OpenParent(path));
  const std::string name(NameOf(path));
  TRY(MakeInPlace(parent, path, "make link", [&] { return ::symlinkat(target.c_str(), parent, name.c_str()); }));
  CheckTime(attributes.mtime, nullptr);
  summer_.AddSymlink(path, target, attributes);
  return SetAttributesAt(parent, path, attributes);
}

Result<void> TreeWriter::AddFifo(const std::string& path, const EntryAttributes& attributes) {
  const int parent = TRY(OpenParent(path));
  const std::string name(NameOf(path));
  TRY(MakeInPlace(parent, path, "make FIFO",
                  [&] { return ::mknodat(parent, name.c_str(), S_IFIFO | (attributes.mode & 0777), 0); }));
  CheckTime(attributes.mtime, nullptr);
  EntryAttributes kept = attributes;
  kept.mode &= 0777;
  summer_.AddFifo(path, kept);
  return SetAttributesAt(parent, path, attributes);
}

Result<void> TreeWriter::AddHardLink(const std::string& path, const std::string& target) {
  if (path == target || target.starts_with(path + "/"))
    return Fail(ErrorCode::kInvalid, "{} is a hard link to itself or to what lies below it", Quoted(path));
  const auto refuse = [&](std::string_view why) {
    return Fail(ErrorCode::kInvalid, "{} is a hard link to {}, {}", Quoted(path), Quoted(target), why);
  };
  const Result<Fd> target_parent = OpenBeneath(root_, ParentOf(target), O_PATH | O_DIRECTORY);
  if (!target_parent) return refuse("which this layer does not have");
  const std::string target_name(NameOf(target)), name(NameOf(path));
  struct stat info {};
  if (target.empty() || ::fstatat(target_parent->get(), target_name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
    return refuse("which this layer does not have");
  if (!S_ISREG(info.st_mode)) return refuse("which is not a regular file");
  const int parent = TRY(OpenParent(path));
  TRY(MakeInPlace(parent, path, "link",
                  [&] { return ::linkat(target_parent->get(), target_name.c_str(), parent, name.c_str(), 0); }));
  return SumHardLink(target_parent->get(), target, info.st_ino, path);
}

// The file's own part is not kept from its writing, since few files get a second name: it is read again.
Result<void> TreeWriter::SumHardLink(int target_parent, const std::string& target, ino_t file,
                                     const std::string& path) {
  TRY(Remember(path));
  const auto [known, first] = linked_files_.try_emplace(file);
  if (first) {
    TRY(Remember(target));
    ContentSum contents;
    known->second = TRY_IN("read " + Quoted(target), SumOfFile(target_parent, std::string(NameOf(target)), contents));
    summer_.AddName(file, target);
  }
  summer_.AddName(file, path);
  summer_.AddFile(path, known->second);
  return {};
}

Result<void> TreeWriter::AddWhiteout(const std::string& path) {
  const int parent = TRY(OpenParent(path));
  TRY(Remember(path));
  const std::string name(NameOf(path));
  bool& device = whiteouts_[path];
  if (device) return {};
  if (const auto made = directories_.find(path); made != directories_.end()) {
    made->second.replaced = true;
    return {};
  }
  // Needs no capability: 0:0 is no device but overlayfs' mark.
  if (::mknodat(parent, name.c_str(), S_IFCHR, makedev(0, 0)) == 0) {
    device = true;
  } else if (errno != EEXIST) {
    return FailErrno(errno, "make whiteout of {}", Quoted(path));
  }
  return {};
}

Result<void> TreeWriter::AddOpaque(const std::string& path) {
  TRY(OpenDirectoryAt(path));
  directories_[path].opaque = true;
  return {};
}

Result<TreeWriter::Finished> TreeWriter::Finish() {
  chain_.clear();
  Finished finished;
  finished.facts = TRY(Facts());
  for (auto directory = directories_.rbegin(); directory != directories_.rend(); ++directory) {
    const EntryAttributes& attributes = directory->second.attributes;
    const Fd fd = TRY_IN(Quoted(directory->first), OpenBeneath(root_, directory->first, O_RDONLY | O_DIRECTORY));
    TRY(SetAttributes(fd.get(), directory->first, attributes));
    CheckTime(attributes.mtime, [&](struct stat* info) { return ::fstat(fd.get(), info); });
    summer_.AddDirectory(directory->first, attributes);
  }
  for (const auto& [path, device] : whiteouts_)
    if (device) summer_.AddWhiteout(path);
  finished.sum = summer_.Finish();
  if (!sum_by_reading_) return finished;
  const VerifyReport read = TRY_IN("read the layer again", VerifyTree(root_));
  if (!read.unreadable.empty())
    return Fail(ErrorCode::kInternal, "{} cannot be read back", Quoted(read.unreadable.front()));
  finished.sum = read.tree_sum;
  return finished;
}

template <typename Stat>
void TreeWriter::CheckTime(const timespec& mtime, Stat stat) {
  // What every file system holds. Most hold more, and cut it off at some place of their own.
  if (mtime.tv_sec < std::numeric_limits<int32_t>::min() || mtime.tv_sec > std::numeric_limits<int32_t>::max()) {
    sum_by_reading_ = true;
    return;
  }
  if (mtime.tv_nsec == 0 || times_checked_) return;
  if constexpr (std::is_null_pointer_v<Stat>) {
    sum_by_reading_ = true;  // until a file has shown otherwise: those come first nearly always
  } else {
    struct stat info {};
    times_checked_ = true;
    if (stat(&info) != 0 || info.st_mtim.tv_nsec != mtime.tv_nsec) sum_by_reading_ = true;
  }
}

Result<LayerFacts> TreeWriter::Facts() const {
  LayerFacts facts;
  for (const auto& [path, directory] : directories_) {
    if (directory.implicit) facts.implicit.push_back(path);
    if (directory.opaque) facts.opaque.push_back(path);
    if (directory.replaced) facts.replaced.push_back(path);
  }
  std::set<std::string> with_whiteouts;
  for (const auto& [path, device] : whiteouts_)
    if (device) with_whiteouts.emplace(ParentOf(path));
  facts.whiteouts.assign(with_whiteouts.begin(), with_whiteouts.end());
  for (const auto* list : {&facts.implicit, &facts.opaque, &facts.replaced, &facts.whiteouts})
    if (list->size() > limits_.reported_paths)
      return Fail(ErrorCode::kTooLarge, "the layer changes more than {} directories of the layers below",
                  limits_.reported_paths);
  return facts;
}

Result<int> TreeWriter::OpenParent(std::string_view path) { return OpenDirectoryAt(ParentOf(path)); }

Result<int> TreeWriter::OpenDirectoryAt(std::string_view path) {
  const std::vector<std::string_view> names = SplitPath(path);
  size_t shared = 0;
  while (shared < names.size() && shared < chain_.size() && chain_[shared].name == names[shared]) ++shared;
  chain_.resize(shared);
  for (const std::string_view name : std::span(names).subspan(shared)) {
    const std::string walked(path.substr(0, static_cast<size_t>(name.end() - path.begin())));
    const int parent = chain_.empty() ? root_ : chain_.back().fd.get();
    if (!directories_.contains(walked)) TRY(MakeImplicitDirectory(parent, walked));
    chain_.push_back({std::string(name), TRY_IN(Quoted(walked), OpenBeneath(parent, name, O_PATH | O_DIRECTORY))});
  }
  return chain_.empty() ? root_ : chain_.back().fd.get();
}

Result<void> TreeWriter::MakeDirectory(int parent, const std::string& path) {
  const std::string name(NameOf(path));
  TRY(Remember(path));
  TRY(MakeInPlace(parent, path, "make directory", [&] { return ::mkdirat(parent, name.c_str(), 0700); }));
  directories_[path].replaced = whiteouts_.contains(path);
  return {};
}

// An entry of its own takes the place of whatever this layer has there, but a path that only passes through does not:
// where we would make a directory, another reader would follow the link.
Result<void> TreeWriter::MakeImplicitDirectory(int parent, const std::string& path) {
  struct stat info {};
  const auto whiteout = whiteouts_.find(path);
  const bool hidden = whiteout != whiteouts_.end() && whiteout->second;
  if (!hidden && ::fstatat(parent, std::string(NameOf(path)).c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0)
    return Fail(ErrorCode::kInvalid, "an entry lies below {}, which is {} in this layer", Quoted(path),
                S_ISLNK(info.st_mode) ? "a symbolic link" : "not a directory");
  return MakeDirectory(parent, path);
}

template <typename Make>
Result<void> TreeWriter::MakeInPlace(int parent, const std::string& path, std::string_view what, Make make) {
  if (path.empty()) return Fail(ErrorCode::kInvalid, "the root is not a directory");
  if (make() == 0) return {};
  if (errno == EEXIST) {
    TRY(RemoveExisting(parent, path));
    if (make() == 0) return {};
  }
  return FailErrno(errno, "{} {}", what, Quoted(path));
}

Result<void> TreeWriter::RemoveExisting(int parent, const std::string& path) {
  const std::string name(NameOf(path));
  if (directories_.contains(path)) {
    sum_by_reading_ = true;
    ForgetBelow(path);
    directories_.erase(path);
    TRY_IN("replace " + Quoted(path), RemoveTree(parent, name));
    return {};
  }
  const auto whiteout = whiteouts_.find(path);
  if (whiteout != whiteouts_.end() && whiteout->second) {
    whiteout->second = false;  // it is summed at the end
  } else {
    sum_by_reading_ = true;
  }
  if (::unlinkat(parent, name.c_str(), 0) != 0) return FailErrno(errno, "replace {}", Quoted(path));
  return {};
}

void TreeWriter::ForgetBelow(std::string_view path) {
  const std::string first = std::string(path) + "/", last = std::string(path) + "0";  // '0' follows '/'
  directories_.erase(directories_.lower_bound(first), directories_.lower_bound(last));
  whiteouts_.erase(whiteouts_.lower_bound(first), whiteouts_.lower_bound(last));
  const size_t depth = SplitPath(path).size();
  if (chain_.size() >= depth) chain_.resize(depth - 1);
}

Result<void> TreeWriter::Remember(const std::string& path) {
  constexpr size_t kOverheadBytes = 160;  // of a map's node
  remembered_bytes_ += path.size() + kOverheadBytes;
  if (remembered_bytes_ > limits_.remembered_bytes)
    return Fail(ErrorCode::kTooLarge, "the layer's directories need too much memory");
  return {};
}

}  // namespace caisson::image
