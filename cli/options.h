// SPDX-License-Identifier: Apache-2.0
// The command line of `caisson`, parsed: which command, and everything that it was told. CLI11 is behind this face
// (options.cc) and nowhere else. Pure functions and plain values.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "cli/job_request.h"

namespace caisson::cli {

struct RunCommand {  // also `submit`
  JobRequest job;
  bool detach = false;
  bool read_stdin = true;
  int failure_status = 1;  // when this program, not the job, failed: 125 for `run`
};
struct ListJobsCommand {
  std::string states;  // "queued,running", empty for all
  uint32_t limit = 50;
  bool all = false;  // every page
};
struct ShowJobCommand {
  std::string id;
};
struct ShowLogsCommand {
  std::string id;
  std::string stream;  // "stdout", "stderr", or empty for both
  bool follow = false;
};
struct CancelCommand {
  std::string id;
  std::optional<uint32_t> grace_seconds;
};
struct ListImagesCommand {};
struct PullImageCommand {
  std::string reference;
  std::string policy = "always";
  std::string progress = "auto";  // "auto", "plain", "json", "none"
};
struct InspectImageCommand {
  std::string image;
};
struct RemoveImagesCommand {
  std::vector<std::string> images;
};
struct CollectImagesCommand {
  bool all = false;
};
struct VerifyImageCommand {
  std::string image;
  bool repair = false;
};
struct ExportImageCommand {
  std::string image;
  std::string output;  // a file; empty for standard output
};
struct ImportImageCommand {
  std::string path;
  std::string name;  // --name: what it shall be called; empty: as the archive says
  std::string ref;   // --ref: which of several images
  std::string temporary_directory;
};
struct LoginCommand {
  std::string registry;  // HOST[/PREFIX]
  std::string username;
  bool password_stdin = false;
  bool from_docker = false;
  std::map<std::string, std::string> environment;  // where the user's own configuration is, and for its helpers
};
struct LogoutCommand {
  std::string registry;
};
struct ListLoginsCommand {};
struct CreateTokenCommand {
  std::string tenant;
};
struct DoctorCommand {};
struct VersionCommand {};

using Command =
    std::variant<RunCommand, ListJobsCommand, ShowJobCommand, ShowLogsCommand, CancelCommand, ListImagesCommand,
                 PullImageCommand, InspectImageCommand, RemoveImagesCommand, CollectImagesCommand, VerifyImageCommand,
                 ExportImageCommand, ImportImageCommand, LoginCommand, LogoutCommand, ListLoginsCommand,
                 CreateTokenCommand, DoctorCommand, VersionCommand>;

struct Options {
  std::string host;    // --host, else CAISSON_HOST, else the default socket
  std::string tenant;  // --tenant
  bool json = false;   // --json: for programs
  Command command;
};

// What main should do at once in place of a command: text for --help, or what is wrong with the command line.
struct EarlyExit {
  int status = 0;
  std::string text;  // to standard output with status 0, else to standard error
};

// `arguments` without the program's name. The environment gives CAISSON_HOST, and values for `--env NAME`.
std::variant<Options, EarlyExit> ParseOptions(const std::vector<std::string>& arguments,
                                              const std::map<std::string, std::string>& environment);

}  // namespace caisson::cli
