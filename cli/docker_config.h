// SPDX-License-Identifier: Apache-2.0
// The registry credentials that the user's own docker or podman has, read here on the client's side: configuration
// files and credential helpers. Nothing is ever written.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json/json.h"
#include "base/result.h"
#include "base/secret.h"

namespace caisson::cli {

struct DockerCredential {
  std::string username;
  Secret password;        // one of the two
  Secret identity_token;  // an OAuth2 refresh token
  std::string from;       // the file that it came from, for a message
};

// What a configuration file says about a registry: a credential, a helper to ask, or nothing.
struct DockerEntry {
  std::optional<DockerCredential> credential;
  std::string helper;  // "pass": the program docker-credential-pass
  std::string server;  // what to ask it for
};

// The names under which docker and podman may have stored "ghcr.io/acme/tools", the longest first; Docker Hub has some
// of its own. Pure.
std::vector<std::string> DockerKeys(const std::string& registry);
// `config` is the text of a config.json or auth.json. Pure.
Result<DockerEntry> FindInDockerConfig(const std::string& config, const std::string& registry);

// What `docker-credential-HELPER get` prints. Pure.
Result<DockerCredential> ParseHelperAnswer(const std::string& answer);
// Runs it with `server` on its standard input, an environment of what helpers need, and a time limit. kNotFound where
// it has nothing for the server.
Result<DockerCredential> AskHelper(const std::string& helper, const std::string& server,
                                   const std::map<std::string, std::string>& environment,
                                   std::chrono::milliseconds limit = std::chrono::seconds(10));

// The first that has any: $DOCKER_CONFIG/config.json or else ~/.docker/config.json, then
// $XDG_RUNTIME_DIR/containers/auth.json. Nothing where none does.
Result<std::optional<DockerCredential>> FindDockerCredential(const std::string& registry,
                                                             const std::map<std::string, std::string>& environment);

}  // namespace caisson::cli
