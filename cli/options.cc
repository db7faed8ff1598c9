// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"

#include <fmt/core.h>

#include "cli/api_client.h"
#include "cli/option_parser.h"
#include "cli/text.h"

namespace caisson::cli {

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

namespace {

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
  AddJobCommands(parser);
  AddImageCommands(parser);
  AddRegistryCommands(parser);
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
  for (const CLI::App* app : parser.app.get_subcommands()) {  // those that were begun
    std::string known;
    for (const CLI::App* command : app->get_subcommands({})) known += (known.empty() ? "" : ", ") + command->get_name();
    return fmt::format("\"{}\" needs a command of its own: {}", app->get_name(), known);
  }
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
