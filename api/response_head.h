// SPDX-License-Identifier: Apache-2.0
// The status line and headers of an answer (RFC 9112). Pure functions.
#pragma once

#include <string>

#include "api/http_types.h"

namespace caisson::api {

// How the end of an answer's body is told.
enum class Framing { kLength, kChunked, kUntilClose };

Framing FramingOf(const Response& response, bool http_1_0);

// With the empty line that ends it.
std::string FormatHead(const Response& response, const std::string& request_id, Framing framing, bool keep_alive);

}  // namespace caisson::api
