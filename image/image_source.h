// SPDX-License-Identifier: Apache-2.0
// ImageSource: where the bytes of one repository come from: a registry with its mirrors (image/registry_client.h), or
// what a tenant has uploaded for an import. Whatever it hands out is proven: the bytes are those of the digest that was
// asked for. Calls block and are safe on any thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/result.h"
#include "image/manifest.h"

namespace caisson::image {

struct ManifestBytes {
  std::string bytes;
  std::string content_type;  // the source's word, "" where it gave none
  Digest digest;             // SHA-256 of the bytes
};

class ImageSource {
 public:
  virtual ~ImageSource() = default;

  // Key of the records of what this source has sent ("host/name" for a registry, "import@TENANT" for an import).
  virtual std::string repository() const = 0;
  virtual Result<ManifestBytes> GetManifest(const Digest& digest) = 0;
  // Hands the blob's bytes to `sink`, never more than the descriptor's size; an error of the sink ends it. Success
  // means that all came and that size and digest are right.
  using Sink = std::function<Result<void>(std::string_view)>;
  virtual Result<void> GetBlob(const Descriptor& blob, const Sink& sink) = 0;
  // After a GetBlob that failed, or whose bytes turned out unusable: whether another one would ask somebody else, so
  // that it is worth to begin again with a new sink. True a bounded number of times.
  virtual bool MayHaveBetter(const Digest&) { return false; }

  // A small blob in memory.
  Result<std::string> GetBlobBytes(const Descriptor& blob) {
    for (;;) {
      std::string bytes;
      Result<void> got = GetBlob(blob, [&bytes](std::string_view piece) -> Result<void> {
        bytes.append(piece);
        return {};
      });
      if (got) return bytes;
      if (!MayHaveBetter(blob.digest)) return tl::unexpected(std::move(got).error());
    }
  }
};

}  // namespace caisson::image
