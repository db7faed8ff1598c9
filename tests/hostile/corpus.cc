// SPDX-License-Identifier: Apache-2.0
#include "tests/hostile/corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "base/check.h"
#include "base/io.h"

namespace caisson::image {
namespace {

std::string ReadCorpusFile(const std::string& name) {
  Result<std::string> bytes = ReadFile(std::string(CAISSON_HOSTILE_CORPUS) + "/" + name, 64 << 20);
  CHECK(bytes.has_value());
  return *std::move(bytes);
}

std::string NameOfCode(ErrorCode code) {
  if (code == ErrorCode::kInvalid) return "invalid";
  if (code == ErrorCode::kTooLarge) return "too_large";
  if (code == ErrorCode::kNotFound) return "not_found";
  return "an error of ours";
}

}  // namespace

std::vector<HostileCase> ReadCases(const std::string& kind) {
  std::vector<HostileCase> cases;
  std::istringstream lines(ReadCorpusFile(kind + ".json"));
  for (std::string line; std::getline(lines, line);) {
    Result<Json> json = ParseJson(line);
    CHECK(json.has_value());
    cases.push_back({json->StringOr("name", ""), *json});
  }
  return cases;
}

std::string BytesOf(const std::string& kind, const HostileCase& hostile) {
  return ReadCorpusFile(kind + "/" + hostile.name);
}

void ExpectRefusal(const HostileCase& hostile, const Error& error) {
  ASSERT_FALSE(hostile.accepted()) << "refused: " << error.message;
  EXPECT_EQ(NameOfCode(error.code), hostile.expected.StringOr("code", "")) << error.message;
  for (const Json& word : hostile.expected.ArrayOrEmpty("words"))
    EXPECT_THAT(error.message, testing::HasSubstr(*word.AsString()));
}

}  // namespace caisson::image
