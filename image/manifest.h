// SPDX-License-Identifier: Apache-2.0
// Manifests and indexes of images, OCI (image-spec manifest.md, image-index.md) and Docker schema 2, parsed from
// hostile bytes: a document is exactly one of the two, its own media type and the one that the registry names must
// agree, sizes and counts are bounded. Plain values and pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "image/layer/report.h"

namespace caisson::image {

struct Descriptor {
  std::string media_type;
  Digest digest;
  uint64_t size = 0;
};

struct Platform {
  std::string os;
  std::string architecture;
  std::string variant;
  std::string ToString() const;  // "linux/arm64/v8"
};

struct LayerDescriptor {
  Descriptor descriptor;
  Compression compression = Compression::kNone;
};

struct Manifest {
  Descriptor config;
  std::vector<LayerDescriptor> layers;  // base first
};

struct IndexEntry {
  Descriptor manifest;
  Platform platform;  // empty fields where the index says none
};

struct Index {
  std::vector<IndexEntry> entries;
};

// The value of Accept for /manifests/ requests.
extern const char* const kManifestAccept;

// `content_type` is the registry's header, "" where there is none. kInvalid with the reason; a schema 1 manifest is
// refused by name.
Result<std::variant<Manifest, Index>> ParseManifest(std::string_view bytes, std::string_view content_type);

// What this build runs: "linux/amd64".
const Platform& HostPlatform();

// The entry for HostPlatform(); kNotFound lists the platforms that there are.
Result<Descriptor> SelectPlatform(const Index& index);

}  // namespace caisson::image
