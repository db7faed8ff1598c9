// SPDX-License-Identifier: Apache-2.0
#include "api/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

namespace caisson::api {
namespace {

std::string LastReason() {
  const unsigned long error = ::ERR_peek_last_error();
  ::ERR_clear_error();
  const char* reason = ::ERR_reason_error_string(error);
  return reason ? reason : "unknown reason";
}

int NoPassphrase(char*, int, int, void*) { return 0; }  // OpenSSL's own would ask the terminal

int ChooseProtocol(SSL*, const unsigned char** chosen, unsigned char* chosen_size, const unsigned char* offered,
                   unsigned int offered_size, void*) {
  static constexpr unsigned char kHttp11[] = "\x08http/1.1";
  unsigned char* found = nullptr;
  const int result = ::SSL_select_next_proto(&found, chosen_size, kHttp11, sizeof kHttp11 - 1, offered, offered_size);
  if (result != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;  // RFC 7301, 3.2
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace

Result<void> LoadTls(SSL_CTX* context, const std::string& certificate, const std::string& key) {
  ::SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  ::SSL_CTX_set_default_passwd_cb(context, NoPassphrase);
  ::SSL_CTX_set_alpn_select_cb(context, ChooseProtocol, nullptr);
  if (::SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1)
    return Fail(ErrorCode::kInvalid, "read the TLS certificate {} (PEM, with its chain): {}", certificate,
                LastReason());
  if (::SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1)
    return Fail(ErrorCode::kInvalid,
                "read the TLS key {} (PEM, without passphrase, readable by the service's user): {}", key, LastReason());
  if (::SSL_CTX_check_private_key(context) != 1)
    return Fail(ErrorCode::kInvalid, "the TLS key {} does not belong to the certificate {}", key, certificate);
  return {};
}

}  // namespace caisson::api
