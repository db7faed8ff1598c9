// SPDX-License-Identifier: Apache-2.0
#include "api/response_head.h"

#include <algorithm>
#include <ctime>

namespace caisson::api {
namespace {

std::string_view ReasonPhrase(int status) {
  switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 206: return "Partial Content";
    default: return status < 400 ? "OK" : status < 500 ? "Client Error" : "Server Error";
  }
}

std::string HttpDate() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[40];
  std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return text;
}

bool HasHeader(const Response& response, std::string_view name) {
  return std::any_of(response.headers.begin(), response.headers.end(),
                     [&](const HeaderField& field) { return field.name == name; });
}

}  // namespace

Framing FramingOf(const Response& response, bool http_1_0) {
  if (!response.stream || response.stream->Length()) return Framing::kLength;
  return http_1_0 ? Framing::kUntilClose : Framing::kChunked;
}

std::string FormatHead(const Response& response, const std::string& request_id, Framing framing, bool keep_alive) {
  std::string head =
      fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\n", response.status, ReasonPhrase(response.status), HttpDate());
  const auto add = [&](std::string_view name, std::string_view value) {
    head += fmt::format("{}: {}\r\n", name, value);
  };
  if (!response.content_type.empty()) add("Content-Type", response.content_type);
  if (framing == Framing::kLength)
    add("Content-Length", std::to_string(response.stream ? *response.stream->Length() : response.body.size()));
  if (framing == Framing::kChunked) add("Transfer-Encoding", "chunked");
  if (!keep_alive) add("Connection", "close");
  if (!request_id.empty()) add("X-Request-Id", request_id);
  add("X-Content-Type-Options", "nosniff");  // a job's output must not become a page
  if (!HasHeader(response, "Cache-Control")) add("Cache-Control", "no-store");
  for (const HeaderField& field : response.headers) add(field.name, field.value);
  return head + "\r\n";
}

}  // namespace caisson::api
