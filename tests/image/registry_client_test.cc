// SPDX-License-Identifier: Apache-2.0
#include "image/registry_client.h"

#include "base/crypto/crypto.h"
#include "tests/image/registry_fixture.h"

namespace caisson::image {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class RegistryClientTest : public RegistryFixture {
 protected:
  // A manifest that refers to another, as lists of referrers show it.
  static std::string Entry(const std::string& bytes, const std::string& artifact_type) {
    return fmt::format(R"({{"mediaType":"m","digest":"{}","size":{},"artifactType":"{}"}})", Sha256Of(bytes).ToString(),
                       bytes.size(), artifact_type);
  }
  static ScriptedAnswer Page(const std::string& entries, const std::string& header = "X",
                             const std::string& value = "") {
    return {.headers = {{"Content-Type", "application/vnd.oci.image.index.v1+json"}, {header, value}},
            .body = R"({"schemaVersion":2,"manifests":[)" + entries + "]}"};
  }
  static std::vector<std::string> DigestsOf(const Result<std::vector<Descriptor>>& referrers) {
    if (!referrers) return {referrers.error().message};
    std::vector<std::string> digests;
    for (const Descriptor& referrer : *referrers) digests.push_back(referrer.digest.ToString());
    return digests;
  }
  static std::string DigestOf(const std::string& bytes) { return Sha256Of(bytes).ToString(); }

  const Digest subject_ = Sha256Of("subject");
};

TEST_F(RegistryClientTest, TagIsResolvedByHeadAlone) {
  const Digest digest = registry_.PutManifest("1", "{}", "x");
  EXPECT_EQ(*Client().ResolveTag("1"), digest);
  EXPECT_EQ(registry_.CountRequests("HEAD", "/v2/team/app/manifests/1"), 1);
  EXPECT_EQ(registry_.CountRequests("GET", ""), 0);
  EXPECT_THAT(registry_.requests()[0].Header("accept"),
              AllOf(HasSubstr("oci.image.index"), HasSubstr("oci.image.manifest"), HasSubstr("manifest.list.v2"),
                    HasSubstr("manifest.v2")));
}

TEST_F(RegistryClientTest, RegistryWithoutHeadOrDigestHeaderIsAskedForTheBytes) {
  const Digest digest = registry_.PutManifest("1", "{\"a\":1}", "x");
  registry_.SetScript([](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.method == "HEAD") return ScriptedAnswer{.status = 405};
    return std::nullopt;
  });
  EXPECT_EQ(*Client().ResolveTag("1"), digest);
  registry_.SetScript([](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.method == "HEAD") return ScriptedAnswer{.headers = {{"Docker-Content-Digest", "sha256:nonsense"}}};
    return std::nullopt;
  });
  EXPECT_EQ(*Client().ResolveTag("1"), digest);
}

TEST_F(RegistryClientTest, ManifestWithAnotherDigestIsCorrupt) {
  const Digest asked = Sha256Of("asked");
  AlwaysAnswer({.headers = {{"Docker-Content-Digest", asked.ToString()}}, .body = "something else"});
  EXPECT_EQ(Client().GetManifest(asked).error().code, ErrorCode::kCorrupt);
}

TEST_F(RegistryClientTest, BlobIsCheckedByteForByte) {
  const std::string bytes(100000, 'b');
  EXPECT_EQ(*Client().GetBlobBytes(Blob(bytes)), bytes);
  Descriptor blob = Blob(bytes);
  AlwaysAnswer({.body = std::string(100000, 'c')});
  const Error error = Client().GetBlobBytes(blob).error();
  EXPECT_EQ(error.code, ErrorCode::kCorrupt);
  EXPECT_THAT(error.message, HasSubstr(blob.digest.ToString()));
}

