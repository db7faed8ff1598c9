// SPDX-License-Identifier: Apache-2.0
// The commands about images and registries.
#include "cli/option_parser.h"

namespace caisson::cli {
namespace {

void AddPull(Parser& parser, CommandWords images) {
  CommandWords app = images.Add("pull", "Bring an image into the cache, and print its digest");
  auto command = std::make_shared<PullImageCommand>();
  app.Option("IMAGE", command->reference, "[HOST[:PORT]/]NAME[:TAG][@DIGEST]").Required();
  app.Option("--policy", command->policy, "When to ask the registry what a tag means now")
      .Type("always|if-missing|never")
      .OneOf({"always", "if-missing", "never"})
      .ShowDefault();
  app.Option("--progress", command->progress,
             "On standard error: bars on a terminal and lines elsewhere; lines; the API's events, one a line; nothing")
      .Type("auto|plain|json|none")
      .OneOf({"auto", "plain", "json", "none"})
      .ShowDefault();
  AddEntry(parser, app, command);
}

void AddInspect(Parser& parser, CommandWords images) {
  CommandWords app = images.Add("inspect", "Show an image: digests, configuration, layers, warnings");
  auto command = std::make_shared<InspectImageCommand>();
  app.Option("IMAGE", command->image, "Its reference or its digest").Required();
  AddEntry(parser, app, command);
}

void AddRemove(Parser& parser, CommandWords images) {
  CommandWords app = images.Add("rm", "Give up the right to images, and remove what no other tenant has a right to");
  auto command = std::make_shared<RemoveImagesCommand>();
  app.Option("IMAGE", command->images, "Their references or digests").Required();
  AddEntry(parser, app, command);
}

void AddCollect(Parser& parser, CommandWords images) {
  CommandWords app =
      images.Add("gc", "Remove the images that were longest unused, down to the low mark (on the Unix socket only)");
  auto command = std::make_shared<CollectImagesCommand>();
  app.Flag("--all", command->all, "Every image that no job runs from and that was not imported");
  AddEntry(parser, app, command);
}

void AddVerify(Parser& parser, CommandWords images) {
  CommandWords app = images.Add("verify", "Read every file of an image again; exits with 1 when one is damaged");
  auto command = std::make_shared<VerifyImageCommand>();
  app.Option("IMAGE", command->image, "Its reference or its digest").Required();
  app.Flag("--repair", command->repair, "Pull again what is damaged or missing");
  AddEntry(parser, app, command);
}

void AddExport(Parser& parser, CommandWords images) {
  CommandWords app = images.Add("export", "Write an image's merged root file system as a tar archive");
  auto command = std::make_shared<ExportImageCommand>();
  app.Option("IMAGE", command->image, "Its reference or its digest").Required();
  app.Option("-o,--output", command->output, "To this file, which appears once it is whole; else to standard output")
      .Type("FILE");
  AddEntry(parser, app, command);
}

void AddImport(Parser& parser, CommandWords images) {
  CommandWords app =
      images.Add("import", "Make an image of an OCI layout directory, an OCI archive or a `docker save` archive");
  auto command = std::make_shared<ImportImageCommand>();
  app.Option("PATH", command->path, "The directory or the archive (tar, also gzip or zstd)").Required();
  app.Option("--name", command->name, "What it shall be called, in place of the name that it carries").Type("REF");
  app.Option("--ref", command->ref, "Which one, where there are several: its tag or name").Type("TAG");
  const auto found = parser.environment.find("TMPDIR");
  command->temporary_directory = found == parser.environment.end() || found->second.empty() ? "/tmp" : found->second;
  AddEntry(parser, app, command);
}

void AddLogin(Parser& parser, CommandWords registries) {
  CommandWords app =
      registries.Add("login", "Store a registry's credentials in the daemon, encrypted, for this tenant's pulls");
  app.Footer(
      "Without --username it takes what docker or podman have for the registry here ($DOCKER_CONFIG/config.json,\n"
      "~/.docker/config.json, $XDG_RUNTIME_DIR/containers/auth.json and their credential helpers), and asks where\n"
      "there is nothing.");
  auto command = std::make_shared<LoginCommand>();
  command->environment = parser.environment;
  app.Option("REGISTRY", command->registry, "HOST[:PORT], or HOST[:PORT]/PREFIX for some of its repositories")
      .Required();
  const OptionWords username =
      app.Option("-u,--username", command->username, "Asks for the password on the terminal").Type("NAME");
  app.Flag("--password-stdin", command->password_stdin, "Read the password from standard input").Needs(username);
  app.Flag("--from-docker", command->from_docker, "Take what docker or podman have, and never ask").Excludes(username);
  AddEntry(parser, app, command);
}

void AddLogout(Parser& parser, CommandWords registries) {
  CommandWords app = registries.Add("logout", "Forget a registry's credentials");
  auto command = std::make_shared<LogoutCommand>();
  app.Option("REGISTRY", command->registry, "As `registry ls` shows it").Required();
  AddEntry(parser, app, command);
}

}  // namespace

void AddImageCommands(Parser& parser) {
  AddEntry(parser, parser.root.Add("images", "List the images in the cache"), std::make_shared<ListImagesCommand>());
  CommandWords images = parser.root.Add("image", "Pull, inspect, remove, check, export and import images");
  images.NeedsOne();
  AddEntry(parser, images.Add("ls", "List the images in the cache"), std::make_shared<ListImagesCommand>());
  AddPull(parser, images);
  AddInspect(parser, images);
  AddRemove(parser, images);
  AddVerify(parser, images);
  AddExport(parser, images);
  AddImport(parser, images);
  AddCollect(parser, images);
}

void AddRegistryCommands(Parser& parser) {
  CommandWords registries = parser.root.Add("registry", "Credentials for registries");
  registries.NeedsOne();
  AddLogin(parser, registries);
  AddLogout(parser, registries);
  AddEntry(parser, registries.Add("ls", "List the registries that credentials are stored for"),
           std::make_shared<ListLoginsCommand>());
}

}  // namespace caisson::cli
