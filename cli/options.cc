// SPDX-License-Identifier: Apache-2.0
#include "cli/options.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>

#include "cli/api_client.h"
#include "cli/option_parser.h"
#include "cli/text.h"

namespace caisson::cli {

// ---- The words for commands and options, in CLI11
// ----------------------------------------------------------------------

OptionWords& OptionWords::Type(const std::string& name) {
  option_->type_name(name);
  return *this;
}

OptionWords& OptionWords::OneOf(const std::vector<std::string>& values) {
  option_->check(CLI::IsMember(values));
  return *this;
}

OptionWords& OptionWords::Required() {
  option_->required();
  return *this;
}

OptionWords& OptionWords::ShowDefault() {
  option_->capture_default_str();
  return *this;
}

OptionWords& OptionWords::OneValue() {
  option_->allow_extra_args(false);
  return *this;
}

OptionWords& OptionWords::Needs(const OptionWords& other) {
  option_->needs(other.option_);
  return *this;
}

OptionWords& OptionWords::Excludes(const OptionWords& other) {
  option_->excludes(other.option_);
  return *this;
}

CommandWords CommandWords::Add(const std::string& name, const std::string& help) {
  return CommandWords(app_->add_subcommand(name, help));
}

void CommandWords::NeedsOne() { app_->require_subcommand(1); }
void CommandWords::Footer(const std::string& text) { app_->footer(text); }
void CommandWords::EndsAtFirstWord() { app_->prefix_command(); }
std::vector<std::string> CommandWords::Rest() const { return app_->remaining(); }

OptionWords CommandWords::Option(const std::string& names, std::string& value, const std::string& help) {
  return OptionWords(app_->add_option(names, value, help));
}

OptionWords CommandWords::Option(const std::string& names, std::optional<std::string>& value, const std::string& help) {
  return OptionWords(app_->add_option(names, value, help));
}

OptionWords CommandWords::Option(const std::string& names, std::vector<std::string>& value, const std::string& help) {
  return OptionWords(app_->add_option(names, value, help));
}

OptionWords CommandWords::Option(const std::string& names, uint32_t& value, const std::string& help) {
  return OptionWords(app_->add_option(names, value, help));
}

OptionWords CommandWords::Option(const std::string& names, std::optional<uint32_t>& value, const std::string& help) {
  return OptionWords(app_->add_option(names, value, help));
}

OptionWords CommandWords::Flag(const std::string& names, bool& value, const std::string& help) {
  return OptionWords(app_->add_flag(names, value, help));
}

// ---- The table, but for the groups with files of their own
// -------------------------------------------------------------

void AddCommon(CommandWords words, Options& options, bool with_tenant) {
  words
      .Option("--host", options.host,
              fmt::format("Daemon: unix:///PATH or http(s)://HOST:PORT (CAISSON_HOST; default {})", kDefaultHost))
      .Type("URL");
  words.Flag("--json", options.json, "Print JSON for programs");
  if (with_tenant)
    words.Option("--tenant", options.tenant, "Act for this tenant (on the Unix socket only)").Type("NAME");
}

namespace {

void AddToken(Parser& parser) {
  CommandWords app = parser.root.Add("token", "Tokens for the API on TCP");
  app.NeedsOne();
  CommandWords create = app.Add("create", "Make a token and print it, this once (on the Unix socket only)");
  auto command = std::make_shared<CreateTokenCommand>();
  create.Option("--tenant", command->tenant, "The tenant that the token acts for").Type("NAME").Required();
  AddCommon(create, parser.options, false);
  parser.entries.push_back({create, [command] { return Command(*command); }, kExitUsage});
}

template <typename T>
void AddPlain(Parser& parser, const std::string& name, const std::string& help) {
  CommandWords app = parser.root.Add(name, help);
  AddCommon(app, parser.options, false);
  parser.entries.push_back({app, [] { return Command(T{}); }, kExitUsage});
}

void AddCommands(Parser& parser) {
  AddJobCommands(parser);
  AddImageCommands(parser);
  AddRegistryCommands(parser);
  AddToken(parser);
  AddPlain<DoctorCommand>(parser, "doctor", "Show what this host can enforce, and how to mend what it cannot");
  AddPlain<VersionCommand>(parser, "version", "Print the version");
}

std::string HostFrom(const Options& options, const Environment& environment) {
  if (!options.host.empty()) return options.host;
  const auto found = environment.find("CAISSON_HOST");
  return found != environment.end() && !found->second.empty() ? found->second : std::string(kDefaultHost);
}

// The command that was begun, nullptr before any was named.
const Entry* Begun(const Parser& parser) {
  for (const Entry& entry : parser.entries)
    if (entry.words.app()->parsed()) return &entry;
  return nullptr;
}

std::string NoCommand(const CLI::App& root, const std::vector<std::string>& arguments) {
  for (const CLI::App* app : root.get_subcommands()) {  // those that were begun
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
  const std::string command = begun ? NameOf(begun->words.app()) : "";
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
  CLI::App root{"Runs container jobs on this host's caissond, or on another's.", "caisson"};
  root.formatter(std::make_shared<HelpFormatter>());  // inherited by the commands, so before them
  root.require_subcommand(1);
  Parser parser{CommandWords(&root), environment, {}, {}};
  AddCommon(parser.root, parser.options, true);
  AddCommands(parser);
  try {
    root.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));  // reversed, as CLI11 wants them
  } catch (const CLI::CallForHelp&) {
    return EarlyExit{kExitOk, root.help()};  // of the command that was begun
  } catch (const CLI::ParseError& error) {
    const Entry* begun = Begun(parser);
    const bool no_command = !begun && error.get_exit_code() == static_cast<int>(CLI::ExitCodes::RequiredError);
    return UsageError(no_command ? NoCommand(root, arguments) : error.what(), begun);
  }
  const Entry* begun = Begun(parser);
  if (!begun) return UsageError(NoCommand(root, arguments), nullptr);
  Result<Command> command = begun->make();
  if (!command) return UsageError(command.error().message, begun);
  parser.options.command = *std::move(command);
  parser.options.host = HostFrom(parser.options, environment);
  const Result<Endpoint> endpoint = Endpoint::Parse(parser.options.host);
  if (!endpoint) return UsageError(endpoint.error().message, begun);
  return std::move(parser.options);
}

}  // namespace caisson::cli
