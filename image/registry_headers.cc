// SPDX-License-Identifier: Apache-2.0
#include "image/registry_headers.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

namespace caisson::image {
namespace {

constexpr size_t kMaxLinkHeaderBytes = 8 << 10;

// Digits alone, no sign, no blank.
template <typename Number>
std::optional<Number> ParseDigits(std::string_view text) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || text.starts_with('-')) return std::nullopt;
  return number;
}

std::string_view Trimmed(std::string_view text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

// "Sun, 06 Nov 1994 08:49:37 GMT" (IMF-fixdate), in seconds since 1970.
std::optional<int64_t> ParseHttpDate(std::string_view text) {
  constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  constexpr std::string_view kForm = "Sun, 06 Nov 1994 08:49:37 GMT";
  if (text.size() != kForm.size()) return std::nullopt;
  for (const size_t mark : {3, 4, 7, 11, 16, 19, 22, 25})
    if (text[mark] != kForm[mark]) return std::nullopt;
  const auto month = std::find(kMonths.begin(), kMonths.end(), text.substr(8, 3));
  const auto day = ParseDigits<unsigned>(text.substr(5, 2)), hour = ParseDigits<unsigned>(text.substr(17, 2)),
             minute = ParseDigits<unsigned>(text.substr(20, 2)), second = ParseDigits<unsigned>(text.substr(23, 2));
  const auto year = ParseDigits<int>(text.substr(12, 4));
  if (month == kMonths.end() || !year || !day || !hour || !minute || !second || text.substr(26) != "GMT" ||
      *hour > 23 || *minute > 59 || *second > 60)
    return std::nullopt;
  const std::chrono::year_month_day date(std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(month - kMonths.begin()) + 1),
                                         std::chrono::day(*day));
  if (!date.ok()) return std::nullopt;
  const int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  return days * 86400 + *hour * 3600 + *minute * 60 + *second;
}

// One link: "<target>; name=value; ..." off the front of `text`, and the comma behind it. False where it is malformed.
bool TakeLink(std::string_view& text, std::string_view& target, bool& is_next) {
  is_next = false;
  text = Trimmed(text);
  if (!text.starts_with('<')) return false;
  const size_t end = text.find('>');
  if (end == std::string_view::npos) return false;
  target = text.substr(1, end - 1);
  text.remove_prefix(end + 1);
  while (!(text = Trimmed(text)).empty() && text.front() == ';') {
    text = Trimmed(text.substr(1));
    const std::string_view name = text.substr(0, text.find_first_of("=;, \t"));
    text = Trimmed(text.substr(name.size()));
    if (!text.starts_with('=')) continue;  // a parameter without a value
    text = Trimmed(text.substr(1));
    std::string_view value;
    if (text.starts_with('"')) {
      const size_t quote = text.find('"', 1);
      if (quote == std::string_view::npos) return false;
      value = text.substr(1, quote - 1);
      text.remove_prefix(quote + 1);
    } else {
      value = text.substr(0, text.find_first_of(";, \t"));
      text.remove_prefix(value.size());
    }
    if (EqualIgnoringCase(name, "rel") && EqualIgnoringCase(value, "next")) is_next = true;
  }
  if (text.empty()) return true;
  if (text.front() != ',') return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

std::optional<ContentRange> ParseContentRange(std::string_view header) {
  constexpr std::string_view kUnit = "bytes ";
  header = Trimmed(header);
  if (!header.starts_with(kUnit)) return std::nullopt;
  header.remove_prefix(kUnit.size());
  const size_t dash = header.find('-'), slash = header.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos || slash < dash) return std::nullopt;
  const auto first = ParseDigits<uint64_t>(header.substr(0, dash)),
             last = ParseDigits<uint64_t>(header.substr(dash + 1, slash - dash - 1)),
             total = ParseDigits<uint64_t>(header.substr(slash + 1));
  if (!first || !last || !total || *first > *last || *last >= *total) return std::nullopt;
  return ContentRange{*first, *last, *total};
}

std::optional<std::chrono::seconds> ParseRetryAfter(std::string_view header, UnixMillis now) {
  header = Trimmed(header);
  constexpr int64_t kMost = 1'000'000'000;  // some 30 years: no sum of it overflows
  if (const auto seconds = ParseDigits<uint64_t>(header))
    return std::chrono::seconds(static_cast<int64_t>(std::min<uint64_t>(*seconds, kMost)));
  const std::optional<int64_t> date = ParseHttpDate(header);
  if (!date) return std::nullopt;
  return std::chrono::seconds(std::clamp<int64_t>(*date - now / 1000, 0, kMost));
}

std::optional<std::string> NextLink(std::string_view header) {
  if (header.size() > kMaxLinkHeaderBytes) return std::nullopt;
  std::string_view target;
  bool is_next = false;
  while (!Trimmed(header).empty() && TakeLink(header, target, is_next))
    if (is_next) return std::string(target);
  return std::nullopt;
}

}  // namespace caisson::image
