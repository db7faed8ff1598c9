// SPDX-License-Identifier: Apache-2.0
#include "api/node_handlers.h"

#include "api/job_request.h"
#include "base/encoding.h"
#include "base/log.h"

namespace caisson::api {

Answer NodeHandlers::CreateToken(const Request& request) {
  TokenRequest token;
  if (!request.body.empty()) {
    auto parsed = ParseBodyWith(request, ParseTokenRequest);
    if (!parsed) return tl::unexpected(std::move(parsed).error());
    token = *std::move(parsed);
  }
  if (token.tenant.empty()) token.tenant = request.caller.tenant_name;
  auto created = dependencies_.store->CreateToken(token.tenant);
  if (!created && created.error().code == ErrorCode::kNotFound)
    return tl::unexpected(Invalid(
        {{.pointer = "/tenant", .detail = fmt::format("there is no tenant \"{}\"", EscapeForLog(token.tenant))}}));
  if (!created) return tl::unexpected(ProblemOf(created.error(), request));
  LogInfo("token_created",
          {{"token", created->token.id}, {"tenant", created->token.tenant_name}, {"uid", request.peer.uid}});
  Json json = Json::MakeObject();
  json.Set("id", created->token.id);
  json.Set("token", created->secret.Expose());
  json.Set("tenant", created->token.tenant_name);
  Response response = JsonResponse(201, json);
  response.headers.push_back({"Cache-Control", "no-store"});  // it holds a secret
  return response;
}

Answer NodeHandlers::Node(const Request& request) {
  auto text = dependencies_.node->NodeJson();
  if (!text) return tl::unexpected(ProblemOf(text.error(), request));
  return TextResponse(200, "application/json", *std::move(text) + "\n");
}

Answer NodeHandlers::Readiness(const Request& request) {
  if (dependencies_.node->Draining()) return tl::unexpected(Draining());
  const auto writable = dependencies_.store->Ping();
  if (!writable) {
    LogError("not_ready", {{"error", writable.error().message}, {"request", request.id}});
    return tl::unexpected(
        Problem{ProblemType::kUnavailable, "the store cannot be written; the log of Caisson has the reason"});
  }
  return TextResponse(200, "text/plain", "ready\n");
}

Answer NodeHandlers::MetricsText(const Request& request) {
  auto counts = dependencies_.store->CountByState();
  if (!counts) return tl::unexpected(ProblemOf(counts.error(), request));
  if (!request.caller.admin)  // how busy another tenant is, is not a tenant's business
    std::erase_if(*counts, [&](const queue::StateCount& count) { return count.tenant != request.caller.tenant_name; });
  return TextResponse(
      200, "text/plain; version=0.0.4; charset=utf-8",
      metrics_.Render({version_, *std::move(counts), dependencies_.node->Metrics(), dependencies_.node->Draining()}));
}

}  // namespace caisson::api
