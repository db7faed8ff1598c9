// SPDX-License-Identifier: Apache-2.0
// How the client proves who it is: what it sends, to whom, when, and that nothing of it is ever told to anybody else.
#include <thread>

#include "base/crypto/crypto.h"
#include "base/encoding.h"
#include "tests/image/registry_fixture.h"

namespace caisson::image {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// A registry that wants a token from its own service at /token, which gives "token-1", "token-2" and so on.
class RegistryAuthTest : public RegistryFixture {
 protected:
  RegistryAuthTest() { registry_.PutManifest("1", "{}", "x"); }

  void WantToken(const std::string& parameters = "", const std::string& more_of_answer = "") {
    registry_.SetScript([=, this](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
      if (request.path.starts_with("/token"))
        return ScriptedAnswer{.body = fmt::format(R"({{"token":"token-{}"{}}})", ++fetched_, more_of_answer)};
      if (request.Header("authorization") == fmt::format("Bearer token-{}", good_ ? good_.load() : fetched_.load()) &&
          fetched_ > 0)
        return std::nullopt;
      return ScriptedAnswer{.status = 401, .headers = {{"WWW-Authenticate", Challenge() + parameters}}};
    });
  }
  std::string Challenge() const {
    return fmt::format(R"(Basic realm="x, y", Bearer realm="http://{}/token?a=b")", registry_.address());
  }

  std::atomic<int> fetched_ = 0;
  std::atomic<int> good_ = 0;  // the token that is taken; 0: the last
};

TEST_F(RegistryAuthTest, NothingIsSentBeforeTheRegistryAsks) {
  LogIn({"me", Secret("pw")});
  EXPECT_TRUE(Client().ResolveTag("1"));
  EXPECT_EQ(registry_.requests()[0].Header("authorization"), "");
  EXPECT_TRUE(credentials_.asked.empty());
}

TEST_F(RegistryAuthTest, BasicIsSentWhereBasicIsAskedFor) {
  registry_.SetScript([](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.Header("authorization") == "Basic bWU6cHc=") return std::nullopt;
    return ScriptedAnswer{.status = 401, .headers = {{"WWW-Authenticate", "Basic realm=x"}}};
  });
  EXPECT_EQ(Client().ResolveTag("1").error().code, ErrorCode::kDenied);
  LogIn({"me", Secret("pw")});
  EXPECT_TRUE(Client().ResolveTag("1"));
  EXPECT_THAT(credentials_.asked, testing::Each("acme " + reference().repository()));
}

TEST_F(RegistryAuthTest, AnonymousTokenIsFetchedOnceAndSentWithEveryRequest) {
  WantToken(R"(,service="the, service",scope="repository:team/app:pull")");
  RegistryClient client = Client();
  EXPECT_TRUE(client.ResolveTag("1"));
  EXPECT_TRUE(client.ResolveTag("1"));
  EXPECT_EQ(registry_.CountRequests("GET", "/token?a=b&scope=repository%3Ateam%2Fapp%3Apull&service=the%2C%20service"),
            1);
  EXPECT_EQ(registry_.CountRequests("HEAD", ""), 3);
}

TEST_F(RegistryAuthTest, ScopeHasADefaultAndAccessTokenIsTakenToo) {
  registry_.SetScript([this](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.path.starts_with("/token")) return ScriptedAnswer{.body = R"({"access_token":"t"})"};
    if (request.Header("authorization") == "Bearer t") return std::nullopt;
    return ScriptedAnswer{.status = 401, .headers = {{"WWW-Authenticate", Challenge()}}};
  });
  EXPECT_TRUE(Client().ResolveTag("1"));
  EXPECT_EQ(registry_.CountRequests("GET", "scope=repository%3Ateam%2Fapp%3Apull"), 1);
}

TEST_F(RegistryAuthTest, PasswordGoesToTheTokenServiceAndTheTokenToTheRegistry) {
  LogIn({"me", Secret("pw")});
  WantToken();
  EXPECT_TRUE(Client().ResolveTag("1"));
  for (const ScriptedRequest& request : registry_.requests()) {
    if (request.path.starts_with("/token")) {
      EXPECT_EQ(request.Header("authorization"), "Basic bWU6cHc=");
    } else {
      EXPECT_THAT(request.Header("authorization"), Not(HasSubstr("Basic")));
    }
  }
}

