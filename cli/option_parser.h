// SPDX-License-Identifier: Apache-2.0
// How the files of the command line's table describe commands and their options, without seeing CLI11, which is slow to
// compile and stays in options.cc. Values outlive the parse; handles are small and copied.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/exit_status.h"
#include "cli/options.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace caisson::cli {

using Environment = std::map<std::string, std::string>;
using CommandOf = std::function<Result<Command>()>;

class OptionWords {
 public:
  explicit OptionWords(CLI::Option* option) : option_(option) {}
  OptionWords& Type(const std::string& name);  // of the value, in --help
  OptionWords& OneOf(const std::vector<std::string>& values);
  OptionWords& Required();
  OptionWords& ShowDefault();
  OptionWords& OneValue();  // each time that it is named, and not all words behind it
  OptionWords& Needs(const OptionWords& other);
  OptionWords& Excludes(const OptionWords& other);

 private:
  CLI::Option* option_;
};

class CommandWords {
 public:
  explicit CommandWords(CLI::App* app) : app_(app) {}
  CommandWords Add(const std::string& name, const std::string& help);  // a command of its own below it
  void NeedsOne();                                                     // of the commands below it
  void Footer(const std::string& text);
  void EndsAtFirstWord();  // from the first word that is no option, nothing is an option of ours: they are Rest()
  std::vector<std::string> Rest() const;

  // Names that begin with '-' are options, others positionals.
  OptionWords Option(const std::string& names, std::string& value, const std::string& help);
  OptionWords Option(const std::string& names, std::optional<std::string>& value, const std::string& help);
  OptionWords Option(const std::string& names, std::vector<std::string>& value, const std::string& help);
  OptionWords Option(const std::string& names, uint32_t& value, const std::string& help);
  OptionWords Option(const std::string& names, std::optional<uint32_t>& value, const std::string& help);
  OptionWords Flag(const std::string& names, bool& value, const std::string& help);

  const CLI::App* app() const { return app_; }

 private:
  CLI::App* app_;
};

// One command of the table.
struct Entry {
  CommandWords words;
  CommandOf make;    // turns what was typed into the command, with the checks that CLI11 does not do
  int usage_status;  // of a mistake: `run` keeps 1 to 124 for the job's own status
};

struct Parser {
  CommandWords root;
  const Environment& environment;
  Options options;
  std::vector<Entry> entries;
};

// What every command understands. Added to each, so that it may stand before and after the command's own options.
void AddCommon(CommandWords words, Options& options, bool with_tenant);

// A command that is whole as its options were read.
template <typename T>
void AddEntry(Parser& parser, CommandWords words, std::shared_ptr<T> command) {
  AddCommon(words, parser.options, true);
  parser.entries.push_back({words, [command] { return Command(*command); }, kExitUsage});
}

// The groups of the table, in the order of --help.
void AddJobCommands(Parser& parser);
void AddImageCommands(Parser& parser);
void AddRegistryCommands(Parser& parser);

}  // namespace caisson::cli
