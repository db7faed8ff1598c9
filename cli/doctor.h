// SPDX-License-Identifier: Apache-2.0
// Where `caisson doctor` has its report from: the daemon that answers, else `caissond doctor --json`, run here.
#pragma once

#include <string>
#include <vector>

#include "base/json/json.h"
#include "base/result.h"
#include "cli/api_client.h"
#include "cli/console.h"

namespace caisson::cli {

// Asks the daemon; where none answers on a Unix socket, looks at this host without one and says so. A daemon on
// another host that does not answer is an error: this host's report would mislead.
Result<Json> FetchDoctorReport(ApiClient& client, const Console& console);

// Where caissond may be: beside this program, in the sbin of the same prefix, then in `path` (as $PATH). In order, with
// duplicates left out.
std::vector<std::string> CaissondCandidates(const std::string& own_program, const std::string& path);

// Runs `program doctor --json` and parses what it prints, whatever its exit status: it is 1 on a host that cannot
// enforce everything. Standard error goes through.
Result<Json> RunLocalDoctor(const std::string& program);

}  // namespace caisson::cli
