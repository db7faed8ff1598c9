// SPDX-License-Identifier: Apache-2.0
// The JSON form of image records: image/records.h declares it.
#include "base/encoding.h"
#include "base/json/json.h"
#include "image/layer/limits.h"
#include "image/records.h"

namespace caisson::image {
namespace {

constexpr int64_t kRecordVersion = 1;

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

}  // namespace caisson::image
