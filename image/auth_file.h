// SPDX-License-Identifier: Apache-2.0
// AuthFile: registry logins in the format that docker and podman write (config.json, auth.json): "auths" by registry or
// by a prefix of repositories. What would have to be asked of a program (credsStore, credHelpers) is not: the service
// runs none. Plain value and pure functions; no error holds a word of the file but the names of registries.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "image/credentials.h"

namespace caisson::image {

// The name of a registry, or of a part of one, as people and other programs write it ("https://index.docker.io/v1/",
// "GHCR.io/acme/") as a prefix of host/name ("docker.io", "ghcr.io/acme"). kInvalid with the reason.
Result<std::string> NormaliseRegistryPrefix(std::string_view text);

class AuthFile {
 public:
  AuthFile() = default;  // without logins
  static Result<AuthFile> Parse(std::string_view text);

  // Of the longest prefix that holds "host/name"; anonymous where there is none.
  RegistryCredentials Find(std::string_view repository) const;

  size_t size() const { return logins_.size(); }
  // What of the file is not used, in words for the operator.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  std::map<std::string, RegistryCredentials> logins_;  // by prefix
  std::vector<std::string> notes_;
};

}  // namespace caisson::image
