// SPDX-License-Identifier: Apache-2.0
#include "queue/spec_codec.h"

#include "base/json/json.h"

namespace caisson::queue {
namespace {

constexpr size_t kMaxSpecBytes = 64 << 20;  // a request body, every byte of it escaped

using Pairs = std::vector<std::pair<std::string, std::string>>;

Json FromStrings(const std::vector<std::string>& strings) { return Json(Json::Array(strings.begin(), strings.end())); }

// Pairs of [name, value]: an object would lose the order and the duplicates.
Json FromPairs(const Pairs& pairs) {
  Json::Array array;
  for (const auto& [name, value] : pairs) array.push_back(Json(Json::Array{Json(name), Json(value)}));
  return Json(std::move(array));
}

Result<std::vector<std::string>> ToStrings(const Json& json) {
  std::vector<std::string> strings;
  if (!json.AsArray()) return Fail(ErrorCode::kCorrupt, "not a list");
  for (const Json& item : *json.AsArray()) {
    if (!item.AsString()) return Fail(ErrorCode::kCorrupt, "not a list of strings");
    strings.push_back(*item.AsString());
  }
  return strings;
}

Result<std::optional<std::vector<std::string>>> ToOptionalStrings(const Json& spec, std::string_view key) {
  const Json* member = spec.Find(key);
  if (!member) return std::optional<std::vector<std::string>>();
  return std::optional(TRY_IN(key, ToStrings(*member)));
}

Result<Pairs> ToPairs(const Json& spec, std::string_view key) {
  Pairs pairs;
  for (const Json& item : spec.ArrayOrEmpty(key)) {
    std::vector<std::string> pair = TRY_IN(key, ToStrings(item));
    if (pair.size() != 2) return Fail(ErrorCode::kCorrupt, "{}: not a pair", key);
    pairs.emplace_back(std::move(pair[0]), std::move(pair[1]));
  }
  return pairs;
}

uint32_t ToU32(const Json& json, std::string_view key, uint32_t fallback) {
  return static_cast<uint32_t>(json.IntOr(key, fallback));
}

}  // namespace

std::string SpecToJson(const JobSpec& spec) {
  Json json = Json::MakeObject();
  json.Set("image", spec.image);
  if (spec.entrypoint) json.Set("entrypoint", FromStrings(*spec.entrypoint));
  if (spec.command) json.Set("command", FromStrings(*spec.command));
  if (!spec.env.empty()) json.Set("env", FromPairs(spec.env));
  if (!spec.working_dir.empty()) json.Set("working_dir", spec.working_dir);
  if (!spec.user.empty()) json.Set("user", spec.user);
  json.Set("timeout_seconds", spec.timeout_seconds);
  json.Set("grace_seconds", spec.grace_seconds);
  json.Set("max_attempts", spec.max_attempts);
  json.Set("retry_delay_seconds", spec.retry_delay_seconds);
  json.Set("cpu_millis", spec.resources.cpu_millis);
  json.Set("memory_bytes", spec.resources.memory_bytes);
  json.Set("pids", spec.resources.pids);
  json.Set("disk_bytes", spec.resources.disk_bytes);
  if (!spec.labels.empty()) json.Set("labels", FromPairs(spec.labels));
  json.Set("has_payload", spec.has_payload);
  if (!spec.pull_policy.empty()) json.Set("pull_policy", spec.pull_policy);
  return json.Dump();
}

Result<JobSpec> SpecFromJson(std::string_view text) {
  auto parsed = ParseJson(text, {.max_bytes = kMaxSpecBytes});
  if (!parsed) return Fail(ErrorCode::kCorrupt, "stored job: {}", parsed.error().message);
  const Json& json = *parsed;
  if (!json.AsObject()) return Fail(ErrorCode::kCorrupt, "stored job: not an object");
  JobSpec spec;
  spec.image = json.StringOr("image", "");
  spec.entrypoint = TRY_IN("stored job", ToOptionalStrings(json, "entrypoint"));
  spec.command = TRY_IN("stored job", ToOptionalStrings(json, "command"));
  spec.env = TRY_IN("stored job", ToPairs(json, "env"));
  spec.working_dir = json.StringOr("working_dir", "");
  spec.user = json.StringOr("user", "");
  spec.timeout_seconds = ToU32(json, "timeout_seconds", spec.timeout_seconds);
  spec.grace_seconds = ToU32(json, "grace_seconds", spec.grace_seconds);
  spec.max_attempts = ToU32(json, "max_attempts", spec.max_attempts);
  spec.retry_delay_seconds = ToU32(json, "retry_delay_seconds", spec.retry_delay_seconds);
  spec.resources.cpu_millis = ToU32(json, "cpu_millis", spec.resources.cpu_millis);
  spec.resources.memory_bytes =
      static_cast<uint64_t>(json.IntOr("memory_bytes", static_cast<int64_t>(spec.resources.memory_bytes)));
  spec.resources.pids = ToU32(json, "pids", spec.resources.pids);
  spec.resources.disk_bytes =
      static_cast<uint64_t>(json.IntOr("disk_bytes", static_cast<int64_t>(spec.resources.disk_bytes)));
  spec.labels = TRY_IN("stored job", ToPairs(json, "labels"));
  const Json* has_payload = json.Find("has_payload");
  spec.has_payload = has_payload && has_payload->AsBool() && *has_payload->AsBool();
  spec.pull_policy = json.StringOr("pull_policy", "");
  return spec;
}

}  // namespace caisson::queue
