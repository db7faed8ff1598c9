// SPDX-License-Identifier: Apache-2.0
// Url: an absolute http or https address, taken apart by libcurl's own parser, so that what we check is what it
// connects to. Plain value and pure functions.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace caisson {

struct Url {
  std::string scheme;  // "http" or "https"
  std::string host;    // without brackets, lower case
  int port = 0;        // the scheme's own where the text names none
  std::string text;    // normalised, without a fragment

  bool SameOrigin(const Url& other) const { return scheme == other.scheme && host == other.host && port == other.port; }
};

// kInvalid: not absolute, another scheme, or with a user name or password in it.
Result<Url> ParseUrl(const std::string& text);
// `reference` may be relative to `base` (RFC 3986, section 5).
Result<Url> ResolveUrl(const Url& base, const std::string& reference);

// For a query's value: everything but unreserved characters as %XX.
std::string PercentEncode(std::string_view text);

}  // namespace caisson
