// SPDX-License-Identifier: Apache-2.0
// Handlers: the service behind the HTTP server: one function for each endpoint of the table of routes. Keeps no state
// of its own but counters and followers; the store is the truth. Owned by the ApiServer.
#pragma once

#include <atomic>
#include <memory>

#include "api/change_feed.h"
#include "api/http_service.h"
#include "api/metrics.h"
#include "api/problem.h"
#include "api/router.h"
#include "api/server.h"
#include "base/json/json.h"

namespace caisson::api {

class Handlers : public HttpService {
 public:
  Handlers(const ApiOptions& options, const ApiDependencies& dependencies);

  void OnJobChanged(const queue::JobId& id, queue::JobState state);
  void RefuseAll() { refusing_ = true; }  // from now on every request is 503

  Plan Begin(const Request& request) override;
  std::optional<Response> Admit(Request& request) override;
  Response Handle(const Request& request) override;
  void Answered(const Request& request, int status) override;

 private:
  using Answer = tl::expected<Response, Problem>;

  Answer Dispatch(const Request& request, const RouteMatch& match);
  Answer SubmitJob(const Request& request);
  Answer ListJobs(const Request& request);
  Answer GetJob(const Request& request, const std::string& id);
  Answer CancelJob(const Request& request, const std::string& id);
  Answer GetLogs(const Request& request, const std::string& id);
  Answer ListImages(const Request& request);
  Answer CreateToken(const Request& request);
  Answer GetNode(const Request& request);
  Answer GetReadiness(const Request& request);
  Answer GetMetrics(const Request& request);

  tl::expected<queue::JobRecord, Problem> FindJob(const Request& request, const std::string& id);
  Json View(const queue::JobRecord& job) const;

  const ApiOptions options_;
  const ApiDependencies dependencies_;
  const std::shared_ptr<ChangeFeed> changes_;
  Metrics metrics_;
  std::atomic<bool> refusing_{false};
};

}  // namespace caisson::api
