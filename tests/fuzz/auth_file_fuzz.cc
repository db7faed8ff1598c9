// SPDX-License-Identifier: Apache-2.0
// Files with registry logins, and the names of registries as people write them.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "image/auth_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson::image;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto prefix = NormaliseRegistryPrefix(text)) {
    const auto again = NormaliseRegistryPrefix(*prefix);
    CHECK(again && *again == *prefix);
  }
  if (const auto file = AuthFile::Parse(text))
    CHECK(file->size() > 0 || file->Find("docker.io/library/alpine").anonymous());
  return 0;
}