TEST_F(RegistryClientTest, EndlessBlobIsStoppedAtItsSize) {
  const Descriptor blob = Blob(std::string(1000, 'b'));
  AlwaysAnswer({.body = std::string(4096, 'b'), .endless = true});
  uint64_t taken = 0;
  const Result<void> result = Client().GetBlob(blob, [&taken](std::string_view piece) -> Result<void> {
    taken += piece.size();
    return {};
  });
  EXPECT_EQ(result.error().code, ErrorCode::kCorrupt);
  EXPECT_LE(taken, 1000u);
}

TEST_F(RegistryClientTest, BrokenTransferIsTakenUpWhereItBroke) {
  std::string bytes(300000, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31 / 7);
  const Descriptor blob = Blob(bytes);
  registry_.SetScript([&bytes](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    const std::string range = request.Header("range");
    if (range.empty()) return ScriptedAnswer{.body = bytes, .cut_after = 100000};
    const size_t start = std::stoul(range.substr(6));
    ScriptedAnswer rest{.status = 206, .body = bytes.substr(start)};
    rest.headers.emplace_back("Content-Range", fmt::format("bytes {}-{}/{}", start, bytes.size() - 1, bytes.size()));
    return rest;
  });
  EXPECT_EQ(*Client().GetBlobBytes(blob), bytes);
  EXPECT_EQ(registry_.CountRequests("GET", "/blobs/"), 2);
}

TEST_F(RegistryClientTest, StatusesBecomeTheRightErrors) {
  const struct {
    int status;
    ErrorCode code;
    const char* words;
  } kCases[] = {{404, ErrorCode::kNotFound, "check the name and the tag"},
                {403, ErrorCode::kDenied, "private"},
                {401, ErrorCode::kDenied, "without credentials"},
                {500, ErrorCode::kUnavailable, "answers 500"},
                {502, ErrorCode::kUnavailable, "502"},
                {418, ErrorCode::kInvalid, "418"}};
  for (const auto& [status, code, words] : kCases) {
    AlwaysAnswer({.status = status});
    const Error error = Client().ResolveTag("1").error();
    EXPECT_EQ(error.code, code) << status;
    EXPECT_THAT(error.message, AllOf(HasSubstr(registry_.address()), HasSubstr(words)));
  }
}

TEST_F(RegistryClientTest, RedirectsThatLeadNowhereAreRefused) {
  registry_.SetScript([](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    return ScriptedAnswer{.status = 302, .headers = {{"Location", request.path}}};
  });
  EXPECT_THAT(Client().ResolveTag("1").error().message, HasSubstr("more than 5 times"));
  for (const char* location : {"file:///etc/passwd", "gopher://127.0.0.1/", "http://user:pw@127.0.0.1/", ""}) {
    AlwaysAnswer({.status = 302, .headers = {{"Location", location}}});
    EXPECT_FALSE(Client().ResolveTag("1")) << location;
  }
}

TEST_F(RegistryClientTest, PlainHttpWhereTlsIsExpectedSaysWhatToSet) {
  registries_[registry_.address()].plain_http = false;
  const Error error = Client().ResolveTag("1").error();
  EXPECT_EQ(error.code, ErrorCode::kInvalid);
  EXPECT_THAT(error.message, HasSubstr(fmt::format("[registries.\"{}\"] plain_http = true", registry_.address())));
}

TEST_F(RegistryClientTest, HugeManifestIsTooLarge) {
  AlwaysAnswer({.body = std::string(1 << 20, ' '), .endless = true});
  EXPECT_EQ(Client().GetManifest(Sha256Of("x")).error().code, ErrorCode::kTooLarge);
}

TEST_F(RegistryClientTest, FoundManifestHasItsBytesAndAMissingOneIsNone) {
  registry_.PutManifest("sha256-abc.sig", "{\"a\":1}", "application/json");
  const auto found = Client().FindManifest("sha256-abc.sig");
  ASSERT_TRUE(found && *found);
  EXPECT_EQ((*found)->bytes, "{\"a\":1}");
  EXPECT_EQ((*found)->digest, Sha256Of("{\"a\":1}"));
  EXPECT_EQ((*found)->content_type, "application/json");
  const auto missing = Client().FindManifest("none");
  ASSERT_TRUE(missing);
  EXPECT_FALSE(*missing);
  AlwaysAnswer({.status = 403});
  EXPECT_EQ(Client().FindManifest("1").error().code, ErrorCode::kDenied);
}

