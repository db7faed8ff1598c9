// SPDX-License-Identifier: Apache-2.0
// Every command about images and registries, its main line, with the real programs: daemon, registry, skopeo.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "tests/integration/daemon.h"
#include "tests/integration/secured_registry.h"

namespace caisson::integration {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

class ImageCommandsTest : public testing::Test {
 protected:
  ImageCommandsTest() { registry_.PushBusybox(); }

  // An image of busybox and one more layer.
  void PushTool() {
    const std::string files = work_.path() + "/files";
    std::filesystem::create_directories(files + "/data");
    WriteFile(files + "/data/hello", "hello\n");
    registry_.Push("tool:1", {"--add", files});
  }
  Finished Caisson(std::vector<std::string> words, const std::optional<std::string>& input = std::nullopt) const {
    return daemon_.Caisson(std::move(words), input);
  }
  Finished RunHello(const std::string& image, const std::string& pull) const {
    return Caisson({"run", "--pull", pull, image, "--", "cat", "/data/hello"});
  }
  // What skopeo makes of the registry's image: "oci:PATH:TAG", "docker-archive:PATH:NAME".
  void CopyOut(const std::string& image, const std::string& to) const {
    const Finished copied =
        RunProgram({"skopeo", "copy", "--src-tls-verify=false", "docker://" + registry_.Name(image), to});
    ASSERT_EQ(copied.status, 0) << copied.err;
  }

