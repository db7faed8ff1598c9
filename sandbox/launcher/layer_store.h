// SPDX-License-Identifier: Apache-2.0
// LayerStore: the launcher's hold on layers/ and tmp/. It opens layers by name beneath a directory that it holds, and
// what is open is in use: the pin that removal respects, without any time-out. Slow work on the directories is
// store_tasks.h, done by the janitor. Belongs to the launcher's thread; borrows the two directories.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/fd.h"
#include "base/result.h"

namespace caisson::sandbox {

struct OpenLayer {
  LayerName name;
  Fd directory;  // O_PATH
};

// Layers of one root file system, top first. Whoever holds it keeps them in the store.
struct Rootfs {
  std::vector<std::shared_ptr<const OpenLayer>> layers_top_first;
  std::vector<int> directories() const;  // borrowed
};

class LayerStore {
 public:
  // `run` is fresh at every start: it begins the names of what this launcher makes in tmp/, so that the sweep can tell
  // leftovers from new things.
  LayerStore(int layers_dir, int tmp_dir, std::string run);

  // kNotFound names the layer that the store lacks. A layer that is open already is shared, not opened again.
  Result<Rootfs> OpenRootfs(std::span<const LayerName> layers_top_first);
  bool InUse(const LayerName& name) const;

  // While a layer is on its way out it cannot be opened. kConflict while it is in use.
  Result<void> BeginRemoval(const LayerName& name);
  void EndRemoval(const LayerName& name);

  // A name in tmp/ that nobody has used.
  std::string NewName();
  // Makes an empty directory in tmp/ (0700, root) and opens it.
  struct WorkDirectory {
    std::string name;
    Fd directory;
  };
  Result<WorkDirectory> MakeWorkDirectory();
  Result<Fd> OpenWorkDirectory(const std::string& name) const;

  const std::string& run() const { return run_; }

 private:
  Result<std::shared_ptr<const OpenLayer>> Open(const LayerName& name);

  int layers_dir_;
  int tmp_dir_;
  std::string run_;
  uint64_t names_ = 0;
  std::map<LayerName, std::weak_ptr<const OpenLayer>> open_;
  std::set<LayerName> leaving_;
};

}  // namespace caisson::sandbox
