// SPDX-License-Identifier: Apache-2.0
#include "cli/quantity.h"

#include <charconv>
#include <limits>

namespace caisson::cli {
namespace {

struct Unit {
  std::string_view name;
  uint64_t factor;
};

constexpr Unit kSizeUnits[] = {{"", 1},           {"B", 1},          {"K", 1ULL << 10},
                               {"M", 1ULL << 20}, {"G", 1ULL << 30}, {"T", 1ULL << 40}};
constexpr Unit kTimeUnits[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};

struct Split {
  uint64_t number = 0;
  std::string_view unit;
};

// Leading digits and the rest; kInvalid without digits or past 64 bits.
Result<Split> SplitNumber(std::string_view text, std::string_view expected) {
  Split split;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), split.number);
  if (error != std::errc()) return Fail(ErrorCode::kInvalid, "\"{}\" is not {}", text, expected);
  split.unit = text.substr(static_cast<size_t>(end - text.data()));
  return split;
}

template <size_t N>
Result<uint64_t> Scale(const Split& split, const Unit (&units)[N], std::string_view text, std::string_view expected) {
  for (const Unit& unit : units) {
    if (unit.name != split.unit) continue;
    if (split.number > std::numeric_limits<int64_t>::max() / unit.factor)
      return Fail(ErrorCode::kInvalid, "\"{}\" is too large", text);
    return split.number * unit.factor;
  }
  return Fail(ErrorCode::kInvalid, "\"{}\" is not {}", text, expected);
}

}  // namespace

Result<uint64_t> ParseSize(std::string_view text) {
  constexpr std::string_view kExpected = "a size such as 512M or 2G";
  Split split = TRY(SplitNumber(text, kExpected));
  std::string unit(split.unit);
  for (char& c : unit) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  if (unit.size() == 3 && unit.ends_with("IB")) unit.resize(1);
  if (unit.size() == 2 && (unit.back() == 'I' || unit.back() == 'B') && unit != "BB" && unit != "BI") unit.resize(1);
  split.unit = unit;
  return Scale(split, kSizeUnits, text, kExpected);
}

Result<uint32_t> ParseSeconds(std::string_view text) {
  constexpr std::string_view kExpected = "a duration such as 90, 90s, 5m or 2h";
  const Split split = TRY(SplitNumber(text, kExpected));
  const uint64_t seconds = TRY(Scale(split, kTimeUnits, text, kExpected));
  if (seconds > std::numeric_limits<uint32_t>::max()) return Fail(ErrorCode::kInvalid, "\"{}\" is too large", text);
  return static_cast<uint32_t>(seconds);
}

Result<uint32_t> ParseCores(std::string_view text) {
  double cores = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), cores, std::chars_format::fixed);
  if (error != std::errc() || end != text.data() + text.size() || !(cores >= 0.001 && cores <= 1e6))
    return Fail(ErrorCode::kInvalid, "\"{}\" is not a number of cores such as 0.5 or 2", text);
  return static_cast<uint32_t>(cores * 1000 + 0.5);
}

Result<std::pair<std::string, std::string>> ParsePair(std::string_view text) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0)
    return Fail(ErrorCode::kInvalid, "\"{}\" is not KEY=VALUE", text);
  return std::pair(std::string(text.substr(0, equals)), std::string(text.substr(equals + 1)));
}

std::string FormatSize(uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  constexpr std::string_view kNames[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double scaled = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (scaled >= 1023.95 && unit + 1 < std::size(kNames)) {
    scaled /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", scaled, kNames[unit]);
}

std::string FormatDuration(int64_t milliseconds) {
  if (milliseconds < 0) milliseconds = 0;
  if (milliseconds < 1000) return fmt::format("{}ms", milliseconds);
  const int64_t seconds = milliseconds / 1000;
  if (seconds < 60) return fmt::format("{}.{}s", seconds, milliseconds % 1000 / 100);
  if (seconds < 3600) return fmt::format("{}m{:02}s", seconds / 60, seconds % 60);
  if (seconds < 86400) return fmt::format("{}h{:02}m", seconds / 3600, seconds % 3600 / 60);
  return fmt::format("{}d", seconds / 86400);
}

}  // namespace caisson::cli
