// SPDX-License-Identifier: Apache-2.0
// What users and registries get wrong: one clear error to the caller, the right outcome on the job, nothing left.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/encoding.h"
#include "base/http/http_client.h"
#include "tests/integration/daemon.h"
#include "tests/integration/host_state.h"

namespace caisson::integration {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class BadInputTest : public testing::Test {
 protected:
  BadInputTest() {
    registry_.PushBusybox();
    // What is made once and kept (connections, compiled filters, the cached image) is made before the first look.
    for (int i = 0; i < 2; ++i) EXPECT_EQ(Run(registry_.Name("busybox:1")).status, 0);
    before_ = HostState(daemon_);
  }
  void TearDown() override {
    ExpectSameState(before_, daemon_);
    EXPECT_EQ(Run(registry_.Name("busybox:1")).status, 0);  // and it still works
    daemon_.Stop();
    ExpectNothingLeft(daemon_);
  }

  Finished Run(const std::string& image, std::vector<std::string> command = {"true"}) const {
    std::vector<std::string> words = {"run", image, "--"};
    words.insert(words.end(), command.begin(), command.end());
    return daemon_.Caisson(words);
  }
  std::string Body(const std::string& members) const {
    return fmt::format(R"({{"image":"{}",{}}})", registry_.Name("busybox:1"), members);
  }
  // A refused submit: this status, a problem with these words.
  void ExpectRefused(const std::string& body, int status, const std::string& words) const {
    const Answer answer = daemon_.Call("/v1/jobs", body);
    EXPECT_EQ(answer.status, status) << answer.body;
    EXPECT_EQ(answer.json.IntOr("status", 0), status) << answer.body;
    EXPECT_THAT(answer.body, HasSubstr(words));
    EXPECT_NE(answer.json.StringOr("detail", ""), "");
  }
  // A job that failed before it ran: 125, one line about it, this reason on the record.
  void ExpectImageError(const std::string& image, const std::string& words) const {
    const Finished run = Run(image);
    EXPECT_EQ(run.status, 125) << run.out << run.err;
    EXPECT_EQ(run.out, "");
    EXPECT_THAT(run.err, AllOf(HasSubstr("image_error"), HasSubstr(words)));
    EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
    const Json newest = daemon_.Call("/v1/jobs?limit=1").json.ArrayOrEmpty("items").at(0);
    EXPECT_EQ(newest.StringOr("reason", ""), "image_error");
    EXPECT_EQ(newest.IntOr("attempts", 0), 1);
  }
  // Flips one byte in the middle of a stored file.
  static void Spoil(const std::string& path) {
    std::string bytes = ReadWholeFile(path);
    ASSERT_FALSE(bytes.empty()) << path;
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
    WriteFile(path, bytes);
  }

