// SPDX-License-Identifier: Apache-2.0
// Settings as TOML: what an operator writes, and what the launcher hands to the service. Only settings_toml.cc sees
// the library. Pure functions.
#pragma once

#include <string>

#include "daemon/settings/settings.h"

namespace caisson::daemon {

// Who wrote a text: only the launcher's may have the table [launcher], which carries what it read from secret files.
enum class Writer { kOperator, kLauncher };

// Sets what `text` says and leaves the rest. Errors begin with "SOURCE:LINE: KEY: ".
Result<void> ReadToml(Settings& settings, const std::string& text, const std::string& source, Writer writer);

}  // namespace caisson::daemon
