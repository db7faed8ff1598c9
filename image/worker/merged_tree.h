// SPDX-License-Identifier: Apache-2.0
// MergedTree: what overlayfs will show of an image's layers, computed from the single layers, because a worker cannot
// mount them together and a mounted view would hide what the fix-up layer has to restore. Looks up one name at a time
// in every layer. Names in layers are hostile; no link of theirs is followed by the kernel. Owned by one merge.
#pragma once

#include <sys/stat.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "image/layer/report.h"

namespace caisson::image {

class MergedTree {
 public:
  // One layer's part of a merged directory.
  struct Member {
    size_t layer = 0;   // index, topmost layer first
    Fd fd;              // O_PATH
    bool shown = true;  // false: below an opaque mark, which hides its children but not what it says of the directory
  };
  struct Directory {
    std::string path;
    std::vector<Member> members;  // topmost first, never empty
    size_t shown() const;
  };
  struct Node {
    enum class Kind { kAbsent, kDirectory, kOther } kind = Kind::kAbsent;
    Directory directory;  // of kDirectory
    int parent = -1;      // of kOther: where it is (borrowed from the directory that was asked), and what
    struct stat info {};
  };

  // `layers` are directory descriptors, topmost first (borrowed); `facts` in the same order.
  MergedTree(std::span<const int> layers, std::span<const LayerFacts> facts) : layers_(layers), facts_(facts) {}

  Result<Directory> Root() const;
  Result<Node> Lookup(const Directory& directory, std::string_view name) const;

  // The member whose attributes the directory should have: the topmost that an entry of an image describes.
  const Member& Described(const Directory& directory) const;
  // Whether overlayfs would list the names of whiteouts: it filters them only where two layers meet.
  bool ShowsGhosts(const Directory& directory) const;

 private:
  std::span<const int> layers_;
  std::span<const LayerFacts> facts_;
};

}  // namespace caisson::image