  Registry registry_;
  Daemon daemon_{registry_};
  std::vector<std::string> before_;
};

TEST_F(BadInputTest, AnImageThatDoesNotExist) {
  ExpectImageError(registry_.Name("nosuch:1"), registry_.Name("nosuch:1"));
}

TEST_F(BadInputTest, ATagThatDoesNotExist) {
  ExpectImageError(registry_.Name("busybox:9"), registry_.Name("busybox:9"));
}

TEST_F(BadInputTest, ADigestThatDoesNotExist) {
  const std::string reference = registry_.Name("busybox@sha256:" + std::string(64, 'a'));
  ExpectImageError(reference, "sha256:aaaa");
}

TEST_F(BadInputTest, ALayerThatDoesNotMatchItsDigest) {
  const TemporaryDirectory extra;
  WriteFile(extra.path() + "/file", std::string(100'000, 'x'));
  registry_.Push("spoiled:1", {"--uncompressed", "--no-base", "--add", extra.path()});
  const Json manifest = *ParseJson(registry_.ManifestOf("spoiled", "1"));
  Spoil(registry_.BlobPath(manifest.ArrayOrEmpty("layers").at(0).StringOr("digest", "")));
  ExpectImageError(registry_.Name("spoiled:1"), "digest");
}

TEST_F(BadInputTest, AConfigThatDoesNotMatchItsDigest) {
  registry_.Push("spoiled:2", {"--config", R"("Cmd":["true"],"Labels":{"n":"2"})"});
  Spoil(registry_.BlobPath(ParseJson(registry_.ManifestOf("spoiled", "2"))->Find("config")->StringOr("digest", "")));
  ExpectImageError(registry_.Name("spoiled:2"), "digest");
}

TEST_F(BadInputTest, ALayerThatIsNoArchive) {
  const TemporaryDirectory extra;
  WriteFile(extra.path() + "/noise", std::string(4096, '\xa5'));
  registry_.Push("noise:1", {"--add-tar", extra.path() + "/noise"});
  ExpectImageError(registry_.Name("noise:1"), "layer");
}

TEST_F(BadInputTest, AProgramThatIsNotInTheImage) {
  const Finished run = Run(registry_.Name("busybox:1"), {"no-such-program"});
  EXPECT_EQ(run.status, 127);
  EXPECT_THAT(run.err, AllOf(HasSubstr("setup_error"), HasSubstr("no-such-program")));
}

TEST_F(BadInputTest, AProgramThatIsNotExecutable) {
  const Finished run = Run(registry_.Name("busybox:1"), {"/etc/passwd"});
  EXPECT_EQ(run.status, 126);
  EXPECT_THAT(run.err, AllOf(HasSubstr("setup_error"), HasSubstr("/etc/passwd")));
}

TEST_F(BadInputTest, AUserThatIsNotInTheImage) {
  const Finished run = daemon_.Caisson({"run", "--user", "nosuchuser", registry_.Name("busybox:1")});
  EXPECT_EQ(run.status, 125);
  EXPECT_THAT(run.err, HasSubstr("nosuchuser"));
}

TEST_F(BadInputTest, ABodyThatIsNotJson) {
  ExpectRefused("", 400, "JSON");
  ExpectRefused("{\"image\":", 400, "JSON");
  ExpectRefused("\xff\xfe", 400, "");
  ExpectRefused(Body("\"user\":\"\xff\""), 400, "");
  ExpectRefused("[]", 422, "");
}

TEST_F(BadInputTest, ABodyThatNestsTooDeep) {
  ExpectRefused(Body("\"env\":" + std::string(1000, '[') + std::string(1000, ']')), 400, "");
}

TEST_F(BadInputTest, ABodyThatIsTooLarge) {
  const Answer answer = daemon_.Call("/v1/jobs", Body("\"payload\":\"" + std::string(17 << 20, 'x') + "\""));
  EXPECT_EQ(answer.status, 413) << answer.body;
}

TEST_F(BadInputTest, ABodyOfAnotherType) {
  HttpClient client;
  const Result<HttpResponse> answer = client.Perform({.method = "POST",
                                                      .url = "http://localhost/v1/jobs",
                                                      .headers = {{"Content-Type", "text/plain"}},
                                                      .body = Body("\"user\":\"1\""),
                                                      .unix_socket = daemon_.run_dir() + "/caisson.sock"});
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 415);
}

TEST_F(BadInputTest, FieldsThatAreUnknownOrWrong) {
  ExpectRefused(Body(R"("comand":["true"])"), 422, "comand");
  ExpectRefused(Body(R"("resources":{"memory":1})"), 422, "memory");
  ExpectRefused(Body(R"("command":"true")"), 422, "command");
  ExpectRefused(Body(R"("command":["a\u0000b"])"), 422, "NUL");
  ExpectRefused(Body(R"("env":{"A":"\u0000"})"), 422, "NUL");
  ExpectRefused(Body(R"("payload":"x","payload_base64":"eA==")"), 422, "payload");
  ExpectRefused(Body(R"("payload_base64":"not base64")"), 422, "payload_base64");
  ExpectRefused(Body(R"("max_attempts":0)"), 422, "max_attempts");
  ExpectRefused(R"({"command":["true"]})", 422, "image");
  ExpectRefused(R"({"image":"UPPER CASE"})", 422, "image");
  ExpectRefused(R"({"image":"busybox@sha256:short"})", 422, "image");
}

TEST_F(BadInputTest, TheCommandLineShowsEachErrorOnItsLine) {
  const Finished run = daemon_.Caisson({"run", "Not/A:Reference:At:All"});
  EXPECT_EQ(run.status, 125);
  EXPECT_THAT(run.err, HasSubstr("image"));
  EXPECT_EQ(daemon_.Caisson({"job", "nosuchjob"}).status, 1);
  EXPECT_THAT(daemon_.Caisson({"job", "0123456789abcdef01234567"}).err, HasSubstr("caisson: "));
}

TEST_F(BadInputTest, ARegistryThatIsDownIsTriedAgainOnThePlatformsBudget) {
  registry_.Push("later:1", {"--config", R"("Cmd":["echo","at last"])"});
  registry_.Stop();
  const std::string id = daemon_.Submit(fmt::format(R"({{"image":"{}"}})", registry_.Name("later:1")));
  ASSERT_TRUE(daemon_.WaitState(id, "scheduled")) << daemon_.Job(id).Dump();
  EXPECT_THAT(daemon_.Job(id).StringOr("message", ""), HasSubstr(registry_.address()));
  registry_.Start();
  const Json job = daemon_.WaitFinal(id);
  EXPECT_EQ(job.StringOr("state", ""), "succeeded") << job.Dump();
  EXPECT_GE(job.IntOr("attempts", 0), 2);
  EXPECT_EQ(daemon_.Caisson({"logs", id}).out, "at last\n");
}

TEST_F(BadInputTest, ARegistryThatStaysDownIsAnImageErrorAfterFiveAttempts) {
  registry_.Stop();
  const Finished run = daemon_.Caisson({"run", registry_.Name("busybox:2")});
  registry_.Start();
  EXPECT_EQ(run.status, 125);
  EXPECT_THAT(run.err, AllOf(HasSubstr("image_error"), HasSubstr(registry_.address())));
  EXPECT_EQ(daemon_.Call("/v1/jobs?limit=1").json.ArrayOrEmpty("items").at(0).IntOr("attempts", 0), 5);
}

}  // namespace
}  // namespace caisson::integration
