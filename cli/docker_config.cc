// SPDX-License-Identifier: Apache-2.0
#include "cli/docker_config.h"

#include <algorithm>

#include "base/encoding.h"
#include "base/io.h"
#include "cli/helper_process.h"
#include "cli/text.h"

namespace caisson::cli {
namespace {

constexpr size_t kMaxConfigBytes = 4 << 20;
constexpr std::string_view kHubServer = "https://index.docker.io/v1/";

// What a helper may need to find its store; everything else of ours (tokens among it) stays here.
constexpr std::string_view kHelperVariables[] = {"PATH",         "HOME",    "USER",
                                                 "LOGNAME",      "LANG",    "TERM",
                                                 "DISPLAY",      "TMPDIR",  "WAYLAND_DISPLAY",
                                                 "GNUPGHOME",    "GPG_TTY", "PASSWORD_STORE_DIR",
                                                 "DOCKER_CONFIG"};
constexpr std::string_view kHelperPrefixes[] = {"XDG_", "DBUS_", "LC_", "AWS_", "AZURE_", "GOOGLE_", "CLOUDSDK_"};

using Environment = std::map<std::string, std::string>;

std::string HostOf(const std::string& registry) { return registry.substr(0, registry.find('/')); }

bool IsHub(const std::string& host) {
  return host == "docker.io" || host == "index.docker.io" || host == "registry-1.docker.io";
}

std::string ServerFor(const std::string& registry) {
  const std::string host = HostOf(registry);
  return IsHub(host) ? std::string(kHubServer) : host;
}

std::optional<DockerCredential> FromAuthEntry(const Json& entry) {
  DockerCredential credential;
  if (const std::string token = entry.StringOr("identitytoken", ""); !token.empty()) {
    credential.identity_token = Secret(token);
    return credential;
  }
  std::string pair = entry.StringOr("username", "") + ":" + entry.StringOr("password", "");
  if (const std::string auth = entry.StringOr("auth", ""); !auth.empty()) {
    std::optional<std::string> decoded = Base64Decode(auth);
    if (!decoded) return std::nullopt;
    pair = *std::move(decoded);
    while (pair.ends_with('\0')) pair.pop_back();  // old docker versions padded it
  }
  const size_t colon = pair.find(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == pair.size()) return std::nullopt;
  credential.username = pair.substr(0, colon);
  credential.password = Secret(pair.substr(colon + 1));
  return credential;
}

// A helper's name becomes a part of a program's name: nothing in it may lead elsewhere.
bool IsHelperName(const std::string& name) {
  return !name.empty() && name.size() < 64 && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '-' || c == '_' || c == '.';
  });
}

std::vector<std::string> ConfigFiles(const Environment& environment) {
  const auto value = [&](const char* name) {
    const auto found = environment.find(name);
    return found == environment.end() ? std::string() : found->second;
  };
  std::vector<std::string> files;
  if (!value("DOCKER_CONFIG").empty()) {
    files.push_back(value("DOCKER_CONFIG") + "/config.json");
  } else if (!value("HOME").empty()) {
    files.push_back(value("HOME") + "/.docker/config.json");
  }
  if (!value("XDG_RUNTIME_DIR").empty()) files.push_back(value("XDG_RUNTIME_DIR") + "/containers/auth.json");
  return files;
}

}  // namespace

std::vector<std::string> DockerKeys(const std::string& registry) {
  std::vector<std::string> keys;
  std::string prefix = registry;
  for (;;) {
    keys.push_back(prefix);
    const size_t slash = prefix.rfind('/');
    if (slash == std::string::npos) break;
    prefix.resize(slash);
  }
  const std::string host = HostOf(registry);
  for (const char* form : {"https://", "http://"}) keys.push_back(form + host);
  for (const char* end : {"/", "/v1/", "/v2/"}) keys.push_back("https://" + host + end);
  if (IsHub(host))
    for (const std::string_view key : {kHubServer, std::string_view("index.docker.io"), std::string_view("docker.io")})
      keys.emplace_back(key);
  return keys;
}

