// SPDX-License-Identifier: Apache-2.0
// Quantities as people type them: sizes ("512M"), durations ("90", "5m") and pairs ("KEY=VALUE"). Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace caisson::cli {

// Bytes: a whole number, alone or with K, M, G or T (powers of 1024; "Mi", "MB" and "MiB" mean the same as "M").
Result<uint64_t> ParseSize(std::string_view text);

// Seconds: a whole number, alone or with s, m, h or d.
Result<uint32_t> ParseSeconds(std::string_view text);

// Cores: a decimal number above 0, in thousandths ("0.5" is 500).
Result<uint32_t> ParseCores(std::string_view text);

// "KEY=VALUE"; the key is not empty, the value may be and may hold further '='.
Result<std::pair<std::string, std::string>> ParsePair(std::string_view text);

// For people: "1.4 MiB", "312 B".
std::string FormatSize(uint64_t bytes);
// For people: "850ms", "4.2s", "3m12s", "2h05m", "4d".
std::string FormatDuration(int64_t milliseconds);

}  // namespace caisson::cli
