// SPDX-License-Identifier: Apache-2.0
// JobRequest: what the options of `run` and `submit` ask for, and its JSON as POST /v1/jobs wants it. What is not
// given is not sent: the server's defaults hold. Plain value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json/json.h"
#include "base/result.h"

namespace caisson::cli {

struct JobRequest {
  std::string image;
  std::optional<std::string> pull;        // the policy
  std::vector<std::string> command;       // empty: the image's
  std::optional<std::string> entrypoint;  // one program; its arguments are the command
  std::vector<std::pair<std::string, std::string>> env;
  std::vector<std::pair<std::string, std::string>> labels;
  std::optional<std::string> working_dir;
  std::optional<std::string> user;
  std::optional<uint32_t> timeout_seconds;
  std::optional<uint32_t> max_attempts;
  std::optional<uint32_t> retry_delay_seconds;
  std::optional<uint32_t> cpu_millis;
  std::optional<uint64_t> memory_bytes;
  std::optional<uint32_t> pids;
  std::optional<uint64_t> disk_bytes;
};

// `payload` goes out as text where it is UTF-8 without NUL, else as base64. A later --env or --label of the same name
// wins. kInvalid for an argument that no JSON text can carry (broken UTF-8).
Result<std::string> ToBody(const JobRequest& request, const std::optional<std::string>& payload);

}  // namespace caisson::cli
