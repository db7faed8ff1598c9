// SPDX-License-Identifier: Apache-2.0
// Registry logins: login, logout, list. A password is never an argument, and never printed.
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "cli/command_context.h"
#include "cli/docker_config.h"
#include "cli/exit_status.h"
#include "cli/render.h"
#include "cli/terminal.h"

namespace caisson::cli {
namespace {

constexpr size_t kMaxPasswordBytes = 16 << 10;

// "https://ghcr.io/acme/" is "ghcr.io/acme".
Result<std::string> RegistryName(std::string_view text) {
  for (const std::string_view scheme : {"https://", "http://"})
    if (text.starts_with(scheme)) text.remove_prefix(scheme.size());
  while (text.ends_with('/')) text.remove_suffix(1);
  if (text.empty() || text.starts_with('/') || text.find_first_of("@?# ") != std::string_view::npos)
    return Fail(ErrorCode::kInvalid, "\"{}\" is no registry: give HOST[:PORT] or HOST[:PORT]/PREFIX", Printable(text));
  return std::string(text);
}

std::string LoginPath(const std::string& registry) { return "/v1/registries/" + UrlEncode(registry); }

Result<Secret> PasswordFromStandardInput(const Console& console) {
  if (isatty(console.in) == 1)
    return Fail(ErrorCode::kInvalid, "--password-stdin reads a pipe or a file; without it the password is asked for");
  std::string text = TRY_IN("password on standard input", ReadAll(console.in, kMaxPasswordBytes));
  if (text.ends_with('\n')) text.pop_back();  // what `echo` adds; no other byte is touched
  if (text.ends_with('\r')) text.pop_back();
  if (text.empty()) return Fail(ErrorCode::kInvalid, "the password on standard input is empty");
  return Secret(std::move(text));
}

Result<DockerCredential> Ask(std::string username, const std::string& registry) {
  if (username.empty()) username = TRY(AskLine(fmt::format("Username for {}: ", Printable(registry))));
  if (username.empty()) return Fail(ErrorCode::kInvalid, "no username was given");
  Secret password = TRY(AskSecret(fmt::format("Password for {} at {}: ", Printable(username), Printable(registry))));
  if (password.empty()) return Fail(ErrorCode::kInvalid, "no password was given");
  return DockerCredential{std::move(username), std::move(password), {}, {}};
}

Result<DockerCredential> CredentialFor(const LoginCommand& command, const std::string& registry,
                                       const Console& console) {
  if (command.password_stdin)
    return DockerCredential{command.username, TRY(PasswordFromStandardInput(console)), {}, {}};
  if (!command.username.empty()) return Ask(command.username, registry);
  std::optional<DockerCredential> found = TRY(FindDockerCredential(registry, command.environment));
  if (found) return *std::move(found);
  const Error nothing{
      ErrorCode::kNotFound,
      fmt::format("neither docker nor podman has credentials for {} here\ngive --username NAME, and the "
                  "password on the terminal or with --password-stdin",
                  Printable(registry)),
      0};
  if (command.from_docker) return tl::unexpected(nothing);
  Result<DockerCredential> asked = Ask("", registry);
  if (!asked && asked.error().code == ErrorCode::kNotFound) return tl::unexpected(nothing);  // no terminal either
  return asked;
}

}  // namespace

Result<int> Do(const LoginCommand& command, Context& context) {
  const std::string registry = TRY(RegistryName(command.registry));
  const DockerCredential credential = TRY(CredentialFor(command, registry, context.console));
  Json body = Json::MakeObject();
  if (!credential.username.empty()) body.Set("username", credential.username);
  if (!credential.password.empty()) body.Set("password", credential.password.Expose());
  if (!credential.identity_token.empty()) body.Set("identity_token", credential.identity_token.Expose());
  const Json answer = TRY(context.client.Ask("PUT", LoginPath(registry), body.Dump()));
  if (context.options.json) {
    TRY(context.Print(answer));
    return kExitOk;
  }
  if (!credential.from.empty()) context.console.Say("taken from " + Printable(credential.from));
  TRY(context.console.Print(
      fmt::format("stored for {}; the next pull will try it out\n", Printable(answer.StringOr("registry", registry)))));
  return kExitOk;
}

Result<int> Do(const LogoutCommand& command, Context& context) {
  const std::string registry = TRY(RegistryName(command.registry));
  TRY(context.client.Ask("DELETE", LoginPath(registry), std::nullopt));
  if (context.options.json) {
    Json document = Json::MakeObject();
    document.Set("removed", registry);
    TRY(context.Print(document));
  } else {
    TRY(context.console.Print("forgotten: " + Printable(registry) + "\n"));
  }
  return kExitOk;
}

Result<int> Do(const ListLoginsCommand&, Context& context) {
  const Json answer = TRY(context.client.Get("/v1/registries"));
  if (context.options.json) {
    TRY(context.Print(answer));
  } else {
    TRY(context.console.Print(RenderLogins(answer, SystemClock().NowMs())));
  }
  return kExitOk;
}

}  // namespace caisson::cli
