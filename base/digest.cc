// SPDX-License-Identifier: Apache-2.0
#include "base/digest.h"

#include "base/encoding.h"

namespace caisson {
namespace {
constexpr std::string_view kPrefix = "sha256:";
}  // namespace

Result<Digest> Digest::Parse(std::string_view text) {
  Digest digest;
  if (!text.starts_with(kPrefix) || !HexDecode(text.substr(kPrefix.size()), digest.bytes))
    return Fail(ErrorCode::kInvalid, "digest \"{}\" is not sha256: and 64 lowercase hex digits",
                EscapeForLog(text, 100));
  return digest;
}

std::string Digest::ToString() const { return std::string(kPrefix) + hex(); }
std::string Digest::hex() const { return HexEncode(bytes); }

Result<LayerName> LayerName::Parse(std::string_view hex) {
  LayerName name;
  if (!HexDecode(hex, name.bytes))
    return Fail(ErrorCode::kInvalid, "layer name \"{}\" is not 64 hex digits", EscapeForLog(hex, 100));
  return name;
}

std::string LayerName::hex() const { return HexEncode(bytes); }

}  // namespace caisson
