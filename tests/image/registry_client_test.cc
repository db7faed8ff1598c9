// SPDX-License-Identifier: Apache-2.0
#include "image/registry_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/crypto/crypto.h"
#include "tests/image/scripted_registry.h"

namespace caisson::image {
namespace {

using testing::AllOf;
using testing::HasSubstr;

struct FixedCredentials : CredentialSource {
  Result<RegistryCredentials> Find(const std::string&, const std::string&) override { return credentials; }
  RegistryCredentials credentials;
};

class RegistryClientTest : public testing::Test {
 protected:
  RegistryClient Client(RegistryCredentials credentials = {}, bool plain_http = true) {
    const Reference reference = *ParseReference(registry_.address() + "/team/app:1");
    credentials_.credentials = std::move(credentials);
    registries_ = {{registry_.address(), {.plain_http = plain_http}}};
    return RegistryClient(reference, {&registries_, &credentials_, "tenant", &cancelled_});
  }
  Descriptor Blob(const std::string& bytes) { return {"", registry_.PutBlob(bytes), bytes.size()}; }
  // Whatever is asked for gets this answer.
  void AlwaysAnswer(const ScriptedAnswer& answer) {
    registry_.SetScript([answer](const ScriptedRequest&) { return answer; });
  }
  // A registry that wants "Bearer secret" for everything but its token service at /token.
  void WantToken(const std::string& challenge, const std::string& token_body = R"({"token":"secret"})") {
    registry_.SetScript([challenge, token_body](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
      if (request.path.starts_with("/token")) return ScriptedAnswer{.body = token_body};
      if (request.Header("authorization") == "Bearer secret") return std::nullopt;
      return ScriptedAnswer{.status = 401, .headers = {{"WWW-Authenticate", challenge}}};
    });
  }

