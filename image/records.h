// SPDX-License-Identifier: Apache-2.0
// Records: what the service remembers durably of images and layers, as files that appear whole or not at all:
//   images/MANIFEST-HEX.json  an ImageRecord, written last of a pull
//   layers/LAYER-HEX          what a worker reported of a layer: the proof that we verified its diff_id ourselves
//   merges/FIXUP-HEX          what a worker reported of the merged layers
//   blobs/sha256/HEX          manifests, indexes and configs as the registry sent them
//   served/HEX-REPOSITORY     that a repository sent us the bytes of this digest, and we checked them
// Nothing here is a file of a layer: those are the launcher's. Two writers of one name are kept apart by the caller.
// Safe on any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "image/image.h"
#include "image/layer/report.h"

namespace caisson::image {

class Records {
 public:
  static Result<Records> Open(const std::string& directory);

  // nullopt where there is none; kCorrupt for a damaged file.
  Result<std::optional<ImageRecord>> FindImage(const Digest& manifest) const;
  Result<std::vector<ImageRecord>> ListImages() const;  // newest first
  Result<void> PutImage(const ImageRecord& record) const;

  Result<std::optional<UnpackReport>> FindLayer(const Digest& digest) const;
  Result<void> PutLayer(const Digest& digest, const UnpackReport& report) const;

  Result<std::optional<MergeReport>> FindMerge(const LayerName& fixup) const;
  Result<void> PutMerge(const LayerName& fixup, const MergeReport& report) const;

  // Checked against the digest on the way out: a damaged file counts as absent.
  Result<std::optional<std::string>> FindBlob(const Digest& digest) const;
  Result<void> PutBlob(const Digest& digest, std::string_view bytes) const;

  // What one repository ever sent of its own is not for whoever names its digest in another.
  Result<bool> WasServed(const Digest& digest, const std::string& repository) const;
  Result<void> PutServed(const Digest& digest, const std::string& repository) const;

 private:
  explicit Records(std::string directory) : directory_(std::move(directory)) {}
  std::string PathOf(std::string_view kind, const std::string& name) const;
  Result<std::optional<std::string>> Read(std::string_view kind, const std::string& name, size_t limit) const;
  Result<void> Write(std::string_view kind, const std::string& name, std::string_view bytes) const;

  std::string directory_;
};

// The JSON form of a record, for tests and Records alone.
std::string EncodeImageRecord(const ImageRecord& record);
Result<ImageRecord> DecodeImageRecord(std::string_view text);

}  // namespace caisson::image
