// SPDX-License-Identifier: Apache-2.0
// Metrics: counters of the API and the text of /metrics (Prometheus exposition format 0.0.4). No id and no input of a
// job is ever a label. Safe on any thread.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "api/ports.h"
#include "queue/store.h"

namespace caisson::api {

class Metrics {
 public:
  void CountRequest(std::string_view method, std::string_view route, int status);
  void CountFinished(queue::JobState state);

  struct Gauges {
    std::string version;
    std::vector<queue::StateCount> jobs;
    NodeMetrics node;
    bool draining = false;
  };
  std::string Render(const Gauges& gauges) const;

 private:
  struct RequestKey {
    std::string_view method;  // of the table of routes: lives for ever
    std::string_view route;
    int status;
    auto operator<=>(const RequestKey&) const = default;
  };
  mutable std::mutex mutex_;
  std::map<RequestKey, uint64_t> requests_;       // guarded by mutex_
  std::map<queue::JobState, uint64_t> finished_;  // guarded by mutex_
};

}  // namespace caisson::api
