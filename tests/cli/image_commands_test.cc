// SPDX-License-Identifier: Apache-2.0
// The commands about images and registries against a server whose every byte the test decides.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include "base/crypto/crypto.h"
#include "base/io.h"
#include "base/json/json.h"
#include "tests/cli/fake_server.h"
#include "tests/cli/run_caisson.h"
#include "tests/queue/temporary_directory.h"

namespace caisson::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const std::string kDigest = "sha256:" + std::string(64, 'a');

std::string Json200(const std::string& body) { return HttpAnswer(200, "application/json", body); }
std::string NoContent() { return "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"; }
std::string ProblemAnswer(int status, const std::string& detail) {
  return HttpAnswer(status, "application/problem+json", R"({"title":"t","detail":")" + detail + "\"}");
}
std::string Image(const std::string& more = "") {
  return R"({"reference":"busybox:1","digest":")" + kDigest + "\"" + more + "}";
}
std::string Progress(int done, const std::string& state) {
  return R"(event: progress
data: {"bytes_done":)" +
         std::to_string(done) + R"(,"bytes_total":10,"layers":[{"digest":"sha256:0123456789abcdef","state":")" + state +
         R"(","bytes_done":)" + std::to_string(done) + R"(,"bytes_total":10}]}

)";
}
FakeServer::Answer Always(const std::string& answer) {
  return [answer](const FakeRequest&) { return answer; };
}

// ---- pull
// ----------------------------------------------------------------------------------------------------------------

TEST(ImagePullTest, PrintsTheDigestAndTellsItsProgressInLines) {
  FakeServer server(Always(HttpAnswer(200, "text/event-stream",
                                      Progress(1, "downloading") + Progress(2, "downloading") + ": ping\n\n" +
                                          Progress(10, "done") + "event: end\ndata: " + Image() + "\n\n")));
  const Outcome run = RunCaisson(server.host(), {"image", "pull", "--policy", "if-missing", "busybox:1"});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(run.out, kDigest + "\n");
  EXPECT_EQ(run.err, "0123456789ab: downloading, 10 B\n0123456789ab: done, 10 B\n");
  const FakeRequest request = server.requests()[0];
  EXPECT_TRUE(request.Asks("POST /v1/images/pull "));
  EXPECT_EQ(request.Header("accept"), "text/event-stream");
  EXPECT_EQ(request.body, R"({"reference":"busybox:1","policy":"if-missing"})");
}

TEST(ImagePullTest, ForProgramsItPrintsTheImageAlone) {
  FakeServer server(Always(
      HttpAnswer(200, "text/event-stream", Progress(1, "downloading") + "event: end\ndata: " + Image() + "\n\n")));
  const Outcome quiet = RunCaisson(server.host(), {"image", "pull", "--json", "busybox:1"});
  EXPECT_EQ(ParseJson(quiet.out)->StringOr("digest", ""), kDigest);
  EXPECT_EQ(quiet.err, "");
  const Outcome lines = RunCaisson(server.host(), {"image", "pull", "--json", "--progress", "json", "busybox:1"});
  EXPECT_EQ(ParseJson(lines.err)->IntOr("bytes_total", 0), 10);
}

TEST(ImagePullTest, SaysWhyItFailed) {
  FakeServer server(Always(HttpAnswer(
      200, "text/event-stream",
      "event: error\ndata: {\"status\":404,\"detail\":\"docker.io/library/x:1: no such tag\\u001b[2J\"}\n\n")));
  const Outcome run = RunCaisson(server.host(), {"image", "pull", "x:1"});
  EXPECT_EQ(run.status, 1);
  EXPECT_EQ(run.out, "");
  EXPECT_EQ(run.err, "caisson: docker.io/library/x:1: no such tag\\x1b[2J\n");
}

