// SPDX-License-Identifier: Apache-2.0
#include "image/records.h"

#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <memory>

#include "base/crypto/crypto.h"
#include "base/encoding.h"
#include "base/io.h"
#include "base/json/json.h"
#include "image/layer/limits.h"

namespace caisson::image {
namespace {

constexpr std::string_view kImages = "images", kLayers = "layers", kMerges = "merges", kBlobs = "blobs/sha256",
                           kServed = "served";
constexpr std::string_view kJsonSuffix = ".json";
constexpr size_t kMaxRecordBytes = 32 << 20;  // a config of 8 MiB and two account files, escaped
constexpr size_t kMaxRepositoryBytes = 4096;
constexpr int64_t kRecordVersion = 1;

std::string ServedName(const Digest& digest, const std::string& repository) {
  return digest.hex() + "-" + Sha256Of(repository).hex();
}

Json ToJson(const std::vector<std::string>& texts) {
  Json::Array items(texts.begin(), texts.end());
  return Json(std::move(items));
}

Result<std::vector<std::string>> TextsOf(const Json& json, std::string_view key) {
  std::vector<std::string> texts;
  for (const Json& item : json.ArrayOrEmpty(key)) {
    if (!item.AsString()) return Fail(ErrorCode::kCorrupt, "\"{}\" is not a list of texts", key);
    texts.push_back(*item.AsString());
  }
  return texts;
}

Json ConfigToJson(const ImageConfig& config) {
  Json json = Json::MakeObject();
  json.Set("architecture", config.architecture);
  json.Set("os", config.os);
  json.Set("user", config.user);
  json.Set("entrypoint", ToJson(config.entrypoint));
  json.Set("command", ToJson(config.command));
  json.Set("env", ToJson(config.env));
  json.Set("working_dir", config.working_dir);
  json.Set("stop_signal", config.stop_signal);
  return json;
}

Result<ImageConfig> ConfigFromJson(const Json& json) {
  ImageConfig config;
  config.architecture = json.StringOr("architecture", "");
  config.os = json.StringOr("os", "");
  config.user = json.StringOr("user", "");
  config.entrypoint = TRY(TextsOf(json, "entrypoint"));
  config.command = TRY(TextsOf(json, "command"));
  config.env = TRY(TextsOf(json, "env"));
  config.working_dir = json.StringOr("working_dir", "");
  config.stop_signal = json.StringOr("stop_signal", "");
  return config;
}

Json LayerToJson(const LayerRecord& layer) {
  Json json = Json::MakeObject();
  json.Set("digest", layer.digest.ToString());
  json.Set("diff_id", layer.diff_id.ToString());
  json.Set("compressed_bytes", layer.compressed_bytes);
  json.Set("unpacked_bytes", layer.unpacked_bytes);
  json.Set("entries", layer.entries);
  return json;
}

Result<LayerRecord> LayerFromJson(const Json& json) {
  LayerRecord layer;
  layer.digest = TRY(Digest::Parse(json.StringOr("digest", "")));
  layer.diff_id = TRY(Digest::Parse(json.StringOr("diff_id", "")));
  layer.compressed_bytes = static_cast<uint64_t>(json.IntOr("compressed_bytes", 0));
  layer.unpacked_bytes = static_cast<uint64_t>(json.IntOr("unpacked_bytes", 0));
  layer.entries = static_cast<uint64_t>(json.IntOr("entries", 0));
  return layer;
}

Json DirectoriesToJson(const std::map<std::string, PathAttributes>& directories) {
  Json json = Json::MakeObject();
  for (const auto& [path, attributes] : directories) {
    Json item = Json::MakeObject();
    item.Set("mode", attributes.mode);
    item.Set("uid", attributes.uid);
    item.Set("gid", attributes.gid);
    json.Set(path, std::move(item));
  }
  return json;
}

Result<std::map<std::string, PathAttributes>> DirectoriesFromJson(const Json* json) {
  std::map<std::string, PathAttributes> directories;
  if (!json || !json->AsObject()) return Fail(ErrorCode::kCorrupt, "\"directories\" is missing");
  for (const auto& [path, item] : *json->AsObject())
    directories[path] = {static_cast<uint32_t>(item.IntOr("mode", 0)), static_cast<uint32_t>(item.IntOr("uid", 0)),
                         static_cast<uint32_t>(item.IntOr("gid", 0))};
  return directories;
}

Result<std::string> Base64Member(const Json& json, std::string_view key) {
  std::optional<std::string> bytes = Base64Decode(json.StringOr(key, ""));
  if (!bytes) return Fail(ErrorCode::kCorrupt, "\"{}\" is not base64", key);
  return *std::move(bytes);
}

}  // namespace

std::string EncodeImageRecord(const ImageRecord& record) {
  Json json = Json::MakeObject();
  json.Set("version", kRecordVersion);
  json.Set("reference", record.reference);
  json.Set("repository", record.repository);
  json.Set("manifest", record.manifest.ToString());
  json.Set("index", record.index.ToString());
  json.Set("config", ConfigToJson(record.config));
  Json::Array layers, rootfs;
  for (const LayerRecord& layer : record.layers) layers.push_back(LayerToJson(layer));
  for (const LayerName& name : record.rootfs) rootfs.emplace_back(name.hex());
  json.Set("layers", std::move(layers));
  json.Set("fixup", record.fixup.hex());
  json.Set("rootfs", std::move(rootfs));
  json.Set("directories", DirectoriesToJson(record.directories));
  json.Set("passwd_base64", Base64Encode(record.passwd));  // bytes of the image, of no known encoding
  json.Set("group_base64", Base64Encode(record.group));
  json.Set("warnings", ToJson(record.warnings));
  json.Set("pulled_at", record.pulled_at);
  return json.Dump(true);
}

Result<ImageRecord> DecodeImageRecord(std::string_view text) {
  const Json json = TRY(ParseJson(text, {.max_bytes = kMaxRecordBytes, .max_depth = kMaxJsonDepth}));
  if (json.IntOr("version", 0) != kRecordVersion) return Fail(ErrorCode::kCorrupt, "record of an unknown version");
  ImageRecord record;
  record.reference = json.StringOr("reference", "");
  record.repository = json.StringOr("repository", "");
  record.manifest = TRY(Digest::Parse(json.StringOr("manifest", "")));
  record.index = TRY(Digest::Parse(json.StringOr("index", "")));
  const Json* config = json.Find("config");
  if (!config) return Fail(ErrorCode::kCorrupt, "\"config\" is missing");
  record.config = TRY(ConfigFromJson(*config));
  for (const Json& layer : json.ArrayOrEmpty("layers")) record.layers.push_back(TRY(LayerFromJson(layer)));
  record.fixup = TRY(LayerName::Parse(json.StringOr("fixup", "")));
  for (const std::string& name : TRY(TextsOf(json, "rootfs"))) record.rootfs.push_back(TRY(LayerName::Parse(name)));
  record.directories = TRY(DirectoriesFromJson(json.Find("directories")));
  record.passwd = TRY(Base64Member(json, "passwd_base64"));
  record.group = TRY(Base64Member(json, "group_base64"));
  record.warnings = TRY(TextsOf(json, "warnings"));
  record.pulled_at = json.IntOr("pulled_at", 0);
  return record;
}

Result<Records> Records::Open(const std::string& directory) {
  for (const std::string_view kind : {kImages, kLayers, kMerges, kBlobs, kServed})
    TRY(MakeDirectories(directory + "/" + std::string(kind), 0700));
  return Records(directory);
}

Result<std::optional<ImageRecord>> Records::FindImage(const Digest& manifest) const {
  const std::optional<std::string> text =
      TRY(Read(kImages, manifest.hex() + std::string(kJsonSuffix), kMaxRecordBytes));
  if (!text) return std::nullopt;
  return TRY_IN("record of image " + manifest.ToString(), DecodeImageRecord(*text));
}

Result<std::vector<ImageRecord>> Records::ListImages() const {
  struct CloseDirectory {
    void operator()(DIR* directory) const { ::closedir(directory); }
  };
  const std::unique_ptr<DIR, CloseDirectory> stream(::opendir(PathOf(kImages, "").c_str()));
  if (!stream) return FailErrno(errno, "read the image records");
  std::vector<ImageRecord> records;
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (!name.ends_with(kJsonSuffix)) continue;
    const Result<Digest> digest =
        Digest::Parse("sha256:" + std::string(name.substr(0, name.size() - kJsonSuffix.size())));
    if (!digest) continue;
    if (std::optional<ImageRecord> record = TRY(FindImage(*digest))) records.push_back(*std::move(record));
  }
  std::sort(records.begin(), records.end(),
            [](const ImageRecord& a, const ImageRecord& b) { return a.pulled_at > b.pulled_at; });
  return records;
}

