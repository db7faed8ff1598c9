// SPDX-License-Identifier: Apache-2.0
// Records: what the service remembers durably of images and layers, as files that appear whole or not at all:
//   images/MANIFEST-HEX.json  an ImageRecord, written last of a pull; its modification time is the image's last use
//   layers/LAYER-HEX          what a worker reported of a layer: the proof that we verified its diff_id ourselves
//   merges/FIXUP-HEX          what a worker reported of the merged layers
//   blobs/sha256/HEX          manifests, indexes and configs as the registry sent them
//   served/HEX-REPOSITORY     that a repository sent us the bytes of this digest, and we checked them
//   signed/HEX-RULE           that this digest had a signature that a rule asks for in a repository
//   tags/TENANT/REFERENCE     what a reference last meant for a tenant
//   damaged/                  image records that could not be read, set aside for the operator
// Nothing here is a file of a layer: those are the launcher's. Two writers of one name are kept apart by the caller.
// Removing what is not there is fine. Safe on any thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "image/image.h"
#include "image/layer/report.h"

namespace caisson::image {

struct DamagedRecord {
  Digest manifest;
  Error error;
};
struct ImageList {
  std::vector<ImageRecord> images;  // newest first; without config, passwd and group, which may have megabytes
  std::vector<DamagedRecord> damaged;
};

struct TagRecord {
  std::string tenant;
  std::string reference;  // normalised, without digest
  Digest digest;
  bool imported = false;
  UnixMillis written_at = 0;  // not part of the stored record
};

class Records {
 public:
  static Result<Records> Open(const std::string& directory);
  // Removes what writers that were killed have left. At start, before anybody writes.
  Result<void> Sweep() const;

  // nullopt where there is none; kCorrupt for a damaged file.
  Result<std::optional<ImageRecord>> FindImage(const Digest& manifest) const;
  Result<ImageList> ListImages() const;
  Result<void> PutImage(const ImageRecord& record) const;
  Result<void> TouchImage(const Digest& manifest, UnixMillis now) const;  // not durably: a crash makes it look older
  Result<void> RemoveImage(const Digest& manifest) const;                 // durably
  Result<void> SetImageAside(const Digest& manifest) const;

  Result<std::optional<UnpackReport>> FindLayer(const Digest& digest) const;
  Result<void> PutLayer(const Digest& digest, const UnpackReport& report) const;
  Result<void> RemoveLayer(const Digest& digest) const;
  Result<std::vector<LayerName>> ListLayers() const;

  Result<std::optional<MergeReport>> FindMerge(const LayerName& fixup) const;
  Result<void> PutMerge(const LayerName& fixup, const MergeReport& report) const;
  Result<void> RemoveMerge(const LayerName& fixup) const;
  Result<std::vector<LayerName>> ListMerges() const;

  // Checked against the digest on the way out: a damaged file counts as absent.
  Result<std::optional<std::string>> FindBlob(const Digest& digest) const;
  Result<void> PutBlob(const Digest& digest, std::string_view bytes) const;
  Result<void> RemoveBlob(const Digest& digest) const;
  Result<std::vector<Digest>> ListBlobs() const;

  // What one repository ever sent of its own is not for whoever names its digest in another.
  Result<bool> WasServed(const Digest& digest, const std::string& repository) const;
  Result<void> PutServed(const Digest& digest, const std::string& repository) const;
  // `rule` is the fingerprint of a SignatureRule: another key, another proof.
  Result<bool> WasSigned(const Digest& digest, const std::string& repository, const std::string& rule) const;
  Result<void> PutSigned(const Digest& digest, const std::string& repository, const std::string& rule) const;
  // Marks of either kind.
  Result<void> RemoveMarksUnless(const std::function<bool(const Digest&)>& needed) const;

  Result<std::optional<TagRecord>> FindTag(const std::string& tenant, const std::string& reference) const;
  Result<void> PutTag(const TagRecord& tag) const;
  Result<void> RemoveTag(const TagRecord& tag) const;
  Result<std::vector<TagRecord>> ListTags() const;
  Result<std::vector<TagRecord>> ListTags(const std::string& tenant) const;
  // Whether there is room for one more: each lookup of a registry's tag could leave one, so that the oldest goes. False
  // where all of them are imports.
  Result<bool> MakeRoomForTag(const std::string& tenant) const;

 private:
  explicit Records(std::string directory) : directory_(std::move(directory)) {}
  std::string PathOf(std::string_view kind, const std::string& name) const;
  Result<std::vector<std::string>> NamesOf(std::string_view kind) const;
  Result<std::vector<TagRecord>> ListTagsIn(const std::string& tenant_directory) const;
  Result<std::vector<LayerName>> LayerNamesOf(std::string_view kind) const;
  Result<std::optional<std::string>> Read(std::string_view kind, const std::string& name, size_t limit) const;
  Result<void> Write(std::string_view kind, const std::string& name, std::string_view bytes) const;
  Result<void> Remove(std::string_view kind, const std::string& name) const;

  std::string directory_;
};

// The JSON form of a record, for tests and Records alone.
inline constexpr size_t kMaxRecordBytes = 32 << 20;  // a config of 8 MiB and two account files, escaped
std::string EncodeImageRecord(const ImageRecord& record);
Result<ImageRecord> DecodeImageRecord(std::string_view text);

}  // namespace caisson::image
