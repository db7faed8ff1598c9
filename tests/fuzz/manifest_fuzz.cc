// SPDX-License-Identifier: Apache-2.0
// Manifests, indexes and configs. The first byte chooses what the registry says of the document.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "image/image_config.h"
#include "image/layer/limits.h"
#include "image/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caisson::image;
  constexpr std::string_view kTypes[] = {"", "application/json", "application/vnd.oci.image.index.v1+json",
                                         "application/vnd.oci.image.manifest.v1+json",
                                         "application/vnd.docker.distribution.manifest.v2+json; charset=utf-8"};
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  if (const auto document = ParseManifest(text, kTypes[data[0] % std::size(kTypes)])) {
    if (const Index* index = std::get_if<Index>(&*document)) {
      CHECK(index->entries.size() <= kMaxIndexEntries);
      if (SelectPlatform(*index)) return 0;
    } else {
      CHECK(std::get<Manifest>(*document).layers.size() <= kMaxImageLayers);
    }
  }
  if (const auto config = ParseImageConfig(text)) CHECK(config->config.architecture == HostPlatform().architecture);
  return 0;
}
