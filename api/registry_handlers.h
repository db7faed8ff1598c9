// SPDX-License-Identifier: Apache-2.0
// RegistryHandlers: what /v1/registries answers: a tenant's stored registry logins. A password goes in and never comes
// out. Owned by Handlers; every function blocks on the store and is safe on any thread.
#pragma once

#include <string>

#include "api/answers.h"
#include "api/image_ports.h"

namespace caisson::api {

class RegistryHandlers {
 public:
  explicit RegistryHandlers(RegistriesPort* registries) : registries_(registries) {}

  Answer List(const Request& request);
  Answer Put(const Request& request, const std::string& registry);
  Answer Delete(const Request& request, const std::string& registry);

 private:
  RegistriesPort* const registries_;  // none: this node stores no logins
};

}  // namespace caisson::api
