// SPDX-License-Identifier: Apache-2.0
#include "queue/job.h"

#include <algorithm>
#include <array>

#include "base/crypto/crypto.h"
#include "base/encoding.h"

namespace caisson::queue {
namespace {

// In the order of their numbers.
constexpr std::string_view kStates[] = {"blocked", "scheduled", "queued", "preparing",
                                        "running", "succeeded", "failed", "cancelled"};
constexpr std::string_view kReasons[] = {"",          "exited",      "signaled",    "timed_out",   "oom_killed",
                                         "disk_full", "foreign_abi", "image_error", "setup_error", "lost",
                                         "expired",   "cancelled"};

}  // namespace

Result<JobId> JobId::Parse(std::string_view text) {
  std::array<uint8_t, 12> bytes;
  if (!HexDecode(text, bytes)) {
    return Fail(ErrorCode::kInvalid, "\"{}\" is not a job id: it has 24 lowercase hex digits", EscapeForLog(text, 40));
  }
  return JobId{std::string(text)};
}

JobId JobId::New(UnixMillis now) {
  std::array<uint8_t, 12> bytes;
  FillRandom(bytes);
  for (int i = 0; i < 6; ++i) bytes[i] = static_cast<uint8_t>(static_cast<uint64_t>(now) >> (8 * (5 - i)));
  return JobId{HexEncode(bytes)};
}

std::string_view ToString(JobState state) { return kStates[static_cast<int>(state)]; }

std::optional<JobState> ParseJobState(std::string_view text) {
  const auto* found = std::find(std::begin(kStates), std::end(kStates), text);
  if (found == std::end(kStates)) return std::nullopt;
  return static_cast<JobState>(found - std::begin(kStates));
}

std::string_view ToString(Reason reason) { return kReasons[static_cast<int>(reason)]; }

}  // namespace caisson::queue
