// SPDX-License-Identifier: Apache-2.0
#include "api/router.h"

#include <algorithm>

#include "base/encoding.h"

namespace caisson::api {
namespace {

constexpr Route kRoutes[] = {
    {"POST", "/v1/jobs", Endpoint::kSubmitJob, Access::kTenant, Body::kJson},
    {"GET", "/v1/jobs", Endpoint::kListJobs, Access::kTenant},
    {"GET", "/v1/jobs/{id}", Endpoint::kGetJob, Access::kTenant},
    {"POST", "/v1/jobs/{id}/cancel", Endpoint::kCancelJob, Access::kTenant, Body::kJson},
    {"GET", "/v1/jobs/{id}/logs", Endpoint::kGetLogs, Access::kTenant},
    {"GET", "/v1/images", Endpoint::kListImages, Access::kTenant},
    {"POST", "/v1/images/pull", Endpoint::kPullImage, Access::kTenant, Body::kJson},
    {"POST", "/v1/images/import", Endpoint::kImportImage, Access::kTenant, Body::kJson},
    {"POST", "/v1/images/gc", Endpoint::kCollectImages, Access::kUnixSocket, Body::kJson},
    {"GET", "/v1/images/{image}", Endpoint::kGetImage, Access::kTenant},
    {"DELETE", "/v1/images/{image}", Endpoint::kDeleteImage, Access::kTenant},
    {"POST", "/v1/images/{image}/verify", Endpoint::kVerifyImage, Access::kTenant, Body::kJson},
    {"GET", "/v1/images/{image}/rootfs", Endpoint::kExportImage, Access::kTenant},
    {"HEAD", "/v1/blobs/{digest}", Endpoint::kHasBlob, Access::kTenant},
    {"PUT", "/v1/blobs/{digest}", Endpoint::kPutBlob, Access::kTenant, Body::kStreamed},
    {"GET", "/v1/registries", Endpoint::kListRegistries, Access::kTenant},
    {"PUT", "/v1/registries/{registry}", Endpoint::kPutRegistry, Access::kTenant, Body::kJson},
    {"DELETE", "/v1/registries/{registry}", Endpoint::kDeleteRegistry, Access::kTenant},
    {"POST", "/v1/tokens", Endpoint::kCreateToken, Access::kUnixSocket, Body::kJson},
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
    if (part.starts_with('{')) {
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
  std::string allow;
  for (const Route& route : kRoutes) {
    RouteMatch match{&route, {}};
    if (!MatchesPattern(route.pattern, request.segments, match.id)) continue;
    if (route.method == request.method || (route.method == "GET" && request.method == "HEAD")) return match;
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
