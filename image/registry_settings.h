// SPDX-License-Identifier: Apache-2.0
// What the configuration says of one registry: [registries."HOST[:PORT]"]. That there is an entry at all means that the
// operator vouches for the host: only such a one may be at an address of this machine. Plain value.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace caisson::image {

struct RegistrySettings {
  bool plain_http = false;
  std::string ca_file;               // further certificate authorities (PEM)
  std::string client_cert;           // PEM, shown to this registry alone; with client_key
  std::string client_key;            // PEM; may be empty where client_cert has both
  std::vector<std::string> mirrors;  // "HOST[:PORT][/PREFIX]", asked in this order before the registry (image/mirror.h)
  bool mirror_tags = false;          // ask them what a tag means too, not only for digests
  bool blocked = false;              // nothing is pulled from here
};

// By "HOST[:PORT]" as references have it ("docker.io", "127.0.0.1:5000").
using RegistryTable = std::map<std::string, RegistrySettings>;

}  // namespace caisson::image