TEST_F(RegistryAuthTest, IdentityTokenIsPostedForARefresh) {
  LogIn({"", Secret(), Secret("identity&secret")});
  WantToken(R"(,service="s",scope="repository:team/app:pull")");
  EXPECT_TRUE(Client().ResolveTag("1"));
  ASSERT_EQ(registry_.CountRequests("POST", "/token"), 1);
  EXPECT_EQ(registry_.CountRequests("GET", "/token"), 0);
  const std::vector<ScriptedRequest> requests = registry_.requests();
  const auto post = std::find_if(requests.begin(), requests.end(),
                                 [](const ScriptedRequest& request) { return request.method == "POST"; });
  EXPECT_EQ(post->body,
            "grant_type=refresh_token&client_id=caisson&service=s&scope=repository%3Ateam%2Fapp%3Apull&"
            "refresh_token=identity%26secret");
}

TEST_F(RegistryAuthTest, PostForATokenIsNotRepeated) {
  LogIn({"", Secret(), Secret("identity")});
  registry_.SetScript([this](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.method == "POST") return ScriptedAnswer{.status = 503};
    return ScriptedAnswer{.status = 401, .headers = {{"WWW-Authenticate", Challenge()}}};
  });
  EXPECT_EQ(Client().ResolveTag("1").error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(registry_.CountRequests("POST", "/token"), 1);
}

TEST_F(RegistryAuthTest, TokenLivesAMinuteUnlessTheServiceSaysMore) {
  WantToken();
  RegistryClient client = Client();
  EXPECT_TRUE(client.ResolveTag("1"));
  time_.now += 50'000;
  EXPECT_TRUE(client.ResolveTag("1"));
  EXPECT_EQ(fetched_, 1);
  time_.now += 10'000;
  EXPECT_TRUE(client.ResolveTag("1"));
  EXPECT_EQ(fetched_, 2);
  WantToken("", R"(,"expires_in":300)");
  time_.now += 60'000;
  EXPECT_TRUE(client.ResolveTag("1"));
  time_.now += 250'000;
  EXPECT_TRUE(client.ResolveTag("1"));
  EXPECT_EQ(fetched_, 3);
}

TEST_F(RegistryAuthTest, TokenThatIsRejectedInMidPullIsRenewedOnceForEachRequest) {
  WantToken("", R"(,"expires_in":3600)");
  RegistryClient client = Client();
  EXPECT_TRUE(client.ResolveTag("1"));
  good_ = 2;  // the first is revoked
  EXPECT_TRUE(client.ResolveTag("1"));
  EXPECT_EQ(fetched_, 2);
  good_ = 99;  // none is good
  const Error error = client.ResolveTag("1").error();
  EXPECT_EQ(error.code, ErrorCode::kDenied);
  EXPECT_EQ(fetched_, 3);
}

TEST_F(RegistryAuthTest, ManyThreadsFetchOneToken) {
  WantToken("", R"(,"expires_in":3600)");
  RegistryClient client = Client();
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int i = 0; i < 8; ++i) threads.emplace_back([&] { good += client.ResolveTag("1").has_value(); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 8);
  EXPECT_EQ(fetched_, 1);
}

TEST_F(RegistryAuthTest, TokenServiceThatIsNotSafeGetsNothing) {
  LogIn({"me", Secret("pw")});
  for (const char* realm : {"http://auth.example/token", "file:///etc/passwd", "ftp://127.0.0.1/x",
                            "https://user:pass@auth.example/", "nonsense", ""}) {
    AlwaysAnswer({.status = 401, .headers = {{"WWW-Authenticate", fmt::format("Bearer realm=\"{}\"", realm)}}});
    const Error error = Client().ResolveTag("1").error();
    EXPECT_TRUE(error.code == ErrorCode::kDenied || error.code == ErrorCode::kInvalid)
        << realm << ": " << error.message;
  }
}

