// SPDX-License-Identifier: Apache-2.0
// Bodies of POST /v1/jobs: whatever comes, it is a job within its bounds or a list of faults.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "api/job_request.h"
#include "base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson;
  const auto json = ParseJson({reinterpret_cast<const char*>(data), size});
  if (!json) return 0;
  const auto request = api::ParseJobRequest(*json, [](const std::string& text) -> Result<std::string> { return text; });
  if (!request) {
    CHECK(!request.error().empty() && request.error().size() <= 100);
    return 0;
  }
  const queue::JobSpec& spec = request->spec;
  CHECK(!spec.image.empty());
  for (const auto* words : {&spec.command, &spec.entrypoint})
    if (*words)
      for (const std::string& word : **words)
        CHECK(word.find('\0') == std::string::npos && word.size() <= api::kMaxStringBytes);
  for (const auto& [name, value] : spec.env)
    CHECK(!name.empty() && name.find_first_of(std::string_view("=\0\n", 3)) == std::string::npos &&
          value.find('\0') == std::string::npos);
  CHECK(spec.resources.disk_bytes <= spec.resources.memory_bytes && spec.resources.memory_bytes >= (8 << 20));
  CHECK(spec.resources.cpu_millis > 0 && spec.resources.pids > 0 && spec.timeout_seconds > 0 && spec.max_attempts > 0);
  return 0;
}
