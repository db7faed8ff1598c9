// SPDX-License-Identifier: Apache-2.0
#include "image/catalogue.h"

#include "base/log.h"
#include "image/manifest.h"

namespace caisson::image {

Result<std::vector<ImageRecord>> Catalogue::List() const {
  ImageList list = TRY(records_.ListImages());
  for (const DamagedRecord& damaged : list.damaged) SetAside(damaged);
  return std::move(list.images);
}

Result<std::optional<ImageRecord>> Catalogue::FindManifest(const Digest& manifest) const {
  Result<std::optional<ImageRecord>> record = records_.FindImage(manifest);
  if (record || record.error().code != ErrorCode::kCorrupt) return record;
  SetAside({manifest, std::move(record).error()});
  return std::optional<ImageRecord>();
}

// An index that we keep leads to the manifest, whichever index the image first came through.
Result<std::optional<ImageRecord>> Catalogue::Find(const Digest& digest) const {
  if (std::optional<ImageRecord> record = TRY(FindManifest(digest))) return record;
  const std::optional<std::string> bytes = TRY(records_.FindBlob(digest));
  if (!bytes) return std::optional<ImageRecord>();
  const auto document = ParseManifest(*bytes, "");
  if (!document || !std::holds_alternative<Index>(*document)) return std::optional<ImageRecord>();
  const Result<Descriptor> manifest = SelectPlatform(std::get<Index>(*document));
  if (!manifest) return std::optional<ImageRecord>();
  std::optional<ImageRecord> record = TRY(FindManifest(manifest->digest));
  if (record) record->index = digest;
  return record;
}

Result<std::optional<ImageRecord>> Catalogue::FindUsable(const Digest& digest) const {
  std::optional<ImageRecord> record = TRY(Find(digest));
  if (!record) return std::optional<ImageRecord>();
  for (const LayerName& layer : record->rootfs)
    if (!TRY(store_.HasLayer(layer))) return std::optional<ImageRecord>();
  return record;
}

void Catalogue::SetAside(const DamagedRecord& damaged) const {
  LogError("image_record_damaged", {{"image", damaged.manifest.ToString()},
                                    {"error", damaged.error.message},
                                    {"effect", "set aside in damaged/; the image is pulled again when it is needed"}});
  if (const Result<void> aside = records_.SetImageAside(damaged.manifest); !aside)
    LogError("image_record_not_set_aside", {{"error", aside.error().message}});
}

}  // namespace caisson::image
