// SPDX-License-Identifier: Apache-2.0
// The one way in which the launcher and its janitor open something inside the store: never out of the directory,
// never through a link, never onto another file system. Any thread.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace caisson::sandbox {

Result<Fd> OpenBeneath(int directory, const std::string& path, int flags);

}  // namespace caisson::sandbox
