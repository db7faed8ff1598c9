// SPDX-License-Identifier: Apache-2.0
#include "api/handlers.h"

#include "api/auth.h"
#include "api/openapi_document.h"

namespace caisson::api {
namespace {

constexpr uint64_t kSmallBodyBytes = 64 << 10;  // of every request but those named in MaxBody()
// A manifest as a JSON string: nearly every quote of it is escaped.
constexpr uint64_t kImportBodyBytes = 2 * kMaxManifestBytes + kSmallBodyBytes;

}  // namespace

Handlers::Handlers(const ApiOptions& options, const ApiDependencies& dependencies)
    : options_(options),
      dependencies_(dependencies),
      jobs_(dependencies),
      images_(*dependencies.images),
      registries_(dependencies.registries),
      node_(dependencies, options.version, metrics_) {}

void Handlers::OnJobChanged(const queue::JobId& id, queue::JobState state) {
  if (queue::IsFinal(state)) metrics_.CountFinished(state);
  jobs_.OnJobChanged(id);
}

HttpService::Plan Handlers::Begin(const Request& request) {
  const auto match = FindRoute(request);
  if (!match) return {ToResponse(match.error(), request)};
  const Route& route = *match->route;
  switch (route.endpoint) {
    case Endpoint::kLive: return {TextResponse(200, "text/plain", "ok\n")};
    case Endpoint::kDocument: return {TextResponse(200, "application/yaml", std::string(OpenApiDocument()))};
    default: break;
  }
  if (refusing_) return {ToResponse(Draining(), request)};
  return {std::nullopt, MaxBody(route), route.body == Body::kStreamed};
}

uint64_t Handlers::MaxBody(const Route& route) const {
  switch (route.endpoint) {
    case Endpoint::kSubmitJob: return options_.max_body_bytes;
    case Endpoint::kImportImage: return kImportBodyBytes;
    case Endpoint::kPutBlob: return images_.max_blob_bytes();
    default: return kSmallBodyBytes;
  }
}

std::optional<Response> Handlers::Admit(Request& request) {
  const auto match = FindRoute(request);
  if (!match) return ToResponse(match.error(), request);
  auto caller = Authenticate(request, match->route->access, options_.admin_gid, *dependencies_.store);
  if (!caller) return ToResponse(caller.error(), request);
  request.caller = *std::move(caller);
  if (match->route->body == Body::kJson)
    if (const auto problem = CheckJsonType(request)) return ToResponse(*problem, request);
  if (match->route->endpoint == Endpoint::kSubmitJob && dependencies_.node->Draining())
    return ToResponse(Draining(), request);
  return std::nullopt;
}

Response Handlers::Handle(const Request& request) {
  const auto match = FindRoute(request);
  if (!match) return ToResponse(match.error(), request);
  Answer answer = Dispatch(request, *match);
  return answer ? *std::move(answer) : ToResponse(answer.error(), request);
}

tl::expected<std::unique_ptr<BodySink>, Response> Handlers::OpenBody(const Request& request) {
  const auto match = FindRoute(request);
  if (!match) return tl::unexpected(ToResponse(match.error(), request));
  if (const auto problem = RefuseParameters(request)) return tl::unexpected(ToResponse(*problem, request));
  auto sink = images_.OpenBlob(request, match->id);
  if (!sink) return tl::unexpected(ToResponse(sink.error(), request));
  return *std::move(sink);
}

void Handlers::Answered(const Request& request, int status) {
  const auto match = FindRoute(request);
  if (match) metrics_.CountRequest(match->route->method, match->route->pattern, status);
}

Answer Handlers::Dispatch(const Request& request, const RouteMatch& match) {
  switch (match.route->endpoint) {
    case Endpoint::kListJobs:
    case Endpoint::kGetLogs: break;  // have parameters of their own
    default:
      if (auto problem = RefuseParameters(request)) return tl::unexpected(*std::move(problem));
  }
  switch (match.route->endpoint) {
    case Endpoint::kSubmitJob: return jobs_.Submit(request);
    case Endpoint::kListJobs: return jobs_.List(request);
    case Endpoint::kGetJob: return jobs_.Get(request, match.id);
    case Endpoint::kCancelJob: return jobs_.Cancel(request, match.id);
    case Endpoint::kGetLogs: return jobs_.Logs(request, match.id);
    case Endpoint::kListImages: return images_.List(request);
    case Endpoint::kPullImage: return images_.Pull(request);
    case Endpoint::kGetImage: return images_.Inspect(request, match.id);
    case Endpoint::kDeleteImage: return images_.Remove(request, match.id);
    case Endpoint::kVerifyImage: return images_.Verify(request, match.id);
    case Endpoint::kExportImage: return images_.Export(request, match.id);
    case Endpoint::kCollectImages: return images_.Collect(request);
    case Endpoint::kImportImage: return images_.Import(request);
    case Endpoint::kHasBlob: return images_.HasBlob(request, match.id);
    case Endpoint::kListRegistries: return registries_.List(request);
    case Endpoint::kPutRegistry: return registries_.Put(request, match.id);
    case Endpoint::kDeleteRegistry: return registries_.Delete(request, match.id);
    case Endpoint::kCreateToken: return node_.CreateToken(request);
    case Endpoint::kGetNode: return node_.Node(request);
    case Endpoint::kReady: return node_.Readiness(request);
    case Endpoint::kMetrics: return node_.MetricsText(request);
    case Endpoint::kPutBlob:  // OpenBody()
    case Endpoint::kLive:
    case Endpoint::kDocument: break;  // answered in Begin()
  }
  return tl::unexpected(Problem{ProblemType::kNotFound, "there is no such path"});
}

}  // namespace caisson::api
