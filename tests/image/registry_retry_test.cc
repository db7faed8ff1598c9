// SPDX-License-Identifier: Apache-2.0
// When a request is tried again, and after which wait.
#include "image/registry_retry.h"

#include "image/registry_headers.h"
#include "tests/image/registry_fixture.h"

namespace caisson::image {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(RetryPlanTest, WaitsDoubleWithJitterAndEndAfterFiveTries) {
  const RegistryTiming timing;
  RetryPlan longest(timing, false), shortest(timing, false);
  for (const int expected : {250, 500, 1000, 2000}) {
    EXPECT_EQ(longest.NextWait(milliseconds(0), std::nullopt, 1), milliseconds(expected));
    EXPECT_EQ(shortest.NextWait(milliseconds(0), std::nullopt, 0), milliseconds(expected / 2));
  }
  EXPECT_EQ(longest.NextWait(milliseconds(0), std::nullopt, 1), std::nullopt);
  EXPECT_EQ(longest.Summary(), "; gave up after 5 tries and 3.8 s of waiting");
}

TEST(RetryPlanTest, TheServersOwnWaitGoesFirst) {
  RetryPlan plan(RegistryTiming{}, false);
  EXPECT_EQ(plan.NextWait(milliseconds(0), seconds(3), 1), seconds(3));
  EXPECT_EQ(plan.NextWait(milliseconds(0), seconds(0), 1), seconds(0));
}

TEST(RetryPlanTest, AJobDoesNotWaitForLongAndSomebodyWhoWatchesDoes) {
  RetryPlan job(RegistryTiming{}, false), watched(RegistryTiming{}, true);
  EXPECT_EQ(job.NextWait(milliseconds(0), seconds(60), 1), std::nullopt);
  EXPECT_EQ(job.Summary(), "; it asks to be left alone for 60 s");
  EXPECT_EQ(watched.NextWait(milliseconds(0), seconds(60), 1), seconds(60));
  EXPECT_EQ(watched.NextWait(milliseconds(0), seconds(3600), 1), std::chrono::minutes(5));
}

TEST(RetryPlanTest, TimeThatTheTriesTookCounts) {
  RetryPlan plan(RegistryTiming{}, false);
  EXPECT_TRUE(plan.NextWait(seconds(5), std::nullopt, 1));
  EXPECT_FALSE(plan.NextWait(seconds(5), std::nullopt, 1));
}

TEST(RegistryHeadersTest, ContentRangeIsTakenWholeOrNotAtAll) {
  const auto range = ParseContentRange("bytes 100-199/200");
  ASSERT_TRUE(range);
  EXPECT_EQ(range->first, 100u);
  EXPECT_EQ(range->last, 199u);
  EXPECT_EQ(range->total, 200u);
  for (const char* bad : {"", "bytes", "bytes 1-2", "bytes 1-2/*", "bytes */200", "bytes 2-1/200", "bytes 1-200/200",
                          "items 1-2/3", "bytes -1-2/3", "bytes 1-2/3 ", "bytes 1 -2/3", "bytes 1-2/3/4",
                          "bytes 1-2/99999999999999999999", "bytes 1/3-2"})
    EXPECT_EQ(ParseContentRange(bad).has_value(), std::string(bad) == "bytes 1-2/3 ") << bad;
}

TEST(RegistryHeadersTest, RetryAfterIsSecondsOrADate) {
  const UnixMillis now = 784111777000;  // Sun, 06 Nov 1994 08:49:37 GMT
  EXPECT_EQ(ParseRetryAfter("120", now), seconds(120));
  EXPECT_EQ(ParseRetryAfter(" 0 ", now), seconds(0));
  EXPECT_EQ(ParseRetryAfter("Sun, 06 Nov 1994 08:50:07 GMT", now), seconds(30));
  EXPECT_EQ(ParseRetryAfter("Sun, 06 Nov 1994 08:49:07 GMT", now), seconds(0));
  EXPECT_EQ(ParseRetryAfter("99999999999999", now), seconds(1'000'000'000));
  for (const char* bad : {"", "-1", "1.5", "soon", "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 25:49:37 GMT",
                          "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nox 1994 08:49:37 GMT",
                          "Sun, 06 Nov 1994 08:49:37 UTC", "99999999999999999999"})
    EXPECT_EQ(ParseRetryAfter(bad, now), std::nullopt) << bad;
}

TEST(RegistryHeadersTest, NextLinkIsFoundAmongOthers) {
  EXPECT_EQ(NextLink("</v2/x?n=2>; rel=\"next\""), "/v2/x?n=2");
  EXPECT_EQ(NextLink("<a>; rel=prev, <b>; title=\"x, <y>\"; REL=Next"), "b");
  EXPECT_EQ(NextLink("<a>; rel=next; anchor, <b>; rel=next"), "a");
  for (const char* bad : {"", "a; rel=next", "<a; rel=next", "<a>", "<a>; rel=\"next", "<a> rel=next"})
    EXPECT_EQ(NextLink(bad), std::nullopt) << bad;
  EXPECT_EQ(NextLink("<" + std::string(9000, 'a') + ">; rel=next"), std::nullopt);
}

using RegistryRetryTest = RegistryFixture;

TEST_F(RegistryRetryTest, WaitsAreThoseThatTheServerAsksForInSecondsOrAsADate) {
  const Digest digest = registry_.PutManifest("1", "{}", "x");
  std::atomic<int> asked = 0;
  registry_.SetScript([&asked](const ScriptedRequest&) -> std::optional<ScriptedAnswer> {
    switch (++asked) {
      case 1: return ScriptedAnswer{.status = 429, .headers = {{"Retry-After", "1"}}};
      case 2: return ScriptedAnswer{.status = 503, .headers = {{"Retry-After", "Sun, 06 Nov 1994 08:49:40 GMT"}}};
      default: return std::nullopt;
    }
  });
  EXPECT_EQ(*Client().ResolveTag("1"), digest);
  EXPECT_THAT(waits_, ElementsAre(seconds(1), seconds(2)));
}

TEST_F(RegistryRetryTest, ALongWaitIsTheQueuesUnlessSomebodyWatches) {
  AlwaysAnswer({.status = 429, .headers = {{"Retry-After", "100"}}});
  const Error error = Client().ResolveTag("1").error();
  EXPECT_EQ(error.code, ErrorCode::kUnavailable);
  EXPECT_THAT(error.message, HasSubstr("it asks to be left alone for 100 s"));
  EXPECT_TRUE(waits_.empty());
  access_.interactive = true;
  EXPECT_THAT(Client().ResolveTag("1").error().message, HasSubstr("gave up after 5 tries and 400.0 s of waiting"));
  EXPECT_THAT(waits_, ElementsAre(seconds(100), seconds(100), seconds(100), seconds(100)));
}

TEST_F(RegistryRetryTest, RegistryThatIsDownIsTriedAgainAndUnavailable) {
  std::string address;
  {
    const ScriptedRegistry gone;
    address = gone.address();
  }
  registries_[address].plain_http = true;
  RegistryClient client(*ParseReference(address + "/x:1"), access_);
  const Error error = client.ResolveTag("1").error();
  EXPECT_EQ(error.code, ErrorCode::kUnavailable);
  EXPECT_THAT(error.message, testing::AllOf(HasSubstr("registry " + address + " cannot be reached"),
                                            HasSubstr("gave up after 5 tries")));
  EXPECT_EQ(waits_.size(), 4u);
}

TEST_F(RegistryRetryTest, TokenServiceIsTriedAgainToo) {
  registry_.PutManifest("1", "{}", "x");
  std::atomic<int> asked = 0;
  registry_.SetScript([&](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.path.starts_with("/token"))
      return ++asked == 1 ? ScriptedAnswer{.status = 503} : ScriptedAnswer{.body = R"({"token":"t"})"};
    if (request.Header("authorization") == "Bearer t") return std::nullopt;
    const std::string challenge = fmt::format(R"(Bearer realm="http://{}/token")", registry_.address());
    return ScriptedAnswer{.status = 401, .headers = {{"WWW-Authenticate", challenge}}};
  });
  EXPECT_TRUE(Client().ResolveTag("1"));
  EXPECT_EQ(waits_.size(), 1u);
}

TEST_F(RegistryRetryTest, CancelledWaitEnds) {
  cancelled_ = true;
  access_.wait = nullptr;
  AlwaysAnswer({.status = 503, .headers = {{"Retry-After", "5"}}});
  EXPECT_EQ(Client().ResolveTag("1").error().code, ErrorCode::kCancelled);
}

}  // namespace
}  // namespace caisson::image
