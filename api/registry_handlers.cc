// SPDX-License-Identifier: Apache-2.0
#include "api/registry_handlers.h"

#include "api/image_request.h"
#include "api/image_view.h"
#include "base/log.h"

namespace caisson::api {
namespace {

Tenant TenantOf(const Request& request) { return {request.caller.tenant, request.caller.tenant_name}; }

Problem NoStore() { return {ProblemType::kNotImplemented, "this node stores no registry logins"}; }

}  // namespace

Answer RegistryHandlers::List(const Request& request) {
  if (!registries_) return tl::unexpected(NoStore());
  const auto logins = registries_->ListLogins(TenantOf(request));
  if (!logins) return tl::unexpected(ProblemOf(logins.error(), request));
  Json::Array items;
  for (const RegistryLogin& login : *logins) items.push_back(RegistryLoginView(login));
  Json json = Json::MakeObject();
  json.Set("items", std::move(items));
  return JsonResponse(200, json);
}

Answer RegistryHandlers::Put(const Request& request, const std::string& registry) {
  if (!registries_) return tl::unexpected(NoStore());
  const auto credential = ParseBodyWith(request, ParseRegistryCredential);
  if (!credential) return tl::unexpected(credential.error());
  const auto login = registries_->PutLogin(TenantOf(request), registry, *credential);
  if (!login) return tl::unexpected(ProblemOf(login.error(), request));
  LogInfo("registry_login_stored", {{"tenant", request.caller.tenant_name}, {"registry", login->registry}});
  return JsonResponse(200, RegistryLoginView(*login));
}

Answer RegistryHandlers::Delete(const Request& request, const std::string& registry) {
  if (!registries_) return tl::unexpected(NoStore());
  const auto deleted = registries_->DeleteLogin(TenantOf(request), registry);
  if (!deleted) return tl::unexpected(ProblemOf(deleted.error(), request));
  Response response;
  response.status = 204;
  return response;
}

}  // namespace caisson::api
