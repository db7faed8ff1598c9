// SPDX-License-Identifier: Apache-2.0
#include "api/problem.h"

#include "base/json/json.h"
#include "base/log.h"

namespace caisson::api {
namespace {

constexpr ProblemTypeInfo kTypes[] = {
    {400, "malformed-request", "The request is not valid HTTP"},
    {400, "malformed-json", "The body is not acceptable JSON"},
    {401, "unauthenticated", "A valid token is needed"},
    {403, "forbidden", "The caller may not do this"},
    {404, "not-found", "There is no such thing"},
    {405, "method-not-allowed", "The path does not take this method"},
    {408, "request-timeout", "The request did not arrive in time"},
    {409, "conflict", "The request conflicts with the present state"},
    {413, "body-too-large", "The body is too large"},
    {415, "unsupported-media-type", "The body's content type is not supported"},
    {416, "range-not-satisfiable", "The log does not reach that far"},
    {417, "expectation-failed", "The expectation is not supported"},
    {422, "invalid-request", "Some values are not valid"},
    {422, "unenforceable", "This node cannot enforce the job's limits"},
    {431, "headers-too-large", "The request's headers are too large"},
    {500, "internal", "Something failed inside Caisson"},
    {501, "not-implemented", "That is not supported"},
    {502, "registry-failed", "The registry did not give the image"},
    {503, "unavailable", "Caisson cannot do this now"},
    {507, "insufficient-storage", "The disk has no room for it"},
};
static_assert(std::size(kTypes) == static_cast<size_t>(ProblemType::kCount));

Json ToJson(const std::vector<FieldError>& errors) {
  Json::Array items;
  for (const FieldError& error : errors) {
    Json item = Json::MakeObject();
    if (error.parameter.empty()) {
      item.Set("pointer", error.pointer);
    } else {
      item.Set("parameter", error.parameter);
    }
    item.Set("detail", error.detail);
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace

const ProblemTypeInfo& InfoOf(ProblemType type) { return kTypes[static_cast<size_t>(type)]; }

Problem Problem::InvalidParameter(std::string name, std::string detail) {
  Problem problem{ProblemType::kInvalidRequest, fmt::format("{}: {}", name, detail)};
  problem.errors.push_back({.detail = std::move(detail), .parameter = std::move(name)});
  return problem;
}

Problem ProblemOf(const Error& error, const Request& request) {
  switch (error.code) {
    case ErrorCode::kNotFound: return {ProblemType::kNotFound, error.message};
    case ErrorCode::kInvalid: return {ProblemType::kInvalidRequest, error.message};
    case ErrorCode::kDenied: return {ProblemType::kForbidden, error.message};
    case ErrorCode::kConflict: return {ProblemType::kConflict, error.message};
    case ErrorCode::kTooLarge: return {ProblemType::kBodyTooLarge, error.message};
    default: break;
  }
  LogError("request_failed",
           {{"request", request.id}, {"method", request.method}, {"path", request.path}, {"error", error.message}});
  if (error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kExhausted ||
      error.code == ErrorCode::kTimedOut)
    return {.type = ProblemType::kUnavailable,
            .detail = "a part of Caisson that this needs cannot serve now; its log has the reason",
            .headers = {{"Retry-After", "5"}}};
  return {ProblemType::kInternal, "the log of Caisson has the reason, under this request_id"};
}

Problem ImageProblemOf(const Error& error, const Request& request) {
  switch (error.code) {
    case ErrorCode::kTooLarge: return {ProblemType::kInvalidRequest, error.message};
    case ErrorCode::kCorrupt:
    case ErrorCode::kUnavailable:
    case ErrorCode::kTimedOut: return {ProblemType::kRegistryFailed, error.message};
    case ErrorCode::kExhausted: return {ProblemType::kInsufficientStorage, error.message};
    case ErrorCode::kUnsupported: return {ProblemType::kNotImplemented, error.message};
    case ErrorCode::kCancelled:
      return {.type = ProblemType::kUnavailable, .detail = error.message, .headers = {{"Retry-After", "5"}}};
    default: return ProblemOf(error, request);
  }
}

Json ToJson(const Problem& problem, const Request& request) {
  const ProblemTypeInfo& info = InfoOf(problem.type);
  Json json = Json::MakeObject();
  json.Set("type", fmt::format("urn:caisson:problem:{}", info.name));
  json.Set("title", info.title);
  json.Set("status", info.status);
  json.Set("detail", problem.detail);
  json.Set("instance", request.path);
  json.Set("request_id", request.id);
  if (!problem.errors.empty()) json.Set("errors", ToJson(problem.errors));
  if (!problem.limits.empty()) json.Set("limits", Json::Array(problem.limits.begin(), problem.limits.end()));
  if (!problem.missing.empty()) json.Set("missing", Json::Array(problem.missing.begin(), problem.missing.end()));
  return json;
}

Response ToResponse(const Problem& problem, const Request& request) {
  Response response;
  response.status = InfoOf(problem.type).status;
  response.headers = problem.headers;
  response.content_type = "application/problem+json";
  response.body = ToJson(problem, request).Dump() + "\n";
  return response;
}

}  // namespace caisson::api
