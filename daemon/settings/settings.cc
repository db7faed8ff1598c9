// SPDX-License-Identifier: Apache-2.0
#include "daemon/settings/settings.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <toml++/toml.h>
#include <algorithm>
#include <charconv>
#include <functional>
#include <optional>
#include <variant>

#include "base/encoding.h"
#include "base/io.h"

namespace caisson::daemon {
namespace {

constexpr size_t kMaxConfigBytes = 1 << 20;

using StringField = std::string Settings::*;
using NumberField = int64_t Settings::*;
using SwitchField = bool Settings::*;

// One setting. `name` is the TOML key; the flag has dashes for underscores, the variable is CAISSON_ and capitals.
struct Setting {
  std::string_view name;
  std::variant<StringField, NumberField, SwitchField> field;
  std::string_view value;  // in --help
  std::string_view help;
  std::function<std::optional<std::string>(const Settings&)> refuse = nullptr;  // why the value is out of range
};

template <typename T>
auto Between(T Settings::*field, T least, T most) {
  return [=](const Settings& settings) -> std::optional<std::string> {
    if (settings.*field >= least && settings.*field <= most) return std::nullopt;
    return fmt::format("{} is not between {} and {}", settings.*field, least, most);
  };
}

auto AbsoluteOrEmpty(StringField field) {
  return [=](const Settings& settings) -> std::optional<std::string> {
    if ((settings.*field).empty() || (settings.*field).starts_with("/")) return std::nullopt;
    return fmt::format("\"{}\" is not an absolute path", EscapeForLog(settings.*field));
  };
}

auto Absolute(StringField field) {
  return [=](const Settings& settings) -> std::optional<std::string> {
    if ((settings.*field).starts_with("/")) return std::nullopt;
    return fmt::format("\"{}\" is not an absolute path", EscapeForLog(settings.*field));
  };
}

std::optional<std::string> RefuseIsolation(const Settings& settings) {
  if (settings.isolation == "strict" || settings.isolation == "best-effort") return std::nullopt;
  return fmt::format("\"{}\" is neither \"strict\" nor \"best-effort\"", EscapeForLog(settings.isolation));
}

std::optional<std::string> RefuseListen(const Settings& settings) {
  if (settings.listen.empty()) return std::nullopt;
  const size_t colon = settings.listen.rfind(':');
  int port = -1;
  if (colon != std::string::npos && colon > 0) {
    const std::string_view digits = std::string_view(settings.listen).substr(colon + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (error != std::errc() || end != digits.data() + digits.size()) port = -1;
  }
  if (port >= 0 && port <= 65535) return std::nullopt;
  return fmt::format("\"{}\" is not ADDRESS:PORT, as in 127.0.0.1:7070", EscapeForLog(settings.listen));
}

const std::vector<Setting>& Table() {
  using S = Settings;
  static const std::vector<Setting> table = {
      {"config", &S::config, "FILE", "the TOML file with these settings", Absolute(&S::config)},
      {"data_dir", &S::data_dir, "DIR", "where jobs, logs and images are kept", Absolute(&S::data_dir)},
      {"run_dir", &S::run_dir, "DIR", "where the socket caisson.sock is made", Absolute(&S::run_dir)},
      {"listen", &S::listen, "ADDR:PORT", "also answer HTTP there; callers need a token", RefuseListen},
      {"insecure_listen", &S::insecure_listen, "", "allow `listen` beyond loopback although it is not encrypted"},
      {"tls_cert", &S::tls_cert, "FILE", "PEM certificate with its chain: `listen` speaks TLS",
       AbsoluteOrEmpty(&S::tls_cert)},
      {"tls_key", &S::tls_key, "FILE", "its PEM key, readable by the service's user", AbsoluteOrEmpty(&S::tls_key)},
      {"service_user", &S::service_user, "USER", "name or UID:GID that the service runs as"},
      {"admin_group", &S::admin_group, "GROUP", "its members may use the socket, as root may"},
      {"cgroup_parent", &S::cgroup_parent, "PATH", "cgroup v2 directory for the jobs' groups"},
      {"isolation", &S::isolation, "MODE", "strict, or best-effort: run without limits this host cannot enforce",
       RefuseIsolation},
      {"slots", &S::slots, "N", "jobs that run at once; 0 is twice the cores",
       Between(&S::slots, int64_t{0}, int64_t{1024})},
      {"memory_bytes", &S::memory_bytes, "N", "memory that jobs may have together; 0 is nine tenths of the host's",
       Between(&S::memory_bytes, int64_t{0}, int64_t{1} << 50)},
      {"drain_seconds", &S::drain_seconds, "N", "how long jobs may go on after SIGTERM",
       Between(&S::drain_seconds, int64_t{0}, int64_t{86400})},
      {"log_bytes", &S::log_bytes, "N", "kept of one job's output",
       Between(&S::log_bytes, int64_t{0}, int64_t{1} << 40)},
      {"body_bytes", &S::body_bytes, "N", "largest request body",
       Between(&S::body_bytes, int64_t{1024}, int64_t{1} << 30)},
      {"grant_hours", &S::grant_hours, "N", "how long a right to an image lasts without asking its registry",
       Between(&S::grant_hours, int64_t{0}, int64_t{8760})},
  };
  return table;
}

std::string FlagOf(const Setting& setting) {
  std::string flag = "--" + std::string(setting.name);
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

std::string VariableOf(const Setting& setting) {
  std::string variable = "CAISSON_" + std::string(setting.name);
  std::transform(variable.begin(), variable.end(), variable.begin(), [](unsigned char c) { return std::toupper(c); });
  return variable;
}

const Setting* FindByName(std::string_view name) {
  for (const Setting& setting : Table())
    if (setting.name == name) return &setting;
  return nullptr;
}

Result<void> SetFromText(Settings& settings, const Setting& setting, const std::string& text,
                         const std::string& source) {
  if (const auto* field = std::get_if<StringField>(&setting.field)) {
    settings.** field = text;
  } else if (const auto* number = std::get_if<NumberField>(&setting.field)) {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size())
      return Fail(ErrorCode::kInvalid, "{}: \"{}\" is not a whole number", source, EscapeForLog(text));
    settings.** number = value;
  } else {
    if (text != "true" && text != "false")
      return Fail(ErrorCode::kInvalid, "{}: \"{}\" is neither true nor false", source, EscapeForLog(text));
    settings.*std::get<SwitchField>(setting.field) = text == "true";
  }
  if (!setting.refuse) return {};
  if (const std::optional<std::string> why = setting.refuse(settings))
    return Fail(ErrorCode::kInvalid, "{}: {}", source, *why);
  return {};
}

Result<void> SetFromNode(Settings& settings, const Setting& setting, const toml::node& node,
                         const std::string& source) {
  if (const auto* text = node.as_string(); text && std::holds_alternative<StringField>(setting.field))
    return SetFromText(settings, setting, text->get(), source);
  if (const auto* number = node.as_integer(); number && std::holds_alternative<NumberField>(setting.field))
    return SetFromText(settings, setting, std::to_string(number->get()), source);
  if (const auto* value = node.as_boolean(); value && std::holds_alternative<SwitchField>(setting.field))
    return SetFromText(settings, setting, value->get() ? "true" : "false", source);
  const std::string_view wanted[] = {"a string", "a whole number", "true or false"};
  return Fail(ErrorCode::kInvalid, "{}: must be {}", source, wanted[setting.field.index()]);
}

Result<RegistryEntry> ReadRegistry(const toml::table& table, const std::string& source) {
  RegistryEntry entry;
  for (const auto& [key, node] : table) {
    const std::string where = fmt::format("{}.{}", source, key.str());
    if (key.str() == "plain_http" && node.is_boolean()) {
      entry.plain_http = node.as_boolean()->get();
    } else if (key.str() == "ca_file" && node.is_string()) {
      entry.ca_file = node.as_string()->get();
    } else {
      return Fail(ErrorCode::kInvalid,
                  "{}: unknown key or wrong type; known are plain_http = true|false and ca_file = \"PATH\"", where);
    }
  }
  return entry;
}

// [layers] share = "all": cached layers serve every tenant that has a right to the image.
Result<void> ReadLayers(const toml::table& table, const std::string& source) {
  for (const auto& [key, node] : table) {
    const auto* share = key.str() == "share" ? node.as_string() : nullptr;
    if (!share)
      return Fail(ErrorCode::kInvalid, "{}.{}: unknown key or wrong type; known is share = \"all\"", source,
                  EscapeForLog(key.str()));
    if (share->get() != "all")
      return Fail(ErrorCode::kInvalid,
                  "{}.share: this version shares cached layers between tenants: only \"all\" is possible", source);
  }
  return {};
}

Result<void> ReadToml(Settings& settings, const std::string& text, const std::string& source) {
  toml::table root;
  try {
    root = toml::parse(text, source);
  } catch (const toml::parse_error& error) {
    return Fail(ErrorCode::kInvalid, "{}:{}: {}", source, error.source().begin.line, error.description());
  }
  for (const auto& [key, node] : root) {
    const std::string name(key.str());
    const std::string where = fmt::format("{}:{}: {}", source, node.source().begin.line, EscapeForLog(name));
    if (name == "registries" && node.is_table()) {
      for (const auto& [host, entry] : *node.as_table()) {
        const std::string registry = fmt::format("{}.\"{}\"", where, EscapeForLog(host.str()));
        if (!entry.is_table()) return Fail(ErrorCode::kInvalid, "{}: must be a table", registry);
        settings.registries[std::string(host.str())] = TRY(ReadRegistry(*entry.as_table(), registry));
      }
      continue;
    }
    if (name == "layers" && node.is_table()) {
      TRY(ReadLayers(*node.as_table(), where));
      continue;
    }
    const Setting* setting = FindByName(name);
    if (!setting || name == "config")
      return Fail(ErrorCode::kInvalid, "{}: unknown key; `caissond --help` lists the known ones", where);
    TRY(SetFromNode(settings, *setting, node, where));
  }
  return {};
}

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
      const auto setting =
          std::find_if(Table().begin(), Table().end(), [&](const Setting& s) { return FlagOf(s) == flag; });
      if (setting == Table().end())
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

Result<void> ReadConfigFile(Settings& settings) {
  Result<std::string> text = ReadFile(settings.config, kMaxConfigBytes);
  if (!text) {
    const bool optional = settings.config == Settings().config && text.error().code == ErrorCode::kNotFound;
    if (optional) return {};
    return tl::unexpected(std::move(text).error().Context("read the configuration"));
  }
  return ReadToml(settings, *text, settings.config);
}

bool IsLoopbackListen(const std::string& listen) {
  const std::string host = listen.substr(0, listen.rfind(':'));
  in_addr address{};
  const bool number = ::inet_pton(AF_INET, host.c_str(), &address) == 1;  // "127.example.org" is a name like any other
  return (number && ntohl(address.s_addr) >> 24 == 127) || host == "localhost" || host == "[::1]";
}

Result<void> CheckTogether(const Settings& settings) {
  if (settings.tls_cert.empty() != settings.tls_key.empty())
    return Fail(ErrorCode::kInvalid, "tls_cert and tls_key belong together: set both or neither");
  const bool encrypted = !settings.tls_cert.empty();
  if (!settings.listen.empty() && !encrypted && !settings.insecure_listen && !IsLoopbackListen(settings.listen))
    return Fail(ErrorCode::kInvalid,
                "listen = \"{}\" would send tokens and payloads unencrypted beyond this host: set tls_cert and "
                "tls_key, listen on loopback behind a TLS proxy, or say --insecure-listen",
                settings.listen);
  return {};
}

}  // namespace

Result<CommandLine> ParseSettings(const std::vector<std::string>& arguments,
                                  const std::map<std::string, std::string>& environment) {
  CommandLine line;
  const Flags flags = TRY(ReadFlags(arguments, line));
  if (line.help || line.version) return line;

  // The file's own path comes from the flag or the variable, so these are read twice: around the file.
  const auto apply_outer = [&](Settings& settings) -> Result<void> {
    for (const Setting& setting : Table()) {
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
  for (const Setting& setting : Table())
    help += fmt::format("  {:<28} {}\n", fmt::format("{} {}", FlagOf(setting), setting.value), setting.help);
  return help;
}

std::string ToToml(const Settings& settings) {
  toml::table root;
  for (const Setting& setting : Table()) {
    if (setting.name == "config") continue;
    std::visit([&](auto field) { root.insert(setting.name, settings.*field); }, setting.field);
  }
  toml::table registries;
  for (const auto& [host, entry] : settings.registries)
    registries.insert(host, toml::table{{"plain_http", entry.plain_http}, {"ca_file", entry.ca_file}});
  root.insert("registries", std::move(registries));
  std::ostringstream text;
  text << root;
  return text.str();
}

Result<Settings> FromToml(const std::string& text, const std::string& source) {
  Settings settings;
  TRY(ReadToml(settings, text, source));
  return settings;
}

}  // namespace caisson::daemon