TEST_F(RegistryAuthTest, TokenThatWouldEndTheHeaderIsRefused) {
  WantToken("", R"(,"token":"a\r\nX-Evil: 1")");
  EXPECT_FALSE(Client().ResolveTag("1"));
  registry_.SetScript([this](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.path.starts_with("/token")) return ScriptedAnswer{.body = R"({"token":"a\r\nX-Evil: 1"})"};
    return ScriptedAnswer{.status = 401, .headers = {{"WWW-Authenticate", Challenge()}}};
  });
  EXPECT_THAT(Client().ResolveTag("1").error().message, HasSubstr("no token"));
}

TEST_F(RegistryAuthTest, TokenThatLooksLikeWhatHidesItEndsNoLess) {
  registry_.SetScript([this](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.path.starts_with("/token")) return ScriptedAnswer{.body = R"({"token":"***"})"};
    if (request.Header("authorization").empty())
      return ScriptedAnswer{.status = 401, .headers = {{"WWW-Authenticate", Challenge()}}};
    return ScriptedAnswer{.status = 302, .headers = {{"Location", "ftp://****/***"}}};
  });
  EXPECT_THAT(Client().GetBlobBytes(Blob("x")).error().message, HasSubstr("ftp://****/***"));
}

TEST_F(RegistryAuthTest, RedirectGetsTheBlobAndNeverTheToken) {
  ScriptedRegistry elsewhere;
  const std::string bytes = "the blob";
  const Descriptor blob = Blob(bytes);
  elsewhere.PutBlob(bytes);
  registry_.SetScript([&](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.path.starts_with("/token")) return ScriptedAnswer{.body = R"({"token":"secret"})"};
    if (request.Header("authorization").empty())
      return ScriptedAnswer{.status = 401, .headers = {{"WWW-Authenticate", Challenge()}}};
    return ScriptedAnswer{.status = 307, .headers = {{"Location", "http://" + elsewhere.address() + request.path}}};
  });
  EXPECT_EQ(*Client().GetBlobBytes(blob), bytes);
  ASSERT_EQ(elsewhere.requests().size(), 1u);
  EXPECT_EQ(elsewhere.requests()[0].Header("authorization"), "");
  // A relative redirect stays at the registry and keeps it.
  registry_.SetScript([this](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.path.starts_with("/token")) return ScriptedAnswer{.body = R"({"token":"secret"})"};
    if (request.Header("authorization").empty())
      return ScriptedAnswer{.status = 401, .headers = {{"WWW-Authenticate", Challenge()}}};
    if (request.path.starts_with("/moved/")) return std::nullopt;
    return ScriptedAnswer{.status = 302, .headers = {{"Location", "/moved" + request.path}}};
  });
  EXPECT_EQ(*Client().GetBlobBytes(blob), bytes);
}

TEST_F(RegistryAuthTest, TokenStaysAwayOnceSomebodyElseLeadsBack) {
  ScriptedRegistry elsewhere;
  const Descriptor blob = Blob("the blob");
  LogIn({"me", Secret("pw")});
  elsewhere.SetScript([this](const ScriptedRequest&) -> std::optional<ScriptedAnswer> {
    return ScriptedAnswer{.status = 302, .headers = {{"Location", "http://" + registry_.address() + "/private"}}};
  });
  registry_.SetScript([&](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.path == "/private") return ScriptedAnswer{.status = 404};
    if (request.Header("authorization").empty())
      return ScriptedAnswer{.status = 401, .headers = {{"WWW-Authenticate", "Basic realm=x"}}};
    return ScriptedAnswer{.status = 307, .headers = {{"Location", "http://" + elsewhere.address() + "/x"}}};
  });
  EXPECT_FALSE(Client().GetBlobBytes(blob));
  const std::vector<ScriptedRequest> requests = registry_.requests();
  ASSERT_EQ(requests.back().path, "/private");
  EXPECT_EQ(requests.back().Header("authorization"), "");
}

