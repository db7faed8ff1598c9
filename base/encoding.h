// SPDX-License-Identifier: Apache-2.0
// Text forms of bytes: hex (lowercase only, so that equal bytes have one spelling), base64 (RFC 4648, padded,
// strict), UTF-8 checks, and escaping of hostile text for logs and error messages. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace caisson {

std::string HexEncode(std::span<const uint8_t> bytes);
// Exactly bytes.size()*2 lowercase hex digits; false otherwise.
bool HexDecode(std::string_view text, std::span<uint8_t> bytes);

std::string Base64Encode(std::string_view bytes);
std::optional<std::string> Base64Decode(std::string_view text);

bool IsValidUtf8(std::string_view text);

// Control characters, quotes, backslashes and broken UTF-8 as \xNN; cut at `limit` bytes with "...".
std::string EscapeForLog(std::string_view text, size_t limit = 200);

}  // namespace caisson