TEST_F(RegistryClientTest, ReferrersAreFilteredHereWhereTheRegistryHasNot) {
  const std::string entries = Entry("a", "signature") + "," + Entry("b", "sbom") + ",{},17";
  AlwaysAnswer(Page(entries));
  EXPECT_THAT(DigestsOf(Client().Referrers(subject_, "signature")), ElementsAre(DigestOf("a")));
  EXPECT_EQ(registry_.CountRequests("GET", "/v2/team/app/referrers/" + subject_.ToString() + "?artifactType=signature"),
            1);
  EXPECT_THAT(DigestsOf(Client().Referrers(subject_, "")), ElementsAre(DigestOf("a"), DigestOf("b")));
  AlwaysAnswer(Page(entries, "OCI-Filters-Applied", "artifactType"));
  EXPECT_THAT(DigestsOf(Client().Referrers(subject_, "signature")), ElementsAre(DigestOf("a"), DigestOf("b")));
}

TEST_F(RegistryClientTest, ReferrersComeInPagesAtTheRegistryItself) {
  registry_.SetScript([](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.path.ends_with("?page=2")) return Page(Entry("b", "t"));
    return Page(Entry("a", "t"), "Link", "<?page=2>; rel=\"next\"");
  });
  EXPECT_THAT(DigestsOf(Client().Referrers(subject_, "t")), ElementsAre(DigestOf("a"), DigestOf("b")));
  AlwaysAnswer(Page(Entry("a", "t"), "Link", "<https://elsewhere.example/x>; rel=next"));
  EXPECT_EQ(Client().Referrers(subject_, "t").error().code, ErrorCode::kDenied);
}

TEST_F(RegistryClientTest, ReferrersWithoutEndAreTooLarge) {
  AlwaysAnswer(Page("", "Link", "<?again>; rel=next"));
  EXPECT_EQ(Client().Referrers(subject_, "t").error().code, ErrorCode::kTooLarge);
  EXPECT_LE(registry_.requests().size(), 20u);
  std::string many = Entry("a", "t");
  for (int i = 0; i < 1000; ++i) many += "," + Entry("a", "t");
  AlwaysAnswer(Page(many));
  EXPECT_EQ(Client().Referrers(subject_, "t").error().code, ErrorCode::kTooLarge);
}

TEST_F(RegistryClientTest, RegistryWithoutReferrersIsAskedForTheFallbackTag) {
  const std::string entries = Entry("a", "t") + "," + Entry("b", "other");
  for (const int status : {404, 405, 400, 501, 200}) {
    registry_.SetScript([status](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
      if (request.path.find("/referrers/") != std::string::npos)
        return ScriptedAnswer{.status = status, .headers = {{"Content-Type", "text/html"}}, .body = "<html>"};
      return std::nullopt;
    });
    EXPECT_THAT(DigestsOf(Client().Referrers(Sha256Of("another"), "t")), ElementsAre()) << status;
    registry_.PutManifest("sha256-" + subject_.hex(), Page(entries).body, "application/vnd.oci.image.index.v1+json");
    EXPECT_THAT(DigestsOf(Client().Referrers(subject_, "t")), ElementsAre(DigestOf("a"))) << status;
  }
}

TEST_F(RegistryClientTest, ReferrersThatAreNoIndexAreInvalid) {
  ScriptedAnswer answer = Page("");
  for (const char* body : {"", "[]", "{}", "{\"manifests\":{}}", "{\"manifests\":[],\"manifests\":[]}"}) {
    answer.body = body;
    AlwaysAnswer(answer);
    EXPECT_EQ(Client().Referrers(subject_, "t").error().code, ErrorCode::kInvalid) << body;
  }
}

}  // namespace
}  // namespace caisson::image
