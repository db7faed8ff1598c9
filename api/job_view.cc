// SPDX-License-Identifier: Apache-2.0
#include "api/job_view.h"

#include "base/clock.h"

namespace caisson::api {
namespace {

template <typename T>
Json OrNull(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

Json TimeOrNull(const std::optional<UnixMillis>& time) { return time ? Json(FormatTime(*time)) : Json(); }

Json TextOrNull(const std::string& text) { return text.empty() ? Json() : Json(text); }

Json Strings(const std::vector<std::string>& strings) { return Json::Array(strings.begin(), strings.end()); }

Json StringsOrNull(const std::optional<std::vector<std::string>>& strings) {
  return strings ? Strings(*strings) : Json();
}

Json Pairs(const std::vector<std::pair<std::string, std::string>>& pairs) {
  Json object = Json::MakeObject();
  for (const auto& [name, value] : pairs) object.Set(name, value);
  return object;
}

Json ResourcesView(const queue::Resources& resources) {
  Json json = Json::MakeObject();
  const uint32_t millis = resources.cpu_millis;
  json.Set("cpu", millis % 1000 == 0 ? Json(millis / 1000) : Json(millis / 1000.0));
  json.Set("memory_bytes", resources.memory_bytes);
  json.Set("pids", resources.pids);
  json.Set("disk_bytes", resources.disk_bytes);
  return json;
}

Json UsageView(const queue::Usage& usage) {
  Json json = Json::MakeObject();
  json.Set("cpu_seconds", OrNull(usage.cpu_seconds));
  json.Set("memory_peak_bytes", OrNull(usage.memory_peak_bytes));
  json.Set("pids_peak", OrNull(usage.pids_peak));
  return json;
}

Json ProgressView(const std::optional<PullProgress>& progress) {
  if (!progress) return {};
  Json json = Json::MakeObject();
  json.Set("bytes_done", progress->bytes_done);
  json.Set("bytes_total", progress->bytes_total);
  return json;
}

}  // namespace

Json JobView(const queue::JobRecord& job, const std::optional<PullProgress>& progress) {
  const queue::JobSpec& spec = job.spec;
  Json json = Json::MakeObject();
  json.Set("id", job.id.value);
  json.Set("tenant", job.tenant_name);
  json.Set("state", ToString(job.state));
  json.Set("reason", job.reason == queue::Reason::kNone ? Json() : Json(ToString(job.reason)));
  json.Set("exit_code", OrNull(job.exit_code));
  json.Set("signal", OrNull(job.signal));
  json.Set("message", TextOrNull(job.message));
  json.Set("attempts", job.attempts);
  json.Set("image", spec.image);
  json.Set("image_digest", job.image_digest ? Json(job.image_digest->ToString()) : Json());
  json.Set("created_at", FormatTime(job.created_at));
  json.Set("scheduled_at", TimeOrNull(job.state == queue::JobState::kScheduled ? job.run_at : std::nullopt));
  json.Set("started_at", TimeOrNull(job.started_at));
  json.Set("finished_at", TimeOrNull(job.finished_at));
  json.Set("cancel_requested", job.cancel_requested);
  json.Set("progress", ProgressView(progress));
  json.Set("usage", UsageView(job.usage));
  json.Set("unenforced", Strings(job.unenforced));
  json.Set("log_bytes", job.log_bytes);
  json.Set("log_dropped_bytes", job.log_dropped);

  json.Set("pull", TextOrNull(spec.pull_policy));
  json.Set("command", StringsOrNull(spec.command));
  json.Set("entrypoint", StringsOrNull(spec.entrypoint));
  json.Set("env", Pairs(spec.env));
  json.Set("working_dir", TextOrNull(spec.working_dir));
  json.Set("user", TextOrNull(spec.user));
  json.Set("timeout_seconds", spec.timeout_seconds);
  json.Set("max_attempts", spec.max_attempts);
  json.Set("retry_delay_seconds", spec.retry_delay_seconds);
  json.Set("resources", ResourcesView(spec.resources));
  json.Set("labels", Pairs(spec.labels));
  return json;
}

}  // namespace caisson::api
