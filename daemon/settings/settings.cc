// SPDX-License-Identifier: Apache-2.0
#include "daemon/settings/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/encoding.h"
#include "base/io.h"
#include "daemon/settings/settings_table.h"
#include "daemon/settings/settings_toml.h"

namespace caisson::daemon {
namespace {

constexpr size_t kMaxConfigBytes = 1 << 20;
constexpr char kVariablePrefix[] = "CAISSON_";
// Of the same prefix, for other programs of ours: the command line's, and what each job is told.
constexpr std::string_view kOthersVariables[] = {"CAISSON_HOST",    "CAISSON_TOKEN", "CAISSON_JOB_ID",
                                                 "CAISSON_ATTEMPT", "CAISSON_FENCE", "CAISSON_PAYLOAD_FILE"};

constexpr std::string_view kTablesHelp = R"(
Only in the file:
  [registries."HOST:PORT"]   plain_http, ca_file, client_cert, client_key, mirrors, mirror_tags, blocked
  [images]                   registries = ["docker.io/library", ...]: all that tenants may use; absent: every one
  [tenants.NAME]             registries = [...]: replaces that list for this tenant
  [[signatures]]             scope, keys, identity, require: images that must be signed, and by whom
  [layers]                   share = "all"
)";

// The flags of a command line, in order, as (setting, value).
struct Flags {
  std::vector<std::pair<const Setting*, std::string>> values;
};

Result<Flags> ReadFlags(const std::vector<std::string>& arguments, CommandLine& line) {
  Flags flags;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--help" || argument == "-h") {
      line.help = true;
    } else if (argument == "--version") {
      line.version = true;
    } else if (!argument.starts_with("--") || argument == "--json") {
      line.positional.push_back(argument);
    } else {
      const size_t equals = argument.find('=');
      const std::string flag = argument.substr(0, equals);
      const auto setting = std::find_if(SettingsTable().begin(), SettingsTable().end(),
                                        [&](const Setting& s) { return FlagOf(s) == flag; });
      if (setting == SettingsTable().end())
        return Fail(ErrorCode::kInvalid, "unknown flag {}; `caissond --help` lists the known ones", EscapeForLog(flag));
      if (equals != std::string::npos) {
        flags.values.emplace_back(&*setting, argument.substr(equals + 1));
      } else if (std::holds_alternative<SwitchField>(setting->field)) {
        flags.values.emplace_back(&*setting, "true");
      } else if (i + 1 < arguments.size()) {
        flags.values.emplace_back(&*setting, arguments[++i]);
      } else {
        return Fail(ErrorCode::kInvalid, "{} needs a value", flag);
      }
    }
  }
  return flags;
}

// A variable with a typing error would silently mean the default.
Result<void> CheckVariables(const std::map<std::string, std::string>& environment) {
  for (auto entry = environment.lower_bound(kVariablePrefix);
       entry != environment.end() && entry->first.starts_with(kVariablePrefix); ++entry) {
    const std::string& name = entry->first;
    const bool setting = std::any_of(SettingsTable().begin(), SettingsTable().end(),
                                     [&](const Setting& known) { return VariableOf(known) == name; });
    if (setting ||
        std::find(std::begin(kOthersVariables), std::end(kOthersVariables), name) != std::end(kOthersVariables))
      continue;
    return Fail(ErrorCode::kInvalid,
                "the variable {} is no setting; `caissond --help` lists them: CAISSON_DATA_DIR is --data-dir",
                EscapeForLog(name));
  }
  return {};
}

Result<void> ReadConfigFile(Settings& settings) {
  Result<std::string> text = ReadFile(settings.config, kMaxConfigBytes);
  if (!text) {
    const bool optional = settings.config == Settings().config && text.error().code == ErrorCode::kNotFound;
    if (optional) return {};
    return tl::unexpected(std::move(text).error().Context("read the configuration"));
  }
  return ReadToml(settings, *text, settings.config, Writer::kOperator);
}

}  // namespace

Result<CommandLine> ParseSettings(const std::vector<std::string>& arguments,
                                  const std::map<std::string, std::string>& environment) {
  CommandLine line;
  const Flags flags = TRY(ReadFlags(arguments, line));
  if (line.help || line.version) return line;
  TRY(CheckVariables(environment));

  // The file's own path comes from the flag or the variable, so these are read twice: around the file.
  const auto apply_outer = [&](Settings& settings) -> Result<void> {
    for (const Setting& setting : SettingsTable()) {
      const auto variable = environment.find(VariableOf(setting));
      if (variable != environment.end()) TRY(SetFromText(settings, setting, variable->second, variable->first));
    }
    for (const auto& [setting, value] : flags.values) TRY(SetFromText(settings, *setting, value, FlagOf(*setting)));
    return {};
  };
  Settings outer;
  TRY(apply_outer(outer));
  line.settings.config = outer.config;
  TRY(ReadConfigFile(line.settings));
  TRY(apply_outer(line.settings));
  TRY(CheckTogether(line.settings));
  return line;
}

std::string SettingsHelp() {
  std::string help;
  for (const Setting& setting : SettingsTable())
    help += fmt::format("  {:<28} {}\n", fmt::format("{} {}", FlagOf(setting), setting.value), setting.help);
  return help + std::string(kTablesHelp);
}

}  // namespace caisson::daemon
