// SPDX-License-Identifier: Apache-2.0
// What the launcher reads for the service as root, since the service may not: the node's registry logins (auth_file),
// the key that seals the tenants' stored logins (node_key_file), and the public keys of [[signatures]]. It parses none
// of them. Called once at start, before the host's paths are out of reach.
#pragma once

#include "base/result.h"
#include "daemon/settings/settings.h"

namespace caisson::daemon {

// Fills settings.auth_json, node_key and the signatures' key_pems. Makes the node's key if it is missing. The data
// directory exists. Errors say which setting names the file, what is wrong with it and what to do.
Result<void> ReadSecretFiles(Settings& settings);

}  // namespace caisson::daemon
