// SPDX-License-Identifier: Apache-2.0
// Jobs: list, show, logs, cancel. `run` and `submit` are in run.cc.
#include <algorithm>

#include "base/clock.h"
#include "cli/command_context.h"
#include "cli/exit_status.h"
#include "cli/job_view.h"
#include "cli/log_reader.h"
#include "cli/render.h"
#include "cli/run.h"

namespace caisson::cli {
namespace {

constexpr uint32_t kPageLimit = 200;  // the API's largest page

std::string JobPath(const std::string& id) { return "/v1/jobs/" + UrlEncode(id); }

}  // namespace

Result<int> Do(const ListJobsCommand& command, Context& context) {
  Json::Array items;
  std::vector<JobView> jobs;
  std::string cursor;
  const size_t wanted = command.all ? SIZE_MAX : command.limit;
  do {
    std::string path = fmt::format("/v1/jobs?limit={}", std::min<size_t>(kPageLimit, wanted - items.size()));
    if (!command.states.empty()) path += "&state=" + UrlEncode(command.states);
    if (!cursor.empty()) path += "&cursor=" + UrlEncode(cursor);
    const Json page = TRY(context.client.Get(path));
    for (const Json& item : page.ArrayOrEmpty("items")) {
      jobs.push_back(TRY(ParseJob(item)));
      items.push_back(item);
    }
    cursor = page.StringOr("next_cursor", "");
  } while (!cursor.empty() && items.size() < wanted);
  if (context.options.json) {
    Json document = Json::MakeObject();
    document.Set("items", Json(std::move(items)));
    TRY(context.Print(document));
    return kExitOk;
  }
  TRY(context.console.Print(RenderJobs(jobs, SystemClock().NowMs())));
  if (!cursor.empty()) context.console.Say("there are more: --limit N or --all shows them");
  return kExitOk;
}

Result<int> Do(const ShowJobCommand& command, Context& context) {
  const Json answer = TRY(context.client.Get(JobPath(command.id)));
  if (context.options.json) {
    TRY(context.Print(answer));
  } else {
    TRY(context.console.Print(RenderJob(answer, TRY(ParseJob(answer)), SystemClock().NowMs())));
  }
  return kExitOk;
}

Result<int> Do(const ShowLogsCommand& command, Context& context) {
  LogReader reader(context.client, context.console);
  TRY(reader.Read({.job_id = command.id, .stream = command.stream, .follow = command.follow}));
  if (reader.dropped_bytes() > 0) context.console.Say(DroppedText(reader.dropped_bytes()));
  return kExitOk;
}

Result<int> Do(const CancelCommand& command, Context& context) {
  Json body = Json::MakeObject();
  if (command.grace_seconds) body.Set("grace_seconds", Json(*command.grace_seconds));
  const Json answer = TRY(context.client.Post(JobPath(command.id) + "/cancel", body.Dump()));
  if (context.options.json) {
    TRY(context.Print(answer));
    return kExitOk;
  }
  const JobView job = TRY(ParseJob(answer));
  TRY(context.console.Print(
      fmt::format("{} {}\n", Printable(job.id), job.is_final() ? Printable(job.state) : "is being cancelled")));
  return kExitOk;
}

Result<int> Do(const RunCommand& command, Context& context) {
  return Run(command, context.endpoint, context.identity, context.options.json, context.console);
}

}  // namespace caisson::cli