Result<void> Records::PutImage(const ImageRecord& record) const {
  return Write(kImages, record.manifest.hex() + std::string(kJsonSuffix), EncodeImageRecord(record));
}

Result<std::optional<UnpackReport>> Records::FindLayer(const Digest& digest) const {
  const std::optional<std::string> bytes = TRY(Read(kLayers, digest.hex(), kMaxReportBytes));
  if (!bytes) return std::nullopt;
  return TRY_IN("record of layer " + digest.ToString(), DecodeUnpackReport(*bytes));
}

Result<void> Records::PutLayer(const Digest& digest, const UnpackReport& report) const {
  return Write(kLayers, digest.hex(), EncodeReport(report));
}

Result<std::optional<MergeReport>> Records::FindMerge(const LayerName& fixup) const {
  const std::optional<std::string> bytes = TRY(Read(kMerges, fixup.hex(), kMaxReportBytes));
  if (!bytes) return std::nullopt;
  return TRY_IN("record of fix-up layer " + fixup.hex(), DecodeMergeReport(*bytes));
}

Result<void> Records::PutMerge(const LayerName& fixup, const MergeReport& report) const {
  return Write(kMerges, fixup.hex(), EncodeReport(report));
}

Result<std::optional<std::string>> Records::FindBlob(const Digest& digest) const {
  std::optional<std::string> bytes = TRY(Read(kBlobs, digest.hex(), kMaxConfigBytes));
  if (bytes && Sha256Of(*bytes) != digest) return std::nullopt;
  return bytes;
}

Result<void> Records::PutBlob(const Digest& digest, std::string_view bytes) const {
  return Write(kBlobs, digest.hex(), bytes);
}

Result<bool> Records::WasServed(const Digest& digest, const std::string& repository) const {
  return TRY(Read(kServed, ServedName(digest, repository), kMaxRepositoryBytes)) == repository;
}

Result<void> Records::PutServed(const Digest& digest, const std::string& repository) const {
  return Write(kServed, ServedName(digest, repository), repository);
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
