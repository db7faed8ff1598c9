// SPDX-License-Identifier: Apache-2.0
// What every handler is made of: answers in JSON and text, and the bodies of requests. Pure functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/http_types.h"
#include "api/problem.h"
#include "base/json/json.h"

namespace caisson::api {

using Answer = tl::expected<Response, Problem>;

Response JsonResponse(int status, const Json& json);
Response TextResponse(int status, std::string_view type, std::string body);
// The head of a stream of server-sent events; the stream is the caller's to set.
Response EventResponse();

// 422 with everything that is wrong.
Problem Invalid(std::vector<FieldError> errors);
// 503: this node takes nothing new.
Problem Draining();
// 503: as many of these as may run at once do.
Problem TooMany(std::string_view what);

tl::expected<Json, Problem> ParseBody(const Request& request);

// The body as what `parse` makes of it: expected<T, std::vector<FieldError>>.
template <typename T>
tl::expected<T, Problem> ParseBodyWith(const Request& request,
                                       tl::expected<T, std::vector<FieldError>> (*parse)(const Json&)) {
  auto json = ParseBody(request);
  if (!json) return tl::unexpected(std::move(json).error());
  auto parsed = parse(*json);
  if (!parsed) return tl::unexpected(Invalid(std::move(parsed).error()));
  return *std::move(parsed);
}

// The same where the body may be left out: then everything in it has its default.
template <typename T>
tl::expected<T, Problem> ParseOptionalBodyWith(const Request& request,
                                               tl::expected<T, std::vector<FieldError>> (*parse)(const Json&)) {
  if (request.body.empty()) return T();
  return ParseBodyWith(request, parse);
}

// JSON under any of the names that clients send it with: `curl -d` says it is a form, some say nothing.
std::optional<Problem> CheckJsonType(const Request& request);
// For paths that have none.
std::optional<Problem> RefuseParameters(const Request& request);

}  // namespace caisson::api
