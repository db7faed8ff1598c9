// SPDX-License-Identifier: Apache-2.0
// NodeHandlers: tokens, and what the node says of itself. Owned by Handlers; every function blocks and is safe on any
// thread.
#pragma once

#include <string>

#include "api/answers.h"
#include "api/metrics.h"
#include "api/server.h"

namespace caisson::api {

class NodeHandlers {
 public:
  // `metrics` outlives it.
  NodeHandlers(const ApiDependencies& dependencies, std::string version, Metrics& metrics)
      : dependencies_(dependencies), version_(std::move(version)), metrics_(metrics) {}

  Answer CreateToken(const Request& request);
  Answer Node(const Request& request);
  Answer Readiness(const Request& request);
  Answer MetricsText(const Request& request);

 private:
  const ApiDependencies dependencies_;
  const std::string version_;
  Metrics& metrics_;
};

}  // namespace caisson::api
