// SPDX-License-Identifier: Apache-2.0
#include "image/reference.h"

#include <gtest/gtest.h>

#include "image/image_store.h"

namespace caisson::image {
namespace {

const std::string kHex(64, 'a');

TEST(ReferenceTest, ShortFormsMeanDockerHub) {
  const struct {
    const char* text;
    const char* normalised;
  } kCases[] = {
      {"alpine", "docker.io/library/alpine:latest"},
      {"alpine:3.20", "docker.io/library/alpine:3.20"},
      {"me/tool", "docker.io/me/tool:latest"},
      {"docker.io/alpine", "docker.io/library/alpine:latest"},
      {"index.docker.io/me/tool:1", "docker.io/me/tool:1"},
      {"docker.io/library/alpine:3.20", "docker.io/library/alpine:3.20"},
      {"localhost/x", "localhost/x:latest"},
      {"localhost:5000/x", "localhost:5000/x:latest"},
      {"127.0.0.1:5000/busybox:1", "127.0.0.1:5000/busybox:1"},
      {"Quay.IO/me/thumbs:1.4", "quay.io/me/thumbs:1.4"},
      {"[::1]:5000/x:1", "[::1]:5000/x:1"},
      {"quay.io/a/b/c/d:v_1.2-3", "quay.io/a/b/c/d:v_1.2-3"},
      {"quay.io/a__b/c.d/e--f", "quay.io/a__b/c.d/e--f:latest"},
  };
  for (const auto& [text, normalised] : kCases)
    EXPECT_EQ(NormaliseReference(text).value_or("refused"), normalised) << text;
}

TEST(ReferenceTest, DigestPinsAndKeepsATagForShow) {
  const Reference with_tag = *ParseReference("quay.io/x/y:1@sha256:" + kHex);
  EXPECT_EQ(with_tag.tag, "1");
  EXPECT_EQ(with_tag.TagOrDigest(), "sha256:" + kHex);
  EXPECT_EQ(with_tag.ToString(), "quay.io/x/y:1@sha256:" + kHex);
  EXPECT_EQ(ParseReference("alpine@sha256:" + kHex)->ToString(), "docker.io/library/alpine@sha256:" + kHex);
  EXPECT_EQ(EndpointOf("docker.io"), "registry-1.docker.io");
}

TEST(ReferenceTest, NonsenseIsRefusedWithTheReason) {
  const std::string long_name = "quay.io/" + std::string(250, 'a'), long_tag = "alpine:" + std::string(129, 't');
  const std::string kCases[] = {
      "",
      "UPPER",
      "quay.io/Upper",
      "a b",
      "alpine:",
      "alpine:-x",
      "alpine:.x",
      "alpine:a b",
      "alpine@",
      "alpine@sha256:",
      "alpine@sha512:" + kHex,
      "alpine@sha256:" + std::string(64, 'A'),
      "alpine@sha256:" + kHex.substr(1),
      "a//b",
      "/a",
      "a/",
      "quay.io/",
      "quay.io/a/",
      ".a",
      "a.",
      "a..b",
      "a___b",
      "-a",
      "a-",
      "quay.io:0/x",
      "quay.io:65536/x",
      "quay.io:/x",
      "quay.io:5o/x",
      "-h.io/x",
      "h..io/x",
      "[::1/x",
      "[zz]:1/x",
      "http://quay.io/x",
      "a\n",
      "a%2fb",
      "quay.io/../x",
      "quay.io/a/../b",
      "quay.io/a?b",
      "user@quay.io/x",
      std::string("a\0b", 3),
      "caf\xC3\xA9",
      long_name,
      long_tag,
      std::string(600, 'a'),
  };
  for (const std::string& text : kCases) {
    const Result<std::string> result = NormaliseReference(text);
    ASSERT_FALSE(result) << text;
    EXPECT_EQ(result.error().code, ErrorCode::kInvalid) << text;
    EXPECT_EQ(result.error().message.find("image reference"), 0u) << result.error().message;
  }
}

TEST(ReferenceTest, NormalisingIsIdempotent) {
  for (const char* text : {"alpine", "me/x:1", "localhost:5000/a/b", "Quay.io/a"}) {
    const std::string once = *NormaliseReference(text);
    EXPECT_EQ(*NormaliseReference(once), once);
  }
}

TEST(ReferenceTest, PortOfHttpsIsNoOtherRegistry) {
  EXPECT_EQ(ParseReference("registry.example:443/a")->ToString(), "registry.example/a:latest");
  EXPECT_EQ(ParseReference("docker.io:443/a")->ToString(), "docker.io/library/a:latest");
  EXPECT_EQ(ParseReference("registry-1.docker.io:443/a/b")->ToString(), "docker.io/a/b:latest");
  EXPECT_EQ(ParseReference("[::1]:443/a")->ToString(), "[::1]/a:latest");
  EXPECT_EQ(ParseReference("lan:443/a")->ToString(), "lan:443/a:latest");  // "lan/a" would be on Docker Hub
  EXPECT_EQ(ParseReference("registry.example:4430/a")->host, "registry.example:4430");
  EXPECT_FALSE(ParseReference("registry.example:0443/a"));
}

}  // namespace
}  // namespace caisson::image
