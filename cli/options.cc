// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>

#include "cli/api_client.h"
#include "cli/exit_status.h"
#include "cli/quantity.h"
#include "cli/text.h"

namespace caisson::cli {
namespace {

using Environment = std::map<std::string, std::string>;
using CommandOf = std::function<Result<Command>()>;

// One command of the table below, once CLI11 has seen it.
struct Entry {
  CLI::App* app;
  CommandOf make;    // turns what was typed into the command, with the checks that CLI11 does not do
  int usage_status;  // of a mistake: `run` keeps 1 to 124 for the job's own status
};

struct Parser {
  explicit Parser(const Environment& variables) : environment(variables) {}
  const Environment& environment;
  CLI::App app{"Runs container jobs on this host's caissond, or on another's.", "caisson"};
  Options options;
  std::vector<Entry> entries;
};

// What every command understands. Added to each, so that it may stand before and after the command's own options.
void AddCommon(CLI::App& app, Options& options, bool with_tenant) {
  app.add_option("--host", options.host,
                 fmt::format("Daemon: unix:///PATH or http(s)://HOST:PORT (CAISSON_HOST; "
                             "default {})",
                             kDefaultHost))
      ->type_name("URL");
  app.add_flag("--json", options.json, "Print JSON for programs");
  if (with_tenant)
    app.add_option("--tenant", options.tenant, "Act for this tenant (on the Unix socket only)")->type_name("NAME");
}

// The texts of options whose values need more than CLI11's own conversions.
struct JobTexts {
  std::vector<std::string> env, labels;
  std::string timeout, retry_delay, cpu, memory, disk;
  bool no_stdin = false;
  RunCommand run;
};

void AddJobOptions(CLI::App& app, JobTexts& texts) {
  JobRequest& job = texts.run.job;
  app.add_option("-e,--env", texts.env, "Variable for the job; NAME alone takes its value from here")
      ->type_name("NAME[=VALUE]")
      ->allow_extra_args(false);
  app.add_option("-w,--workdir", job.working_dir, "Working directory, in place of the image's")->type_name("DIR");
  app.add_option("-u,--user", job.user, "User, in place of the image's")->type_name("NAME|UID[:GID]");
  app.add_option("--entrypoint", job.entrypoint, "Program, in place of the image's entrypoint")->type_name("PROGRAM");
  app.add_option("--timeout", texts.timeout, "Longest run, from the start of the program: 90, 5m, 2h")
      ->type_name("TIME");
  app.add_option("--max-attempts", job.max_attempts, "Run again after a failure, up to so many times in all")
      ->type_name("N");
  app.add_option("--retry-delay", texts.retry_delay, "Wait before another attempt")->type_name("TIME");
  app.add_option("--cpu", texts.cpu, "Cores: 0.5, 2")->type_name("CORES");
  app.add_option("--memory", texts.memory, "Memory limit: 512M, 2G")->type_name("SIZE");
  app.add_option("--pids", job.pids, "Most processes and threads")->type_name("N");
  app.add_option("--disk", texts.disk, "Most that the job may write to its file system: 64M")->type_name("SIZE");
  app.add_option("-l,--label", texts.labels, "Label on the job")->type_name("NAME=VALUE")->allow_extra_args(false);
  app.add_flag("--no-stdin", texts.no_stdin, "Do not take standard input as the payload when it is a pipe or a file");
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
  CLI::App& app = *parser.app.add_subcommand(name, help);
  if (!submit_only)
    app.footer(
        "Exits with the job's status: its exit code, 128 and the signal that ended it, 124 when its time ran out,\n"
        "137 when memory or disk did, 127 or 126 when the command is not found or not executable, 130 when it was\n"
        "cancelled (Ctrl-C), 125 for everything else that keeps it from running.");
  app.prefix_command();  // from the image on nothing is an option of ours
  auto texts = std::make_shared<JobTexts>();
  AddJobOptions(app, *texts);
  if (!submit_only)
    app.add_flag("-d,--detach", texts->run.detach, "Print the job's id and do not wait, as `submit` does");
  if (submit_only) texts->run.detach = true;
  texts->run.failure_status = submit_only ? kExitError : kExitRunFailed;
  AddCommon(app, parser.options, true);
  parser.entries.push_back({&app,
                            [texts, &app, &parser] { return MakeRun(*texts, app.remaining(), parser.environment); },
                            submit_only ? kExitUsage : kExitRunFailed});
}

void AddJobs(Parser& parser) {
  CLI::App& app = *parser.app.add_subcommand("jobs", "List jobs, newest first");
  auto command = std::make_shared<ListJobsCommand>();
  app.add_option("--state", command->states,
                 "Only these: blocked, scheduled, queued, preparing, running, succeeded, "
                 "failed, cancelled; several with commas")
      ->type_name("STATE[,STATE]");
  app.add_option("--limit", command->limit, "Most jobs to list")->type_name("N")->capture_default_str();
  app.add_flag("--all", command->all, "All of them");
  AddCommon(app, parser.options, true);
  const auto make = [command]() -> Result<Command> {
    if (command->limit == 0) return Fail(ErrorCode::kInvalid, "--limit: at least 1");
    return Command(*command);
  };
  parser.entries.push_back({&app, make, kExitUsage});
}

void AddJob(Parser& parser) {
  CLI::App& app = *parser.app.add_subcommand("job", "Show one job");
  auto command = std::make_shared<ShowJobCommand>();
  app.add_option("ID", command->id, "The job's id")->required();
  AddCommon(app, parser.options, true);
  parser.entries.push_back({&app, [command] { return Command(*command); }, kExitUsage});
}

void AddLogs(Parser& parser) {
  CLI::App& app =
      *parser.app.add_subcommand("logs", "Print a job's output: its stdout to stdout, its stderr to stderr");
  auto command = std::make_shared<ShowLogsCommand>();
  app.add_option("ID", command->id, "The job's id")->required();
  app.add_flag("-f,--follow", command->follow, "Go on until the job has ended");
  app.add_option("--stream", command->stream, "Only this one")
      ->type_name("stdout|stderr")
      ->check(CLI::IsMember({"stdout", "stderr"}));
  AddCommon(app, parser.options, true);
  parser.entries.push_back({&app, [command] { return Command(*command); }, kExitUsage});
}

void AddCancel(Parser& parser) {
  CLI::App& app = *parser.app.add_subcommand("cancel", "Stop a job: its stop signal, and after a grace the end");
  auto command = std::make_shared<CancelCommand>();
  auto grace = std::make_shared<std::string>();
  app.add_option("ID", command->id, "The job's id")->required();
  app.add_option("--grace", *grace, "Time between the stop signal and the end")->type_name("TIME");
  AddCommon(app, parser.options, true);
  const auto make = [command, grace]() -> Result<Command> {
    if (!grace->empty()) command->grace_seconds = TRY_IN("--grace", ParseSeconds(*grace));
    return Command(*command);
  };
  parser.entries.push_back({&app, make, kExitUsage});
}

void AddToken(Parser& parser) {
  CLI::App& app = *parser.app.add_subcommand("token", "Tokens for the API on TCP");
  app.require_subcommand(1);
  CLI::App& create = *app.add_subcommand("create", "Make a token and print it, this once (on the Unix socket only)");
  auto command = std::make_shared<CreateTokenCommand>();
  create.add_option("--tenant", command->tenant, "The tenant that the token acts for")->type_name("NAME")->required();
  AddCommon(create, parser.options, false);
  parser.entries.push_back({&create, [command] { return Command(*command); }, kExitUsage});
}

template <typename T>
void AddPlain(Parser& parser, const std::string& name, const std::string& help, bool with_tenant) {
  CLI::App& app = *parser.app.add_subcommand(name, help);
  AddCommon(app, parser.options, with_tenant);
  parser.entries.push_back({&app, [] { return Command(T{}); }, kExitUsage});
}

void AddCommands(Parser& parser) {
  AddRun(parser, "run", "Run a job, show its output, and exit with its status", false);
  AddRun(parser, "submit", "Hand in a job and print its id", true);
  AddJobs(parser);
  AddJob(parser);
  AddLogs(parser);
  AddCancel(parser);
  AddPlain<ListImagesCommand>(parser, "images", "List the images in the cache", true);
  AddToken(parser);
  AddPlain<DoctorCommand>(parser, "doctor", "Show what this host can enforce, and how to mend what it cannot", false);
  AddPlain<VersionCommand>(parser, "version", "Print the version", false);
}

std::string HostFrom(const Options& options, const Environment& environment) {
  if (!options.host.empty()) return options.host;
  const auto found = environment.find("CAISSON_HOST");
  return found != environment.end() && !found->second.empty() ? found->second : std::string(kDefaultHost);
}

// The command that was begun, nullptr before any was named.
const Entry* Begun(const Parser& parser) {
  for (const Entry& entry : parser.entries)
    if (entry.app->parsed()) return &entry;
  return nullptr;
}

std::string NoCommand(const Parser& parser, const std::vector<std::string>& arguments) {
  for (const CLI::App* app : parser.app.get_subcommands())  // those that were begun
    return fmt::format("\"{}\" needs a command of its own: create", app->get_name());
  if (arguments.empty() || arguments.front().starts_with('-')) return "a command is needed";
  return fmt::format("\"{}\" is no command", arguments.front());
}

// "run", "token create"; empty for the program itself.
std::string NameOf(const CLI::App* app) {
  std::string name;
  for (; app->get_parent(); app = app->get_parent()) name = " " + app->get_name() + name;
  return name;
}

EarlyExit UsageError(const std::string& message, const Entry* begun) {
  const std::string command = begun ? NameOf(begun->app) : "";
  return {begun ? begun->usage_status : kExitUsage,
          fmt::format("caisson: {}\n  `caisson{} --help` tells more\n", Printable(message), command)};
}

// "IMAGE COMMAND..." is no positional for CLI11 (TakeImageAndCommand parses it), so its usage line lacks it.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App* app, std::string name) const override {
    std::string usage = CLI::Formatter::make_usage(app, std::move(name));
    if (!app->get_prefix_command()) return usage;
    while (usage.ends_with('\n')) usage.pop_back();
    return usage + " IMAGE [--] [COMMAND ARGUMENT...]\n";
  }
};

}  // namespace

