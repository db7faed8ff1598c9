// SPDX-License-Identifier: Apache-2.0
// One whole run of the command line in this process, with files in place of its standard descriptors.
#pragma once

#include <string>
#include <vector>

namespace caisson::cli {

struct Outcome {
  int status = 0;
  std::string out;
  std::string err;
};

std::string Contents(int fd);  // what a file holds, from its start

Outcome RunCaisson(const std::string& host, std::vector<std::string> words, const std::string& input = "",
                   const std::string& token = "");

}  // namespace caisson::cli
