// SPDX-License-Identifier: Apache-2.0
#include "api/http_types.h"

#include <algorithm>
#include <cctype>

#include "base/encoding.h"

namespace caisson::api {
namespace {

Result<std::string> PercentDecode(std::string_view text, bool plus_is_space) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      decoded.push_back(' ');
    } else if (text[i] != '%') {
      decoded.push_back(text[i]);
    } else {
      uint8_t byte[1];
      std::string digits(text.substr(i + 1, 2));
      std::transform(digits.begin(), digits.end(), digits.begin(), [](unsigned char c) { return std::tolower(c); });
      if (!HexDecode(digits, byte)) return Fail(ErrorCode::kInvalid, "broken percent escape in the request target");
      decoded.push_back(static_cast<char>(byte[0]));
      i += 2;
    }
  }
  if (decoded.find('\0') != std::string::npos) return Fail(ErrorCode::kInvalid, "NUL in the request target");
  return decoded;
}

Result<void> ParseQuery(std::string_view query, Request& request) {
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (pair.empty()) continue;
    const size_t equals = pair.find('=');
    std::string name = TRY(PercentDecode(pair.substr(0, equals), true));
    std::string value;
    if (equals != std::string_view::npos) value = TRY(PercentDecode(pair.substr(equals + 1), true));
    request.query.emplace_back(std::move(name), std::move(value));
  }
  return {};
}

}  // namespace

std::string_view Request::Header(std::string_view name) const {
  for (const auto& header : headers)
    if (header.name == name) return header.value;
  return {};
}

bool Request::HasHeader(std::string_view name) const {
  return std::any_of(headers.begin(), headers.end(), [&](const auto& header) { return header.name == name; });
}

Result<void> ParseTarget(std::string_view target, Request& request) {
  const size_t scheme = target.find("://");
  if (!target.starts_with('/') && scheme != std::string_view::npos) {  // absolute-form, as sent to proxies
    const size_t path = target.find('/', scheme + 3);
    target = path == std::string_view::npos ? "/" : target.substr(path);
  }
  if (!target.starts_with('/')) return Fail(ErrorCode::kInvalid, "the request target is not a path");
  target = target.substr(0, target.find('#'));
  const size_t question = target.find('?');
  request.path = std::string(target.substr(0, question));
  if (question != std::string_view::npos) TRY(ParseQuery(target.substr(question + 1), request));

  std::string_view rest = std::string_view(request.path).substr(1);
  while (!rest.empty()) {  // a slash at the end adds no segment
    const size_t end = std::min(rest.find('/'), rest.size());
    request.segments.push_back(TRY(PercentDecode(rest.substr(0, end), false)));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return {};
}

std::string MediaType(std::string_view content_type) {
  std::string type(content_type.substr(0, content_type.find(';')));
  while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) type.pop_back();
  std::transform(type.begin(), type.end(), type.begin(), [](unsigned char c) { return std::tolower(c); });
  return type;
}

bool AcceptsEvents(std::string_view accept) {
  while (!accept.empty()) {
    const size_t end = std::min(accept.find(','), accept.size());
    std::string_view item = accept.substr(0, end);
    item.remove_prefix(std::min(item.find_first_not_of(" \t"), item.size()));
    if (MediaType(item) == "text/event-stream") return true;
    accept.remove_prefix(std::min(end + 1, accept.size()));
  }
  return false;
}

}  // namespace caisson::api
