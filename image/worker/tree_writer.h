// SPDX-License-Identifier: Apache-2.0
// TreeWriter makes one layer's files below a directory, in the form that overlayfs wants: whiteouts as 0:0 character
// devices, opaque directories as a list for whoever may set the attribute. Every path is in our spelling (image/layer/
// path.h) and is walked one name at a time below directory descriptors, never through a symbolic link: a layer cannot
// touch what it did not make. When a path comes twice the last one stays. Owned by one unpacking, on its thread.
#pragma once

#include <sys/types.h>
#include <time.h>

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "image/layer/limits.h"
#include "image/layer/report.h"
#include "image/worker/entry_attributes.h"
#include "image/worker/tree_sum.h"

namespace caisson::image {

// Attributes of a directory that no entry describes.
inline constexpr uint32_t kImplicitMode = 0755;

class TreeWriter {
 public:
  // `root` is borrowed; empty at the start.
  explicit TreeWriter(int root, const UnpackLimits& limits = {}) : root_(root), limits_(limits) {}

  Result<void> AddDirectory(const std::string& path, EntryAttributes attributes);  // "" is the root
  // The file is empty and writable; FinishFile() gives it the attributes that it was not made with. `contents`: of what
  // the caller wrote.
  Result<Fd> AddFile(const std::string& path, const EntryAttributes& attributes);
  Result<void> FinishFile(Fd file, const std::string& path, const EntryAttributes& attributes,
                          const ContentSum& contents);
  Result<void> AddSymlink(const std::string& path, const std::string& target, const EntryAttributes& attributes);
  Result<void> AddFifo(const std::string& path, const EntryAttributes& attributes);
  // `target` must be a regular file that this layer made.
  Result<void> AddHardLink(const std::string& path, const std::string& target);
  // Hides `path` of the layers below; what this layer makes there itself stays, whichever comes first.
  Result<void> AddWhiteout(const std::string& path);
  // Hides the children of directory `path` of the layers below.
  Result<void> AddOpaque(const std::string& path);

  // Gives the directories their attributes, deepest first, since each name made inside changes a directory's mtime.
  struct Finished {
    LayerFacts facts;
    TreeSum sum;
  };
  Result<Finished> Finish();

 private:
  struct Directory {
    bool implicit = true;
    bool opaque = false;
    bool replaced = false;
    EntryAttributes attributes{.mode = kImplicitMode};
  };
  struct OpenDirectory {
    std::string name;
    Fd fd;
  };

  Result<int> OpenParent(std::string_view path);  // borrowed until the next call; makes missing directories
  Result<int> OpenDirectoryAt(std::string_view path);
  Result<void> MakeDirectory(int parent, const std::string& path);
  Result<void> MakeImplicitDirectory(int parent, const std::string& path);
  // Runs `make` (which returns 0 or -1 with errno); where the name exists, removes that first.
  template <typename Make>
  Result<void> MakeInPlace(int parent, const std::string& path, std::string_view what, Make make);
  Result<void> RemoveExisting(int parent, const std::string& path);
  void ForgetBelow(std::string_view path);
  Result<void> Remember(const std::string& path);
  Result<void> SumHardLink(int target_parent, const std::string& target, ino_t file, const std::string& path);
  // Whether the file system kept an entry's time as it was said; else the checksum has to be read.
  template <typename Stat>
  void CheckTime(const timespec& mtime, Stat stat);
  Result<LayerFacts> Facts() const;

  int root_;
  const UnpackLimits limits_;
  std::vector<OpenDirectory> chain_;  // the directories on the way to the last parent
  std::map<std::string, Directory> directories_ = {{"", {}}};
  std::map<std::string, bool> whiteouts_;  // hidden path -> whether its device stands there
  size_t remembered_bytes_ = 0;
  TreeSummer summer_;
  std::map<ino_t, TreeSum> linked_files_;  // those with several names
  bool times_checked_ = false;
  bool sum_by_reading_ = false;  // what was summed is not what stands there: something was replaced
};

}  // namespace caisson::image
