// SPDX-License-Identifier: Apache-2.0
#include "daemon/settings/settings_table.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include "base/encoding.h"

namespace caisson::daemon {
namespace {

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

std::optional<std::string> RefusePullPolicy(const Settings& settings) {
  const std::string& policy = settings.pull_policy;
  if (policy == "always" || policy == "if-missing" || policy == "never") return std::nullopt;
  return fmt::format("\"{}\" is none of \"always\", \"if-missing\" and \"never\"", EscapeForLog(policy));
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

bool IsLoopbackListen(const std::string& listen) {
  const std::string host = listen.substr(0, listen.rfind(':'));
  in_addr address{};
  const bool number = ::inet_pton(AF_INET, host.c_str(), &address) == 1;  // "127.example.org" is a name like any other
  return (number && ntohl(address.s_addr) >> 24 == 127) || host == "localhost" || host == "[::1]";
}

}  // namespace

const std::vector<Setting>& SettingsTable() {
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
      {"pull_policy", &S::pull_policy, "POLICY", "of jobs that name none: always, if-missing or never",
       RefusePullPolicy},
      {"gc_high_percent", &S::gc_high_percent, "N", "use of the data directory's disk at which old images are removed",
       Between(&S::gc_high_percent, int64_t{1}, int64_t{100})},
      {"gc_low_percent", &S::gc_low_percent, "N", "until it is down to this",
       Between(&S::gc_low_percent, int64_t{0}, int64_t{100})},
      {"min_free_bytes", &S::min_free_bytes, "N", "that a pull leaves free on the data directory's disk",
       Between(&S::min_free_bytes, int64_t{0}, int64_t{1} << 50)},
      {"auth_file", &S::auth_file, "FILE", "registry logins of this node, in the format of docker's config.json",
       Absolute(&S::auth_file)},
      {"node_key_file", &S::node_key_file, "FILE", "key that seals stored registry logins; made where it is missing",
       Absolute(&S::node_key_file)},
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

const Setting* FindSetting(std::string_view name) {
  for (const Setting& setting : SettingsTable())
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

Result<void> CheckTogether(const Settings& settings) {
  if (settings.tls_cert.empty() != settings.tls_key.empty())
    return Fail(ErrorCode::kInvalid, "tls_cert and tls_key belong together: set both or neither");
  const bool encrypted = !settings.tls_cert.empty();
  if (!settings.listen.empty() && !encrypted && !settings.insecure_listen && !IsLoopbackListen(settings.listen))
    return Fail(ErrorCode::kInvalid,
                "listen = \"{}\" would send tokens and payloads unencrypted beyond this host: set tls_cert and "
                "tls_key, listen on loopback behind a TLS proxy, or say --insecure-listen",
                settings.listen);
  if (settings.gc_low_percent > settings.gc_high_percent)
    return Fail(ErrorCode::kInvalid, "gc_low_percent = {} is above gc_high_percent = {}", settings.gc_low_percent,
                settings.gc_high_percent);
  return {};
}

}  // namespace caisson::daemon
