// SPDX-License-Identifier: Apache-2.0
// VerifyTree: reads a layer's directory, all of it, and computes the checksum that its unpacking had. The tree was
// shaped by a hostile layer and may have been damaged since: no link is followed, nothing but regular files and
// directories is opened. Runs inside the confined worker, on a read-only mount.
#pragma once

#include <sys/stat.h>

#include <string>

#include "base/result.h"
#include "image/layer/report.h"
#include "image/worker/entry_attributes.h"
#include "image/worker/tree_sum.h"

namespace caisson::image {

// `root` is borrowed. What cannot be read is named in the report; an Error only where nothing can be said.
Result<VerifyReport> VerifyTree(int root);

// The part of one regular file, opened here; leaves its contents' sum in `contents`.
Result<TreeSum> SumOfFile(int parent, const std::string& name, ContentSum& contents);

// The attributes that a checksum counts. `fd` is -1 for what cannot be opened and has no extended attributes.
Result<EntryAttributes> ReadAttributes(int fd, const struct stat& info);

}  // namespace caisson::image
