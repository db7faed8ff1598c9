// SPDX-License-Identifier: Apache-2.0
#include "cli/job_request.h"

#include <algorithm>

#include "base/encoding.h"

namespace caisson::cli {
namespace {

// JSON is UTF-8: silently replacing a byte would run another command than the one typed.
Result<std::string> Text(const std::string& text, std::string_view what) {
  if (!IsValidUtf8(text)) return Fail(ErrorCode::kInvalid, "{} \"{}\" is not UTF-8", what, EscapeForLog(text, 80));
  return text;
}

Result<Json> TextArray(const std::vector<std::string>& texts, std::string_view what) {
  Json::Array array;
  for (const std::string& text : texts) array.emplace_back(TRY(Text(text, what)));
  return Json(std::move(array));
}

Result<Json> TextObject(const std::vector<std::pair<std::string, std::string>>& pairs, std::string_view what) {
  Json::Object object;
  for (const auto& [key, value] : pairs) {
    std::string name = TRY(Text(key, what));
    Json content(TRY(Text(value, what)));
    const auto same =
        std::find_if(object.begin(), object.end(), [&](const auto& member) { return member.first == name; });
    if (same != object.end()) {
      same->second = std::move(content);
    } else {
      object.emplace_back(std::move(name), std::move(content));
    }
  }
  return Json(std::move(object));
}

template <typename T>
void SetIfGiven(Json& json, std::string key, const std::optional<T>& value) {
  if (value) json.Set(std::move(key), Json(static_cast<int64_t>(*value)));
}

Json Resources(const JobRequest& request) {
  Json resources = Json::MakeObject();
  if (request.cpu_millis) resources.Set("cpu", Json(*request.cpu_millis / 1000.0));
  SetIfGiven(resources, "memory_bytes", request.memory_bytes);
  SetIfGiven(resources, "pids", request.pids);
  SetIfGiven(resources, "disk_bytes", request.disk_bytes);
  return resources;
}

}  // namespace

Result<std::string> ToBody(const JobRequest& request, const std::optional<std::string>& payload) {
  Json body = Json::MakeObject();
  body.Set("image", TRY(Text(request.image, "image")));
  if (request.pull) body.Set("pull", *request.pull);
  if (!request.command.empty()) body.Set("command", TRY(TextArray(request.command, "argument")));
  if (request.entrypoint) body.Set("entrypoint", TRY(TextArray({*request.entrypoint}, "entrypoint")));
  if (!request.env.empty()) body.Set("env", TRY(TextObject(request.env, "--env")));
  if (!request.labels.empty()) body.Set("labels", TRY(TextObject(request.labels, "--label")));
  if (request.working_dir) body.Set("working_dir", TRY(Text(*request.working_dir, "--workdir")));
  if (request.user) body.Set("user", TRY(Text(*request.user, "--user")));
  SetIfGiven(body, "timeout_seconds", request.timeout_seconds);
  SetIfGiven(body, "max_attempts", request.max_attempts);
  SetIfGiven(body, "retry_delay_seconds", request.retry_delay_seconds);
  Json resources = Resources(request);
  if (!resources.AsObject()->empty()) body.Set("resources", std::move(resources));
  if (payload) {
    if (IsValidUtf8(*payload) && payload->find('\0') == std::string::npos) {
      body.Set("payload", *payload);
    } else {
      body.Set("payload_base64", Base64Encode(*payload));
    }
  }
  return body.Dump();
}

}  // namespace caisson::cli
