// SPDX-License-Identifier: Apache-2.0
#include "image/image_config.h"

#include "base/encoding.h"
#include "base/json/json.h"
#include "image/layer/limits.h"
#include "image/manifest.h"

namespace caisson::image {
namespace {

Result<std::string> TextMember(const Json& object, std::string_view name) {
  const Json* member = object.Find(name);
  if (!member || member->is_null()) return "";
  if (!member->AsString()) return Fail(ErrorCode::kInvalid, "\"{}\" is not text", name);
  if (member->AsString()->find('\0') != std::string::npos)
    return Fail(ErrorCode::kInvalid, "\"{}\" contains a NUL", name);
  return *member->AsString();
}

Result<std::vector<std::string>> ListMember(const Json& object, std::string_view name) {
  std::vector<std::string> list;
  const Json* member = object.Find(name);
  if (!member || member->is_null()) return list;
  if (!member->AsArray()) return Fail(ErrorCode::kInvalid, "\"{}\" is not a list", name);
  for (const Json& item : *member->AsArray()) {
    if (!item.AsString()) return Fail(ErrorCode::kInvalid, "\"{}\" contains something that is not text", name);
    if (item.AsString()->find('\0') != std::string::npos)
      return Fail(ErrorCode::kInvalid, "\"{}\" contains a NUL", name);
    list.push_back(*item.AsString());
  }
  return list;
}

Result<void> CheckPlatform(const ImageConfig& config) {
  const Platform& host = HostPlatform();
  if (config.os == host.os && config.architecture == host.architecture) return {};
  const std::string platform = EscapeForLog(config.os + "/" + config.architecture, 60);
  if (config.architecture == "386" || config.architecture == "arm")
    return Fail(ErrorCode::kInvalid, "the image is for {}: 32-bit programs are not run here, only {}", platform,
                host.ToString());
  return Fail(ErrorCode::kInvalid, "the image is for {}, this host runs {}", platform, host.ToString());
}

Result<std::vector<Digest>> ParseDiffIds(const Json& json) {
  const Json* rootfs = json.Find("rootfs");
  if (!rootfs || !rootfs->AsObject()) return Fail(ErrorCode::kInvalid, "\"rootfs\" is missing");
  std::vector<Digest> diff_ids;
  for (const std::string& text : TRY(ListMember(*rootfs, "diff_ids"))) {
    if (diff_ids.size() == kMaxImageLayers) return Fail(ErrorCode::kInvalid, "more than {} diff_ids", kMaxImageLayers);
    diff_ids.push_back(TRY_IN("diff_ids", Digest::Parse(text)));
  }
  return diff_ids;
}

}  // namespace

Result<ParsedConfig> ParseImageConfig(std::string_view bytes) {
  const Json json = TRY(ParseJson(bytes, {.max_bytes = kMaxConfigBytes, .max_depth = kMaxJsonDepth}));
  if (!json.AsObject()) return Fail(ErrorCode::kInvalid, "it is not an object");
  ParsedConfig parsed;
  parsed.config.architecture = TRY(TextMember(json, "architecture"));
  parsed.config.os = TRY(TextMember(json, "os"));
  TRY(CheckPlatform(parsed.config));
  parsed.diff_ids = TRY(ParseDiffIds(json));
  const Json* config = json.Find("config");
  if (!config || config->is_null()) return parsed;
  if (!config->AsObject()) return Fail(ErrorCode::kInvalid, "\"config\" is not an object");
  parsed.config.user = TRY(TextMember(*config, "User"));
  parsed.config.entrypoint = TRY(ListMember(*config, "Entrypoint"));
  parsed.config.command = TRY(ListMember(*config, "Cmd"));
  parsed.config.env = TRY(ListMember(*config, "Env"));
  parsed.config.working_dir = TRY(TextMember(*config, "WorkingDir"));
  parsed.config.stop_signal = TRY(TextMember(*config, "StopSignal"));
  return parsed;
}

}  // namespace caisson::image
