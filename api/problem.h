// SPDX-License-Identifier: Apache-2.0
// Problem: every 4xx and 5xx answer (RFC 9457, application/problem+json). The table in problem.cc is the whole list of
// types; api/openapi.yaml names each. Plain values.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/http_types.h"
#include "base/json/json.h"
#include "base/result.h"

namespace caisson::api {

enum class ProblemType {
  kMalformedRequest,      // 400
  kMalformedJson,         // 400
  kUnauthenticated,       // 401
  kForbidden,             // 403
  kNotFound,              // 404
  kMethodNotAllowed,      // 405
  kRequestTimeout,        // 408
  kConflict,              // 409
  kBodyTooLarge,          // 413
  kUnsupportedMediaType,  // 415
  kRangeNotSatisfiable,   // 416
  kExpectationFailed,     // 417
  kInvalidRequest,        // 422
  kUnenforceable,         // 422
  kHeadersTooLarge,       // 431
  kInternal,              // 500
  kNotImplemented,        // 501
  kRegistryFailed,        // 502
  kUnavailable,           // 503
  kInsufficientStorage,   // 507
  kCount,
};

struct ProblemTypeInfo {
  int status;
  std::string_view name;   // after "urn:caisson:problem:"
  std::string_view title;  // the same for each problem of the type
};
const ProblemTypeInfo& InfoOf(ProblemType type);

// One thing that is wrong with the input: a place in the body (JSON pointer) or a query parameter or header.
struct FieldError {
  std::string pointer;  // "/resources/cpu"; empty where `parameter` says the place
  std::string detail;
  std::string parameter;  // "limit"
};

struct Problem {
  ProblemType type = ProblemType::kInternal;
  std::string detail;
  std::vector<FieldError> errors;
  std::vector<std::string> limits;   // of kUnenforceable: what this node cannot enforce
  std::vector<std::string> missing;  // of an import's kConflict: digests of the blobs to upload first
  std::vector<HeaderField> headers;  // Allow, Retry-After, WWW-Authenticate, ...

  static Problem InvalidParameter(std::string name, std::string detail);
};

// What a failed call to the store or another part means to the caller. Only for errors that no handler knows better:
// those of ours are logged with the request's id, and the caller is told nothing of our insides.
Problem ProblemOf(const Error& error, const Request& request);

// The same for calls whose errors are for the user as they are: what a registry answered, what is wrong with an image.
Problem ImageProblemOf(const Error& error, const Request& request);

Json ToJson(const Problem& problem, const Request& request);
Response ToResponse(const Problem& problem, const Request& request);

}  // namespace caisson::api
