// SPDX-License-Identifier: Apache-2.0
// Digest: the SHA-256 of some bytes, as "sha256:<64 hex digits>" in text (OCI image spec, descriptor.md). LayerName:
// the name of a layer's directory in the store, 64 hex digits, a type of its own so that no other string can name
// one. Plain values.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace caisson {

struct Digest {
  std::array<uint8_t, 32> bytes{};

  // kInvalid for another algorithm, upper case or a wrong length.
  static Result<Digest> Parse(std::string_view text);
  std::string ToString() const;  // "sha256:..."
  std::string hex() const;
  auto operator<=>(const Digest&) const = default;
};

struct LayerName {
  std::array<uint8_t, 32> bytes{};

  static Result<LayerName> Parse(std::string_view hex);
  static LayerName Of(const Digest& digest) { return LayerName{digest.bytes}; }
  std::string hex() const;
  auto operator<=>(const LayerName&) const = default;
};

}  // namespace caisson
