// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.h"

#include <algorithm>

#include "base/clock.h"
#include "cli/api_client.h"
#include "cli/doctor.h"
#include "cli/exit_status.h"
#include "cli/job_view.h"
#include "cli/log_reader.h"
#include "cli/render.h"
#include "cli/run.h"
#include "cli/text.h"

namespace caisson::cli {
namespace {

constexpr uint32_t kPageLimit = 200;  // the API's largest page

// What each command works with.
struct Context {
  const Options& options;
  const Endpoint& endpoint;
  const Identity& identity;
  const Console& console;
  ApiClient& client;

  Result<void> Print(const Json& json) const { return console.Print(TerminalSafeJson(json.Dump(true)) + "\n"); }
};

std::string JobPath(const std::string& id) { return "/v1/jobs/" + UrlEncode(id); }

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

Result<int> Do(const ListImagesCommand&, Context& context) {
  const Json answer = TRY(context.client.Get("/v1/images"));
  if (context.options.json) {
    TRY(context.Print(answer));
  } else {
    TRY(context.console.Print(RenderImages(answer, SystemClock().NowMs())));
  }
  return kExitOk;
}

Result<int> Do(const CreateTokenCommand& command, Context& context) {
  Json body = Json::MakeObject();
  body.Set("tenant", command.tenant);
  const Json answer = TRY(context.client.Post("/v1/tokens", body.Dump()));
  if (context.options.json) {
    TRY(context.Print(answer));
    return kExitOk;
  }
  const std::string token = answer.StringOr("token", "");
  if (token.empty()) return Fail(ErrorCode::kInvalid, "the answer holds no token");
  TRY(context.console.Print(Printable(token) + "\n"));
  context.console.Say("keep it: it is shown this once");
  return kExitOk;
}

Result<int> Do(const DoctorCommand&, Context& context) {
  const Json report = TRY(FetchDoctorReport(context.client, context.console));
  const DoctorReport rendered = TRY(RenderDoctor(report));
  if (context.options.json) {
    TRY(context.Print(report));
  } else {
    TRY(context.console.Print(rendered.text));
  }
  return rendered.strict_possible ? kExitOk : kExitError;
}

Result<int> Do(const VersionCommand&, Context& context) {
  if (context.options.json) {
    Json document = Json::MakeObject();
    document.Set("version", CAISSON_VERSION);
    TRY(context.Print(document));
  } else {
    TRY(context.console.Print("caisson " CAISSON_VERSION "\n"));
  }
  return kExitOk;
}

Result<int> Do(const RunCommand& command, Context& context) {
  return Run(command, context.endpoint, context.identity, context.options.json, context.console);
}

Result<int> Dispatch(const Options& options, std::string token, const Console& console) {
  const Endpoint endpoint = TRY(Endpoint::Parse(options.host));
  const Identity identity = TRY(Identity::Make(std::move(token), options.tenant));
  ApiClient client(endpoint, identity);
  Context context{options, endpoint, identity, console, client};
  return std::visit([&](const auto& command) { return Do(command, context); }, options.command);
}

}  // namespace

int RunCommandLine(const Options& options, std::string token, const Console& console) {
  const Result<int> status = Dispatch(options, std::move(token), console);
  if (status) return *status;
  console.Say(status.error().message);
  const RunCommand* run = std::get_if<RunCommand>(&options.command);
  return run ? run->failure_status : kExitError;
}

}  // namespace caisson::cli
