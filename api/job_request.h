// SPDX-License-Identifier: Apache-2.0
// From the JSON body of POST /v1/jobs to a JobSpec: strict, complete (every fault is reported, not the first), and
// pure but for the image reference, whose rules belong to the images' side. Bodies come from strangers: fuzzed.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "api/problem.h"
#include "base/json/json.h"
#include "base/result.h"
#include "queue/job.h"

namespace caisson::api {

// Greatest accepted values, in the order of the fields. What an operator pays for is bounded by the node, not here:
// these stop nonsense and keep each value clear of overflow.
inline constexpr size_t kMaxStringBytes = (128 << 10) - 1;  // one argument or variable: the kernel's MAX_ARG_STRLEN
inline constexpr size_t kMaxArgumentBytes = 1 << 20;        // argv and environment together, with 8 bytes a pointer
inline constexpr size_t kMaxPathBytes = 4095;
inline constexpr size_t kMaxUserBytes = 256;
inline constexpr int64_t kMaxTimeoutSeconds = 7 * 24 * 3600;
inline constexpr int64_t kMaxAttempts = 100;
inline constexpr int64_t kMaxRetryDelaySeconds = 7 * 24 * 3600;
inline constexpr double kMinCpu = 0.01;  // the kernel's smallest quota: 1 ms of 100 ms
inline constexpr double kMaxCpu = 1024;
inline constexpr int64_t kMinMemoryBytes = 8 << 20;  // below it setting up fails unpredictably
inline constexpr int64_t kMaxMemoryBytes = 1LL << 44;
inline constexpr int64_t kMaxPids = 1 << 20;
inline constexpr int64_t kMinDiskBytes = 1 << 20;
inline constexpr size_t kMaxLabels = 64;
inline constexpr size_t kMaxLabelNameBytes = 63;
inline constexpr size_t kMaxLabelValueBytes = 255;
inline constexpr int64_t kMaxGraceSeconds = 3600;

struct JobRequest {
  queue::JobSpec spec;
  std::optional<std::string> payload;
};

// Normalises an image reference, or says what is wrong with it (kInvalid).
using ReferenceCheck = std::function<Result<std::string>(const std::string&)>;

tl::expected<JobRequest, std::vector<FieldError>> ParseJobRequest(const Json& body, const ReferenceCheck& reference);

// The body of POST /v1/jobs/{id}/cancel.
struct CancelRequest {
  std::optional<uint32_t> grace_seconds;
};
tl::expected<CancelRequest, std::vector<FieldError>> ParseCancelRequest(const Json& body);

// The body of POST /v1/tokens.
struct TokenRequest {
  std::string tenant;  // empty: not given
};
tl::expected<TokenRequest, std::vector<FieldError>> ParseTokenRequest(const Json& body);

}  // namespace caisson::api
