// SPDX-License-Identifier: Apache-2.0
#include "daemon/service_policy.h"

#include "base/encoding.h"

namespace caisson::daemon {
namespace {

Result<image::SignatureRule> RuleOf(const SignatureEntry& entry) {
  image::SignatureRule rule{
      .scope = entry.scope, .require = entry.require, .keys = {}, .any_identity = entry.identity == "any"};
  if (entry.keys.size() != entry.key_pems.size())  // without keys every image of the scope would be refused for ever
    return Fail(ErrorCode::kInvalid, "signatures: the keys of scope \"{}\" were not read", EscapeForLog(entry.scope));
  for (size_t i = 0; i < entry.keys.size(); ++i) {
    const std::string context = fmt::format("signatures: key {}", EscapeForLog(entry.keys[i]));
    rule.keys.push_back({entry.keys[i], TRY_IN(context, PublicKey::FromPem(entry.key_pems[i]))});
  }
  return rule;
}

}  // namespace

Result<image::ImagePolicy> MakeImagePolicy(const Settings& settings) {
  image::ImagePolicy::Options options{.registries = settings.image_registries};
  for (const auto& [name, tenant] : settings.tenants)
    if (tenant.registries) options.by_tenant[name] = *tenant.registries;
  for (const SignatureEntry& entry : settings.signatures) options.signatures.push_back(TRY(RuleOf(entry)));
  return image::ImagePolicy(std::move(options));
}

}  // namespace caisson::daemon
