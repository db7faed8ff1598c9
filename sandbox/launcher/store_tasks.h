// SPDX-License-Identifier: Apache-2.0
// The slow work on layers/ and tmp/: what makes a finished worker's directory a layer, durably, and what takes one
// away. Runs in the janitor, with the launcher's rights, on trees that a hostile layer may have shaped: names are
// opened one at a time beneath a held directory, no link is followed, no other file system entered. Functions without
// state.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "sandbox/launcher_client.h"

namespace caisson::sandbox {

struct StoreDirectories {  // borrowed
  int layers = -1;
  int tmp = -1;
};

// tmp/`work` becomes layers/`name`: opaque attributes, syncfs, rename, fsync of the parent. A layer of that name that
// is there already is kept, and the new directory stays for whoever removes it. May be repeated after a crash at any
// point.
struct LayerCommit {
  std::string work;
  LayerName name;
  std::vector<std::string> opaque_directories;
};
// Those that wait together share one syncfs and one fsync, which cost the same for one as for many. One result each,
// in order: what is wrong with one is no trouble of the others. A crash in between leaves each where it was or where
// it should be, its contents on the disk before its name.
std::vector<Result<void>> CommitLayers(StoreDirectories store, std::span<const LayerCommit> commits);

// Notes a layer's size with it, once. Whoever finds none there can do it later.
Result<void> NoteSize(int layers, const LayerName& name);

// layers/`name` becomes tmp/`work`, from where a crash cannot bring it back.
Result<void> RetireLayer(StoreDirectories store, const LayerName& name, const std::string& work);

// Removes tmp/`name` and everything below it. What is not there is fine.
Result<void> RemoveTree(int directory, const std::string& name);

// Removes whatever in tmp/ does not begin with `run`: leftovers of a launcher that was killed.
Result<void> SweepTmp(int tmp, const std::string& run);

// Names and sizes, measured and noted where they are not yet, as far as that is quick; in_use is for the launcher to
// fill in.
Result<std::vector<StoredLayer>> ListLayers(int layers);

}  // namespace caisson::sandbox
