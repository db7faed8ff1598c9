// SPDX-License-Identifier: Apache-2.0
// The commands about jobs: run, submit, jobs, job, logs, cancel.
#include <fmt/core.h>

#include "cli/option_parser.h"
#include "cli/quantity.h"

namespace caisson::cli {
namespace {

// The texts of options whose values need more than CLI11's own conversions.
struct JobTexts {
  std::vector<std::string> env, labels;
  std::string timeout, retry_delay, cpu, memory, disk;
  bool no_stdin = false;
  RunCommand run;
};

void AddJobOptions(CommandWords app, JobTexts& texts) {
  JobRequest& job = texts.run.job;
  app.Option("--pull", job.pull, "When to ask the registry what a tag means now")
      .Type("always|if-missing|never")
      .OneOf({"always", "if-missing", "never"});
  app.Option("-e,--env", texts.env, "Variable for the job; NAME alone takes its value from here")
      .Type("NAME[=VALUE]")
      .OneValue();
  app.Option("-w,--workdir", job.working_dir, "Working directory, in place of the image's").Type("DIR");
  app.Option("-u,--user", job.user, "User, in place of the image's").Type("NAME|UID[:GID]");
  app.Option("--entrypoint", job.entrypoint, "Program, in place of the image's entrypoint").Type("PROGRAM");
  app.Option("--timeout", texts.timeout, "Longest run, from the start of the program: 90, 5m, 2h").Type("TIME");
  app.Option("--max-attempts", job.max_attempts, "Run again after a failure, up to so many times in all").Type("N");
  app.Option("--retry-delay", texts.retry_delay, "Wait before another attempt").Type("TIME");
  app.Option("--cpu", texts.cpu, "Cores: 0.5, 2").Type("CORES");
  app.Option("--memory", texts.memory, "Memory limit: 512M, 2G").Type("SIZE");
  app.Option("--pids", job.pids, "Most processes and threads").Type("N");
  app.Option("--disk", texts.disk, "Most that the job may write to its file system: 64M").Type("SIZE");
  app.Option("-l,--label", texts.labels, "Label on the job").Type("NAME=VALUE").OneValue();
  app.Flag("--no-stdin", texts.no_stdin, "Do not take standard input as the payload when it is a pipe or a file");
}

// "NAME=VALUE", or "NAME" with the value that it has here.
Result<std::pair<std::string, std::string>> Variable(const std::string& text, const Environment& environment) {
  if (text.find('=') != std::string::npos || text.empty()) return TRY_IN("--env", ParsePair(text));
  const auto found = environment.find(text);
  if (found == environment.end()) return Fail(ErrorCode::kInvalid, "--env {}: no such variable is set here", text);
  return *found;
}

// IMAGE [--] [COMMAND ARGUMENT...]: everything after the image belongs to the command, options too.
Result<void> TakeImageAndCommand(std::vector<std::string> words, JobRequest& job) {
  if (!words.empty() && words.front() == "--") {
    words.erase(words.begin());
  } else if (!words.empty() && words.front().starts_with('-')) {
    return Fail(ErrorCode::kInvalid, "unknown option {}", words.front());
  }
  if (words.empty() || words.front().empty()) return Fail(ErrorCode::kInvalid, "an IMAGE is needed");
  job.image = words.front();
  words.erase(words.begin());
  if (!words.empty() && words.front() == "--") words.erase(words.begin());
  job.command = std::move(words);
  return {};
}

Result<Command> MakeRun(const JobTexts& texts, const std::vector<std::string>& words, const Environment& environment) {
  RunCommand run = texts.run;
  JobRequest& job = run.job;
  TRY(TakeImageAndCommand(words, job));
  for (const std::string& text : texts.env) job.env.push_back(TRY(Variable(text, environment)));
  for (const std::string& text : texts.labels) job.labels.push_back(TRY_IN("--label", ParsePair(text)));
  if (!texts.timeout.empty()) job.timeout_seconds = TRY_IN("--timeout", ParseSeconds(texts.timeout));
  if (!texts.retry_delay.empty()) job.retry_delay_seconds = TRY_IN("--retry-delay", ParseSeconds(texts.retry_delay));
  if (!texts.cpu.empty()) job.cpu_millis = TRY_IN("--cpu", ParseCores(texts.cpu));
  if (!texts.memory.empty()) job.memory_bytes = TRY_IN("--memory", ParseSize(texts.memory));
  if (!texts.disk.empty()) job.disk_bytes = TRY_IN("--disk", ParseSize(texts.disk));
  run.read_stdin = !texts.no_stdin;
  return Command(std::move(run));
}

void AddRun(Parser& parser, const std::string& name, const std::string& help, bool submit_only) {
  CommandWords app = parser.root.Add(name, help);
  if (!submit_only)
    app.Footer(
        "Exits with the job's status: its exit code, 128 and the signal that ended it, 124 when its time ran out,\n"
        "137 when memory or disk did, 127 or 126 when the command is not found or not executable, 130 when it was\n"
        "cancelled (Ctrl-C), 125 for everything else that keeps it from running.");
  app.EndsAtFirstWord();  // from the image on nothing is an option of ours
  auto texts = std::make_shared<JobTexts>();
  AddJobOptions(app, *texts);
  if (!submit_only) app.Flag("-d,--detach", texts->run.detach, "Print the job's id and do not wait, as `submit` does");
  if (submit_only) texts->run.detach = true;
  texts->run.failure_status = submit_only ? kExitError : kExitRunFailed;
  AddCommon(app, parser.options, true);
  parser.entries.push_back({app, [texts, app, &parser] { return MakeRun(*texts, app.Rest(), parser.environment); },
                            submit_only ? kExitUsage : kExitRunFailed});
}

void AddJobs(Parser& parser) {
  CommandWords app = parser.root.Add("jobs", "List jobs, newest first");
  auto command = std::make_shared<ListJobsCommand>();
  app.Option("--state", command->states,
             "Only these: blocked, scheduled, queued, preparing, running, succeeded, "
             "failed, cancelled; several with commas")
      .Type("STATE[,STATE]");
  app.Option("--limit", command->limit, "Most jobs to list").Type("N").ShowDefault();
  app.Flag("--all", command->all, "All of them");
  AddCommon(app, parser.options, true);
  const auto make = [command]() -> Result<Command> {
    if (command->limit == 0) return Fail(ErrorCode::kInvalid, "--limit: at least 1");
    return Command(*command);
  };
  parser.entries.push_back({app, make, kExitUsage});
}

void AddJob(Parser& parser) {
  CommandWords app = parser.root.Add("job", "Show one job");
  auto command = std::make_shared<ShowJobCommand>();
  app.Option("ID", command->id, "The job's id").Required();
  AddCommon(app, parser.options, true);
  parser.entries.push_back({app, [command] { return Command(*command); }, kExitUsage});
}

void AddLogs(Parser& parser) {
  CommandWords app = parser.root.Add("logs", "Print a job's output: its stdout to stdout, its stderr to stderr");
  auto command = std::make_shared<ShowLogsCommand>();
  app.Option("ID", command->id, "The job's id").Required();
  app.Flag("-f,--follow", command->follow, "Go on until the job has ended");
  app.Option("--stream", command->stream, "Only this one").Type("stdout|stderr").OneOf({"stdout", "stderr"});
  AddCommon(app, parser.options, true);
  parser.entries.push_back({app, [command] { return Command(*command); }, kExitUsage});
}

void AddCancel(Parser& parser) {
  CommandWords app = parser.root.Add("cancel", "Stop a job: its stop signal, and after a grace the end");
  auto command = std::make_shared<CancelCommand>();
  auto grace = std::make_shared<std::string>();
  app.Option("ID", command->id, "The job's id").Required();
  app.Option("--grace", *grace, "Time between the stop signal and the end").Type("TIME");
  AddCommon(app, parser.options, true);
  const auto make = [command, grace]() -> Result<Command> {
    if (!grace->empty()) command->grace_seconds = TRY_IN("--grace", ParseSeconds(*grace));
    return Command(*command);
  };
  parser.entries.push_back({app, make, kExitUsage});
}

}  // namespace

void AddJobCommands(Parser& parser) {
  AddRun(parser, "run", "Run a job, show its output, and exit with its status", false);
  AddRun(parser, "submit", "Hand in a job and print its id", true);
  AddJobs(parser);
  AddJob(parser);
  AddLogs(parser);
  AddCancel(parser);
}

}  // namespace caisson::cli
