// SPDX-License-Identifier: Apache-2.0
// What GET /v1/jobs/{id}/logs asks for, from its query and headers. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "api/problem.h"
#include "queue/log_store.h"

namespace caisson::api {

struct LogQuery {
  std::optional<queue::LogStream> stream;  // nothing: both
  bool events = false;                     // text/event-stream in place of the bytes
  bool follow = false;                     // events until the job is final
  bool base64 = false;                     // of events' data
  uint64_t after = 0;                      // first position wanted
};
tl::expected<LogQuery, Problem> ParseLogQuery(const Request& request);

// A part of a body of `size` bytes: [first, end).
struct ByteRange {
  uint64_t first = 0;
  uint64_t end = 0;
};
struct RangeRequest {
  enum class Kind { kWhole, kPart, kUnsatisfiable } kind = Kind::kWhole;
  ByteRange part;
};
// The Range header (RFC 9110, 14.2): one range is served; several, another unit or a broken one give the whole.
RangeRequest ParseRange(std::string_view header, uint64_t size);

// Decimal digits only; nothing on overflow.
std::optional<uint64_t> ParseDecimal(std::string_view text);

}  // namespace caisson::api
