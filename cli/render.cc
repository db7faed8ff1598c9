// SPDX-License-Identifier: Apache-2.0
#include "cli/render.h"

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <string.h>

#include "cli/quantity.h"
#include "cli/text.h"

namespace caisson::cli {
namespace {

constexpr size_t kImageWidth = 48;
constexpr size_t kCommandWidth = 40;
constexpr size_t kDigestWidth = 19;  // "sha256:" and twelve digits

std::string Age(std::string_view time, UnixMillis now) {
  const std::optional<UnixMillis> then = ParseTime(time);
  return then ? FormatDuration((now - *then) / 1000 * 1000) : std::string("-");
}

// How long the newest attempt's program ran, or has been running.
std::string RunTime(const JobView& job, UnixMillis now) {
  const std::optional<UnixMillis> start = ParseTime(job.started_at);
  if (!start) return "-";
  if (!job.is_final() && job.state != "running") return "-";
  return FormatDuration(ParseTime(job.finished_at).value_or(now) - *start);
}

std::string SignalText(int64_t signal) {
  const char* name = signal > 0 && signal < 128 ? sigabbrev_np(static_cast<int>(signal)) : nullptr;
  return name ? fmt::format("signal {} ({})", signal, name) : fmt::format("signal {}", signal);
}

std::string CommandText(const JobView& job) { return Printable(fmt::format("{}", fmt::join(job.command, " "))); }

std::string OrDash(std::string text) { return text.empty() ? "-" : text; }

// "host/name:tag@sha256:..." has its digest in a column of its own.
std::string WithoutDigest(const std::string& reference) { return reference.substr(0, reference.find('@')); }

// A time with its distance: "2026-11-24T20:28:26.123Z (3m12s ago)".
std::string TimeText(const std::string& time, UnixMillis now) {
  return ParseTime(time) ? fmt::format("{} ({} ago)", time, Age(time, now)) : Printable(time);
}

using Fields = std::vector<std::pair<std::string, std::string>>;

void AddText(Fields& fields, std::string name, std::string value) {
  if (!value.empty()) fields.emplace_back(std::move(name), std::move(value));
}

void AddUsage(Fields& fields, const Json& json) {
  const Json* usage = json.Find("usage");
  if (!usage) return;
  if (const Json* cpu = usage->Find("cpu_seconds"); cpu && cpu->IsNumber())
    AddText(fields, "CPU used", fmt::format("{:.3f}s", cpu->NumberOr(0)));
  if (const int64_t peak = usage->IntOr("memory_peak_bytes", -1); peak >= 0)
    AddText(fields, "Memory peak", FormatSize(static_cast<uint64_t>(peak)));
  if (const int64_t peak = usage->IntOr("pids_peak", -1); peak >= 0) AddText(fields, "Processes", std::to_string(peak));
}

void AddLabels(Fields& fields, const Json& json) {
  const Json* labels = json.Find("labels");
  if (!labels || !labels->AsObject()) return;
  for (const auto& [key, value] : *labels->AsObject())
    if (value.AsString()) AddText(fields, "Label", Printable(key + "=" + *value.AsString()));
}

// A row for each name, as an image without one has for its repository.
std::vector<std::string> NamesOf(const Json& image) {
  std::vector<std::string> names;
  for (const Json& name : image.ArrayOrEmpty("names"))
    if (name.AsString()) names.push_back(*name.AsString());
  if (names.empty()) names.push_back(WithoutDigest(image.StringOr("reference", "-")));
  return names;
}

}  // namespace

std::string ResultText(const JobView& job) {
  if (job.reason == "exited" && job.exit_code) return fmt::format("exited {}", *job.exit_code);
  if (job.reason == "signaled" && job.signal) return SignalText(*job.signal);
  return Printable(job.reason);
}

std::string RenderJobs(const std::vector<JobView>& jobs, UnixMillis now) {
  std::vector<std::vector<std::string>> rows;
  for (const JobView& job : jobs)
    rows.push_back({Printable(job.id), Printable(job.state), OrDash(ResultText(job)), Age(job.created_at, now),
                    RunTime(job, now), Shorten(Printable(job.image), kImageWidth),
                    Shorten(CommandText(job), kCommandWidth)});
  return FormatTable({"ID", "STATE", "RESULT", "AGE", "RAN", "IMAGE", "COMMAND"}, rows);
}

std::string RenderJob(const Json& json, const JobView& job, UnixMillis now) {
  Fields fields;
  AddText(fields, "Job", Printable(job.id));
  AddText(fields, "State", Printable(job.state));
  AddText(fields, "Result", ResultText(job));
  AddText(fields, "Message", Printable(job.message));
  AddText(fields, "Image", Printable(job.image));
  AddText(fields, "Digest", Printable(job.image_digest));
  AddText(fields, "Command", CommandText(job));
  AddLabels(fields, json);
  AddText(fields, "Attempts", std::to_string(job.attempts));
  AddText(fields, "Created", TimeText(job.created_at, now));
  AddText(fields, "Started", TimeText(job.started_at, now));
  AddText(fields, "Finished", TimeText(job.finished_at, now));
  if (!job.started_at.empty()) AddText(fields, "Ran", RunTime(job, now));
  AddUsage(fields, json);
  if (job.log_dropped_bytes > 0)
    AddText(fields, "Output lost", FormatSize(static_cast<uint64_t>(job.log_dropped_bytes)) + " past the log's limit");
  AddText(fields, "Not enforced", Printable(fmt::format("{}", fmt::join(job.unenforced, ", "))));
  return FormatFields(fields);
}

std::string RenderImages(const Json& answer, UnixMillis now) {
  std::vector<std::vector<std::string>> rows;
  for (const Json& image : answer.ArrayOrEmpty("items"))
    for (const std::string& name : NamesOf(image))
      rows.push_back({Printable(name), Printable(image.StringOr("digest", "-")).substr(0, kDigestWidth),
                      std::to_string(image.IntOr("layers", 0)),
                      FormatSize(static_cast<uint64_t>(image.IntOr("compressed_bytes", 0))),
                      FormatSize(static_cast<uint64_t>(image.IntOr("unpacked_bytes", 0))),
                      Age(image.StringOr("pulled_at", ""), now)});
  return FormatTable({"IMAGE", "DIGEST", "LAYERS", "DOWNLOAD", "SIZE", "AGE"}, rows);
}

std::string RenderImage(const Json& image, UnixMillis now) {
  const auto words = [](const Json& json, std::string_view key) {
    std::vector<std::string> list;
    for (const Json& word : json.ArrayOrEmpty(key))
      if (word.AsString()) list.push_back(Printable(*word.AsString()));
    return list;
  };
  const auto text = [](const Json& json, std::string_view key) { return Printable(json.StringOr(key, "")); };
  const auto size = [](const Json& json, std::string_view key) {
    return FormatSize(static_cast<uint64_t>(json.IntOr(key, 0)));
  };
  const Json none = Json::MakeObject();
  const Json& config = image.Find("config") ? *image.Find("config") : none;
  Fields fields;
  AddText(fields, "Image", text(image, "reference"));
  for (const std::string& name : words(image, "names")) AddText(fields, "Name", name);
  AddText(fields, "Digest", text(image, "digest"));
  AddText(fields, "Index", text(image, "index_digest"));
  AddText(fields, "Signature", text(image, "signature"));
  AddText(fields, "Platform", text(config, "os") + "/" + text(config, "architecture"));
  AddText(fields, "User", text(config, "user"));
  AddText(fields, "Working dir", text(config, "working_dir"));
  AddText(fields, "Entrypoint", fmt::format("{}", fmt::join(words(config, "entrypoint"), " ")));
  AddText(fields, "Command", fmt::format("{}", fmt::join(words(config, "command"), " ")));
  AddText(fields, "Stop signal", text(config, "stop_signal"));
  for (const std::string& variable : words(config, "env")) AddText(fields, "Env", variable);
  AddText(fields, "Download", size(image, "compressed_bytes"));
  AddText(fields, "Size", size(image, "unpacked_bytes"));
  AddText(fields, "Pulled", TimeText(image.StringOr("pulled_at", ""), now));
  for (const std::string& warning : words(image, "warnings")) AddText(fields, "Warning", warning);
  std::vector<std::vector<std::string>> rows;
  for (const Json& layer : image.ArrayOrEmpty("layers"))
    rows.push_back({text(layer, "digest").substr(0, kDigestWidth), size(layer, "compressed_bytes"),
                    size(layer, "unpacked_bytes"), std::to_string(layer.IntOr("entries", 0))});
  return FormatFields(fields) + "\n" + FormatTable({"LAYER", "DOWNLOAD", "SIZE", "ENTRIES"}, rows);
}

std::string RenderVerdict(const Json& verdict) {
  std::vector<std::vector<std::string>> rows;
  for (const Json& layer : verdict.ArrayOrEmpty("layers"))
    rows.push_back({Printable(layer.StringOr("digest", "-")).substr(0, kDigestWidth),
                    Printable(layer.StringOr("verdict", "-")), OrDash(Printable(layer.StringOr("detail", "")))});
  return FormatTable({"LAYER", "VERDICT", "DETAIL"}, rows);
}

std::string RenderLogins(const Json& answer, UnixMillis now) {
  std::vector<std::vector<std::string>> rows;
  for (const Json& login : answer.ArrayOrEmpty("items"))
    rows.push_back({Printable(login.StringOr("registry", "-")), OrDash(Printable(login.StringOr("username", ""))),
                    Age(login.StringOr("created_at", ""), now)});
  return FormatTable({"REGISTRY", "USERNAME", "AGE"}, rows);
}

std::string EpilogueText(const JobView& job) {
  if (job.state == "succeeded" || job.reason == "exited") return {};
  std::string text = fmt::format("job {} {}", Printable(job.id), Printable(job.state));
  if (job.state != "cancelled") text += ": " + OrDash(ResultText(job));
  if (!job.message.empty()) text += ": " + Printable(job.message);
  return text;
}

std::string DroppedText(int64_t bytes) {
  return fmt::format("{} bytes of output were dropped: they are past the log's limit", bytes);
}

Result<DoctorReport> RenderDoctor(const Json& report) {
  const Json* strict = report.Find("strict_possible");
  if (!strict || !strict->AsBool()) return Fail(ErrorCode::kInvalid, "the answer is not a doctor's report");
  DoctorReport result;
  result.strict_possible = *strict->AsBool();
  result.text = FormatFields({{"Kernel", Printable(report.StringOr("kernel", "unknown"))},
                              {"Isolation", Printable(report.StringOr("isolation", "unknown"))},
                              {"Strict", result.strict_possible ? "possible" : "not possible on this host"}});
  result.text += '\n';
  std::vector<std::vector<std::string>> rows;
  std::string fixes;
  for (const Json& check : report.ArrayOrEmpty("checks")) {
    const std::string name = Printable(check.StringOr("name", ""));
    rows.push_back({name, Printable(check.StringOr("state", "")), Printable(check.StringOr("detail", ""))});
    const std::string fix = Printable(check.StringOr("fix", ""));
    if (!fix.empty()) fixes += fmt::format("  {}: {}\n", name, fix);
  }
  result.text += FormatTable({"CHECK", "STATE", "DETAIL"}, rows);
  if (!fixes.empty()) result.text += "\nTo mend:\n" + fixes;
  return result;
}

}  // namespace caisson::cli
