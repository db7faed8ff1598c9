// SPDX-License-Identifier: Apache-2.0
#include "base/crypto/seal.h"

#include <openssl/evp.h>

#include <array>
#include <memory>
#include <span>

#include "base/check.h"
#include "base/crypto/crypto.h"
#include "base/encoding.h"

namespace caisson {
namespace {

constexpr char kVersion = 1;
constexpr size_t kKeyBytes = 32;
constexpr size_t kNonceBytes = 12;
constexpr size_t kTagBytes = 16;

struct FreeContext {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_CIPHER_CTX, FreeContext>;

const uint8_t* Bytes(std::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }
uint8_t* Bytes(std::string& text) { return reinterpret_cast<uint8_t*>(text.data()); }

// Each word with its length: "ab", "c" must not be "a", "bc".
std::string Associated(SealingKey::BoundTo words) {
  std::string data(1, kVersion);
  for (const std::string_view word : words) data.append(std::to_string(word.size())).append(":").append(word);
  return data;
}

// `encrypt` is 1 or 0, as OpenSSL has it. Key, nonce and associated data are set.
Context Begin(int encrypt, const Secret& key, std::string_view nonce, const std::string& associated) {
  Context context(EVP_CIPHER_CTX_new());
  int length = 0;
  CHECK(context && nonce.size() == kNonceBytes);
  CHECK(EVP_CipherInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, Bytes(key.Expose()), Bytes(nonce), encrypt) == 1);
  CHECK(EVP_CipherUpdate(context.get(), nullptr, &length, Bytes(associated), static_cast<int>(associated.size())) == 1);
  return context;
}

}  // namespace

Result<SealingKey> SealingKey::FromHex(const Secret& hex) {
  std::string key(kKeyBytes, '\0');
  if (!HexDecode(hex.Expose(), std::span(Bytes(key), key.size())))
    return Fail(ErrorCode::kInvalid, "the key is not {} hex digits", 2 * kKeyBytes);
  return SealingKey(Secret(std::move(key)));
}

std::string SealingKey::Seal(const Secret& secret, BoundTo bound_to) const {
  std::string nonce(kNonceBytes, '\0');
  FillRandom(std::span(Bytes(nonce), nonce.size()));
  const Context context = Begin(1, key_, nonce, Associated(bound_to));
  const std::string& plain = secret.Expose();
  std::string cipher(plain.size(), '\0'), tag(kTagBytes, '\0');
  int length = 0;
  CHECK(EVP_CipherUpdate(context.get(), Bytes(cipher), &length, Bytes(plain), static_cast<int>(plain.size())) == 1);
  CHECK(EVP_CipherFinal_ex(context.get(), Bytes(cipher) + length, &length) == 1);
  CHECK(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kTagBytes, Bytes(tag)) == 1);
  return std::string(1, kVersion) + nonce + cipher + tag;
}

Result<Secret> SealingKey::Open(std::string_view sealed, BoundTo bound_to) const {
  if (sealed.size() < 1 + kNonceBytes + kTagBytes) return Fail(ErrorCode::kCorrupt, "the sealed text is cut");
  if (sealed[0] != kVersion)
    return Fail(ErrorCode::kUnsupported, "the sealed text has version {}, this program knows {}",
                static_cast<int>(sealed[0]), static_cast<int>(kVersion));
  const std::string_view nonce = sealed.substr(1, kNonceBytes);
  const std::string_view cipher = sealed.substr(1 + kNonceBytes, sealed.size() - 1 - kNonceBytes - kTagBytes);
  std::string tag(sealed.substr(sealed.size() - kTagBytes));
  const Context context = Begin(0, key_, nonce, Associated(bound_to));
  std::string plain(cipher.size(), '\0');
  int length = 0;
  CHECK(EVP_CipherUpdate(context.get(), Bytes(plain), &length, Bytes(cipher), static_cast<int>(cipher.size())) == 1);
  CHECK(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, kTagBytes, Bytes(tag)) == 1);
  Secret secret(std::move(plain));  // wiped when the tag is wrong
  uint8_t nothing[kTagBytes];
  if (EVP_CipherFinal_ex(context.get(), nothing, &length) != 1)
    return Fail(ErrorCode::kCorrupt, "it was changed, or sealed under another key or for another owner");
  return secret;
}

}  // namespace caisson
