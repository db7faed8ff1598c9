// SPDX-License-Identifier: Apache-2.0
// Mirrors: asked in order before the registry, trusted with nothing, and never in the way.
#include "base/crypto/crypto.h"
#include "image/mirror.h"
#include "tests/image/registry_fixture.h"

namespace caisson::image {
namespace {

using testing::HasSubstr;

TEST(MirrorTest, TextIsHostPortAndPrefix) {
  const Mirror mirror = *ParseMirror("Mirror.example:5000/cache/hub");
  EXPECT_EQ(mirror.host, "mirror.example:5000");
  EXPECT_EQ(mirror.prefix, "cache/hub");
  EXPECT_EQ(ParseMirror("127.0.0.1:5000")->prefix, "");
  EXPECT_EQ(ParseMirror("docker.io/library")->host, "docker.io");
}

TEST(MirrorTest, WhatIsNoneIsRefusedWithTheReason) {
  for (const char* bad : {"", "/", "mirror", "mirror/x", "https://mirror.example", "mirror.example/", "m.example/UP",
                          "user@m.example", "m.example:0", "m.example/x:1", "m.example/../x"}) {
    const Result<Mirror> mirror = ParseMirror(bad);
    EXPECT_FALSE(mirror) << bad;
    EXPECT_THAT(mirror ? "" : mirror.error().message, HasSubstr("mirror \""));
  }
  EXPECT_THAT(ParseMirror("http://m.example").error().message, HasSubstr("without a scheme"));
}

class RegistryMirrorTest : public RegistryFixture {
 protected:
  RegistryMirrorTest() {
    for (ScriptedRegistry* mirror : {&first_, &second_}) registries_[mirror->address()].plain_http = true;
    registries_[registry_.address()].mirrors = {first_.address() + "/cache", second_.address()};
    registry_.PutManifest("1", "{}", "x");
  }
  int AskedOf(const ScriptedRegistry& registry) const { return static_cast<int>(registry.requests().size()); }

