// SPDX-License-Identifier: Apache-2.0
// `caisson`: the command line. Talks HTTP to caissond and holds no privilege of its own.
#include <signal.h>
#include <unistd.h>

#include <map>
#include <string>
#include <variant>
#include <vector>

#include "base/io.h"
#include "cli/commands.h"
#include "cli/options.h"

namespace {

std::map<std::string, std::string> Environment() {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; *entry; ++entry) {
    const std::string text = *entry;
    const size_t equals = text.find('=');
    if (equals != std::string::npos) variables.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return variables;
}

}  // namespace

int main(int argc, char** argv) {
  // A reader that went away ("caisson run ... | head") is an error of a write, not a silent death.
  signal(SIGPIPE, SIG_IGN);
  const std::map<std::string, std::string> environment = Environment();
  const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  auto parsed = caisson::cli::ParseOptions(arguments, environment);
  if (const auto* early = std::get_if<caisson::cli::EarlyExit>(&parsed)) {
    static_cast<void>(caisson::WriteAll(early->status == 0 ? STDOUT_FILENO : STDERR_FILENO, early->text).has_value());
    return early->status;
  }
  const auto token = environment.find("CAISSON_TOKEN");
  return caisson::cli::RunCommandLine(std::get<caisson::cli::Options>(parsed),
                                      token == environment.end() ? "" : token->second, {});
}
