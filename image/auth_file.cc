// SPDX-License-Identifier: Apache-2.0
#include "image/auth_file.h"

#include <algorithm>

#include "base/encoding.h"
#include "base/json/json.h"
#include "image/image_policy.h"
#include "image/reference.h"

namespace caisson::image {
namespace {

constexpr JsonLimits kLimits{.max_bytes = 1 << 20, .max_depth = 8, .max_values = 20'000};
constexpr size_t kMaxLogins = 1000;

void CutPrefix(std::string_view& text, std::string_view prefix) {
  if (text.starts_with(prefix)) text.remove_prefix(prefix.size());
}
void CutSuffix(std::string_view& text, std::string_view suffix) {
  if (text.ends_with(suffix)) text.remove_suffix(suffix.size());
}

Result<std::string> TextOf(const Json& entry, std::string_view key) {
  const Json* member = entry.Find(key);
  if (!member || member->is_null()) return std::string();
  if (!member->AsString()) return Fail(ErrorCode::kInvalid, "{} is not a string", key);
  return *member->AsString();
}

// "auth" is base64 of USER:PASSWORD, and goes before "username" and "password".
Result<RegistryCredentials> ReadEntry(const Json& entry) {
  if (!entry.AsObject()) return Fail(ErrorCode::kInvalid, "is not an object");
  RegistryCredentials login;
  login.identity_token = Secret(TRY(TextOf(entry, "identitytoken")));
  const Secret auth(TRY(TextOf(entry, "auth")));
  if (auth.empty()) {
    login.username = TRY(TextOf(entry, "username"));
    login.password = Secret(TRY(TextOf(entry, "password")));
    return login;
  }
  const Secret decoded(Base64Decode(auth.Expose()).value_or(""));
  const size_t colon = decoded.Expose().find(':');
  if (colon == std::string::npos || colon == 0) return Fail(ErrorCode::kInvalid, "auth is not base64 of USER:PASSWORD");
  login.username = decoded.Expose().substr(0, colon);
  std::string password = decoded.Expose().substr(colon + 1);
  password.erase(password.find_last_not_of('\0') + 1);  // docker pads with zeros
  login.password = Secret(std::move(password));
  return login;
}

}  // namespace

Result<std::string> NormaliseRegistryPrefix(std::string_view text) {
  std::string_view rest = text;
  CutPrefix(rest, "https://");
  CutPrefix(rest, "http://");
  CutSuffix(rest, "/");
  const size_t slash = rest.find('/');
  const std::string_view path = slash == std::string_view::npos ? "" : rest.substr(slash);
  if (path == "/v1" || path == "/v2") rest = rest.substr(0, slash);  // of the protocol, not of a repository's name
  const std::string_view host = rest.substr(0, rest.find('/'));
  if (host.find_first_of(".:") == std::string_view::npos && host != "localhost")
    return Fail(ErrorCode::kInvalid,
                "\"{}\" does not begin with a registry's host: write HOST[:PORT] or HOST[:PORT]/NAME",
                EscapeForLog(text, 100));
  constexpr std::string_view kBelow = "/x/x";  // two more parts: one alone would be put below docker.io/library
  auto reference = ParseReference(std::string(rest).append(kBelow));
  if (!reference)
    return Fail(ErrorCode::kInvalid, "\"{}\" is not HOST[:PORT] or HOST[:PORT]/NAME", EscapeForLog(text, 100));
  std::string prefix = reference->repository();
  prefix.resize(prefix.size() - kBelow.size());
  return prefix;
}

Result<AuthFile> AuthFile::Parse(std::string_view text) {
  AuthFile file;
  const auto json = ParseJson(text, kLimits);
  // The parser's own words quote what it read, which may be a password.
  if (!json || !json->AsObject())
    return Fail(ErrorCode::kInvalid, "is not a JSON object without duplicate keys, of at most {} levels and {} bytes",
                kLimits.max_depth, kLimits.max_bytes);
  for (const char* key : {"credsStore", "credHelpers"})
    if (json->Find(key))
      file.notes_.push_back(
          fmt::format("{} is not used: the service runs no credential helper (caisson registry login "
                      "does, for the one who calls it)",
                      key));
  const Json* auths = json->Find("auths");
  if (!auths) return file;
  if (!auths->AsObject()) return Fail(ErrorCode::kInvalid, "auths is not an object");
  if (auths->AsObject()->size() > kMaxLogins)
    return Fail(ErrorCode::kInvalid, "auths has more than {} entries", kMaxLogins);
  for (const auto& [name, entry] : *auths->AsObject()) {
    const std::string place = fmt::format("auths.\"{}\"", EscapeForLog(name, 100));
    std::string prefix = TRY_IN(place, NormaliseRegistryPrefix(name));
    RegistryCredentials login = TRY_IN(place, ReadEntry(entry));
    if (login.anonymous()) {
      file.notes_.push_back(place + " holds no login");
    } else if (!file.logins_.emplace(std::move(prefix), std::move(login)).second) {
      return Fail(ErrorCode::kInvalid, "{}: there is another entry for the same registry", place);
    }
  }
  return file;
}

RegistryCredentials AuthFile::Find(std::string_view repository) const {
  const RegistryCredentials* best = nullptr;
  size_t longest = 0;
  for (const auto& [prefix, login] : logins_) {
    const size_t length = HeldBy(repository, prefix).value_or(0);
    if (length <= longest) continue;
    longest = length;
    best = &login;
  }
  return best ? *best : RegistryCredentials{};
}

}  // namespace caisson::image
