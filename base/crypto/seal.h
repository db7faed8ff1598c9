// SPDX-License-Identifier: Apache-2.0
// SealingKey: encrypts small secrets for a store that others may come to read, with AES-256-GCM (NIST SP 800-38D). What
// is sealed opens only under the same key and for the same owner: the words that it is bound to are authenticated, so
// that a row which is moved to another owner does not open there. Any thread.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/secret.h"

namespace caisson {

class SealingKey {
 public:
  // 64 lowercase hex digits. kInvalid otherwise; the message holds nothing of the key.
  static Result<SealingKey> FromHex(const Secret& hex);

  using BoundTo = std::initializer_list<std::string_view>;

  // version (1 byte) | nonce (12, random) | ciphertext | tag (16). Random nonces are safe for 2^32 uses of a key.
  std::string Seal(const Secret& secret, BoundTo bound_to) const;
  // kUnsupported for another version; kCorrupt for anything that this key did not seal with these words.
  Result<Secret> Open(std::string_view sealed, BoundTo bound_to) const;

 private:
  explicit SealingKey(Secret key) : key_(std::move(key)) {}
  Secret key_;  // 32 bytes
};

}  // namespace caisson
