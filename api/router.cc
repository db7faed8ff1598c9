// SPDX-License-Identifier: Apache-2.0
#include "api/router.h"

#include <algorithm>

#include "base/encoding.h"

namespace caisson::api {
namespace {

constexpr Route kRoutes[] = {
    {"POST", "/v1/jobs", Endpoint::kSubmitJob, Access::kTenant, true},
    {"GET", "/v1/jobs", Endpoint::kListJobs, Access::kTenant},
    {"GET", "/v1/jobs/{id}", Endpoint::kGetJob, Access::kTenant},
    {"POST", "/v1/jobs/{id}/cancel", Endpoint::kCancelJob, Access::kTenant, true},
    {"GET", "/v1/jobs/{id}/logs", Endpoint::kGetLogs, Access::kTenant},
    {"GET", "/v1/images", Endpoint::kListImages, Access::kTenant},
    {"POST", "/v1/tokens", Endpoint::kCreateToken, Access::kUnixSocket, true},
    {"GET", "/v1/node", Endpoint::kGetNode, Access::kTenant},
    {"GET", "/livez", Endpoint::kLive, Access::kAnyone},
    {"GET", "/readyz", Endpoint::kReady, Access::kAnyone},
    {"GET", "/metrics", Endpoint::kMetrics, Access::kTenant},
    {"GET", "/openapi.yaml", Endpoint::kDocument, Access::kAnyone},
};

bool MatchesPattern(std::string_view pattern, const std::vector<std::string>& segments, std::string& id) {
  size_t used = 0;
  pattern.remove_prefix(1);
  while (!pattern.empty()) {
    const size_t end = std::min(pattern.find('/'), pattern.size());
    const std::string_view part = pattern.substr(0, end);
    pattern.remove_prefix(std::min(end + 1, pattern.size()));
    if (used == segments.size()) return false;
    const std::string& segment = segments[used++];
    if (part == "{id}") {
      if (segment.empty()) return false;
      id = segment;
    } else if (part != segment) {
      return false;
    }
  }
  return used == segments.size();
}

}  // namespace

std::span<const Route> Routes() { return kRoutes; }

tl::expected<RouteMatch, Problem> FindRoute(const Request& request) {
  const std::string_view method = request.method == "HEAD" ? "GET" : std::string_view(request.method);
  std::string allow;
  for (const Route& route : kRoutes) {
    RouteMatch match{&route, {}};
    if (!MatchesPattern(route.pattern, request.segments, match.id)) continue;
    if (route.method == method) return match;
    allow += fmt::format("{}{}", allow.empty() ? "" : ", ", route.method);
    if (route.method == "GET") allow += ", HEAD";
  }
  if (allow.empty())
    return tl::unexpected(
        Problem{ProblemType::kNotFound, fmt::format("there is no path {}", EscapeForLog(request.path))});
  return tl::unexpected(Problem{
      .type = ProblemType::kMethodNotAllowed,
      .detail = fmt::format("{} takes {}, not {}", EscapeForLog(request.path), allow, EscapeForLog(request.method)),
      .headers = {{"Allow", allow}}});
}

}  // namespace caisson::api
