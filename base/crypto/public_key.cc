// SPDX-License-Identifier: Apache-2.0
#include "base/crypto/public_key.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/check.h"
#include "base/crypto/crypto.h"

namespace caisson {
namespace {

constexpr int kLeastRsaBits = 2048;
constexpr int kMostRsaBits = 16384;  // beyond it a check takes seconds

struct FreeBio {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct FreeDigestContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using Key = std::unique_ptr<EVP_PKEY, FreeKey>;

const uint8_t* Bytes(std::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }

// What kind of key it is; empty for one that we do not take.
std::string KindOf(const EVP_PKEY* key) {
  if (EVP_PKEY_is_a(key, "ED25519")) return "Ed25519";
  if (EVP_PKEY_is_a(key, "RSA")) {
    const int bits = EVP_PKEY_get_bits(key);
    return bits >= kLeastRsaBits && bits <= kMostRsaBits ? fmt::format("RSA {}", bits) : "";
  }
  if (!EVP_PKEY_is_a(key, "EC")) return "";
  char curve[64];
  size_t length = 0;
  if (EVP_PKEY_get_group_name(key, curve, sizeof curve, &length) != 1) return "";  // parameters of its own making
  const std::string_view name(curve, length);
  if (name == "prime256v1") return "ECDSA P-256";
  if (name == "secp384r1") return "ECDSA P-384";
  return "";
}

bool VerifiesWith(EVP_PKEY* key, const EVP_MD* hash, std::string_view message, std::string_view signature) {
  const std::unique_ptr<EVP_MD_CTX, FreeDigestContext> context(EVP_MD_CTX_new());
  CHECK(context);
  const bool valid =
      EVP_DigestVerifyInit(context.get(), nullptr, hash, nullptr, key) == 1 &&
      EVP_DigestVerify(context.get(), Bytes(signature), signature.size(), Bytes(message), message.size()) == 1;
  ERR_clear_error();  // the next user of this thread's queue must not find ours
  return valid;
}

Digest FingerprintOf(const EVP_PKEY* key) {
  uint8_t* der = nullptr;
  const int length = i2d_PUBKEY(key, &der);
  CHECK(length > 0);
  const Digest digest = Sha256Of({reinterpret_cast<const char*>(der), static_cast<size_t>(length)});
  OPENSSL_free(der);
  return digest;
}

bool Has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

}  // namespace

struct PublicKey::Handle {
  Key key;
};

Result<PublicKey> PublicKey::FromPem(std::string_view pem) {
  if (Has(pem, "PRIVATE KEY-----"))
    return Fail(ErrorCode::kInvalid, "holds a private key: keep that with whoever signs, and give its public half");
  if (Has(pem, "-----BEGIN CERTIFICATE"))
    return Fail(ErrorCode::kInvalid, "holds a certificate, not a public key (openssl x509 -pubkey -noout -in FILE)");
  constexpr std::string_view kBegin = "-----BEGIN PUBLIC KEY-----";
  const size_t begin = pem.find(kBegin);
  if (begin == std::string_view::npos) return Fail(ErrorCode::kInvalid, "holds no PEM block \"PUBLIC KEY\"");
  if (Has(pem.substr(begin + kBegin.size()), "-----BEGIN "))
    return Fail(ErrorCode::kInvalid, "holds more than one PEM block: give each key a file of its own");
  const std::unique_ptr<BIO, FreeBio> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  CHECK(bio);
  Key key(PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (!key) return Fail(ErrorCode::kInvalid, "holds a damaged public key");
  PublicKey result;
  result.kind_ = KindOf(key.get());
  if (result.kind_.empty())
    return Fail(ErrorCode::kInvalid,
                "holds a key of a kind that is not taken: ECDSA on P-256 or P-384, Ed25519, RSA of {} "
                "to {} bits are",
                kLeastRsaBits, kMostRsaBits);
  result.fingerprint_ = FingerprintOf(key.get());
  result.handle_ = std::make_shared<Handle>(Handle{std::move(key)});
  return result;
}

bool PublicKey::Verifies(std::string_view message, std::string_view signature) const {
  EVP_PKEY* key = handle_->key.get();
  if (kind_ == "Ed25519") return VerifiesWith(key, nullptr, message, signature);
  if (VerifiesWith(key, EVP_sha256(), message, signature)) return true;
  return kind_ == "ECDSA P-384" && VerifiesWith(key, EVP_sha384(), message, signature);
}

}  // namespace caisson
