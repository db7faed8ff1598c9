// SPDX-License-Identifier: Apache-2.0
// ImagePolicy: which registries a tenant may use, and which images must be signed by whom: the operator's word, from
// the configuration. Immutable once made; any thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/crypto/public_key.h"
#include "base/result.h"

namespace caisson::image {

// Is `repository` ("host/name") the `prefix` or below it? At a '/' boundary: "a.b/team" holds "a.b/team/app" and not
// "a.b/teams". "docker.io/nginx" also holds docker.io/library/nginx, as it does in a reference. The length of what
// holds it, so that the most specific of several can be found; nothing where the prefix does not.
std::optional<size_t> HeldBy(std::string_view repository, std::string_view prefix);

struct SigningKey {
  std::string name;  // for people: its file
  PublicKey key;
};

// Images of one scope must bear a signature of one of these keys.
struct SignatureRule {
  std::string scope;             // prefix of host/name, or "*"
  bool require = true;           // false: the scope is exempt
  std::vector<SigningKey> keys;  // any one of them
  bool any_identity = false;     // a signature that names another repository, or none, counts too

  // Changes when a signature that counted under the old rule might not count under the new one: what was verified
  // is good for as long as this is the same.
  std::string Fingerprint() const;
};

class ImagePolicy {
 public:
  using Prefixes = std::vector<std::string>;  // of host/name; an empty list allows nothing
  struct Options {
    std::optional<Prefixes> registries;         // for every tenant; nothing: all are allowed
    std::map<std::string, Prefixes> by_tenant;  // replaces it for a tenant, by name
    std::vector<SignatureRule> signatures;
  };

  ImagePolicy() = default;  // allows everything
  explicit ImagePolicy(Options options) : options_(std::move(options)) {}

  // kDenied names the setting that forbids it. For every pull, cached or not, and for the name that an import gives.
  Result<void> CheckAllowed(const std::string& tenant, const std::string& repository) const;
  // The rule of the longest scope that holds the repository; nullptr where none does, or where that one exempts it.
  const SignatureRule* RuleFor(const std::string& repository) const;

 private:
  Options options_;
};

}  // namespace caisson::image
