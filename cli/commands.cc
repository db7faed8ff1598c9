// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.h"

#include "cli/command_context.h"
#include "cli/doctor.h"
#include "cli/exit_status.h"
#include "cli/render.h"

namespace caisson::cli {

Result<int> Do(const CreateTokenCommand& command, Context& context) {
  Json body = Json::MakeObject();
  body.Set("tenant", command.tenant);
  const Json answer = TRY(context.client.Post("/v1/tokens", body.Dump()));
  if (context.options.json) {
    TRY(context.Print(answer));
    return kExitOk;
  }
  const std::string token = answer.StringOr("token", "");
  if (token.empty()) return Fail(ErrorCode::kInvalid, "the answer holds no token");
  TRY(context.console.Print(Printable(token) + "\n"));
  context.console.Say("keep it: it is shown this once");
  return kExitOk;
}

Result<int> Do(const DoctorCommand&, Context& context) {
  const Json report = TRY(FetchDoctorReport(context.client, context.console));
  const DoctorReport rendered = TRY(RenderDoctor(report));
  if (context.options.json) {
    TRY(context.Print(report));
  } else {
    TRY(context.console.Print(rendered.text));
  }
  return rendered.strict_possible ? kExitOk : kExitError;
}

Result<int> Do(const VersionCommand&, Context& context) {
  if (context.options.json) {
    Json document = Json::MakeObject();
    document.Set("version", CAISSON_VERSION);
    TRY(context.Print(document));
  } else {
    TRY(context.console.Print("caisson " CAISSON_VERSION "\n"));
  }
  return kExitOk;
}

namespace {

Result<int> Dispatch(const Options& options, std::string token, const Console& console) {
  const Endpoint endpoint = TRY(Endpoint::Parse(options.host));
  const Identity identity = TRY(Identity::Make(std::move(token), options.tenant));
  ApiClient client(endpoint, identity);
  Context context{options, endpoint, identity, console, client};
  return std::visit([&](const auto& command) { return Do(command, context); }, options.command);
}

}  // namespace

int RunCommandLine(const Options& options, std::string token, const Console& console) {
  const Result<int> status = Dispatch(options, std::move(token), console);
  if (status) return *status;
  console.Say(status.error().message);
  const RunCommand* run = std::get_if<RunCommand>(&options.command);
  return run ? run->failure_status : kExitError;
}

}  // namespace caisson::cli