TEST(ImagePullTest, AStreamWithoutItsEndIsNoSuccess) {
  for (const std::string& answer :
       {HttpAnswer(200, "text/event-stream", Progress(1, "downloading")), HttpStream(Progress(1, "downloading"))}) {
    FakeServer server(Always(answer));
    EXPECT_EQ(RunCaisson(server.host(), {"image", "pull", "x"}).status, 1);
  }
}

// ---- rm, verify, gc, inspect
// ------------------------------------------------------------------------------------------------

TEST(ImageCommandsTest, ImagesAreRemovedByEncodedName) {
  FakeServer server(Always(NoContent()));
  const Outcome run = RunCaisson(server.host(), {"image", "rm", "ghcr.io/acme/tool:1"});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(run.out, "ghcr.io/acme/tool:1\n");
  EXPECT_TRUE(server.requests()[0].Asks("DELETE /v1/images/ghcr.io%2Facme%2Ftool%3A1 ")) << server.requests()[0].head;
}

TEST(ImageCommandsTest, OneImageThatCannotBeRemovedDoesNotKeepTheOthers) {
  FakeServer server([](const FakeRequest& request) {
    return request.Asks("DELETE /v1/images/busy ") ? ProblemAnswer(409, "a job runs from it") : NoContent();
  });
  const Outcome run = RunCaisson(server.host(), {"image", "rm", "busy", "free"});
  EXPECT_EQ(run.status, 1);
  EXPECT_EQ(run.out, "free\n");
  EXPECT_EQ(run.err, "caisson: busy: a job runs from it\n");
}

TEST(ImageCommandsTest, VerifyExitsWithOneWhenSomethingIsDamaged) {
  for (const auto& [sound, status] : std::map<std::string, int>{{"true", 0}, {"false", 1}}) {
    FakeServer server(Always(
        Json200(R"({"sound":)" + sound +
                R"(,"layers":[{"digest":"sha256:0123456789abcdef","verdict":"damaged","detail":"etc/passwd"}]})")));
    const Outcome run = RunCaisson(server.host(), {"image", "verify", "--repair", "x"});
    EXPECT_EQ(run.status, status);
    EXPECT_THAT(run.out, HasSubstr("damaged  etc/passwd"));
    EXPECT_EQ(server.requests()[0].body, R"({"repair":true})");
  }
  FakeServer other(Always(Json200("{}")));
  EXPECT_EQ(RunCaisson(other.host(), {"image", "verify", "x"}).status, 1);
}

TEST(ImageCommandsTest, CollectingSaysWhatItFreed) {
  FakeServer server(Always(Json200(R"({"images":2,"layers":3,"bytes":1048576})")));
  EXPECT_EQ(RunCaisson(server.host(), {"image", "gc", "--all"}).out, "removed 2 images and 3 layers, 1.0 MiB\n");
  EXPECT_EQ(server.requests()[0].body, R"({"all":true})");
}

