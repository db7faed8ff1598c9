// SPDX-License-Identifier: Apache-2.0
// Settings: everything an operator can set, in one table (settings.cc): each name is a flag (--data-dir), a variable
// (CAISSON_DATA_DIR) and a TOML key (data_dir), in that order of precedence, before its default. The launcher reads
// them once, as root, from a root-owned file, and hands the result to the service as TOML text. Plain values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/secret.h"

namespace caisson::daemon {

struct RegistryEntry {  // [registries."HOST:PORT"]
  bool plain_http = false;
  std::string ca_file;
  std::string client_cert;
  std::string client_key;
  std::vector<std::string> mirrors;  // "HOST[:PORT][/PREFIX]"
  bool mirror_tags = false;
  bool blocked = false;
};

// Prefixes of host/name at a '/' boundary. Nothing: every registry; an empty list: none.
using AllowList = std::optional<std::vector<std::string>>;

struct TenantEntry {  // [tenants.NAME]
  AllowList registries;
};

struct SignatureEntry {               // [[signatures]]
  std::string scope;                  // prefix of host/name, or "*"
  bool require = true;                // false: this scope is exempt
  std::string identity = "match";     // what the signature says of the repository: must match | any
  std::vector<std::string> keys;      // files
  std::vector<std::string> key_pems;  // what is in them, in the same order: filled by ReadSecretFiles()
};

struct Settings {
  std::string config = "/etc/caisson/caisson.toml";
  std::string data_dir = "/var/lib/caisson";
  std::string run_dir = "/run/caisson";
  std::string listen;            // HOST:PORT, empty: no TCP
  bool insecure_listen = false;  // listen beyond loopback without TLS
  std::string tls_cert;          // PEM files, both or none: `listen` is TLS
  std::string tls_key;
  std::string service_user = "caisson";  // name or UID:GID
  std::string admin_group = "caisson";   // group that is admin on the Unix socket; a name or a number
  std::string cgroup_parent;             // path below the cgroup v2 mount; empty: found
  std::string isolation = "strict";      // strict | best-effort
  int64_t slots = 0;                     // jobs at once; 0: 2 x cores
  int64_t memory_bytes = 0;              // that jobs may have together; 0: nine tenths of the host's
  int64_t drain_seconds = 30;
  int64_t log_bytes = 10 << 20;                         // kept of one job's output
  int64_t body_bytes = 16 << 20;                        // largest request body
  int64_t grant_hours = 24;                             // how long a right to an image outlives the registry's word
  std::string auth_file = "/etc/caisson/auth.json";     // registry logins of the node
  std::string node_key_file = "/etc/caisson/node.key";  // seals the logins that tenants store
  int64_t gc_high_percent = 85;                         // of the data directory's file system: collecting begins
  int64_t gc_low_percent = 75;                          // and ends
  int64_t min_free_bytes = 1 << 30;                     // that a pull must leave
  std::string pull_policy = "always";                   // of jobs that say nothing: always | if-missing | never
  std::map<std::string, RegistryEntry> registries;
  AllowList image_registries;  // [images] registries
  std::map<std::string, TenantEntry> tenants;
  std::vector<SignatureEntry> signatures;

  // Contents of auth_file and of node_key_file, as the launcher read them (ReadSecretFiles); no configuration sets
  // them. Empty where there is no auth_file.
  Secret auth_json;
  Secret node_key;  // 64 hex digits

  bool best_effort() const { return isolation == "best-effort"; }
};

struct CommandLine {
  Settings settings;
  std::vector<std::string> positional;  // "doctor", "--json" after it, ...
  bool help = false;
  bool version = false;
};

// Flags, environment and the TOML file. A missing file is fine only when its path is the default one. Unknown names
// (also CAISSON_ variables), wrong types and values out of range are kInvalid, with the name, where it came from (the
// file's line) and what is allowed.
Result<CommandLine> ParseSettings(const std::vector<std::string>& arguments,
                                  const std::map<std::string, std::string>& environment);

// The text for --help: one line a setting.
std::string SettingsHelp();

// To the service and back, with the secrets: the text is for a sealed memory file and nothing else.
std::string ToToml(const Settings& settings);
Result<Settings> FromToml(const std::string& text, const std::string& source);

}  // namespace caisson::daemon
