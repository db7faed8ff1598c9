// SPDX-License-Identifier: Apache-2.0
#include "daemon/settings/settings_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/encoding.h"

namespace caisson::daemon {
namespace {

constexpr size_t kMaxPrefixBytes = 255;  // as image references have it
constexpr size_t kMaxTenantBytes = 64;

bool IsLowerOrDigit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

bool All(std::string_view text, std::string_view further) {
  return std::all_of(text.begin(), text.end(),
                     [&](char c) { return IsLowerOrDigit(c) || further.find(c) != std::string_view::npos; });
}

std::string Quoted(std::string_view text) { return "\"" + EscapeForLog(text) + "\""; }

// References have one spelling for a port, and none for the default one: another would match nothing.
std::optional<std::string> RefusePort(std::string_view host) {
  const size_t colon = host.rfind(':');
  if (colon == std::string_view::npos || host.ends_with(']')) return std::nullopt;  // "[::1]" has none
  const std::string_view port = host.substr(colon + 1);
  int number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc() || end != port.data() + port.size() || port.front() == '0' || number < 1 || number > 65535)
    return fmt::format("{} does not end with a port, 1 to 65535", Quoted(host));
  if (number == 443)
    return fmt::format("{} names the default port: write it without, as image references are read", Quoted(host));
  return std::nullopt;
}

}  // namespace

std::optional<std::string> RefuseHost(std::string_view text) {
  if (text.find("://") != std::string_view::npos)
    return fmt::format("{} has a scheme: write HOST or HOST:PORT, as image references do", Quoted(text));
  if (text.empty() || text.size() > kMaxPrefixBytes || !All(text, ".:-[]"))
    return fmt::format("{} is not HOST or HOST:PORT in lower case", Quoted(text));
  if (const auto why = RefusePort(text)) return why;
  if (text == "index.docker.io" || text == "registry-1.docker.io")
    return fmt::format("{} is Docker Hub: write docker.io", Quoted(text));
  if (text.find_first_of(".:") == std::string_view::npos && text != "localhost")
    return fmt::format(
        "{} is not a registry's host, which has a dot or a port: in an image reference it would be a name "
        "on docker.io",
        Quoted(text));
  return std::nullopt;
}

std::optional<std::string> RefusePrefix(std::string_view text) {
  const size_t slash = text.find('/');
  const bool scheme = text.find("://") != std::string_view::npos;
  if (const auto why = RefuseHost(scheme ? text : text.substr(0, slash))) return why;
  if (slash == std::string_view::npos) return std::nullopt;
  const std::string_view name = text.substr(slash + 1);
  if (name.find_first_of(":@*") != std::string_view::npos)
    return fmt::format("{} must end with a repository or a part of its path, without tag, digest or *", Quoted(text));
  if (text.size() > kMaxPrefixBytes || name.empty() || name.front() == '/' || name.back() == '/' ||
      name.find("//") != std::string_view::npos || !All(name, "._-/"))
    return fmt::format("{} is not HOST[:PORT]/NAME in lower case, without a slash at the end", Quoted(text));
  return std::nullopt;
}

std::optional<std::string> RefuseScope(std::string_view text) {
  return text == "*" ? std::nullopt : RefusePrefix(text);
}

std::optional<std::string> RefuseTenantName(std::string_view text) {
  if (!text.empty() && text.size() <= kMaxTenantBytes) return std::nullopt;
  return fmt::format("{} is not a tenant's name: 1 to {} bytes", Quoted(text), kMaxTenantBytes);
}

std::optional<std::string> RefuseIdentity(std::string_view text) {
  if (text == "match" || text == "any") return std::nullopt;
  return fmt::format("{} is neither \"match\" (the signature names the repository) nor \"any\"", Quoted(text));
}

std::optional<std::string> RefuseRelativePath(std::string_view text) {
  if (text.starts_with("/")) return std::nullopt;
  return fmt::format("{} is not an absolute path", Quoted(text));
}

}  // namespace caisson::daemon