TEST(ImageCommandsTest, InspectShowsWhatTheServerKnowsAndNothingDangerous) {
  FakeServer server(Always(Json200(Image(
      R"(,"config":{"os":"linux","architecture":"amd64","entrypoint":["/bin/\u001b[31msh"],"env":["A=b"]},"warnings":["2 device nodes skipped"],"layers":[{"digest":"sha256:0123456789abcdef","compressed_bytes":1,"unpacked_bytes":2,"entries":3}])"))));
  const Outcome run = RunCaisson(server.host(), {"image", "inspect", "busybox:1"});
  EXPECT_THAT(run.out, HasSubstr("Platform:    linux/amd64\n"));
  EXPECT_THAT(run.out, HasSubstr("/bin/\\x1b[31msh"));
  EXPECT_THAT(run.out, HasSubstr("2 device nodes skipped"));
  EXPECT_EQ(
      ParseJson(RunCaisson(server.host(), {"image", "inspect", "--json", "busybox:1"}).out)->StringOr("digest", ""),
      kDigest);
}

// ---- export
// --------------------------------------------------------------------------------------------------------------

TEST(ImageExportTest, TheArchiveGoesToStandardOutputByteForByte) {
  const std::string tar = std::string("a\0b\xFF", 4) + std::string(100'000, 'x');
  FakeServer server(Always(HttpAnswer(200, "application/x-tar", tar)));
  const Outcome run = RunCaisson(server.host(), {"image", "export", "busybox:1"});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(run.out, tar);
  EXPECT_TRUE(server.requests()[0].Asks("GET /v1/images/busybox%3A1/rootfs "));
}

TEST(ImageExportTest, ACutArchiveIsAFailureAndLeavesNoFile) {
  testing::TemporaryDirectory directory;
  FakeServer server(Always(HttpStream("the beginning")));
  const Outcome run = RunCaisson(server.host(), {"image", "export", "x"});
  EXPECT_EQ(run.status, 1);
  EXPECT_THAT(run.err, HasSubstr("no whole archive"));
  const Outcome file = RunCaisson(server.host(), {"image", "export", "-o", directory.file("rootfs.tar"), "x"});
  EXPECT_EQ(file.status, 1);
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(ImageExportTest, AFileAppearsWhenItIsWhole) {
  testing::TemporaryDirectory directory;
  FakeServer server(Always(HttpAnswer(200, "application/x-tar", "archive")));
  EXPECT_EQ(RunCaisson(server.host(), {"image", "export", "--output", directory.file("rootfs.tar"), "x"}).status, 0);
  EXPECT_EQ(*ReadFile(directory.file("rootfs.tar"), 100), "archive");
  FakeServer missing(Always(ProblemAnswer(404, "there is no image x")));
  const Outcome run = RunCaisson(missing.host(), {"image", "export", "x"});
  EXPECT_EQ(run.err, "caisson: export x: there is no image x\n");
}

// ---- import
// --------------------------------------------------------------------------------------------------------------

// An OCI layout directory with one image of a config and a layer.
class ImageImportTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(MakeDirectories(path_ + "/blobs/sha256", 0700));
    Write("oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
    const std::string config = Blob("{}");
    layer_ = Blob("the layer");
    manifest_ = R"({"schemaVersion":2,"config":{"digest":")" + config + R"(","size":2},"layers":[{"digest":")" +
                layer_ + R"(","size":9}]})";
    Write("index.json", R"({"manifests":[{"digest":")" + Blob(manifest_) +
                            R"(","annotations":{"org.opencontainers.image.ref.name":"acme/tool:1"}}]})");
  }
  void Write(const std::string& name, const std::string& text) {
    ASSERT_TRUE(WriteFileDurably(AT_FDCWD, path_ + "/" + name, text, 0600));
  }
  std::string Blob(const std::string& bytes) {
    const std::string digest = Sha256Of(bytes).ToString();
    Write("blobs/sha256/" + digest.substr(7), bytes);
    return digest;
  }

  testing::TemporaryDirectory directory_;
  const std::string path_ = directory_.file("layout");
  std::string layer_;
  std::string manifest_;
};

TEST_F(ImageImportTest, WhatTheDaemonLacksIsUploadedAndThenNamed) {
  FakeServer server([this](const FakeRequest& request) {
    if (request.Asks("HEAD /v1/blobs/" + layer_)) return HttpAnswer(404, "application/problem+json", "");
    if (request.Asks("HEAD ")) return HttpAnswer(200, "application/octet-stream", "");
    if (request.Asks("PUT ")) return HttpAnswer(201, "application/json", "{}");
    return HttpAnswer(201, "application/json", Image());
  });
  const Outcome run = RunCaisson(server.host(), {"image", "import", path_});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(run.out, "busybox:1 " + kDigest + "\n");
  const std::vector<FakeRequest> requests = server.requests();
  ASSERT_EQ(requests.size(), 4U);
  EXPECT_TRUE(requests[2].Asks("PUT /v1/blobs/" + layer_));
  EXPECT_EQ(requests[2].body, "the layer");
  EXPECT_TRUE(requests[3].Asks("POST /v1/images/import "));
  EXPECT_EQ(ParseJson(requests[3].body)->StringOr("reference", ""), "acme/tool:1");
  EXPECT_EQ(ParseJson(requests[3].body)->StringOr("manifest", ""), manifest_);
}

