// SPDX-License-Identifier: Apache-2.0
// What cosign signs, and the manifest that lists it.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "image/signature_payload.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson::image;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto claim = ParseSimpleSigning(text))
    CHECK(text.find("docker") != std::string_view::npos || text.find('\\') != std::string_view::npos);
  if (const auto manifest = ParseSignatureManifest(text)) CHECK(manifest->layers.size() <= kMaxSignatureLayers);
  return 0;
}