Result<DockerEntry> FindInDockerConfig(const std::string& config, const std::string& registry) {
  const Json json = TRY(ParseJson(config, {.max_bytes = kMaxConfigBytes}));
  DockerEntry entry;
  const Json* helpers = json.Find("credHelpers");
  if (helpers) {
    for (const std::string& key : DockerKeys(registry)) {
      entry.helper = helpers->StringOr(key, "");
      entry.server = key;
      if (!entry.helper.empty()) break;
    }
  }
  if (entry.helper.empty()) {
    entry.helper = json.StringOr("credsStore", "");
    entry.server = ServerFor(registry);
  }
  if (!entry.helper.empty() && !IsHelperName(entry.helper))
    return Fail(ErrorCode::kInvalid, "\"{}\" is no name of a credential helper", Printable(entry.helper));
  const Json* auths = json.Find("auths");
  if (!auths) return entry;
  for (const std::string& key : DockerKeys(registry)) {
    const Json* found = auths->Find(key);
    if (!found) continue;
    entry.credential = FromAuthEntry(*found);  // an entry without a secret says that the helper has it
    if (entry.credential) return entry;
  }
  return entry;
}

Result<DockerCredential> ParseHelperAnswer(const std::string& answer) {
  const Result<Json> json = ParseJson(answer);
  DockerCredential credential;
  if (json) {
    credential.username = json->StringOr("Username", "");
    Secret secret(json->StringOr("Secret", ""));
    if (credential.username == "<token>") {
      credential.username.clear();
      credential.identity_token = std::move(secret);
    } else {
      credential.password = std::move(secret);
    }
  }
  // Not a word of the answer in the message: it may be the secret.
  if (credential.password.empty() == credential.identity_token.empty() ||
      (!credential.password.empty() && credential.username.empty()))
    return Fail(ErrorCode::kInvalid, "its answer has no Username and Secret");
  return credential;
}

Result<DockerCredential> AskHelper(const std::string& helper, const std::string& server, const Environment& environment,
                                   std::chrono::milliseconds limit) {
  const std::string program = "docker-credential-" + helper;
  Environment allowed;
  for (const auto& [name, value] : environment) {
    const bool named =
        std::find(std::begin(kHelperVariables), std::end(kHelperVariables), name) != std::end(kHelperVariables);
    const bool prefixed = std::any_of(std::begin(kHelperPrefixes), std::end(kHelperPrefixes),
                                      [&name = name](std::string_view prefix) { return name.starts_with(prefix); });
    if (named || prefixed) allowed.emplace(name, value);
  }
  const HelperResult result = TRY_IN(program, RunHelper(program, {"get"}, server + "\n", allowed, limit));
  if (result.status != 0) {
    if (result.output.find("credentials not found") != std::string::npos)
      return Fail(ErrorCode::kNotFound, "{} has nothing for {}", program, Printable(server));
    return Fail(ErrorCode::kDenied, "{} failed with status {} for {}", program, result.status, Printable(server));
  }
  return TRY_IN(program, ParseHelperAnswer(result.output));
}

Result<std::optional<DockerCredential>> FindDockerCredential(const std::string& registry,
                                                             const Environment& environment) {
  for (const std::string& path : ConfigFiles(environment)) {
    const Result<std::string> text = ReadFile(path, kMaxConfigBytes);
    if (!text && text.error().code == ErrorCode::kNotFound) continue;
    if (!text) return tl::unexpected(text.error());
    DockerEntry entry = TRY_IN(Printable(path), FindInDockerConfig(*text, registry));
    if (!entry.credential && !entry.helper.empty()) {
      Result<DockerCredential> asked = AskHelper(entry.helper, entry.server, environment);
      if (!asked && asked.error().code != ErrorCode::kNotFound) return tl::unexpected(asked.error());
      if (asked) entry.credential = *std::move(asked);
    }
    if (!entry.credential) continue;
    entry.credential->from = path;
    return std::optional(*std::move(entry.credential));
  }
  return std::optional<DockerCredential>();
}

}  // namespace caisson::cli
