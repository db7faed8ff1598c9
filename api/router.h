// SPDX-License-Identifier: Apache-2.0
// The table of everything that can be asked for. A pure function finds the route of a request. api/openapi.yaml
// describes exactly these routes; a test holds the two against each other.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "api/http_types.h"
#include "api/problem.h"

namespace caisson::api {

enum class Endpoint {
  kSubmitJob,
  kListJobs,
  kGetJob,
  kCancelJob,
  kGetLogs,
  kListImages,
  kPullImage,
  kGetImage,
  kDeleteImage,
  kVerifyImage,
  kExportImage,
  kCollectImages,
  kImportImage,
  kHasBlob,
  kPutBlob,
  kListRegistries,
  kPutRegistry,
  kDeleteRegistry,
  kCreateToken,
  kGetNode,
  kLive,
  kReady,
  kMetrics,
  kDocument,
};

enum class Access {
  kAnyone,      // no authentication
  kTenant,      // a tenant's token on TCP, an admin on the Unix socket
  kUnixSocket,  // an admin on the Unix socket
};

enum class Body { kNone, kJson, kStreamed };

struct Route {
  std::string_view method;
  std::string_view pattern;  // "{name}" stands for one segment; at most one in a pattern
  Endpoint endpoint;
  Access access;
  Body body = Body::kNone;
};

std::span<const Route> Routes();

struct RouteMatch {
  const Route* route = nullptr;
  std::string id;  // what "{name}" stood for, percent-decoded
};

// kNotFound, or kMethodNotAllowed with Allow. HEAD is served where GET is.
tl::expected<RouteMatch, Problem> FindRoute(const Request& request);

}  // namespace caisson::api
