// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/store_tasks.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>

#include "base/io.h"
#include "sandbox/launcher/open_beneath.h"
#include "sandbox/protocol.h"

namespace caisson::sandbox {
namespace {

constexpr char kOpaqueAttribute[] = "trusted.overlay.opaque";
// A layer's size on disk, on its root directory: measured once, as a layer never changes, and after the commit, since
// nobody waits for it. A job cannot see or set attributes of this class.
constexpr char kSizeAttribute[] = "trusted.caisson.bytes";
// Trees deeper than this are handled all the same, but with a bounded number of open directories.
constexpr size_t kMaxOpenDepth = 100;

// Entries that a list walks for sizes that are not noted yet: commits wait meanwhile.
constexpr uint64_t kMaxMeasuredInList = 100'000;

struct CloseDirectory {
  void operator()(DIR* stream) const { ::closedir(stream); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

Result<Directory> OpenDirectory(int parent, const std::string& name) {
  Fd fd = TRY(OpenBeneath(parent, name, O_RDONLY | O_DIRECTORY));
  Directory stream(::fdopendir(fd.get()));
  if (!stream) return FailErrno(errno, "read directory {}", name);
  (void)fd.release();  // the stream's now
  return stream;
}

// The next entry's name, empty at the end.
std::string NextName(DIR* stream) {
  while (const dirent* entry = ::readdir(stream)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") return std::string(name);
  }
  return {};
}

Result<std::vector<std::string>> NamesIn(int directory) {
  const Directory stream = TRY(OpenDirectory(directory, "."));
  std::vector<std::string> names;
  for (std::string name = NextName(stream.get()); !name.empty(); name = NextName(stream.get())) names.push_back(name);
  return names;
}

// ---- Removal ----------------------------------------------------------------------------------------------------

// True when `name` is gone; false when it is a directory that is not empty.
Result<bool> RemoveEntry(int parent, const std::string& name) {
  if (::unlinkat(parent, name.c_str(), 0) == 0 || errno == ENOENT) return true;
  if (errno != EISDIR && errno != EPERM)
    return FailErrno(errno, "remove {}", name);  // POSIX allows EPERM for a directory
  if (::unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return true;
  if (errno == ENOTEMPTY || errno == EEXIST) return false;
  return FailErrno(errno, "remove directory {}", name);
}

// One level of the walk: a directory that is being emptied and its name in the level above.
struct Level {
  Directory stream;
  std::string name;
};

// Empties and removes top/`name` with at most kMaxOpenDepth directories open. What lies deeper is moved to the top, as
// `base`+NUMBER, and added to `moved`, so that a tree of any depth costs neither stack nor descriptors.
Result<void> EmptyTree(int top, const std::string& name, const std::string& base, std::vector<std::string>& moved) {
  std::vector<Level> levels;
  levels.push_back({TRY(OpenDirectory(top, name)), name});
  while (!levels.empty()) {
    const int here = ::dirfd(levels.back().stream.get());
    const std::string entry = NextName(levels.back().stream.get());
    if (entry.empty()) {
      const std::string done = levels.back().name;
      levels.pop_back();
      const int parent = levels.empty() ? top : ::dirfd(levels.back().stream.get());
      if (!TRY(RemoveEntry(parent, done))) return Fail(ErrorCode::kConflict, "{} fills while it is emptied", done);
      continue;
    }
    if (TRY(RemoveEntry(here, entry))) continue;
    if (levels.size() < kMaxOpenDepth) {
      levels.push_back({TRY(OpenDirectory(here, entry)), entry});
      continue;
    }
    const std::string place = base + "+" + std::to_string(moved.size());
    if (::renameat(here, entry.c_str(), top, place.c_str()) != 0) return FailErrno(errno, "move {} up", entry);
    moved.push_back(place);
  }
  return {};
}

// ---- Commit -----------------------------------------------------------------------------------------------------

Result<void> SetOpaque(int layer, std::span<const std::string> directories) {
  for (const std::string& path : directories) {
    if (!protocol::IsPlainRelativePath(path)) return Fail(ErrorCode::kInvalid, "an opaque directory has no plain path");
    const Fd directory = TRY_IN("opaque directory", OpenBeneath(layer, path, O_RDONLY | O_DIRECTORY));
    if (::fsetxattr(directory.get(), kOpaqueAttribute, "y", 1, 0) != 0)
      return FailErrno(errno, "set {} on {}", kOpaqueAttribute, path);
  }
  return {};
}

// Blocks of everything beneath `parent`/`name`. Hard links count once for each name, and what is deeper than
// kMaxOpenDepth not at all: a size for people and for the order of clean-up, not an account.
// `budget`: of entries, counted down; where it ends, so does the walk.
Result<uint64_t> Measure(int parent, const std::string& name, size_t depth, uint64_t& budget) {
  const Directory stream = TRY(OpenDirectory(parent, name));
  const int here = ::dirfd(stream.get());
  uint64_t bytes = 0;
  for (std::string entry = NextName(stream.get()); !entry.empty() && budget > 0; entry = NextName(stream.get())) {
    --budget;
    struct stat info {};
    if (::fstatat(here, entry.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return FailErrno(errno, "stat {}", entry);
    bytes += static_cast<uint64_t>(info.st_blocks) * 512;
    if (S_ISDIR(info.st_mode) && depth < kMaxOpenDepth) bytes += TRY(Measure(here, entry, depth + 1, budget));
  }
  return bytes;
}

Result<uint64_t> MeasureAndNote(int layers, const std::string& name, int layer, uint64_t& budget) {
  const uint64_t bytes = TRY(Measure(layers, name, 0, budget));
  if (budget == 0) return bytes;  // the part that was seen
  const std::string text = std::to_string(bytes);
  if (::fsetxattr(layer, kSizeAttribute, text.data(), text.size(), 0) != 0)
    return FailErrno(errno, "set {}", kSizeAttribute);
  return bytes;
}

bool Exists(int directory, const std::string& name) {
  struct stat info {};
  return ::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
}

}  // namespace

namespace {

bool IsCommitted(StoreDirectories store, const LayerCommit& commit) {
  return !Exists(store.tmp, commit.work) && Exists(store.layers, commit.name.hex());
}

Result<void> PrepareCommit(StoreDirectories store, const LayerCommit& commit) {
  const Fd layer = TRY(OpenBeneath(store.tmp, commit.work, O_RDONLY | O_DIRECTORY));
  return SetOpaque(layer.get(), commit.opaque_directories);
}

Result<void> Rename(StoreDirectories store, const LayerCommit& commit) {
  const std::string name = commit.name.hex();
  if (::renameat2(store.tmp, commit.work.c_str(), store.layers, name.c_str(), RENAME_NOREPLACE) == 0) return {};
  if (errno == EEXIST) return {};
  return FailErrno(errno, "move layer {} into the store", name);
}

}  // namespace

std::vector<Result<void>> CommitLayers(StoreDirectories store, std::span<const LayerCommit> commits) {
  std::vector<Result<void>> results(commits.size());
  // Renamed by a janitor that died before it could say so.
  std::vector<bool> done(commits.size());
  for (size_t i = 0; i < commits.size(); ++i) {
    done[i] = IsCommitted(store, commits[i]);
    if (!done[i]) results[i] = PrepareCommit(store, commits[i]);
  }
  const auto for_each = [&](auto step) {
    for (size_t i = 0; i < commits.size(); ++i)
      if (!done[i] && results[i]) results[i] = step(commits[i]);
  };
  // From here on every file of every layer is on the disk.
  const int sync_error = ::syncfs(store.tmp) == 0 ? 0 : errno;
  for_each([&](const LayerCommit& commit) -> Result<void> {
    if (sync_error != 0) return FailErrno(sync_error, "sync layer {}", commit.name.hex());
    return Rename(store, commit);
  });
  const int parent_error = ::fsync(store.layers) == 0 ? 0 : errno;
  for_each([&](const LayerCommit&) -> Result<void> {
    if (parent_error != 0) return FailErrno(parent_error, "sync the layer store");
    return {};
  });
  return results;
}

Result<void> NoteSize(int layers, const LayerName& name) {
  const Fd layer = TRY(OpenBeneath(layers, name.hex(), O_RDONLY | O_DIRECTORY));
  if (::fgetxattr(layer.get(), kSizeAttribute, nullptr, 0) > 0) return {};
  uint64_t budget = std::numeric_limits<uint64_t>::max();
  TRY(MeasureAndNote(layers, name.hex(), layer.get(), budget));
  return {};
}

Result<void> RetireLayer(StoreDirectories store, const LayerName& name, const std::string& work) {
  if (::renameat2(store.layers, name.hex().c_str(), store.tmp, work.c_str(), RENAME_NOREPLACE) != 0) {
    if (errno == ENOENT && Exists(store.tmp, work)) return {};  // by a janitor that died before it could say so
    if (errno == ENOENT) return Fail(ErrorCode::kNotFound, "layer {} is not in the store", name.hex());
    return FailErrno(errno, "take layer {} out of the store", name.hex());
  }
  if (::fsync(store.layers) != 0) return FailErrno(errno, "sync the layer store");
  return {};
}

Result<void> RemoveTree(int directory, const std::string& name) {
  std::vector<std::string> moved;
  if (!TRY(RemoveEntry(directory, name))) TRY_IN(name, EmptyTree(directory, name, name, moved));
  for (size_t i = 0; i < moved.size(); ++i) {
    const std::string place = moved[i];
    if (!TRY(RemoveEntry(directory, place))) TRY_IN(place, EmptyTree(directory, place, name, moved));
  }
  return {};
}

Result<void> SweepTmp(int tmp, const std::string& run) {
  for (const std::string& name : TRY(NamesIn(tmp))) {
    if (!name.starts_with(run + "-")) TRY(RemoveTree(tmp, name));
  }
  return {};
}

Result<std::vector<StoredLayer>> ListLayers(int layers) {
  std::vector<StoredLayer> stored;
  uint64_t budget = kMaxMeasuredInList;
  for (const std::string& name : TRY(NamesIn(layers))) {
    const Result<LayerName> parsed = LayerName::Parse(name);
    if (!parsed) continue;  // not ours; never touched
    const Fd directory = TRY(OpenBeneath(layers, name, O_RDONLY | O_DIRECTORY));
    StoredLayer layer{*parsed, 0, false};
    char text[24];
    const ssize_t length = ::fgetxattr(directory.get(), kSizeAttribute, text, sizeof text);
    if (length > 0) {
      std::from_chars(text, text + length, layer.bytes);
    } else if (const Result<uint64_t> bytes = MeasureAndNote(layers, name, directory.get(), budget); bytes) {
      layer.bytes = *bytes;
    }
    stored.push_back(layer);
  }
  return stored;
}

}  // namespace caisson::sandbox
