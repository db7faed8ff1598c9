// SPDX-License-Identifier: Apache-2.0
// Holds api/openapi.yaml against the table of routes and against live answers. Reads the document by its indentation:
// it is kept in that plain form.
#include "api/openapi_document.h"

#include <gmock/gmock.h>

#include <set>
#include <sstream>

#include "api/image_view.h"
#include "api/problem.h"
#include "api/router.h"
#include "tests/api/api_fixture.h"

namespace caisson::api {
namespace {

// The keys below the mapping at `path`.
std::set<std::string> KeysAt(const std::vector<std::string>& path) {
  std::set<std::string> keys;
  std::istringstream lines{std::string(OpenApiDocument())};
  size_t depth = 0;  // how much of `path` was found
  for (std::string line; std::getline(lines, line);) {
    const size_t indent = line.find_first_not_of(' ');
    if (indent == std::string::npos || indent % 2 != 0 || line[indent] == '-' || line[indent] == '#') continue;
    const size_t level = indent / 2;
    const size_t colon = line.find(':', indent);
    if (colon == std::string::npos) continue;
    const std::string key = line.substr(indent, colon - indent);
    if (level < depth) {
      if (depth == path.size()) return keys;
      depth = level;
    }
    if (depth == path.size() && level == depth) keys.insert(key);
    if (level == depth && depth < path.size() && key == path[depth]) ++depth;
  }
  return keys;
}

std::set<std::string> PropertiesOf(const std::string& schema) {
  return KeysAt({"components", "schemas", schema, "properties"});
}

std::set<std::string> KeysOf(const Json& json) {
  std::set<std::string> keys;
  if (const Json::Object* object = json.AsObject())
    for (const auto& [name, value] : *object) keys.insert(name);
  return keys;
}

TEST(OpenApiTest, DescribesExactlyTheRoutes) {
  std::set<std::string> served;
  for (const Route& route : Routes()) {
    std::string method(route.method);
    for (char& c : method) c = static_cast<char>(std::tolower(c));
    served.insert(method + " " + std::string(route.pattern));
  }
  std::set<std::string> described;
  for (const std::string& path : KeysAt({"paths"}))
    for (const std::string& method : KeysAt({"paths", path})) described.insert(method + " " + path);
  EXPECT_EQ(described, served);
}

TEST(OpenApiTest, NamesEveryProblemType) {
  for (size_t i = 0; i < static_cast<size_t>(ProblemType::kCount); ++i) {
    const ProblemTypeInfo& info = InfoOf(static_cast<ProblemType>(i));
    EXPECT_THAT(std::string(OpenApiDocument()), ::testing::HasSubstr(fmt::format("{} ({})", info.name, info.status)));
  }
}

class LiveAnswersTest : public ApiTest {};

TEST_F(LiveAnswersTest, HaveExactlyTheDescribedFields) {
  const Json job = ParseOrFail(Unix("POST", "/v1/jobs", R"({"image":"busybox"})").body);
  EXPECT_EQ(KeysOf(job), PropertiesOf("Job"));
  EXPECT_EQ(KeysOf(*job.Find("usage")), PropertiesOf("Usage"));
  EXPECT_EQ(KeysOf(*job.Find("resources")), PropertiesOf("Resources"));
  jobs_.progress = PullProgress{1, 2};
  Claim();
  const Json page = ParseOrFail(Unix("GET", "/v1/jobs").body);
  EXPECT_EQ(KeysOf(page), PropertiesOf("JobPage"));
  EXPECT_EQ(KeysOf(*page.ArrayOrEmpty("items")[0].Find("progress")), PropertiesOf("Progress"));
  const Json images = ParseOrFail(Unix("GET", "/v1/images").body);
  EXPECT_EQ(KeysOf(images), PropertiesOf("ImageList"));
  EXPECT_EQ(KeysOf(images.ArrayOrEmpty("items")[0]), PropertiesOf("Image"));
  EXPECT_EQ(KeysOf(ParseOrFail(Unix("POST", "/v1/tokens").body)), PropertiesOf("Token"));
  Json invalid = ParseOrFail(Unix("POST", "/v1/jobs", "{}").body);
  std::set<std::string> keys = KeysOf(invalid);
  keys.insert("limits");   // of `unenforceable` only
  keys.insert("missing");  // of an import's `conflict` only
  EXPECT_EQ(keys, PropertiesOf("Problem"));
}

TEST_F(LiveAnswersTest, ImagesAndRegistriesHaveExactlyTheDescribedFields) {
  const std::string image = "/v1/images/sha256:" + std::string(64, 'a');
  const Json details = ParseOrFail(Unix("GET", image).body);
  EXPECT_EQ(KeysOf(details), PropertiesOf("ImageDetails"));
  EXPECT_EQ(KeysOf(*details.Find("config")), PropertiesOf("ImageConfig"));
  EXPECT_EQ(KeysOf(details.ArrayOrEmpty("layers")[0]), PropertiesOf("ImageLayer"));
  const Json verdict = ParseOrFail(Unix("POST", image + "/verify").body);
  EXPECT_EQ(KeysOf(verdict), PropertiesOf("ImageVerdict"));
  EXPECT_EQ(KeysOf(verdict.ArrayOrEmpty("layers")[0]), PropertiesOf("LayerVerdict"));
  EXPECT_EQ(KeysOf(ParseOrFail(Unix("POST", "/v1/images/gc").body)), PropertiesOf("CollectReport"));
  const Json progress = PullProgressView({.layers = {{.digest = "sha256:1"}}});
  EXPECT_EQ(KeysOf(progress), PropertiesOf("PullProgress"));
  EXPECT_EQ(KeysOf(progress.ArrayOrEmpty("layers")[0]), PropertiesOf("LayerProgress"));
  const Json login = ParseOrFail(Unix("PUT", "/v1/registries/ghcr.io", R"({"username":"u","password":"p"})").body);
  EXPECT_EQ(KeysOf(login), PropertiesOf("RegistryLogin"));
  EXPECT_EQ(KeysOf(ParseOrFail(Unix("GET", "/v1/registries").body)), PropertiesOf("RegistryLoginList"));
}

// The fields of a request that the document names are taken, and the parser names no other.
TEST_F(LiveAnswersTest, RequestsHaveExactlyTheDescribedFields) {
  const auto known = [this](const std::string& path, const std::string& body, const std::string& method = "POST") {
    const Json problem = ParseOrFail(Unix(method, path, body).body);
    std::set<std::string> names;
    for (const Json& error : problem.ArrayOrEmpty("errors")) {
      const std::string detail = error.StringOr("detail", "");
      const std::string prefix = "unknown field; known here: ";
      if (!detail.starts_with(prefix)) continue;
      std::istringstream list(detail.substr(prefix.size()));
      for (std::string name; std::getline(list >> std::ws, name, ',');) names.insert(name);
    }
    return names;
  };
  EXPECT_EQ(known("/v1/jobs", R"({"image":"a","?":1})"), PropertiesOf("JobRequest"));
  EXPECT_EQ(known("/v1/jobs", R"({"image":"a","resources":{"?":1}})"), PropertiesOf("ResourcesRequest"));
  EXPECT_EQ(known("/v1/jobs/000000000000000000000000/cancel", R"({"?":1})"), PropertiesOf("CancelRequest"));
  EXPECT_EQ(known("/v1/tokens", R"({"?":1})"), PropertiesOf("TokenRequest"));
  EXPECT_EQ(known("/v1/images/pull", R"({"?":1})"), PropertiesOf("PullRequest"));
  EXPECT_EQ(known("/v1/images/import", R"({"?":1})"), PropertiesOf("ImportRequest"));
  EXPECT_EQ(known("/v1/images/gc", R"({"?":1})"), PropertiesOf("CollectRequest"));
  EXPECT_EQ(known("/v1/images/a/verify", R"({"?":1})"), PropertiesOf("VerifyRequest"));
  EXPECT_EQ(known("/v1/registries/a", R"({"?":1})", "PUT"), PropertiesOf("RegistryCredential"));
}

TEST_F(LiveAnswersTest, DocumentIsServed) {
  const HttpResponse response = Tcp("GET", "/openapi.yaml");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.Header("content-type"), "application/yaml");
  EXPECT_TRUE(response.body.starts_with("openapi: 3.1.0\n"));
}

}  // namespace
}  // namespace caisson::api
