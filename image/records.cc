// SPDX-License-Identifier: Apache-2.0
#include "image/records.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "base/crypto/crypto.h"
#include "base/io.h"
#include "base/json/json.h"
#include "image/layer/limits.h"

namespace caisson::image {
namespace {

constexpr std::string_view kImages = "images", kLayers = "layers", kMerges = "merges", kBlobs = "blobs/sha256",
                           kServed = "served", kSigned = "signed", kTags = "tags", kDamaged = "damaged";
constexpr std::string_view kKinds[] = {kImages, kLayers, kMerges, kBlobs, kServed, kSigned, kTags, kDamaged};
constexpr std::string_view kJsonSuffix = ".json";
constexpr std::string_view kTemporarySuffix = ".new";  // of WriteFileDurably
constexpr size_t kMaxRepositoryBytes = 4096;
constexpr size_t kMaxTagBytes = 16 << 10;
constexpr size_t kMaxTags = 4096;  // of a tenant
constexpr size_t kHexDigits = 64;

std::string ServedName(const Digest& digest, const std::string& repository) {
  return digest.hex() + "-" + Sha256Of(repository).hex();
}

std::string SignedName(const Digest& digest, const std::string& repository, const std::string& rule) {
  return digest.hex() + "-" + Sha256Of(repository + "\n" + rule).hex();
}

// A tenant's name may be anything; its digest is a file name.
std::string TagDirectory(const std::string& tenant) { return std::string(kTags) + "/" + Sha256Of(tenant).hex(); }

std::string TagName(const std::string& reference) { return Sha256Of(reference).hex(); }

std::string ImageName(const Digest& manifest) { return manifest.hex() + std::string(kJsonSuffix); }

std::string EncodeTag(const TagRecord& tag) {
  Json json = Json::MakeObject();
  json.Set("tenant", tag.tenant);
  json.Set("reference", tag.reference);
  json.Set("digest", tag.digest.ToString());
  json.Set("imported", tag.imported);
  return json.Dump(true);
}

Result<TagRecord> DecodeTag(std::string_view text) {
  const Json json = TRY(ParseJson(text, {.max_bytes = kMaxTagBytes, .max_depth = kMaxJsonDepth}));
  const Json* imported = json.Find("imported");
  return TagRecord{.tenant = json.StringOr("tenant", ""),
                   .reference = json.StringOr("reference", ""),
                   .digest = TRY(Digest::Parse(json.StringOr("digest", ""))),
                   .imported = imported && imported->AsBool() && *imported->AsBool()};
}

// When the file was last written or touched; 0 where it is gone.
UnixMillis TimeOf(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return 0;
  return info.st_mtim.tv_sec * 1000 + info.st_mtim.tv_nsec / 1'000'000;
}

// The digest that begins the name of a mark.
std::optional<Digest> DigestOfMark(std::string_view name) {
  if (name.size() <= kHexDigits || name[kHexDigits] != '-') return std::nullopt;
  const Result<Digest> digest = Digest::Parse("sha256:" + std::string(name.substr(0, kHexDigits)));
  return digest ? std::optional(*digest) : std::nullopt;
}

}  // namespace

Result<Records> Records::Open(const std::string& directory) {
  for (const std::string_view kind : kKinds) TRY(MakeDirectories(directory + "/" + std::string(kind), 0700));
  return Records(directory);
}

Result<void> Records::Sweep() const {
  for (const std::string_view kind : kKinds)
    for (const std::string& name : TRY(NamesOf(kind)))
      if (name.ends_with(kTemporarySuffix)) TRY(Remove(kind, name));
  for (const std::string& tenant : TRY(NamesOf(kTags)))
    for (const std::string& name : TRY(NamesOf(std::string(kTags) + "/" + tenant)))
      if (name.ends_with(kTemporarySuffix)) TRY(Remove(std::string(kTags) + "/" + tenant, name));
  return {};
}

// ---- Images -----------------------------------------------------------------------------------------------------

Result<std::optional<ImageRecord>> Records::FindImage(const Digest& manifest) const {
  const std::string context = "record of image " + manifest.ToString();
  const std::optional<std::string> text = TRY_IN(context, Read(kImages, ImageName(manifest), kMaxRecordBytes));
  if (!text) return std::nullopt;
  Result<ImageRecord> record = DecodeImageRecord(*text);
  // Any fault of its bytes is damage: nobody but us writes it.
  if (!record) return Fail(ErrorCode::kCorrupt, "{}: {}", context, record.error().message);
  if (record->manifest != manifest) return Fail(ErrorCode::kCorrupt, "{}: it is another image's", context);
  record->used_at = TimeOf(PathOf(kImages, ImageName(manifest)));
  return *std::move(record);
}

Result<ImageList> Records::ListImages() const {
  ImageList list;
  for (const std::string& name : TRY(NamesOf(kImages))) {
    if (!name.ends_with(kJsonSuffix)) continue;
    const Result<Digest> digest = Digest::Parse("sha256:" + name.substr(0, name.size() - kJsonSuffix.size()));
    if (!digest) continue;
    Result<std::optional<ImageRecord>> record = FindImage(*digest);
    if (!record) {
      list.damaged.push_back({*digest, std::move(record).error()});
    } else if (*record) {
      (*record)->config = {};
      (*record)->passwd.clear();
      (*record)->passwd.shrink_to_fit();
      (*record)->group.clear();
      (*record)->group.shrink_to_fit();
      list.images.push_back(**std::move(record));
    }
  }
  std::sort(list.images.begin(), list.images.end(),
            [](const ImageRecord& a, const ImageRecord& b) { return a.pulled_at > b.pulled_at; });
  return list;
}

Result<void> Records::PutImage(const ImageRecord& record) const {
  TRY(Write(kImages, ImageName(record.manifest), EncodeImageRecord(record)));
  return TouchImage(record.manifest, record.pulled_at);
}

Result<void> Records::TouchImage(const Digest& manifest, UnixMillis now) const {
  const timespec time{now / 1000, now % 1000 * 1'000'000};
  const timespec times[] = {time, time};
  if (::utimensat(AT_FDCWD, PathOf(kImages, ImageName(manifest)).c_str(), times, 0) != 0 && errno != ENOENT)
    return FailErrno(errno, "note the use of image {}", manifest.ToString());
  return {};
}

Result<void> Records::RemoveImage(const Digest& manifest) const {
  TRY(Remove(kImages, ImageName(manifest)));
  // Before anything that the record promises is removed.
  const Fd directory = TRY(OpenAt(AT_FDCWD, PathOf(kImages, ""), O_RDONLY | O_DIRECTORY));
  if (::fsync(directory.get()) != 0) return FailErrno(errno, "sync the image records");
  return {};
}

Result<void> Records::SetImageAside(const Digest& manifest) const {
  const std::string name = ImageName(manifest);
  if (::rename(PathOf(kImages, name).c_str(), PathOf(kDamaged, name).c_str()) != 0 && errno != ENOENT)
    return FailErrno(errno, "set the record of image {} aside", manifest.ToString());
  return {};
}

// ---- Layers -----------------------------------------------------------------------------------------------------

Result<std::optional<UnpackReport>> Records::FindLayer(const Digest& digest) const {
  const std::optional<std::string> bytes = TRY(Read(kLayers, digest.hex(), kMaxReportBytes));
  if (!bytes) return std::nullopt;
  return TRY_IN("record of layer " + digest.ToString(), DecodeUnpackReport(*bytes));
}

Result<void> Records::PutLayer(const Digest& digest, const UnpackReport& report) const {
  return Write(kLayers, digest.hex(), EncodeReport(report));
}

Result<void> Records::RemoveLayer(const Digest& digest) const { return Remove(kLayers, digest.hex()); }

Result<std::optional<MergeReport>> Records::FindMerge(const LayerName& fixup) const {
  const std::optional<std::string> bytes = TRY(Read(kMerges, fixup.hex(), kMaxReportBytes));
  if (!bytes) return std::nullopt;
  return TRY_IN("record of fix-up layer " + fixup.hex(), DecodeMergeReport(*bytes));
}

Result<void> Records::PutMerge(const LayerName& fixup, const MergeReport& report) const {
  return Write(kMerges, fixup.hex(), EncodeReport(report));
}

Result<void> Records::RemoveMerge(const LayerName& fixup) const { return Remove(kMerges, fixup.hex()); }

Result<std::vector<LayerName>> Records::ListLayers() const { return LayerNamesOf(kLayers); }

Result<std::vector<LayerName>> Records::ListMerges() const { return LayerNamesOf(kMerges); }

// ---- Blobs and what proves them ---------------------------------------------------------------------------------

Result<std::optional<std::string>> Records::FindBlob(const Digest& digest) const {
  std::optional<std::string> bytes = TRY(Read(kBlobs, digest.hex(), kMaxConfigBytes));
  if (bytes && Sha256Of(*bytes) != digest) return std::nullopt;
  return bytes;
}

Result<void> Records::PutBlob(const Digest& digest, std::string_view bytes) const {
  return Write(kBlobs, digest.hex(), bytes);
}

Result<void> Records::RemoveBlob(const Digest& digest) const { return Remove(kBlobs, digest.hex()); }

Result<std::vector<Digest>> Records::ListBlobs() const {
  std::vector<Digest> digests;
  for (const LayerName& name : TRY(LayerNamesOf(kBlobs))) digests.push_back(Digest{name.bytes});
  return digests;
}

Result<bool> Records::WasServed(const Digest& digest, const std::string& repository) const {
  return TRY(Read(kServed, ServedName(digest, repository), kMaxRepositoryBytes)) == repository;
}

Result<void> Records::PutServed(const Digest& digest, const std::string& repository) const {
  return Write(kServed, ServedName(digest, repository), repository);
}

Result<bool> Records::WasSigned(const Digest& digest, const std::string& repository, const std::string& rule) const {
  return TRY(Read(kSigned, SignedName(digest, repository, rule), kMaxRepositoryBytes)).has_value();
}

Result<void> Records::PutSigned(const Digest& digest, const std::string& repository, const std::string& rule) const {
  return Write(kSigned, SignedName(digest, repository, rule), repository);
}

Result<void> Records::RemoveMarksUnless(const std::function<bool(const Digest&)>& needed) const {
  for (const std::string_view kind : {kServed, kSigned})
    for (const std::string& name : TRY(NamesOf(kind)))
      if (const std::optional<Digest> digest = DigestOfMark(name); digest && !needed(*digest)) TRY(Remove(kind, name));
  return {};
}

// ---- Tags -------------------------------------------------------------------------------------------------------

Result<std::optional<TagRecord>> Records::FindTag(const std::string& tenant, const std::string& reference) const {
  const std::optional<std::string> text = TRY(Read(TagDirectory(tenant), TagName(reference), kMaxTagBytes));
  if (!text) return std::optional<TagRecord>();
  Result<TagRecord> tag = DecodeTag(*text);
  if (!tag || tag->tenant != tenant || tag->reference != reference)
    return std::optional<TagRecord>();  // damaged: asked for again
  return std::optional(*std::move(tag));
}

Result<void> Records::PutTag(const TagRecord& tag) const {
  TRY(MakeDirectories(PathOf(TagDirectory(tag.tenant), ""), 0700));
  return Write(TagDirectory(tag.tenant), TagName(tag.reference), EncodeTag(tag));
}

Result<void> Records::RemoveTag(const TagRecord& tag) const {
  return Remove(TagDirectory(tag.tenant), TagName(tag.reference));
}

Result<std::vector<TagRecord>> Records::ListTags() const {
  std::vector<TagRecord> tags;
  for (const std::string& tenant : TRY(NamesOf(kTags)))
    for (TagRecord& tag : TRY(ListTagsIn(std::string(kTags) + "/" + tenant))) tags.push_back(std::move(tag));
  return tags;
}

Result<std::vector<TagRecord>> Records::ListTags(const std::string& tenant) const {
  TRY(MakeDirectories(PathOf(TagDirectory(tenant), ""), 0700));
  return ListTagsIn(TagDirectory(tenant));
}

Result<std::vector<TagRecord>> Records::ListTagsIn(const std::string& directory) const {
  std::vector<TagRecord> tags;
  for (const std::string& name : TRY(NamesOf(directory))) {
    if (name.ends_with(kTemporarySuffix)) continue;
    const std::optional<std::string> text = TRY(Read(directory, name, kMaxTagBytes));
    if (!text) continue;
    if (Result<TagRecord> tag = DecodeTag(*text)) {
      tag->written_at = TimeOf(PathOf(directory, name));
      tags.push_back(*std::move(tag));
    } else {
      TRY(Remove(directory, name));
    }
  }
  return tags;
}

Result<bool> Records::MakeRoomForTag(const std::string& tenant) const {
  TRY(MakeDirectories(PathOf(TagDirectory(tenant), ""), 0700));
  if (TRY(NamesOf(TagDirectory(tenant))).size() < kMaxTags) return true;
  std::vector<TagRecord> tags = TRY(ListTags(tenant));
  std::erase_if(tags, [](const TagRecord& tag) { return tag.imported; });
  if (tags.empty()) return false;
  // Some at once, so that not every new one reads all of them.
  std::sort(tags.begin(), tags.end(),
            [](const TagRecord& a, const TagRecord& b) { return a.written_at < b.written_at; });
  for (size_t i = 0; i < std::min(tags.size(), kMaxTags / 16); ++i) TRY(RemoveTag(tags[i]));
  return true;
}

// ---- Files ------------------------------------------------------------------------------------------------------

Result<std::vector<std::string>> Records::NamesOf(std::string_view kind) const {
  struct CloseDirectory {
    void operator()(DIR* directory) const { ::closedir(directory); }
  };
  const std::unique_ptr<DIR, CloseDirectory> stream(::opendir(PathOf(kind, "").c_str()));
  if (!stream) return FailErrno(errno, "read {}", PathOf(kind, ""));
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(stream.get()))
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  return names;
}

