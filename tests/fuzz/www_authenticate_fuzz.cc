// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "image/www_authenticate.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto challenges = caisson::image::ParseWwwAuthenticate({reinterpret_cast<const char*>(data), size});
  if (!challenges) return 0;
  for (const caisson::image::AuthChallenge& challenge : *challenges) CHECK(!challenge.scheme.empty());
  return 0;
}
