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
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 422: return "Unprocessable Content";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 507: return "Insufficient Storage";
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
  if (framing == Framing::kLength && response.status != 204)  // which has no body and no length (RFC 9110, 8.6)
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