Result<std::vector<LayerName>> Records::LayerNamesOf(std::string_view kind) const {
  std::vector<LayerName> layers;
  for (const std::string& name : TRY(NamesOf(kind)))
    if (const Result<LayerName> layer = LayerName::Parse(name)) layers.push_back(*layer);
  return layers;
}

Result<void> Records::Remove(std::string_view kind, const std::string& name) const {
  if (::unlink(PathOf(kind, name).c_str()) != 0 && errno != ENOENT)
    return FailErrno(errno, "remove {}", PathOf(kind, name));
  return {};
}

std::string Records::PathOf(std::string_view kind, const std::string& name) const {
  return directory_ + "/" + std::string(kind) + "/" + name;
}

Result<std::optional<std::string>> Records::Read(std::string_view kind, const std::string& name, size_t limit) const {
  Result<std::string> bytes = ReadFile(PathOf(kind, name), limit);
  if (bytes) return *std::move(bytes);
  if (bytes.error().code == ErrorCode::kNotFound) return std::nullopt;
  return tl::unexpected(std::move(bytes).error());
}

Result<void> Records::Write(std::string_view kind, const std::string& name, std::string_view bytes) const {
  return WriteFileDurably(AT_FDCWD, PathOf(kind, name), bytes, 0600);
}

}  // namespace caisson::image
