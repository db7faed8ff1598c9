// SPDX-License-Identifier: Apache-2.0
// What a TLS server of ours is: 1.2 or newer, OpenSSL's own choice of ciphers, http/1.1 by ALPN. At start, any thread.
#pragma once

#include <openssl/types.h>

#include <string>

#include "base/result.h"

namespace caisson::api {

// Puts the PEM files into `context`. kInvalid with OpenSSL's reason; a key behind a passphrase is refused.
Result<void> LoadTls(SSL_CTX* context, const std::string& certificate, const std::string& key);

}  // namespace caisson::api
