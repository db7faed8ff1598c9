// SPDX-License-Identifier: Apache-2.0
// A reference that is accepted has a normal form that is accepted again, unchanged.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "image/image_store.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const caisson::Result<std::string> once = caisson::image::NormaliseReference(text);
  if (!once) return 0;
  const caisson::Result<std::string> twice = caisson::image::NormaliseReference(*once);
  CHECK(twice && *twice == *once);
  return 0;
}
