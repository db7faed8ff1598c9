// SPDX-License-Identifier: Apache-2.0
// The schema of the embedded store, and how an older file is brought to it. The version is in `user_version`; each
// migration runs once, in a transaction. A newer file is refused: an older program would break its rules.
#pragma once

#include <string>

#include "base/clock.h"
#include "queue/sqlite.h"

namespace caisson::queue {

// kUnsupported for a file that a newer version wrote; kCorrupt for a database that is not ours.
Result<void> MigrateSchema(Database& database, const std::string& path, UnixMillis now);

}  // namespace caisson::queue
