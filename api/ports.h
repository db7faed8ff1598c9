// SPDX-License-Identifier: Apache-2.0
// What the API needs of parts that it must not know: running jobs and the node here, images in api/image_ports.h.
// Implemented in daemon/. Every function is quick unless it says otherwise and safe on any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "api/image_ports.h"
#include "base/result.h"
#include "queue/job.h"

namespace caisson::api {

class JobsPort {
 public:
  virtual ~JobsPort() = default;
  // The names of the limits ("memory", "pids", "cpu") that this node cannot enforce and whose absence it does not
  // accept: not empty under isolation = "strict" on a host without controllers.
  virtual std::vector<std::string> Unenforceable() = 0;
  virtual std::optional<PullProgress> Progress(const queue::JobId& id) = 0;  // of a job in preparing
  // A running or preparing job was asked to stop (the request is already durable).
  virtual void StopRunning(const queue::JobId& id, std::optional<uint32_t> grace_seconds) = 0;
};

struct NodeMetrics {
  int slots = 0;
  int busy = 0;
};

class NodePort {
 public:
  virtual ~NodePort() = default;
  virtual Result<std::string> NodeJson() = 0;  // a round trip to the launcher
  virtual NodeMetrics Metrics() = 0;
  virtual bool Draining() = 0;
};

}  // namespace caisson::api