TEST_F(ImageImportTest, ARefusedUploadEndsIt) {
  FakeServer server([](const FakeRequest& request) {
    return request.Asks("HEAD ") ? HttpAnswer(404, "application/problem+json", "")
                                 : ProblemAnswer(507, "the disk is full");
  });
  const Outcome run = RunCaisson(server.host(), {"image", "import", "--name", "mine:1", path_});
  EXPECT_EQ(run.status, 1);
  EXPECT_THAT(run.err, HasSubstr("the disk is full"));
}

TEST_F(ImageImportTest, WhatIsNoImageIsRefusedBeforeTheDaemonIsAsked) {
  FakeServer server(Always(Json200("{}")));
  testing::TemporaryDirectory empty;
  EXPECT_THAT(RunCaisson(server.host(), {"image", "import", empty.path()}).err,
              HasSubstr("neither an OCI image layout"));
  EXPECT_THAT(RunCaisson(server.host(), {"image", "import", path_ + "/none"}).err, HasSubstr("No such file"));
  EXPECT_THAT(RunCaisson(server.host(), {"image", "import", path_ + "/index.json"}).err, HasSubstr("no tar archive"));
  EXPECT_THAT(RunCaisson(server.host(), {"image", "import", "/dev/null"}).err, HasSubstr("neither a directory nor"));
  EXPECT_THAT(server.requests(), IsEmpty());
}

// ---- registries
// ------------------------------------------------------------------------------------------------------------

TEST(RegistryLoginTest, APasswordComesFromStandardInput) {
  FakeServer server(Always(Json200(R"({"registry":"ghcr.io/acme","username":"me"})")));
  const Outcome run = RunCaisson(
      server.host(), {"registry", "login", "https://ghcr.io/acme/", "-u", "me", "--password-stdin"}, "s3cret \n");
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_TRUE(server.requests()[0].Asks("PUT /v1/registries/ghcr.io%2Facme "));
  EXPECT_EQ(server.requests()[0].body, R"({"username":"me","password":"s3cret "})");
  EXPECT_THAT(run.out + run.err, Not(HasSubstr("s3cret")));
}

TEST(RegistryLoginTest, AnEmptyPasswordIsNone) {
  FakeServer server(Always(Json200("{}")));
  const Outcome run = RunCaisson(server.host(), {"registry", "login", "ghcr.io", "-u", "me", "--password-stdin"}, "\n");
  EXPECT_EQ(run.status, 1);
  EXPECT_THAT(server.requests(), IsEmpty());
}

TEST(RegistryLoginTest, WithNothingFoundAndNothingToAskItSaysWhatToDo) {
  FakeServer server(Always(Json200("{}")));
  const Outcome run = RunCaisson(server.host(), {"registry", "login", "ghcr.io", "--from-docker"});
  EXPECT_EQ(run.status, 1);
  EXPECT_THAT(run.err, HasSubstr("neither docker nor podman has credentials for ghcr.io here"));
  EXPECT_THAT(run.err, HasSubstr("--password-stdin"));
}

TEST(RegistryLoginTest, LogoutAndListNameTheRegistry) {
  FakeServer server([](const FakeRequest& request) {
    return request.Asks("GET ") ? Json200(R"({"items":[{"registry":"ghcr.io","username":null}]})") : NoContent();
  });
  EXPECT_EQ(RunCaisson(server.host(), {"registry", "logout", "ghcr.io"}).out, "forgotten: ghcr.io\n");
  EXPECT_THAT(RunCaisson(server.host(), {"registry", "ls"}).out, HasSubstr("ghcr.io   -         -\n"));
}

}  // namespace
}  // namespace caisson::cli
