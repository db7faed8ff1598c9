// SPDX-License-Identifier: Apache-2.0
#include "api/log_query.h"

#include <algorithm>
#include <charconv>

#include "base/encoding.h"

namespace caisson::api {
namespace {

tl::expected<bool, Problem> ParseSwitch(const std::string& name, const std::string& value) {
  if (value == "1" || value == "true") return true;
  if (value == "0" || value == "false") return false;
  return tl::unexpected(Problem::InvalidParameter(name, "must be 1 or 0"));
}

// Puts one parameter into `query`.
std::optional<Problem> ApplyParameter(const std::string& name, const std::string& value, LogQuery& query) {
  if (name == "stream") {
    if (value == "both") return std::nullopt;
    if (value != "stdout" && value != "stderr")
      return Problem::InvalidParameter(name, "must be stdout, stderr or both");
    query.stream = value == "stdout" ? queue::LogStream::kStdout : queue::LogStream::kStderr;
  } else if (name == "follow") {
    auto on = ParseSwitch(name, value);
    if (!on) return on.error();
    query.follow = *on;
  } else if (name == "after") {
    const auto position = ParseDecimal(value);
    if (!position) return Problem::InvalidParameter(name, "must be a position in the log: decimal digits");
    query.after = *position;
  } else if (name == "encoding") {
    if (value != "base64" && value != "text") return Problem::InvalidParameter(name, "must be base64 or text");
    query.base64 = value == "base64";
  } else {
    return Problem::InvalidParameter(EscapeForLog(name, 64), "is unknown; known here: stream, follow, after, encoding");
  }
  return std::nullopt;
}

}  // namespace

std::optional<uint64_t> ParseDecimal(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

tl::expected<LogQuery, Problem> ParseLogQuery(const Request& request) {
  LogQuery query;
  for (const auto& [name, value] : request.query)
    if (auto problem = ApplyParameter(name, value, query)) return tl::unexpected(std::move(*problem));
  query.events = query.follow || AcceptsEvents(request.Header("accept"));
  if (query.base64 && !query.events)
    return tl::unexpected(Problem::InvalidParameter(
        "encoding",
        "is for events (follow=1, or Accept: text/event-stream): a plain GET gives the exact bytes already"));
  // What a reader that was cut off has; newer than the URL's `after`, which an EventSource sends again unchanged.
  if (query.events && request.HasHeader("last-event-id")) {
    const auto position = ParseDecimal(request.Header("last-event-id"));
    if (!position)
      return tl::unexpected(Problem::InvalidParameter("Last-Event-ID", "must be an id of this event stream"));
    query.after = *position;
  }
  if (!query.events && request.HasHeader("range") && (query.stream || query.after > 0))
    return tl::unexpected(
        Problem::InvalidParameter("Range", "counts bytes of the whole log: not with stream or after"));
  return query;
}

RangeRequest ParseRange(std::string_view header, uint64_t size) {
  const RangeRequest whole{RangeRequest::Kind::kWhole, {0, size}};
  constexpr std::string_view kUnit = "bytes=";
  if (!header.starts_with(kUnit) || header.find(',') != std::string_view::npos) return whole;
  header.remove_prefix(kUnit.size());
  const size_t dash = header.find('-');
  if (dash == std::string_view::npos) return whole;
  const std::string_view first_text = header.substr(0, dash);
  const std::string_view last_text = header.substr(dash + 1);
  const auto first = ParseDecimal(first_text);
  const auto last = ParseDecimal(last_text);
  if (first_text.empty()) {  // the last so many bytes
    if (!last) return whole;
    if (*last == 0 || size == 0) return {RangeRequest::Kind::kUnsatisfiable, {}};
    return {RangeRequest::Kind::kPart, {size - std::min(*last, size), size}};
  }
  if (!first || (!last && !last_text.empty()) || (last && *last < *first)) return whole;
  if (*first >= size) return {RangeRequest::Kind::kUnsatisfiable, {}};
  return {RangeRequest::Kind::kPart, {*first, last && *last < size ? *last + 1 : size}};
}

}  // namespace caisson::api