TEST_F(RegistryAuthTest, SignedAddressThatHasExpiredIsAskedForAgain) {
  ScriptedRegistry elsewhere;
  const std::string bytes = "the blob";
  const Descriptor blob = Blob(bytes);
  elsewhere.PutBlob(bytes);
  elsewhere.SetScript([](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.path.ends_with("signature=1")) return ScriptedAnswer{.status = 403, .body = "expired"};
    return std::nullopt;
  });
  std::atomic<int> asked = 0;
  registry_.SetScript([&](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    const std::string mark = ++asked == 1 ? "?signature=1" : "";
    return ScriptedAnswer{.status = 307,
                          .headers = {{"Location", "http://" + elsewhere.address() + request.path + mark}}};
  });
  EXPECT_EQ(*Client().GetBlobBytes(blob), bytes);
  EXPECT_EQ(asked, 2);
}

// Whatever a registry sends back of what it knows, and whatever fails: neither messages nor the log repeat a secret.
TEST_F(RegistryAuthTest, NoMessageAndNoLogHasACredential) {
  const std::string password = "pass-word-9", token = "token-secret-9", identity = "identity-secret-9";
  const std::string basic = Base64Encode("me:" + password);
  const auto none_of_them =
      AllOf(Not(HasSubstr(password)), Not(HasSubstr(token)), Not(HasSubstr(identity)), Not(HasSubstr(basic)),
            Not(HasSubstr("signature")), Not(HasSubstr(token.substr(0, 8))));
  const std::string realm = fmt::format(R"(Bearer realm="http://{}/token")", registry_.address());
  const auto answer = [](int status, const std::string& name, const std::string& value) {
    return ScriptedAnswer{.status = status, .headers = {{name, value}}};
  };
  const auto echoes_of = [&](const std::string& held) -> std::vector<ScriptedAnswer> {
    return {
        answer(302, "Location", "ftp://" + held + "/" + token + "/"),
        answer(302, "Location", "ftp://" + std::string(184, 'a') + token),  // cut off within it
        answer(302, "Location", "http://me:" + held + "@127.0.0.1:1/"),
        answer(302, "Location", "http://" + token + ".invalid:99999/"),
        answer(302, "Location", "https://127.0.0.1:1/x?signature=abc"),
        answer(302, "Location", "nonsense://x/?signature=abc"),
        answer(401, "WWW-Authenticate", "Bearer realm=\"http://" + token + ".example/" + held + "\""),
        answer(401, "WWW-Authenticate", realm),
        {.status = 206, .headers = {{"Content-Range", held + " " + token}}, .body = "blob"},
        answer(403, "X", "y"),
        answer(500, "X", "y"),
        answer(418, "X", held),
        {.status = 200, .headers = {{"Content-Encoding", held + token}}, .body = "bl0b"},
        {.status = 0, .raw = "HTTP/1.1 200 OK\r\nContent-Length: " + held + "\r\n\r\n" + token},
        {.status = 0, .raw = held + token + "\r\n"},
    };
  };
  testing::internal::CaptureStderr();
  std::string messages;
  for (const bool with_identity : {false, true}) {
    LogIn(with_identity ? RegistryCredentials{"", Secret(), Secret(identity)}
                        : RegistryCredentials{"me", Secret(password)});
    for (const ScriptedAnswer& echo : echoes_of(with_identity ? identity : password + "/" + basic)) {
      registry_.SetScript([&](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
        if (request.path.starts_with("/token")) return ScriptedAnswer{.body = R"({"token":")" + token + R"("})"};
        if (request.Header("authorization").empty()) return answer(401, "WWW-Authenticate", realm);
        return echo;
      });
      const Result<std::string> bytes = Client().GetBlobBytes(Blob("blob"));
      ASSERT_FALSE(bytes);
      messages += bytes.error().message + "\n";
      registries_["mirrored.example"] = {.mirrors = {registry_.address()}, .mirror_tags = true};
      credentials_.by_repository[registry_.address() + "/x"] = credentials_.by_repository[reference().repository()];
      RegistryAccess access = access_;
      access.resolve = {"mirrored.example:443:127.0.0.1"};
      access.timing.tries = 1;
      EXPECT_FALSE(RegistryClient(*ParseReference("mirrored.example/x:1"), access).GetManifest(Sha256Of("x")));
    }
  }
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("mirror_passed_over"));
  EXPECT_THAT(messages, none_of_them);
  EXPECT_THAT(log, none_of_them);
}

}  // namespace
}  // namespace caisson::image
