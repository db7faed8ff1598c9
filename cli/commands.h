// SPDX-License-Identifier: Apache-2.0
// The dispatch over all commands.
#pragma once

#include "cli/console.h"
#include "cli/options.h"

namespace caisson::cli {

// Runs the command; returns the program's exit status. `token` is CAISSON_TOKEN's value. Blocks.
int RunCommandLine(const Options& options, std::string token, const Console& console);

}  // namespace caisson::cli
