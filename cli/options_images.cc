// SPDX-License-Identifier: Apache-2.0
// The commands about images and registries.
#include "cli/option_parser.h"

namespace caisson::cli {
namespace {

void AddPull(Parser& parser, CLI::App& images) {
  CLI::App& app = *images.add_subcommand("pull", "Bring an image into the cache, and print its digest");
  auto command = std::make_shared<PullImageCommand>();
  app.add_option("IMAGE", command->reference, "[HOST[:PORT]/]NAME[:TAG][@DIGEST]")->required();
  app.add_option("--policy", command->policy, "When to ask the registry what a tag means now")
      ->type_name("always|if-missing|never")
      ->check(CLI::IsMember({"always", "if-missing", "never"}))
      ->capture_default_str();
  app.add_option(
         "--progress", command->progress,
         "On standard error: bars on a terminal and lines elsewhere; lines; the API's events, one a line; nothing")
      ->type_name("auto|plain|json|none")
      ->check(CLI::IsMember({"auto", "plain", "json", "none"}))
      ->capture_default_str();
  AddEntry(parser, app, command);
}

void AddInspect(Parser& parser, CLI::App& images) {
  CLI::App& app = *images.add_subcommand("inspect", "Show an image: digests, configuration, layers, warnings");
  auto command = std::make_shared<InspectImageCommand>();
  app.add_option("IMAGE", command->image, "Its reference or its digest")->required();
  AddEntry(parser, app, command);
}

void AddRemove(Parser& parser, CLI::App& images) {
  CLI::App& app =
      *images.add_subcommand("rm", "Give up the right to images, and remove what no other tenant has a right to");
  auto command = std::make_shared<RemoveImagesCommand>();
  app.add_option("IMAGE", command->images, "Their references or digests")->required();
  AddEntry(parser, app, command);
}

void AddCollect(Parser& parser, CLI::App& images) {
  CLI::App& app =
      *images.add_subcommand("gc", "Remove images that nobody has a right to any more (on the Unix socket only)");
  auto command = std::make_shared<CollectImagesCommand>();
  app.add_flag("--all", command->all, "Every image that no job runs from");
  AddEntry(parser, app, command);
}

void AddVerify(Parser& parser, CLI::App& images) {
  CLI::App& app =
      *images.add_subcommand("verify", "Read every file of an image again; exits with 1 when one is damaged");
  auto command = std::make_shared<VerifyImageCommand>();
  app.add_option("IMAGE", command->image, "Its reference or its digest")->required();
  app.add_flag("--repair", command->repair, "Pull again what is damaged or missing");
  AddEntry(parser, app, command);
}

void AddExport(Parser& parser, CLI::App& images) {
  CLI::App& app = *images.add_subcommand("export", "Write an image's merged root file system as a tar archive");
  auto command = std::make_shared<ExportImageCommand>();
  app.add_option("IMAGE", command->image, "Its reference or its digest")->required();
  app.add_option("-o,--output", command->output,
                 "To this file, which appears once it is whole; else to standard output")
      ->type_name("FILE");
  AddEntry(parser, app, command);
}

void AddImport(Parser& parser, CLI::App& images) {
  CLI::App& app = *images.add_subcommand(
      "import", "Make an image of an OCI layout directory, an OCI archive or a `docker save` archive");
  auto command = std::make_shared<ImportImageCommand>();
  app.add_option("PATH", command->path, "The directory or the archive (tar, also gzip or zstd)")->required();
  app.add_option("--name", command->name, "What it shall be called, in place of the name that it carries")
      ->type_name("REF");
  app.add_option("--ref", command->ref, "Which one, where there are several: its tag or name")->type_name("TAG");
  const auto found = parser.environment.find("TMPDIR");
  command->temporary_directory = found == parser.environment.end() || found->second.empty() ? "/tmp" : found->second;
  AddEntry(parser, app, command);
}

void AddLogin(Parser& parser, CLI::App& registries) {
  CLI::App& app = *registries.add_subcommand(
      "login", "Store a registry's credentials in the daemon, encrypted, for this tenant's pulls");
  app.footer(
      "Without --username it takes what docker or podman have for the registry here ($DOCKER_CONFIG/config.json,\n"
      "~/.docker/config.json, $XDG_RUNTIME_DIR/containers/auth.json and their credential helpers), and asks where\n"
      "there is nothing.");
  auto command = std::make_shared<LoginCommand>();
  command->environment = parser.environment;
  app.add_option("REGISTRY", command->registry, "HOST[:PORT], or HOST[:PORT]/PREFIX for some of its repositories")
      ->required();
  CLI::Option* username =
      app.add_option("-u,--username", command->username, "Asks for the password on the terminal")->type_name("NAME");
  app.add_flag("--password-stdin", command->password_stdin, "Read the password from standard input")->needs(username);
  app.add_flag("--from-docker", command->from_docker, "Take what docker or podman have, and never ask")
      ->excludes(username);
  AddEntry(parser, app, command);
}

void AddLogout(Parser& parser, CLI::App& registries) {
  CLI::App& app = *registries.add_subcommand("logout", "Forget a registry's credentials");
  auto command = std::make_shared<LogoutCommand>();
  app.add_option("REGISTRY", command->registry, "As `registry ls` shows it")->required();
  AddEntry(parser, app, command);
}

}  // namespace

void AddImageCommands(Parser& parser) {
  AddEntry(parser, *parser.app.add_subcommand("images", "List the images in the cache"),
           std::make_shared<ListImagesCommand>());
  CLI::App& images = *parser.app.add_subcommand("image", "Pull, inspect, remove, check, export and import images");
  images.require_subcommand(1);
  AddEntry(parser, *images.add_subcommand("ls", "List the images in the cache"), std::make_shared<ListImagesCommand>());
  AddPull(parser, images);
  AddInspect(parser, images);
  AddRemove(parser, images);
  AddVerify(parser, images);
  AddExport(parser, images);
  AddImport(parser, images);
  AddCollect(parser, images);
}

void AddRegistryCommands(Parser& parser) {
  CLI::App& registries = *parser.app.add_subcommand("registry", "Credentials for registries");
  registries.require_subcommand(1);
  AddLogin(parser, registries);
  AddLogout(parser, registries);
  AddEntry(parser, *registries.add_subcommand("ls", "List the registries that credentials are stored for"),
           std::make_shared<ListLoginsCommand>());
}

}  // namespace caisson::cli
