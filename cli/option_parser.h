// SPDX-License-Identifier: Apache-2.0
// What the files of the command line's table share; CLI11 stays in options*.cc. A Parser lives for one ParseOptions().
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cli/exit_status.h"
#include "cli/options.h"

namespace caisson::cli {

using Environment = std::map<std::string, std::string>;
using CommandOf = std::function<Result<Command>()>;

// One command of the table, once CLI11 has seen it.
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
void AddCommon(CLI::App& app, Options& options, bool with_tenant);

// A command whose options CLI11 itself puts into `command`.
template <typename T>
void AddEntry(Parser& parser, CLI::App& app, std::shared_ptr<T> command) {
  AddCommon(app, parser.options, true);
  parser.entries.push_back({&app, [command] { return Command(*command); }, kExitUsage});
}

// The groups of the table, in the order of --help.
void AddJobCommands(Parser& parser);
void AddImageCommands(Parser& parser);
void AddRegistryCommands(Parser& parser);

}  // namespace caisson::cli
