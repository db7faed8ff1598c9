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

bool IsWithin(std::string_view repository, std::string_view prefix) {
  return repository.starts_with(prefix) && (repository.size() == prefix.size() || repository[prefix.size()] == '/');
}

// "*" is the least specific.
std::optional<size_t> HeldByRule(std::string_view repository, const SignatureRule& rule) {
  return rule.scope == "*" ? 0 : HeldBy(repository, rule.scope);
}

}  // namespace

std::optional<size_t> HeldBy(std::string_view repository, std::string_view prefix) {
  if (IsWithin(repository, prefix)) return prefix.size();
  constexpr std::string_view kHub = "docker.io/", kOfficial = "docker.io/library/";
  const bool short_name = prefix.starts_with(kHub) && prefix.find('/', kHub.size()) == std::string_view::npos;
  if (!short_name || !repository.starts_with(kOfficial)) return std::nullopt;
  if (repository.substr(kOfficial.size()) != prefix.substr(kHub.size())) return std::nullopt;
  return repository.size();
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
  const auto within = [&](const std::string& prefix) { return HeldBy(repository, prefix).has_value(); };
  if (std::any_of(allowed->begin(), allowed->end(), within)) return {};
  const bool of_tenant = own != options_.by_tenant.end();
  return Fail(ErrorCode::kDenied,
              "images of {} are not allowed for tenant \"{}\": the node's configuration allows {} ({} registries)",
              EscapeForLog(repository), EscapeForLog(tenant, 64), Shown(*allowed),
              of_tenant ? fmt::format("[tenants.{}]", EscapeForLog(tenant, 64)) : "[images]");
}

const SignatureRule* ImagePolicy::RuleFor(const std::string& repository) const {
  const SignatureRule* best = nullptr;
  std::optional<size_t> longest;
  for (const SignatureRule& rule : options_.signatures) {
    const std::optional<size_t> length = HeldByRule(repository, rule);
    if (!length || (longest && *longest >= *length)) continue;
    longest = length;
    best = &rule;
  }
  return best && best->require ? best : nullptr;
}

}  // namespace caisson::image
