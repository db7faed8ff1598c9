// SPDX-License-Identifier: Apache-2.0
#include "image/image_policy.h"

#include <algorithm>

#include "base/crypto/crypto.h"
#include "base/encoding.h"

namespace caisson::image {
namespace {

constexpr size_t kShownPrefixes = 8;  // of an allow-list, in an error

std::string Shown(const ImagePolicy::Prefixes& prefixes) {
  std::string text;
  for (size_t i = 0; i < std::min(prefixes.size(), kShownPrefixes); ++i) text += (i ? ", " : "") + prefixes[i];
  if (prefixes.size() > kShownPrefixes) text += fmt::format(" and {} more", prefixes.size() - kShownPrefixes);
  return prefixes.empty() ? "none" : text;
}

bool Holds(const SignatureRule& rule, std::string_view repository) {
  return rule.scope == "*" || IsWithin(repository, rule.scope);
}

// "*" is the least specific; of two prefixes of one name, the longer.
size_t Specificity(const SignatureRule& rule) { return rule.scope == "*" ? 0 : rule.scope.size() + 1; }

}  // namespace

bool IsWithin(std::string_view repository, std::string_view prefix) {
  return repository.starts_with(prefix) && (repository.size() == prefix.size() || repository[prefix.size()] == '/');
}

// Every key counts, in whatever order and under whatever name; the scope does not change what a signature is worth.
std::string SignatureRule::Fingerprint() const {
  std::vector<std::string> parts;
  for (const SigningKey& signer : keys) parts.push_back(signer.key.fingerprint().hex());
  std::sort(parts.begin(), parts.end());
  std::string text = any_identity ? "caisson signature rule 1, any identity" : "caisson signature rule 1, repository";
  for (const std::string& part : parts) text += "\n" + part;
  return Sha256Of(text).hex();
}

Result<void> ImagePolicy::CheckAllowed(const std::string& tenant, const std::string& repository) const {
  const auto own = options_.by_tenant.find(tenant);
  const Prefixes* allowed = own != options_.by_tenant.end() ? &own->second
                            : options_.registries           ? &*options_.registries
                                                            : nullptr;
  if (!allowed) return {};
  const auto within = [&](const std::string& prefix) { return IsWithin(repository, prefix); };
  if (std::any_of(allowed->begin(), allowed->end(), within)) return {};
  const bool of_tenant = own != options_.by_tenant.end();
  return Fail(ErrorCode::kDenied,
              "images of {} are not allowed for tenant \"{}\": the node's configuration allows {} ({} registries)",
              EscapeForLog(repository), EscapeForLog(tenant, 64), Shown(*allowed),
              of_tenant ? fmt::format("[tenants.{}]", EscapeForLog(tenant, 64)) : "[images]");
}

const SignatureRule* ImagePolicy::RuleFor(const std::string& repository) const {
  const SignatureRule* best = nullptr;
  for (const SignatureRule& rule : options_.signatures)
    if (Holds(rule, repository) && (!best || Specificity(rule) > Specificity(*best))) best = &rule;
  return best && best->require ? best : nullptr;
}

}  // namespace caisson::image