std::variant<Options, EarlyExit> ParseOptions(const std::vector<std::string>& arguments,
                                              const Environment& environment) {
  Parser parser(environment);
  parser.app.formatter(std::make_shared<HelpFormatter>());  // inherited by the commands, so before them
  parser.app.require_subcommand(1);
  AddCommon(parser.app, parser.options, true);
  AddCommands(parser);
  try {
    parser.app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));  // reversed, as CLI11 wants them
  } catch (const CLI::CallForHelp&) {
    return EarlyExit{kExitOk, parser.app.help()};  // of the command that was begun
  } catch (const CLI::ParseError& error) {
    const Entry* begun = Begun(parser);
    const bool no_command = !begun && error.get_exit_code() == static_cast<int>(CLI::ExitCodes::RequiredError);
    return UsageError(no_command ? NoCommand(parser, arguments) : error.what(), begun);
  }
  const Entry* begun = Begun(parser);
  if (!begun) return UsageError(NoCommand(parser, arguments), nullptr);
  Result<Command> command = begun->make();
  if (!command) return UsageError(command.error().message, begun);
  parser.options.command = *std::move(command);
  parser.options.host = HostFrom(parser.options, environment);
  const Result<Endpoint> endpoint = Endpoint::Parse(parser.options.host);
  if (!endpoint) return UsageError(endpoint.error().message, begun);
  return std::move(parser.options);
}

}  // namespace caisson::cli
