// SPDX-License-Identifier: Apache-2.0
// The forms that names in the configuration's tables must have, so that an entry that could never match anything is
// refused at start. Each returns why a text is wrong, or nothing. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace caisson::daemon {

// "HOST[:PORT]", in lower case, as image references have it.
std::optional<std::string> RefuseHost(std::string_view text);
// "HOST[:PORT][/NAME...]": what allow-lists, mirrors and scopes of signatures hold.
std::optional<std::string> RefusePrefix(std::string_view text);
// The same, or "*".
std::optional<std::string> RefuseScope(std::string_view text);
std::optional<std::string> RefuseTenantName(std::string_view text);
std::optional<std::string> RefuseIdentity(std::string_view text);
std::optional<std::string> RefuseRelativePath(std::string_view text);

}  // namespace caisson::daemon
