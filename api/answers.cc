// SPDX-License-Identifier: Apache-2.0
#include "api/answers.h"

#include <fmt/format.h>

#include "base/encoding.h"

namespace caisson::api {
namespace {

constexpr JsonLimits kJsonLimits{.max_bytes = SIZE_MAX, .max_depth = 32, .max_values = 200'000};

}  // namespace

Response JsonResponse(int status, const Json& json) {
  Response response;
  response.status = status;
  response.content_type = "application/json";
  response.body = json.Dump() + "\n";
  return response;
}

Response TextResponse(int status, std::string_view type, std::string body) {
  Response response;
  response.status = status;
  response.content_type = type;
  response.body = std::move(body);
  return response;
}

Response EventResponse() {
  Response response = TextResponse(200, "text/event-stream", "");
  response.headers.push_back({"Cache-Control", "no-store"});
  response.headers.push_back({"X-Accel-Buffering", "no"});  // nginx would hold events back
  return response;
}

Problem Draining() {
  return {.type = ProblemType::kUnavailable,
          .detail = "this node is shutting down and takes no new jobs; another node, or this one in a while, will",
          .headers = {{"Retry-After", "30"}}};
}

Problem TooMany(std::string_view what) {
  return {.type = ProblemType::kUnavailable,
          .detail = fmt::format("too many {} are under way", what),
          .headers = {{"Retry-After", "5"}}};
}

Problem Invalid(std::vector<FieldError> errors) {
  const FieldError& first = errors.front();
  std::string detail = fmt::format("{}: {}", first.pointer.empty() ? "the body" : first.pointer, first.detail);
  if (errors.size() > 1) detail += fmt::format(" (and {} more)", errors.size() - 1);
  return {.type = ProblemType::kInvalidRequest, .detail = std::move(detail), .errors = std::move(errors)};
}

std::optional<Problem> CheckJsonType(const Request& request) {
  const std::string type = MediaType(request.Header("content-type"));
  const auto unsupported = [](std::string detail) {
    return Problem{.type = ProblemType::kUnsupportedMediaType,
                   .detail = std::move(detail),
                   .headers = {{"Accept", "application/json"}}};
  };
  if (!type.empty() && type != "application/json" && type != "application/x-www-form-urlencoded")
    return unsupported(fmt::format("the body must be application/json, not {}", EscapeForLog(type)));
  const std::string coding = MediaType(request.Header("content-encoding"));
  if (!coding.empty() && coding != "identity")
    return unsupported(fmt::format("the body must not be encoded, and is {}", EscapeForLog(coding)));
  return std::nullopt;
}

tl::expected<Json, Problem> ParseBody(const Request& request) {
  if (request.body.empty()) return tl::unexpected(Problem{ProblemType::kMalformedJson, "the body is empty"});
  Result<Json> json = ParseJson(request.body, kJsonLimits);
  if (!json) return tl::unexpected(Problem{ProblemType::kMalformedJson, json.error().message});
  return *std::move(json);
}

std::optional<Problem> RefuseParameters(const Request& request) {
  if (request.query.empty()) return std::nullopt;
  return Problem::InvalidParameter(EscapeForLog(request.query.front().first, 64),
                                   "is unknown: this path has no parameters");
}

}  // namespace caisson::api