  std::atomic<bool> cancelled_ = false;
  RegistryTable registries_;
  FixedCredentials credentials_;
  ScriptedRegistry registry_;
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

TEST_F(RegistryClientTest, ShortBlobIsCorrupt) {
  const Descriptor blob = Blob(std::string(1000, 'b'));
  AlwaysAnswer({.body = std::string(999, 'b')});
  EXPECT_THAT(Client().GetBlobBytes(blob).error().message, HasSubstr("has 999 bytes, its manifest says 1000"));
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

TEST_F(RegistryClientTest, RegistryThatIgnoresRangesGivesTheSameBytes) {
  std::string bytes(300000, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31 / 7);
  const Descriptor blob = Blob(bytes);
  registry_.SetScript([&bytes](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    return ScriptedAnswer{.body = bytes, .cut_after = request.Header("range").empty() ? 100000 : SIZE_MAX};
  });
  EXPECT_EQ(*Client().GetBlobBytes(blob), bytes);
}

TEST_F(RegistryClientTest, WrongRangeIsNeverTakenForTheRest) {
  const std::string bytes(300000, 'x');
  const Descriptor blob = Blob(bytes);
  registry_.SetScript([&bytes](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.Header("range").empty()) return ScriptedAnswer{.body = bytes, .cut_after = 100000};
    return ScriptedAnswer{.status = 206, .headers = {{"Content-Range", "bytes 0-9/300000"}}, .body = "0123456789"};
  });
  EXPECT_THAT(Client().GetBlobBytes(blob).error().message,
              AllOf(HasSubstr("broke off at byte 100000 of 300000"), HasSubstr("another part")));
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

TEST_F(RegistryClientTest, BusyRegistryIsAskedAgainAndALongWaitIsTheCallers) {
  const Digest digest = registry_.PutManifest("1", "{}", "x");
  std::atomic<int> asked = 0;
  registry_.SetScript([&asked](const ScriptedRequest&) -> std::optional<ScriptedAnswer> {
    if (++asked <= 2) return ScriptedAnswer{.status = 429, .headers = {{"Retry-After", "0"}}};
    return std::nullopt;
  });
  EXPECT_EQ(*Client().ResolveTag("1"), digest);
  AlwaysAnswer({.status = 429, .headers = {{"Retry-After", "3600"}}});
  EXPECT_EQ(Client().ResolveTag("1").error().code, ErrorCode::kUnavailable);
}

TEST_F(RegistryClientTest, AnonymousTokenIsFetchedOnceAndSentWithEveryRequest) {
  registry_.PutManifest("1", "{}", "x");
  WantToken(fmt::format(
      R"(Basic realm="x", Bearer realm="http://{}/token?a=b",service="the, service",scope="repository:team/app:pull")",
      registry_.address()));
  RegistryClient client = Client();
  EXPECT_TRUE(client.ResolveTag("1"));
  EXPECT_TRUE(client.ResolveTag("1"));
  EXPECT_EQ(registry_.CountRequests("GET", "/token?a=b&scope=repository%3Ateam%2Fapp%3Apull&service=the%2C%20service"),
            1);
}

TEST_F(RegistryClientTest, AccessTokenIsTakenTooAndScopeHasADefault) {
  registry_.PutManifest("1", "{}", "x");
  WantToken(fmt::format(R"(Bearer realm="http://{}/token")", registry_.address()), R"({"access_token":"secret"})");
  EXPECT_TRUE(Client().ResolveTag("1"));
  EXPECT_EQ(registry_.CountRequests("GET", "scope=repository%3Ateam%2Fapp%3Apull"), 1);
}

TEST_F(RegistryClientTest, TokenServiceThatIsNotSafeIsRefused) {
  for (const char* realm : {"http://auth.example/token", "file:///etc/passwd", "ftp://127.0.0.1/x",
                            "https://user:pass@auth.example/", "nonsense", ""}) {
    WantToken(fmt::format("Bearer realm=\"{}\"", realm));
    const Error error = Client().ResolveTag("1").error();
    EXPECT_TRUE(error.code == ErrorCode::kDenied || error.code == ErrorCode::kInvalid)
        << realm << ": " << error.message;
  }
  WantToken(fmt::format(R"(Bearer realm="http://{}/token")", registry_.address()), R"({"token":"a\r\nX-Evil: 1"})");
  EXPECT_FALSE(Client().ResolveTag("1"));
}

TEST_F(RegistryClientTest, RejectedTokenIsDeniedAfterOneTry) {
  WantToken(fmt::format(R"(Bearer realm="http://{}/token")", registry_.address()), R"({"token":"wrong"})");
  EXPECT_EQ(Client().ResolveTag("1").error().code, ErrorCode::kDenied);
  EXPECT_EQ(registry_.CountRequests("GET", "/token"), 1);
}

TEST_F(RegistryClientTest, CredentialsAreSentWhereTheyAreAskedFor) {
  registry_.PutManifest("1", "{}", "x");
  registry_.SetScript([](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.Header("authorization") == "Basic bWU6cHc=") return std::nullopt;
    return ScriptedAnswer{.status = 401, .headers = {{"WWW-Authenticate", "Basic realm=x"}}};
  });
  EXPECT_TRUE(Client({"me", Secret("pw")}).ResolveTag("1"));
  EXPECT_EQ(Client().ResolveTag("1").error().code, ErrorCode::kDenied);
  EXPECT_EQ(registry_.requests()[0].Header("authorization"), "");
}

TEST_F(RegistryClientTest, RedirectGetsTheBlobButNeverTheToken) {
  ScriptedRegistry elsewhere;
  const std::string bytes = "the blob";
  const Descriptor blob = Blob(bytes);
  elsewhere.PutBlob(bytes);
  registry_.SetScript([&](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.path.starts_with("/token")) return ScriptedAnswer{.body = R"({"token":"secret"})"};
    if (request.Header("authorization").empty())
      return ScriptedAnswer{
          .status = 401,
          .headers = {{"WWW-Authenticate", fmt::format("Bearer realm=\"http://{}/token\"", registry_.address())}}};
    return ScriptedAnswer{
        .status = 307,
        .headers = {{"Location", "http://" + elsewhere.address() + "/x/blobs/" + blob.digest.ToString()}}};
  });
  EXPECT_EQ(*Client().GetBlobBytes(blob), bytes);
  ASSERT_EQ(elsewhere.requests().size(), 1u);
  EXPECT_EQ(elsewhere.requests()[0].Header("authorization"), "");
  // A relative redirect stays at the registry and keeps it.
  registry_.SetScript([](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.path.starts_with("/moved/")) return std::nullopt;
    return ScriptedAnswer{.status = 302, .headers = {{"Location", "/moved" + request.path}}};
  });
  EXPECT_EQ(*Client().GetBlobBytes(blob), bytes);
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
  const Error error = Client({}, false).ResolveTag("1").error();
  EXPECT_EQ(error.code, ErrorCode::kInvalid);
  EXPECT_THAT(error.message, HasSubstr(fmt::format("[registries.\"{}\"] plain_http = true", registry_.address())));
}

TEST_F(RegistryClientTest, RegistryThatIsDownIsUnavailable) {
  std::string address;
  {
    const ScriptedRegistry gone;
    address = gone.address();
  }
  const RegistryTable registries = {{address, {.plain_http = true}}};
  RegistryClient client(*ParseReference(address + "/x:1"), {.registries = &registries});
  const Error error = client.ResolveTag("1").error();
  EXPECT_EQ(error.code, ErrorCode::kUnavailable);
  EXPECT_THAT(error.message, AllOf(HasSubstr("registry " + address), HasSubstr("cannot be reached")));
}

TEST_F(RegistryClientTest, HugeManifestIsTooLarge) {
  AlwaysAnswer({.body = std::string(1 << 20, ' '), .endless = true});
  EXPECT_EQ(Client().GetManifest(Sha256Of("x")).error().code, ErrorCode::kTooLarge);
}

TEST_F(RegistryClientTest, CancelledWaitEnds) {
  cancelled_ = true;
  AlwaysAnswer({.status = 503, .headers = {{"Retry-After", "5"}}});
  EXPECT_EQ(Client().ResolveTag("1").error().code, ErrorCode::kCancelled);
}

}  // namespace
}  // namespace caisson::image
