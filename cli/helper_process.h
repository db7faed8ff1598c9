// SPDX-License-Identifier: Apache-2.0
// RunHelper: a small program of the user's, run to its end: words in, words out, a clean environment and a time limit.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"

namespace caisson::cli {

struct HelperResult {
  int status = 0;      // its exit status, or 128 and the signal that ended it
  std::string output;  // its standard output, at most 64 KiB
};

// The program is looked for in the PATH of `environment`, which is all that it gets. Its standard error is ours.
// Blocks. kNotFound: there is no such program; kTimedOut: it was killed after `limit`, with what it started.
Result<HelperResult> RunHelper(const std::string& program, const std::vector<std::string>& arguments,
                               const std::string& input, const std::map<std::string, std::string>& environment,
                               std::chrono::milliseconds limit);

}  // namespace caisson::cli
