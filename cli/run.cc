// SPDX-License-Identifier: Apache-2.0
#include "cli/run.h"

#include <memory>
#include <string>

#include "cli/exit_status.h"
#include "cli/interrupts.h"
#include "cli/job_view.h"
#include "cli/log_reader.h"
#include "cli/progress_line.h"
#include "cli/render.h"
#include "cli/text.h"

namespace caisson::cli {
namespace {

struct FinishedJob {
  Json json;
  JobView view;
};

Result<JobView> Submit(ApiClient& client, const std::string& body) {
  return ParseJob(TRY(client.Post("/v1/jobs", body)));
}

// The job as it is now, over a restart of the service.
Result<FinishedJob> FetchJob(ApiClient& client, const std::string& id) {
  for (Patience patience;;) {
    Result<Json> answer = client.Get("/v1/jobs/" + UrlEncode(id));
    if (answer) {
      JobView view = TRY(ParseJob(*answer));
      return FinishedJob{*std::move(answer), std::move(view)};
    }
    if (answer.error().code != ErrorCode::kUnavailable || !patience.Wait()) return tl::unexpected(answer.error());
  }
}

// Shows the output until the job is final. The stream of a service that drains may end before that.
Result<FinishedJob> Follow(ApiClient& client, const std::string& id, ProgressLine* progress, const Console& console,
                           bool discard_output) {
  LogReader reader(client, console, [progress] {
    if (progress) progress->Stop();
  });
  for (Patience patience;;) {
    TRY(reader.Read({.job_id = id, .stream = "", .follow = true}, discard_output));
    FinishedJob job = TRY(FetchJob(client, id));
    if (job.view.is_final()) return job;
    if (!patience.Wait()) return Fail(ErrorCode::kUnavailable, "the log's stream ended, but the job has not");
  }
}

// What the output and the status do not say.
void SayEpilogue(const JobView& job, const Console& console) {
  if (const std::string text = EpilogueText(job); !text.empty()) console.Say(text);
  if (job.log_dropped_bytes > 0) console.Say(DroppedText(job.log_dropped_bytes));
  if (!job.unenforced.empty() && console.err_is_terminal()) {
    std::string names;
    for (const std::string& name : job.unenforced) names += (names.empty() ? "" : ", ") + Printable(name);
    console.Say("this host could not enforce: " + names + " (`caisson doctor` tells more)");
  }
}

Result<int> FollowToExit(const std::string& id, const Endpoint& endpoint, const Identity& identity, bool json,
                         const Console& console) {
  ApiClient client(endpoint, identity);
  std::unique_ptr<ProgressLine> progress;
  if (console.err_is_terminal() && !json) progress = std::make_unique<ProgressLine>(endpoint, identity, console, id);
  const Result<FinishedJob> job = Follow(client, id, progress.get(), console, json);
  progress.reset();
  if (!job)
    return Fail(job.error().code, "job {}: {}\nit may go on: `caisson job {}` shows it", Printable(id),
                job.error().message, Printable(id));
  if (json) TRY(console.Print(TerminalSafeJson(job->json.Dump(true)) + "\n"));
  if (!json) SayEpilogue(job->view, console);
  return ExitStatusOf(job->view);
}

Result<int> SubmitAndFollow(const RunCommand& command, const Endpoint& endpoint, const Identity& identity, bool json,
                            const Console& console) {
  std::optional<std::string> payload;
  if (command.read_stdin) payload = TRY(ReadPayload(console.in));
  const std::string body = TRY(ToBody(command.job, payload));
  ApiClient client(endpoint, identity);
  if (command.detach) {
    const Json answer = TRY(client.Post("/v1/jobs", body));
    const JobView job = TRY(ParseJob(answer));
    TRY(console.Print(json ? TerminalSafeJson(answer.Dump(true)) + "\n" : Printable(job.id) + "\n"));
    return kExitOk;
  }
  // After the payload was read, as Ctrl-C means nothing but the end until then.
  const std::unique_ptr<CancelOnInterrupt> interrupts = TRY(CancelOnInterrupt::Start(endpoint, identity, console));
  const JobView job = TRY(Submit(client, body));
  interrupts->JobIs(job.id);
  return FollowToExit(job.id, endpoint, identity, json, console);
}

}  // namespace

int Run(const RunCommand& command, const Endpoint& endpoint, const Identity& identity, bool json,
        const Console& console) {
  const Result<int> status = SubmitAndFollow(command, endpoint, identity, json, console);
  if (status) return *status;
  console.Say(status.error().message);
  return command.failure_status;
}

}  // namespace caisson::cli
