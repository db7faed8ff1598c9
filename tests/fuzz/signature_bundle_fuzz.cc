// SPDX-License-Identifier: Apache-2.0
// Sigstore bundles and the statements in their envelopes.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "image/signature_payload.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson::image;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto subjects = ParseSignStatement(text)) CHECK(!subjects->empty());
  if (const auto bundle = ParseSignatureBundle(text)) {
    CHECK(!bundle->signature.empty());
    CHECK(bundle->is_envelope || bundle->payload.empty());
    if (const auto subjects = ParseSignStatement(bundle->payload)) CHECK(!subjects->empty());
    CHECK(PreAuthenticationEncoding(bundle->payload_type, bundle->payload).ends_with(bundle->payload));
  }
  return 0;
}
