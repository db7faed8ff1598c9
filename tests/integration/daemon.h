// SPDX-License-Identifier: Apache-2.0
// Daemon: one caissond of the build under test, with directories, cgroup parent and socket of its own; and the command
// line to talk to it. Ends with the test, whatever happened in it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json/json.h"
#include "tests/integration/process.h"
#include "tests/integration/registry.h"

namespace caisson::integration {

struct DaemonOptions {
  std::vector<std::string> arguments;  // further flags
  std::vector<std::string> run_under;  // a program to start it with: strace and its flags
  bool start = true;
};

struct Answer {
  int status = 0;  // 0: no answer
  Json json;
  std::string body;
};

class Daemon {
 public:
  // Knows `registry` as one that speaks plain HTTP.
  explicit Daemon(const Registry& registry, const DaemonOptions& options = {});
  // With this text as its caisson.toml.
  explicit Daemon(const std::string& settings, const DaemonOptions& options = {});
  ~Daemon();

  // Again, on the same directories, with further flags; returns when /readyz answers 200.
  void Start(const std::vector<std::string>& further = {});
  void Stop(int signal = SIGTERM);  // waits for the end
  std::optional<int> Wait(milliseconds limit) { return process_.Wait(limit); }
  bool running() { return process_.running(); }
  bool WaitReady(milliseconds limit = seconds(30));

  std::string host() const { return "unix://" + run_dir() + "/caisson.sock"; }
  std::string data_dir() const { return directory_.path() + "/data"; }
  std::string run_dir() const { return directory_.path() + "/run"; }
  // A file below the daemon's own directory, for settings that name one.
  std::string PathOf(const std::string& name) const { return directory_.path() + "/" + name; }
  std::string log() const { return ReadWholeFile(log_file()); }
  const std::string& cgroup_parent() const { return cgroup_parent_; }  // its directory, empty without cgroup v2

  // `caisson WORDS...` against this daemon.
  Finished Caisson(std::vector<std::string> words, const std::optional<std::string>& input = std::nullopt,
                   milliseconds limit = seconds(120)) const;
  // A raw call of the API. `body` makes it a POST.
  Answer Call(const std::string& path, const std::optional<std::string>& body = std::nullopt) const;
  Json Job(const std::string& id) const { return Call("/v1/jobs/" + id).json; }
  // The job once it is final; fails the test when it is not in time.
  Json WaitFinal(const std::string& id, milliseconds limit = seconds(120)) const;
  bool WaitState(const std::string& id, const std::string& state, milliseconds limit = seconds(60)) const;
  std::string Submit(const std::string& body) const;  // 202 expected; returns the id

  // Processes of this daemon, by their kernel names: every descendant of the launcher.
  struct Role {
    pid_t pid = 0;
    pid_t parent = 0;
    std::string name;
  };
  std::vector<Role> Roles() const;
  pid_t launcher() const { return launcher_; }
  pid_t service() const;  // 0 while there is none

 private:
  std::string log_file() const { return directory_.path() + "/caissond.log"; }

  const DaemonOptions options_;
  TemporaryDirectory directory_;
  std::string cgroup_parent_;
  std::string cgroup_flag_;
  Process process_;
  pid_t launcher_ = 0;
};

// "strict" where this host has the controllers, else "best-effort".
const std::string& HostIsolation();

// Every process that descends from `root`.
std::vector<Daemon::Role> DescendantsOf(pid_t root);

}  // namespace caisson::integration
