// SPDX-License-Identifier: Apache-2.0
// Handlers: the service behind the HTTP server: who may do what, and from the table of routes to the function of each
// endpoint, which lies in job_handlers, image_handlers, registry_handlers or node_handlers. Owned by the ApiServer.
#pragma once

#include <atomic>

#include "api/http_service.h"
#include "api/image_handlers.h"
#include "api/job_handlers.h"
#include "api/metrics.h"
#include "api/node_handlers.h"
#include "api/registry_handlers.h"
#include "api/router.h"
#include "api/server.h"

namespace caisson::api {

class Handlers : public HttpService {
 public:
  Handlers(const ApiOptions& options, const ApiDependencies& dependencies);

  void OnJobChanged(const queue::JobId& id, queue::JobState state);
  void RefuseAll() { refusing_ = true; }  // from now on every request is 503
  void Stop() { images_.Stop(); }         // ends what runs on threads of the handlers' own

  Plan Begin(const Request& request) override;
  std::optional<Response> Admit(Request& request) override;
  Response Handle(const Request& request) override;
  tl::expected<std::unique_ptr<BodySink>, Response> OpenBody(const Request& request) override;
  void Answered(const Request& request, int status) override;

 private:
  uint64_t MaxBody(const Route& route) const;
  Answer Dispatch(const Request& request, const RouteMatch& match);

  const ApiOptions options_;
  const ApiDependencies dependencies_;
  Metrics metrics_;
  JobHandlers jobs_;
  ImageHandlers images_;
  RegistryHandlers registries_;
  NodeHandlers node_;
  std::atomic<bool> refusing_{false};
};

}  // namespace caisson::api
