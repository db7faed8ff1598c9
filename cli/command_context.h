// SPDX-License-Identifier: Apache-2.0
// What each command works with, and the commands themselves: one Do() for each alternative of Command. Each returns the
// program's exit status, or an error whose message is for the user. All block.
#pragma once

#include "cli/api_client.h"
#include "cli/console.h"
#include "cli/options.h"
#include "cli/text.h"

namespace caisson::cli {

struct Context {
  const Options& options;
  const Endpoint& endpoint;
  const Identity& identity;
  const Console& console;
  ApiClient& client;

  Result<void> Print(const Json& json) const { return console.Print(TerminalSafeJson(json.Dump(true)) + "\n"); }
};

// job_commands.cc
Result<int> Do(const RunCommand& command, Context& context);
Result<int> Do(const ListJobsCommand& command, Context& context);
Result<int> Do(const ShowJobCommand& command, Context& context);
Result<int> Do(const ShowLogsCommand& command, Context& context);
Result<int> Do(const CancelCommand& command, Context& context);

// image_commands.cc, pull_command.cc, export_command.cc, import_command.cc
Result<int> Do(const ListImagesCommand& command, Context& context);
Result<int> Do(const InspectImageCommand& command, Context& context);
Result<int> Do(const RemoveImagesCommand& command, Context& context);
Result<int> Do(const CollectImagesCommand& command, Context& context);
Result<int> Do(const VerifyImageCommand& command, Context& context);
Result<int> Do(const PullImageCommand& command, Context& context);
Result<int> Do(const ExportImageCommand& command, Context& context);
Result<int> Do(const ImportImageCommand& command, Context& context);

// registry_commands.cc
Result<int> Do(const LoginCommand& command, Context& context);
Result<int> Do(const LogoutCommand& command, Context& context);
Result<int> Do(const ListLoginsCommand& command, Context& context);

// commands.cc
Result<int> Do(const CreateTokenCommand& command, Context& context);
Result<int> Do(const DoctorCommand& command, Context& context);
Result<int> Do(const VersionCommand& command, Context& context);

}  // namespace caisson::cli
