// SPDX-License-Identifier: Apache-2.0
// Opening and removing below a directory descriptor, where every name may be hostile: no symbolic link is followed,
// nothing above the directory and no other mount is reached. Paths in our spelling (image/layer/path.h). Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace caisson::image {

// "" opens the directory itself, anew. `flags` as for open(2), close-on-exec is added.
Result<Fd> OpenBeneath(int directory, std::string_view path, int flags);

// The names in `directory`, in no order, without "." and "..".
Result<std::vector<std::string>> NamesIn(int directory);

// Removes `name` in `directory`, with all below it where it is a directory.
Result<void> RemoveTree(int directory, const std::string& name);
// Removes everything inside `directory`, which stays.
Result<void> RemoveContents(int directory);

}  // namespace caisson::image