  Registry registry_;
  Daemon daemon_{registry_};
  TemporaryDirectory work_;
};

TEST_F(ImageCommandsTest, PullInspectListAndRemove) {
  PushTool();
  const Finished pulled = Caisson({"image", "pull", registry_.Name("tool:1")});
  ASSERT_EQ(pulled.status, 0) << pulled.err;
  EXPECT_THAT(pulled.out, MatchesRegex("sha256:[0-9a-f]{64}\n"));
  EXPECT_THAT(pulled.err, HasSubstr(": done, "));
  const std::string digest = pulled.out.substr(0, pulled.out.size() - 1);

  const Finished inspected = Caisson({"image", "inspect", "--json", registry_.Name("tool:1")});
  ASSERT_EQ(inspected.status, 0) << inspected.err;
  const Json image = *ParseJson(inspected.out);
  EXPECT_EQ(image.StringOr("digest", ""), digest);
  EXPECT_EQ(image.ArrayOrEmpty("layers").size(), 2U);
  EXPECT_EQ(image.Find("config")->StringOr("os", ""), "linux");
  EXPECT_THAT(Caisson({"image", "inspect", digest}).out, HasSubstr("LAYER"));
  EXPECT_THAT(Caisson({"images"}).out, HasSubstr(registry_.Name("tool:1")));
  EXPECT_EQ(Caisson({"image", "ls"}).out, Caisson({"images"}).out);

  // What is there needs no registry any more.
  registry_.Stop();
  EXPECT_EQ(RunHello(registry_.Name("tool:1"), "never").out, "hello\n");
  EXPECT_EQ(RunHello(registry_.Name("tool:1"), "if-missing").out, "hello\n");

  const Finished removed = Caisson({"image", "rm", registry_.Name("tool:1")});
  EXPECT_EQ(removed.status, 0) << removed.err;
  EXPECT_THAT(Caisson({"images"}).out, Not(HasSubstr("tool:1")));
  EXPECT_EQ(Caisson({"image", "inspect", digest}).status, 1);
  const Finished gone = RunHello(registry_.Name("tool:1"), "never");
  EXPECT_EQ(gone.status, 125);
}

TEST_F(ImageCommandsTest, APullThatCannotBeSaysWhy) {
  const Finished missing = Caisson({"image", "pull", registry_.Name("busybox:none")});
  EXPECT_EQ(missing.status, 1);
  EXPECT_EQ(missing.out, "");
  EXPECT_THAT(missing.err, HasSubstr("busybox:none"));
  registry_.Stop();
  EXPECT_EQ(Caisson({"image", "pull", "--policy", "never", registry_.Name("busybox:1")}).status, 1);
}

TEST_F(ImageCommandsTest, ForProgramsThereAreEventsAndOneDocument) {
  const Finished pulled = Caisson({"image", "pull", "--json", "--progress", "json", registry_.Name("busybox:1")});
  ASSERT_EQ(pulled.status, 0) << pulled.err;
  EXPECT_EQ(ParseJson(pulled.out)->Find("config")->StringOr("os", ""), "linux");
  const std::string last = pulled.err.substr(pulled.err.rfind('\n', pulled.err.size() - 2) + 1);
  const Result<Json> event = ParseJson(last);
  ASSERT_TRUE(event) << last;
  EXPECT_EQ(event->ArrayOrEmpty("layers")[0].StringOr("state", ""), "done");
}

TEST_F(ImageCommandsTest, AnExportIsTheTreeThatAJobSees) {
  PushTool();
  ASSERT_EQ(Caisson({"image", "pull", registry_.Name("tool:1")}).status, 0);
  const std::string tar = work_.path() + "/rootfs.tar";
  const Finished exported = Caisson({"image", "export", "-o", tar, registry_.Name("tool:1")});
  ASSERT_EQ(exported.status, 0) << exported.err;
  const Finished listed = RunProgram({"tar", "-tf", tar});
  EXPECT_EQ(listed.status, 0) << listed.err;
  EXPECT_THAT(listed.out, HasSubstr("bin/busybox\n"));
  EXPECT_EQ(RunProgram({"tar", "-xOf", tar, "data/hello"}).out + RunProgram({"tar", "-xOf", tar, "./data/hello"}).out,
            "hello\n");
  // The same bytes on standard output.
  EXPECT_TRUE(Caisson({"image", "export", registry_.Name("tool:1")}).out == ReadWholeFile(tar));
  EXPECT_EQ(Caisson({"image", "export", "none"}).status, 1);
}

TEST_F(ImageCommandsTest, LayoutsAndArchivesAreImportedAndRun) {
  PushTool();
  const std::string path = work_.path();
  ASSERT_NO_FATAL_FAILURE(CopyOut("tool:1", "oci:" + path + "/layout:acme/tool:1"));
  ASSERT_NO_FATAL_FAILURE(CopyOut("tool:1", "oci-archive:" + path + "/oci.tar:acme/tool:2"));
  ASSERT_NO_FATAL_FAILURE(CopyOut("tool:1", "docker-archive:" + path + "/save.tar:acme/tool:3"));
  ASSERT_EQ(RunProgram({"gzip", "-k", path + "/save.tar"}).status, 0);
  ASSERT_EQ(RunProgram({"zstd", "-q", path + "/oci.tar"}).status, 0);
  registry_.Stop();  // nothing of it is needed
  const std::pair<std::string, std::string> table[] = {{"layout", "acme/tool:1"},
                                                       {"oci.tar", "acme/tool:2"},
                                                       {"oci.tar.zst", "acme/tool:2"},
                                                       {"save.tar", "acme/tool:3"},
                                                       {"save.tar.gz", "acme/tool:3"}};
  for (const auto& [file, name] : table) {
    const Finished imported = Caisson({"image", "import", path + "/" + file});
    ASSERT_EQ(imported.status, 0) << file << ": " << imported.err;
    EXPECT_THAT(imported.out, MatchesRegex(".*" + name + ".* sha256:[0-9a-f]{64}\n")) << file;
    const Finished ran = RunHello(name, "never");
    EXPECT_EQ(ran.out, "hello\n") << file << ": " << ran.err;
  }
  EXPECT_EQ(Caisson({"image", "import", "--name", "other/name:7", path + "/layout"}).status, 0);
  EXPECT_EQ(RunHello("other/name:7", "if-missing").out, "hello\n");
}

TEST_F(ImageCommandsTest, ADamagedLayerIsFoundAndMended) {
  PushTool();
  ASSERT_EQ(Caisson({"image", "pull", registry_.Name("tool:1")}).status, 0);
  const Finished sound = Caisson({"image", "verify", registry_.Name("tool:1")});
  EXPECT_EQ(sound.status, 0) << sound.out << sound.err;

  // As a failing disk would: behind the daemon's back.
  std::string victim;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(daemon_.data_dir()))
    if (entry.path().filename() == "hello") victim = entry.path();
  ASSERT_FALSE(victim.empty());
  WriteFile(victim, "hullo\n");
  const Finished damaged = Caisson({"image", "verify", registry_.Name("tool:1")});
  EXPECT_EQ(damaged.status, 1);
  EXPECT_THAT(damaged.out, HasSubstr("damaged"));
  const Finished repaired = Caisson({"image", "verify", "--repair", registry_.Name("tool:1")});
  EXPECT_EQ(repaired.status, 0) << repaired.out << repaired.err;
  EXPECT_THAT(repaired.out, HasSubstr("repaired"));
  EXPECT_EQ(RunHello(registry_.Name("tool:1"), "never").out, "hello\n");
}

