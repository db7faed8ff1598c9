// SPDX-License-Identifier: Apache-2.0
// Headers of a registry's answers, parsed from hostile text: Content-Range, Retry-After, Link. What is not well-formed
// counts as not there. Pure functions.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace caisson::image {

// "bytes 100-199/200" (RFC 9110, section 14.4).
struct ContentRange {
  uint64_t first = 0;
  uint64_t last = 0;
  uint64_t total = 0;
};
// nullopt where the total is unknown ("*") too: we know the size and want to hear it.
std::optional<ContentRange> ParseContentRange(std::string_view header);

// How long a busy server asks us to wait: seconds, or a date in the form that RFC 9110 tells servers to send. Never
// negative; nullopt where it does not say.
std::optional<std::chrono::seconds> ParseRetryAfter(std::string_view header, UnixMillis now);

// The target of the first link with the relation "next" (RFC 8288), as it stands there.
std::optional<std::string> NextLink(std::string_view header);

}  // namespace caisson::image
