// SPDX-License-Identifier: Apache-2.0
// What we use of OpenSSL's libcrypto: SHA-256, random bytes, comparison in constant time. Sha256 belongs to one
// thread at a time; the functions are safe on any.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/digest.h"

namespace caisson {

// A running SHA-256 (FIPS 180-4).
class Sha256 {
 public:
  Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  ~Sha256();
  void Update(std::string_view bytes);
  Digest Finish() &&;

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

Digest Sha256Of(std::string_view bytes);

void FillRandom(std::span<uint8_t> bytes);

bool EqualInConstantTime(std::string_view a, std::string_view b);

}  // namespace caisson