  ScriptedRegistry first_, second_;
};

TEST_F(RegistryMirrorTest, DigestsComeFromTheFirstThatHasThemUnderItsPrefix) {
  const std::string bytes = "the blob";
  const Descriptor blob = Blob(bytes);
  const Digest manifest = registry_.PutManifest("1", "{\"a\":1}", "x");
  first_.PutManifest("1", "{\"a\":1}", "x");
  second_.PutBlob(bytes);
  RegistryClient client = Client();
  EXPECT_EQ(client.GetManifest(manifest)->bytes, "{\"a\":1}");
  EXPECT_EQ(*client.GetBlobBytes(blob), bytes);
  EXPECT_EQ(first_.CountRequests("GET", "/v2/cache/team/app/manifests/" + manifest.ToString()), 1);
  EXPECT_EQ(first_.CountRequests("GET", "/v2/cache/team/app/blobs/"), 1);
  EXPECT_EQ(second_.CountRequests("GET", "/v2/team/app/blobs/"), 1);
  EXPECT_EQ(registry_.CountRequests("GET", ""), 0);
}

// A mirror's own credentials open nothing to a tenant.
TEST_F(RegistryMirrorTest, MirrorGivesNoManifestThatTheRegistryRefuses) {
  const Digest digest = first_.PutManifest("1", "{\"secret\":1}", "x");
  for (const int status : {401, 403, 404, 500}) {
    AlwaysAnswer({.status = status});
    EXPECT_FALSE(Client().GetManifest(digest)) << status;
  }
  EXPECT_EQ(AskedOf(first_), 0);
  registries_[registry_.address()].mirror_tags = true;  // it stands for the registry
  EXPECT_TRUE(Client().GetManifest(digest));
}

TEST_F(RegistryMirrorTest, TagsAreTheRegistrysUnlessTheSettingsSayOtherwise) {
  const Digest at_mirror = first_.PutManifest("1", "{\"a\":1}", "x");
  EXPECT_NE(*Client().ResolveTag("1"), at_mirror);
  EXPECT_EQ(AskedOf(first_) + AskedOf(second_), 0);
  registries_[registry_.address()].mirror_tags = true;
  EXPECT_EQ(*Client().ResolveTag("1"), at_mirror);
}

TEST_F(RegistryMirrorTest, AnyFailureOfAMirrorFallsToTheNext) {
  const std::string bytes = "the blob";
  const Descriptor blob = Blob(bytes);
  for (const ScriptedAnswer& failure : std::vector<ScriptedAnswer>{{.status = 404},
                                                                   {.status = 401},
                                                                   {.status = 429},
                                                                   {.status = 500},
                                                                   {.status = 418},
                                                                   {.status = 302},
                                                                   {.body = bytes + "x"},
                                                                   {.status = 0, .raw = "nonsense\r\n"},
                                                                   {.status = 0, .raw = ""}}) {
    for (ScriptedRegistry* mirror : {&first_, &second_})
      mirror->SetScript([failure](const ScriptedRequest&) { return failure; });
    testing::internal::CaptureStderr();
    const Result<std::string> got = Client().GetBlobBytes(blob);
    const std::string log = testing::internal::GetCapturedStderr();
    ASSERT_TRUE(got) << failure.status << ": " << got.error().message;
    EXPECT_EQ(*got, bytes);
    EXPECT_THAT(log, HasSubstr("mirror_passed_over mirror=" + first_.address() + "/cache/team/app"));
    EXPECT_THAT(log, HasSubstr("mirror_passed_over mirror=" + second_.address() + "/team/app"));
  }
  EXPECT_TRUE(waits_.empty());  // nobody waits for a mirror
}

TEST_F(RegistryMirrorTest, MirrorThatIsDownIsAskedOnceInAPull) {
  const Descriptor one = Blob("one"), two = Blob("two");
  first_.SetScript([](const ScriptedRequest&) { return ScriptedAnswer{.status = 503}; });
  RegistryClient client = Client();
  EXPECT_TRUE(client.GetBlobBytes(one));
  EXPECT_TRUE(client.GetBlobBytes(two));
  EXPECT_EQ(AskedOf(first_), 1);
}

TEST_F(RegistryMirrorTest, BlobThatAMirrorBreaksOffIsContinuedAtTheNext) {
  const std::string bytes(100000, 'b');
  const Descriptor blob = Blob(bytes);
  first_.SetScript([&](const ScriptedRequest&) { return ScriptedAnswer{.body = bytes, .cut_after = 60000}; });
  second_.SetScript([](const ScriptedRequest&) { return ScriptedAnswer{.status = 404}; });
  registry_.SetScript([&](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    EXPECT_EQ(request.Header("range"), "bytes=60000-");
    return ScriptedAnswer{
        .status = 206, .headers = {{"Content-Range", "bytes 60000-99999/100000"}}, .body = bytes.substr(60000)};
  });
  EXPECT_EQ(*Client().GetBlobBytes(blob), bytes);
}

TEST_F(RegistryMirrorTest, MirrorThatLiesCostsAnotherStartAndNothingElse) {
  const std::string bytes = "the blob";
  const Descriptor blob = Blob(bytes);
  first_.SetScript([](const ScriptedRequest&) { return ScriptedAnswer{.body = "the b1ob"}; });
  RegistryClient client = Client();
  std::string got;
  const auto sink = [&got](std::string_view piece) -> Result<void> {
    got += piece;
    return {};
  };
  EXPECT_EQ(client.GetBlob(blob, sink).error().code, ErrorCode::kCorrupt);
  EXPECT_TRUE(client.MayHaveBetter(blob.digest));
  got.clear();
  EXPECT_TRUE(client.GetBlob(blob, sink));
  EXPECT_EQ(got, bytes);
  EXPECT_FALSE(client.MayHaveBetter(blob.digest));
  EXPECT_EQ(*Client().GetBlobBytes(blob), bytes);  // begins anew by itself
}

TEST_F(RegistryMirrorTest, ManifestWithWrongBytesFallsToTheNext) {
  const Digest digest = registry_.PutManifest("1", "{}", "x");
  first_.SetScript([](const ScriptedRequest&) { return ScriptedAnswer{.body = "{ }"}; });
  EXPECT_EQ(Client().GetManifest(digest)->bytes, "{}");
}

TEST_F(RegistryMirrorTest, EachHostGetsItsOwnCredentialsOnly) {
  const std::string bytes = "the blob";
  const Descriptor blob = Blob(bytes);
  LogIn({"me", Secret("registry-pw")});
  credentials_.by_repository[second_.address() + "/team/app"] = {"me", Secret("second-pw")};
  const auto challenge = [](const ScriptedRequest&) {
    return ScriptedAnswer{.status = 401, .headers = {{"WWW-Authenticate", "Basic realm=x"}}};
  };
  first_.SetScript(challenge);
  second_.SetScript(challenge);
  EXPECT_EQ(*Client().GetBlobBytes(blob), bytes);
  for (const ScriptedRequest& request : first_.requests()) EXPECT_EQ(request.Header("authorization"), "");
  ASSERT_EQ(AskedOf(second_), 2);
  EXPECT_EQ(second_.requests()[1].Header("authorization"), "Basic bWU6c2Vjb25kLXB3");
}

TEST_F(RegistryMirrorTest, BlockedRegistryAnswersNothingAndABlockedMirrorIsLeftOut) {
  const std::string bytes = "the blob";
  const Descriptor blob = Blob(bytes);
  registries_[first_.address()].blocked = true;
  EXPECT_EQ(*Client().GetBlobBytes(blob), bytes);
  EXPECT_EQ(AskedOf(first_), 0);
  registries_[registry_.address()].blocked = true;
  RegistryClient client = Client();
  const int asked = AskedOf(registry_) + AskedOf(second_);
  for (const Error& error :
       {client.ResolveTag("1").error(), client.GetManifest(blob.digest).error(), client.GetBlobBytes(blob).error(),
        client.FindManifest("1").error(), client.Referrers(blob.digest, "").error()}) {
    EXPECT_EQ(error.code, ErrorCode::kDenied);
    EXPECT_THAT(error.message, HasSubstr("is blocked on this node"));
  }
  EXPECT_EQ(AskedOf(registry_) + AskedOf(second_), asked);
}

TEST_F(RegistryMirrorTest, MirrorThatIsNoHostIsToldAtTheFirstPull) {
  registries_[registry_.address()].mirrors = {"https://mirror.example"};
  EXPECT_THAT(Client().ResolveTag("1").error().message, HasSubstr("without a scheme"));
}

TEST_F(RegistryMirrorTest, MirrorMayBeAtThisMachineWithoutAnEntryOfItsOwn) {
  registries_.erase(first_.address());  // no entry: https, which it does not speak; but it is asked
  registries_.erase(second_.address());
  testing::internal::CaptureStderr();
  EXPECT_TRUE(Client().GetManifest(registry_.PutManifest("1", "{}", "x")));
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("does not speak TLS"));
}

}  // namespace
}  // namespace caisson::image
