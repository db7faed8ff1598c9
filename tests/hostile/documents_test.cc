// SPDX-License-Identifier: Apache-2.0
// Every config and every manifest of the corpus through the parsers of the service.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image/image_config.h"
#include "image/manifest.h"
#include "tests/hostile/corpus.h"

namespace caisson::image {
namespace {

class HostileConfigsTest : public testing::TestWithParam<HostileCase> {};

TEST_P(HostileConfigsTest, BecomeWhatTheTableSays) {
  const Result<ParsedConfig> parsed = ParseImageConfig(BytesOf("configs", GetParam()));
  if (!parsed) return ExpectRefusal(GetParam(), parsed.error());
  ASSERT_TRUE(GetParam().accepted()) << "accepted, but has to be refused";
  const Json& found = *GetParam().expected.Find("found");
  const std::pair<const char*, std::string> texts[] = {{"user", parsed->config.user},
                                                       {"working_dir", parsed->config.working_dir}};
  for (const auto& [name, text] : texts) EXPECT_EQ(text, found.StringOr(name, text)) << name;
  const std::pair<const char*, size_t> counts[] = {{"entrypoint", parsed->config.entrypoint.size()},
                                                   {"command", parsed->config.command.size()},
                                                   {"env", parsed->config.env.size()},
                                                   {"diff_ids", parsed->diff_ids.size()}};
  for (const auto& [name, count] : counts)
    EXPECT_EQ(static_cast<int64_t>(count), found.IntOr(name, static_cast<int64_t>(count))) << name;
}

class HostileManifestsTest : public testing::TestWithParam<HostileCase> {};

TEST_P(HostileManifestsTest, BecomeWhatTheTableSays) {
  const auto parsed = ParseManifest(BytesOf("manifests", GetParam()), GetParam().expected.StringOr("content_type", ""));
  if (!parsed) return ExpectRefusal(GetParam(), parsed.error());
  ASSERT_TRUE(GetParam().accepted()) << "accepted, but has to be refused";
  const Json& found = *GetParam().expected.Find("found");
  if (const Manifest* manifest = std::get_if<Manifest>(&*parsed)) {
    EXPECT_EQ(static_cast<int64_t>(manifest->layers.size()), found.IntOr("layers", -1));
    return;
  }
  const Result<Descriptor> chosen = SelectPlatform(std::get<Index>(*parsed));
  if (chosen) {
    EXPECT_EQ(chosen->digest.hex(), std::string(64, found.StringOr("platform", "?")[0]));
    return;
  }
  EXPECT_EQ(chosen.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(chosen.error().message, testing::HasSubstr(found.StringOr("no_platform", "an entry for this host")));
}

INSTANTIATE_TEST_SUITE_P(Corpus, HostileConfigsTest, testing::ValuesIn(ReadCases("configs")),
                         NameOfCase<testing::TestParamInfo<HostileCase>>);
INSTANTIATE_TEST_SUITE_P(Corpus, HostileManifestsTest, testing::ValuesIn(ReadCases("manifests")),
                         NameOfCase<testing::TestParamInfo<HostileCase>>);

}  // namespace
}  // namespace caisson::image