TEST_F(ImageCommandsTest, CollectingRemovesWhatNoJobRunsFrom) {
  ASSERT_EQ(Caisson({"image", "pull", registry_.Name("busybox:1")}).status, 0);
  const Finished kept = Caisson({"image", "gc"});
  EXPECT_EQ(kept.status, 0) << kept.err;
  EXPECT_THAT(Caisson({"images"}).out, HasSubstr("busybox:1"));
  const std::string id = Caisson({"submit", registry_.Name("busybox:1"), "--", "sleep", "600"}).out.substr(0, 24);
  ASSERT_TRUE(daemon_.WaitState(id, "running"));
  EXPECT_THAT(Caisson({"image", "gc", "--all"}).out, HasSubstr("removed 0 images"));
  const Finished busy = Caisson({"image", "rm", registry_.Name("busybox:1")});
  EXPECT_EQ(busy.status, 1);
  EXPECT_EQ(Caisson({"cancel", "--grace", "0", id}).status, 0);
  daemon_.WaitFinal(id);
  const Finished collected = Caisson({"image", "gc", "--all"});
  EXPECT_THAT(collected.out, HasSubstr("removed 1 images")) << collected.err;
}

TEST_F(ImageCommandsTest, ALoginIsKeptUsedAndForgotten) {
  SecuredRegistry secured(RegistryForm::kPassword);
  secured.CopyFrom(registry_, "busybox:1");
  Daemon daemon(secured.Settings());
  const std::string name = secured.Name("busybox:1");
  EXPECT_EQ(daemon.Caisson({"image", "pull", name}).status, 1);
  const Finished stored =
      daemon.Caisson({"registry", "login", "-u", SecuredRegistry::kUser, "--password-stdin", secured.address()},
                     std::string(SecuredRegistry::kPassword) + "\n");
  ASSERT_EQ(stored.status, 0) << stored.err;
  EXPECT_THAT(daemon.Caisson({"registry", "ls"}).out, HasSubstr(secured.address()));
  EXPECT_THAT(daemon.Caisson({"registry", "ls", "--json"}).out, Not(HasSubstr(SecuredRegistry::kPassword)));
  const Finished pulled = daemon.Caisson({"image", "pull", name});
  EXPECT_EQ(pulled.status, 0) << pulled.err;
  EXPECT_THAT(daemon.log(), Not(HasSubstr(SecuredRegistry::kPassword)));
  EXPECT_EQ(daemon.Caisson({"registry", "logout", secured.address()}).status, 0);
  EXPECT_EQ(daemon.Caisson({"image", "pull", name}).status, 1);
  EXPECT_EQ(daemon.Caisson({"registry", "logout", secured.address()}).status, 1);
}

// The user's own docker configuration is read on the client's side.
TEST_F(ImageCommandsTest, ALoginMayComeFromTheUsersDocker) {
  SecuredRegistry secured(RegistryForm::kPassword);
  secured.CopyFrom(registry_, "busybox:1");
  Daemon daemon(secured.Settings());
  WriteFile(work_.path() + "/config.json", secured.AuthJson());
  const Finished stored = RunProgram(
      {CAISSON_PROGRAMS "/caisson", "registry", "login", "--host", daemon.host(), "--from-docker", secured.address()},
      std::nullopt, {{"DOCKER_CONFIG", work_.path()}});
  ASSERT_EQ(stored.status, 0) << stored.err;
  EXPECT_THAT(stored.err, HasSubstr("taken from " + work_.path() + "/config.json"));
  const Finished pulled = daemon.Caisson({"image", "pull", secured.Name("busybox:1")});
  EXPECT_EQ(pulled.status, 0) << pulled.err;
}

}  // namespace
}  // namespace caisson::integration
