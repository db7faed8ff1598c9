// SPDX-License-Identifier: Apache-2.0
// The JSON bodies of requests about images and registries: strict and complete, as job_request.h. Pure functions.
#pragma once

#include <string>
#include <vector>

#include "api/image_ports.h"
#include "api/problem.h"
#include "base/json/json.h"

namespace caisson::api {

inline constexpr size_t kMaxReferenceBytes = 512;
inline constexpr size_t kMaxManifestBytes = 4 << 20;
inline constexpr size_t kMaxCredentialBytes = 16 << 10;

struct PullRequest {
  std::string reference;  // as typed
  PullPolicy policy = PullPolicy::kAlways;
};
tl::expected<PullRequest, std::vector<FieldError>> ParsePullRequest(const Json& body);

struct VerifyRequest {
  bool repair = false;
};
tl::expected<VerifyRequest, std::vector<FieldError>> ParseVerifyRequest(const Json& body);

struct CollectRequest {
  bool all = false;
};
tl::expected<CollectRequest, std::vector<FieldError>> ParseCollectRequest(const Json& body);

tl::expected<ImportRequest, std::vector<FieldError>> ParseImportRequest(const Json& body);

// Exactly one of password (with a username) and identity_token.
tl::expected<RegistryCredential, std::vector<FieldError>> ParseRegistryCredential(const Json& body);

// "always", "if-missing", "never"; nullopt for anything else.
std::optional<PullPolicy> ParsePullPolicy(std::string_view text);
inline constexpr std::string_view kPullPolicies = "always, if-missing, never";

}  // namespace caisson::api
