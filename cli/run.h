// SPDX-License-Identifier: Apache-2.0
// `caisson run` and `caisson submit`: hand in a job; for `run`, show its output as it comes and exit as it did.
#pragma once

#include "cli/api_client.h"
#include "cli/console.h"
#include "cli/options.h"

namespace caisson::cli {

// The program's exit status. Blocks until the job has ended, unless the command detaches.
int Run(const RunCommand& command, const Endpoint& endpoint, const Identity& identity, bool json,
        const Console& console);

}  // namespace caisson::cli
