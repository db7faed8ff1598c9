// SPDX-License-Identifier: Apache-2.0
// What each misbehaviour of a registry gives, as a table: docs/IMAGES.md has the same for people. A blob of 100,000
// bytes is pulled from a registry that does as the row says; waits between tries are not waited.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/crypto/crypto.h"
#include "image/registry_client.h"
#include "tests/image/scripted_registry.h"

namespace caisson::image {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr size_t kSize = 100000, kHalf = 50000;

std::string MakeBytes() {
  std::string bytes(kSize, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31 / 7);
  return bytes;
}

// What the behaviours talk about.
struct Scene {
  const std::string bytes = MakeBytes();
  ScriptedRegistry registry;
  ScriptedRegistry elsewhere;
  Descriptor blob{"", registry.PutBlob(bytes), kSize};
  std::atomic<int> asked = 0;  // for the blob, this time included
};

using Behaviour = std::function<ScriptedAnswer(Scene&, const ScriptedRequest&)>;

// ---- Answers ----------------------------------------------------------------------------------------------------

Behaviour Answer(const ScriptedAnswer& answer) {
  return [answer](Scene&, const ScriptedRequest&) { return answer; };
}
Behaviour Body(const std::string& body) { return Answer({.body = body}); }
Behaviour Status(int status, const std::string& retry_after = "") {
  if (retry_after.empty()) return Answer({.status = status});
  return Answer({.status = status, .headers = {{"Retry-After", retry_after}}});
}
Behaviour Challenge(const std::string& challenge) {
  return Answer({.status = 401, .headers = {{"WWW-Authenticate", challenge}}});
}
Behaviour Redirect(const std::string& location) { return Answer({.status = 307, .headers = {{"Location", location}}}); }
Behaviour Raw(const std::string& bytes) { return Answer({.status = 0, .raw = bytes}); }
Behaviour Silence() { return Answer({.status = 0, .hang = true}); }

ScriptedAnswer All(Scene& scene, const ScriptedRequest&) { return {.body = scene.bytes}; }
ScriptedAnswer HalfThenCut(Scene& scene, const ScriptedRequest&) { return {.body = scene.bytes, .cut_after = kHalf}; }
ScriptedAnswer HalfThenSilence(Scene& scene, const ScriptedRequest&) {
  return {.body = scene.bytes, .cut_after = kHalf, .hang = true};
}
ScriptedAnswer Drip(Scene& scene, const ScriptedRequest&) { return {.body = scene.bytes, .drip = true}; }
ScriptedAnswer ForEver(Scene& scene, const ScriptedRequest&) { return {.body = scene.bytes, .endless = true}; }
ScriptedAnswer OneByteMore(Scene& scene, const ScriptedRequest&) { return {.body = scene.bytes + "x"}; }
ScriptedAnswer OneByteLess(Scene& scene, const ScriptedRequest&) { return {.body = scene.bytes.substr(1)}; }
ScriptedAnswer AsGzip(Scene& scene, const ScriptedRequest&) {
  return {.headers = {{"Content-Encoding", "gzip"}}, .body = scene.bytes};
}
ScriptedAnswer ChunkWithoutEnd(Scene& scene, const ScriptedRequest&) {
  return {.status = 0,
          .raw = fmt::format("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{}", kSize, scene.bytes)};
}
// From the byte that was asked for, at most so many.
Behaviour Rest(size_t at_most = SIZE_MAX) {
  return [at_most](Scene& scene, const ScriptedRequest& request) -> ScriptedAnswer {
    const size_t start = std::stoul(request.Header("range").substr(sizeof "bytes=" - 1));
    const std::string rest = scene.bytes.substr(start, at_most);
    const std::string range = fmt::format("bytes {}-{}/{}", start, start + rest.size() - 1, kSize);
    return {.status = 206, .headers = {{"Content-Range", range}}, .body = rest};
  };
}
Behaviour Range(const std::string& header) {
  return Answer({.status = 206, .headers = {{"Content-Range", header}}, .body = std::string(kHalf, 'r')});
}
ScriptedAnswer RedirectToAnotherHost(Scene& scene, const ScriptedRequest& request) {
  scene.elsewhere.PutBlob(scene.bytes);
  return {.status = 307, .headers = {{"Location", "http://" + scene.elsewhere.address() + request.path}}};
}

// ---- One after the other ----------------------------------------------------------------------------------------

// The last for all further requests.
Behaviour InTurn(const std::vector<Behaviour>& turns) {
  return [turns](Scene& scene, const ScriptedRequest& request) {
    return turns[std::min<size_t>(scene.asked, turns.size()) - 1](scene, request);
  };
}
// `rest` to a request with a range, `all` to one without, half a blob at first.
Behaviour CutThen(const Behaviour& rest, const Behaviour& all = HalfThenCut) {
  return [rest, all](Scene& scene, const ScriptedRequest& request) {
    if (scene.asked == 1) return HalfThenCut(scene, request);
    return request.Header("range").empty() ? all(scene, request) : rest(scene, request);
  };
}

// ---- The table --------------------------------------------------------------------------------------------------

struct Row {
  const char* name;
  Behaviour registry;
  std::optional<ErrorCode> error;  // none: the blob comes, whole
  const char* words;               // of the message
  int asked;                       // how often the registry is asked for the blob
};

constexpr std::nullopt_t kPulled = std::nullopt;
constexpr ErrorCode kCorrupt = ErrorCode::kCorrupt, kUnavailable = ErrorCode::kUnavailable,
                    kInvalid = ErrorCode::kInvalid, kDenied = ErrorCode::kDenied, kNotFound = ErrorCode::kNotFound;

std::vector<Row> Rows() {
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  return {
      // Wrong bytes
      {"WrongDigest", Body(std::string(kSize, 'x')), kCorrupt, "the registry sent something else", 1},
      {"ShortBody", OneByteLess, kCorrupt, "has 99999 bytes, its manifest says 100000", 1},
      {"ShortBodyWithoutLength", Raw(ok + "\r\nshort"), kCorrupt, "has 5 bytes, its manifest says 100000", 1},
      {"LongBody", OneByteMore, kCorrupt, "has 100001 bytes, its manifest says 100000", 1},
      {"EndlessBody", ForEver, kCorrupt, "has more than the 100000 bytes that its manifest says", 1},
      {"CompressedOnTheWay", Answer({.headers = {{"Content-Encoding", "gzip"}}, .body = std::string(kSize, 'z')}),
       kCorrupt, "it came with Content-Encoding gzip", 1},
      {"SaysGzipOfTheBlobItself", AsGzip, kPulled, "", 1},
      {"NoContent", Status(204), kInvalid, "answers 204", 1},

      // Broken connections
      {"CutOnce", InTurn({HalfThenCut, Rest()}), kPulled, "", 2},
      {"CutBehindTheLastByte", ChunkWithoutEnd, kPulled, "", 1},
      {"CutInTheHeaders", Raw(ok + "Content-Len"), kUnavailable, "gave up after 5 tries", 5},
      {"CutInTheHeadersOnce", InTurn({Raw(ok + "Content-Len"), All}), kPulled, "", 2},
      {"CutBeforeTheHeaders", Raw(""), kUnavailable, "gave up after 5 tries", 5},
      {"ChunkedGarbage", Raw(ok + "Transfer-Encoding: chunked\r\n\r\nnonsense\r\n"), kUnavailable,
       "gave up after 5 tries", 5},
      {"TwoContentLengths", Raw(ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nblob"), kUnavailable,
       "two Content-Length headers that differ", 5},
      {"NoHttpAtAll", Raw("220 smtp.example ESMTP\r\n"), kInvalid, "does not speak plain HTTP", 1},

      // Ranges
      {"RestInPieces", InTurn({HalfThenCut, Rest(20000)}), kPulled, "", 4},
      {"AllInPlaceOfTheRest", InTurn({HalfThenCut, All}), kPulled, "", 2},
      {"AllInPlaceOfTheRestAndCutAgain", HalfThenCut, kUnavailable, "broke off at byte 50000 of 100000", 2},
      {"AnotherRange", CutThen(Range("bytes 0-49999/100000")), kUnavailable, "another part than was asked for", 3},
      {"AnotherRangeThenAll", CutThen(Range("bytes 0-49999/100000"), All), kPulled, "", 3},
      {"RangeOfAnotherSize", CutThen(Range("bytes 50000-99999/100001")), kUnavailable,
       "another part than was asked for", 3},
      {"RangeOfUnknownSize", CutThen(Range("bytes 50000-99999/*")), kUnavailable, "another part than was asked for", 3},
      {"RangeThatNobodyAskedFor", Range("bytes 0-49999/100000"), kUnavailable, "another part than was asked for", 2},
      {"RangeNotSatisfiable", CutThen(Status(416)), kUnavailable, "it answers 416", 3},
      {"RangeNotSatisfiableThenAll", CutThen(Status(416), All), kPulled, "", 3},

      // Busy and failing
      {"BusyForSeconds", InTurn({Status(429, "2"), All}), kPulled, "", 2},
      {"BusyUntilADateThatHasPassed", InTurn({Status(503, "Sun, 06 Nov 1994 08:49:37 GMT"), All}), kPulled, "", 2},
      {"BusyUntilADateFarAway", Status(429, "Fri, 31 Dec 2179 23:59:59 GMT"), kUnavailable,
       "it asks to be left alone for", 1},
      {"BusyForAnHour", Status(429, "3600"), kUnavailable, "it asks to be left alone for 3600 s", 1},
      {"BusyForEver", Status(429), kUnavailable, "is asked too often (429)", 5},
      {"NonsenseInRetryAfter", InTurn({Status(503, "-5 soon"), All}), kPulled, "", 2},
      {"FailsOnce", InTurn({Status(500), All}), kPulled, "", 2},
      {"FailsThreeWays", InTurn({Status(502), Status(503), Status(504), All}), kPulled, "", 4},
      {"FailsForEver", Status(500), kUnavailable, "gave up after 5 tries", 5},
      {"NotImplemented", Status(501), kUnavailable, "answers 501", 1},
      {"Teapot", Status(418), kInvalid, "answers 418", 1},
      {"NotThere", Status(404), kNotFound, "has no blob sha256:", 1},

      // Credentials
      {"ChallengedInMidPull", InTurn({HalfThenCut, Challenge("Basic realm=x"), Rest()}), kPulled, "", 3},
      {"RefusedInMidPull", InTurn({HalfThenCut, Challenge("Basic realm=x")}), kDenied,
       "the credentials that were shown", 3},
      {"UnknownChallenge", Challenge("Negotiate"), kDenied, "refuses", 1},
      {"MalformedChallenge", Challenge("Bearer realm=\"open"), kInvalid, "malformed WWW-Authenticate", 1},
      {"TokenServiceInTheClear", Challenge("Bearer realm=\"http://auth.example/\""), kDenied, "is not https", 1},
      {"TokenServiceThatIsAFile", Challenge("Bearer realm=\"file:///etc/passwd\""), kInvalid, "neither http nor https",
       1},
      {"Forbidden", Status(403), kDenied, "is private", 1},

      // Redirects
      {"RedirectToAnotherHost", RedirectToAnotherHost, kPulled, "", 1},
      {"RedirectInALoop", Redirect("/v2/team/app/blobs/again"), kInvalid, "redirects more than 5 times", 6},
      {"RedirectToNowhere", Status(302), kInvalid, "redirects more than 5 times", 6},
      {"RedirectToAFile", Redirect("file:///etc/passwd"), kInvalid, "neither http nor https", 1},
      {"RedirectWithAPassword", Redirect("http://user:secret@127.0.0.1:1/?secret"), kInvalid, "http://...@127.0.0.1",
       1},
      {"RedirectToCloudMetadata", Redirect("http://169.254.169.254/latest/"), kDenied,
       "169.254.169.254, where registry", 1},

      // Slow
      {"SilenceOnce", InTurn({Silence(), All}), kPulled, "", 2},
      {"Silence", Silence(), kUnavailable, "gave up after 5 tries", 5},
      {"StopsInTheMiddle", InTurn({HalfThenSilence, Rest()}), kPulled, "", 2},
      {"DripsThenComes", InTurn({Drip, Rest()}), kPulled, "", 2},
  };
}

struct FixedCredentials : CredentialSource {
  Result<RegistryCredentials> Find(const std::string&, const std::string&) override {
    return RegistryCredentials{"me", Secret("pass-word")};
  }
};

class MisbehavingRegistryTest : public testing::TestWithParam<Row> {};

TEST_P(MisbehavingRegistryTest, GivesWhatTheTableSays) {
  const Row& row = GetParam();
  Scene scene;
  scene.registry.SetScript([&](const ScriptedRequest& request) {
    ++scene.asked;
    return row.registry(scene, request);
  });
  FixedCredentials credentials;
  const RegistryTable registries = {{scene.registry.address(), {.plain_http = true}}};
  RegistryAccess access{.registries = &registries, .credentials = &credentials};
  access.timing.patience = std::chrono::seconds(60);
  access.timing.stall = std::chrono::seconds(1);
  access.wait = [](std::chrono::milliseconds) { return false; };
  RegistryClient client(*ParseReference(scene.registry.address() + "/team/app:1"), access);

  const Result<std::string> bytes = client.GetBlobBytes(scene.blob);
  if (row.error) {
    ASSERT_FALSE(bytes);
    EXPECT_EQ(ToString(bytes.error().code), ToString(*row.error)) << bytes.error().message;
    EXPECT_THAT(bytes.error().message, HasSubstr(row.words));
    EXPECT_THAT(bytes.error().message, Not(HasSubstr("secret")));
  } else {
    ASSERT_TRUE(bytes) << bytes.error().message;
    EXPECT_EQ(*bytes, scene.bytes);
  }
  EXPECT_EQ(scene.registry.CountRequests("GET", "/blobs/"), row.asked);
}

INSTANTIATE_TEST_SUITE_P(Table, MisbehavingRegistryTest, testing::ValuesIn(Rows()),
                         [](const testing::TestParamInfo<Row>& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace caisson::image
