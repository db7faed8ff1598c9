// SPDX-License-Identifier: Apache-2.0
// The challenges of a WWW-Authenticate header (RFC 9110, section 11), parsed from hostile bytes: several challenges in
// one header, parameters quoted or not, commas inside quotes. A pure function.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace caisson::image {

struct AuthChallenge {
  std::string scheme;                                           // lower case: "bearer", "basic"
  std::vector<std::pair<std::string, std::string>> parameters;  // names in lower case

  // "" where there is none.
  std::string_view Parameter(std::string_view name) const;
};

// kInvalid when the header is malformed or too large.
Result<std::vector<AuthChallenge>> ParseWwwAuthenticate(std::string_view header);

}  // namespace caisson::image
