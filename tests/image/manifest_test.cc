// SPDX-License-Identifier: Apache-2.0
#include "image/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image/image_config.h"
#include "image/layer/limits.h"

namespace caisson::image {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kOciManifest[] = "application/vnd.oci.image.manifest.v1+json";
constexpr char kOciIndex[] = "application/vnd.oci.image.index.v1+json";
constexpr char kDockerManifest[] = "application/vnd.docker.distribution.manifest.v2+json";
constexpr char kDockerList[] = "application/vnd.docker.distribution.manifest.list.v2+json";
constexpr char kOciConfig[] = "application/vnd.oci.image.config.v1+json";
constexpr char kOciLayer[] = "application/vnd.oci.image.layer.v1.tar+gzip";

std::string DigestText(char c) { return "sha256:" + std::string(64, c); }

std::string DescriptorText(const std::string& type, char digest = 'a', const std::string& size = "10",
                           const std::string& more = "") {
  return fmt::format(R"({{"mediaType":"{}","digest":"{}","size":{}{}}})", type, DigestText(digest), size, more);
}
std::string ManifestText(const std::string& type, const std::string& config, const std::string& layers) {
  return fmt::format(R"({{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}]}})", type, config, layers);
}
std::string IndexText(const std::string& entries) {
  return fmt::format(R"({{"schemaVersion":2,"mediaType":"{}","manifests":[{}]}})", kOciIndex, entries);
}
std::string EntryText(const std::string& os, const std::string& architecture, char digest,
                      const std::string& variant = "") {
  return DescriptorText(
      kOciManifest, digest, "10",
      fmt::format(R"(,"platform":{{"os":"{}","architecture":"{}","variant":"{}"}})", os, architecture, variant));
}
std::string Refusal(const std::string& text, const std::string& content_type = "") {
  const auto parsed = ParseManifest(text, content_type);
  return parsed ? "accepted" : parsed.error().message;
}

TEST(ManifestTest, BothFamiliesGiveTheSameManifest) {
  const auto oci = ParseManifest(
      ManifestText(kOciManifest, DescriptorText(kOciConfig), DescriptorText(kOciLayer, 'b', "77")), kOciManifest);
  ASSERT_TRUE(oci) << oci.error().message;
  const Manifest& manifest = std::get<Manifest>(*oci);
  EXPECT_EQ(manifest.config.digest.ToString(), DigestText('a'));
  ASSERT_EQ(manifest.layers.size(), 1u);
  EXPECT_EQ(manifest.layers[0].descriptor.size, 77u);
  EXPECT_EQ(manifest.layers[0].compression, Compression::kGzip);
  const auto docker =
      ParseManifest(ManifestText(kDockerManifest, DescriptorText("application/vnd.docker.container.image.v1+json"),
                                 DescriptorText("application/vnd.docker.image.rootfs.diff.tar.gzip", 'b', "77")),
                    std::string(kDockerManifest) + "; charset=utf-8");
  ASSERT_TRUE(docker) << docker.error().message;
  EXPECT_EQ(std::get<Manifest>(*docker).layers[0].compression, Compression::kGzip);
}

TEST(ManifestTest, TypeIsTakenFromTheRegistryWhereTheDocumentSaysNone) {
  const std::string text = R"({"schemaVersion":2,"config":)" + DescriptorText(kOciConfig) + R"(,"layers":[]})";
  EXPECT_TRUE(ParseManifest(text, kOciManifest));
  EXPECT_TRUE(ParseManifest(text, ""));
  EXPECT_TRUE(ParseManifest(text, "application/json"));
  EXPECT_THAT(Refusal(text, kOciIndex), HasSubstr("not what its media type says"));
  EXPECT_THAT(Refusal(text, "text/html"), HasSubstr("not a manifest"));
}

TEST(ManifestTest, WhatCanBeReadInTwoWaysIsRefused) {
  const std::string config = DescriptorText(kOciConfig);
  EXPECT_THAT(Refusal(ManifestText(kOciManifest, config, ""), kDockerManifest), HasSubstr("calls itself"));
  EXPECT_THAT(Refusal(R"({"schemaVersion":2,"manifests":[],"layers":[]})"), HasSubstr("at once"));
  EXPECT_THAT(Refusal(R"({"schemaVersion":2,"manifests":[],"config":{}})"), HasSubstr("at once"));
  EXPECT_THAT(Refusal(R"({"schemaVersion":2,"mediaType":")" + std::string(kOciIndex) + R"(","layers":[],"config":)" +
                      config + "}"),
              HasSubstr("media type says"));
  EXPECT_THAT(Refusal(R"({"schemaVersion":2,"layers":[],"layers":[],"config":)" + config + "}"),
              HasSubstr("duplicate key"));
  EXPECT_THAT(Refusal(R"({"schemaVersion":2,"Layers":[],"config":)" + config + "}"),
              HasSubstr("\"layers\" is missing"));
}

TEST(ManifestTest, SchemaOneIsRefusedByName) {
  EXPECT_THAT(Refusal(R"({"schemaVersion":1,"name":"x","fsLayers":[]})"), HasSubstr("schema 1"));
  EXPECT_THAT(Refusal("{\"schemaVersion\":2}", "application/vnd.docker.distribution.manifest.v1+prettyjws"),
              HasSubstr("schema 1"));
}

TEST(ManifestTest, DescriptorsAreChecked) {
  const auto with_layer = [](const std::string& layer) {
    return Refusal(ManifestText(kOciManifest, DescriptorText(kOciConfig), layer));
  };
  EXPECT_THAT(with_layer(DescriptorText(kOciLayer, 'A')), HasSubstr("digest"));
  EXPECT_THAT(with_layer(DescriptorText(kOciLayer, 'a', "-1")), HasSubstr("size"));
  EXPECT_THAT(with_layer(DescriptorText(kOciLayer, 'a', "1.5")), HasSubstr("size"));
  EXPECT_THAT(with_layer(DescriptorText(kOciLayer, 'a', "99999999999999999999")), HasSubstr("size"));
  EXPECT_THAT(with_layer(DescriptorText(kOciLayer, 'a', "20000000000")), HasSubstr("over the limit"));
  EXPECT_THAT(with_layer(DescriptorText("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")),
              HasSubstr("outside the registry"));
  EXPECT_THAT(with_layer(DescriptorText("application/x-tar")), HasSubstr("not a layer"));
  EXPECT_THAT(with_layer("7"), HasSubstr("not an object"));
  EXPECT_THAT(with_layer("{}"), HasSubstr("mediaType"));
  EXPECT_THAT(Refusal(ManifestText(kOciManifest, DescriptorText("application/vnd.cncf.helm.config.v1+json"), "")),
              HasSubstr("not a container image"));
  EXPECT_THAT(Refusal(ManifestText(kOciManifest, DescriptorText(kOciConfig, 'a', "99999999"), "")),
              HasSubstr("over the limit"));
  std::string many = DescriptorText(kOciLayer);
  for (size_t i = 0; i < kMaxImageLayers; ++i) many += "," + DescriptorText(kOciLayer);
  EXPECT_THAT(with_layer(many), HasSubstr("more than the 128"));
}

TEST(ManifestTest, SizeAndDepthAreBounded) {
  EXPECT_EQ(ParseManifest(std::string(kMaxManifestBytes + 1, ' '), "").error().code, ErrorCode::kTooLarge);
  EXPECT_THAT(Refusal(std::string(100000, '[')), HasSubstr("nested deeper"));
  EXPECT_THAT(Refusal("[]"), HasSubstr("not an object"));
  EXPECT_THAT(Refusal("<html>"), HasSubstr("not JSON"));
}

TEST(ManifestTest, IndexGivesThisHostsPlatform) {
  const auto select = [](const std::string& entries) -> std::string {
    const auto index = ParseManifest(IndexText(entries), kOciIndex);
    if (!index) return index.error().message;
    const Result<Descriptor> chosen = SelectPlatform(std::get<Index>(*index));
    return chosen ? chosen->digest.ToString() : chosen.error().message;
  };
  const std::string& here = HostPlatform().architecture;
  EXPECT_EQ(select(EntryText("linux", "s390x", 'a') + "," + EntryText("windows", here, 'b') + "," +
                   EntryText("linux", here, 'c')),
            DigestText('c'));
  EXPECT_EQ(select(EntryText("linux", here, 'a', "v3") + "," + EntryText("linux", here, 'b')), DigestText('b'));
  EXPECT_EQ(select(EntryText("unknown", "unknown", 'a') + "," + EntryText("linux", here, 'b')), DigestText('b'));
  EXPECT_THAT(select(EntryText("linux", "s390x", 'a') + "," + EntryText("linux", "arm", 'b', "v7")),
              HasSubstr("it has: linux/arm/v7, linux/s390x"));
  EXPECT_THAT(select(""), HasSubstr("none at all"));
  EXPECT_TRUE(
      ParseManifest(fmt::format(R"({{"schemaVersion":2,"mediaType":"{}","manifests":[]}})", kDockerList), kDockerList));
}

// ---- config ----

std::string ConfigText(const std::string& config, const std::string& architecture = HostPlatform().architecture,
                       const std::string& os = "linux") {
  return fmt::format(R"({{"architecture":"{}","os":"{}","config":{},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}})",
                     architecture, os, config, DigestText('d'));
}
std::string ConfigRefusal(const std::string& text) {
  const auto parsed = ParseImageConfig(text);
  return parsed ? "accepted" : parsed.error().message;
}

TEST(ImageConfigTest, ExecutionParametersAreRead) {
  const auto parsed = ParseImageConfig(ConfigText(
      R"({"User":"web:www","Entrypoint":["/bin/sh","-c"],"Cmd":["date"],"Env":["A=b","PATH=/bin"],"WorkingDir":"/srv","StopSignal":"SIGINT","Volumes":{"/../etc":{}}})"));
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->config.user, "web:www");
  EXPECT_THAT(parsed->config.entrypoint, ElementsAre("/bin/sh", "-c"));
  EXPECT_THAT(parsed->config.command, ElementsAre("date"));
  EXPECT_THAT(parsed->config.env, ElementsAre("A=b", "PATH=/bin"));
  EXPECT_EQ(parsed->config.working_dir, "/srv");
  EXPECT_EQ(parsed->config.stop_signal, "SIGINT");
  EXPECT_EQ(parsed->diff_ids.size(), 1u);
  EXPECT_TRUE(ParseImageConfig(ConfigText("null")));
  EXPECT_TRUE(ParseImageConfig(ConfigText(R"({"Entrypoint":null,"Cmd":null})")));
}

TEST(ImageConfigTest, ForeignPlatformsAreRefusedWithWords) {
  EXPECT_THAT(ConfigRefusal(ConfigText("{}", "386")), HasSubstr("32-bit"));
  EXPECT_THAT(ConfigRefusal(ConfigText("{}", "s390x")), HasSubstr("linux/s390x, this host runs linux/"));
  EXPECT_THAT(ConfigRefusal(ConfigText("{}", HostPlatform().architecture, "windows")), HasSubstr("windows"));
  EXPECT_THAT(ConfigRefusal("{}"), HasSubstr("this host runs"));
}

TEST(ImageConfigTest, WrongTypesAreRefusedByName) {
  EXPECT_THAT(ConfigRefusal(ConfigText(R"({"User":0})")), HasSubstr("\"User\""));
  EXPECT_THAT(ConfigRefusal(ConfigText(R"({"Cmd":"date"})")), HasSubstr("\"Cmd\""));
  EXPECT_THAT(ConfigRefusal(ConfigText(R"({"Env":[1]})")), HasSubstr("\"Env\""));
  EXPECT_THAT(ConfigRefusal(ConfigText(R"({"Env":["a\u0000b"]})")), HasSubstr("NUL"));
  EXPECT_THAT(ConfigRefusal(ConfigText(R"({"User":"a","User":"b"})")), HasSubstr("duplicate"));
  EXPECT_THAT(ConfigRefusal(ConfigText("[]")), HasSubstr("\"config\""));
  EXPECT_THAT(ConfigRefusal(fmt::format(R"({{"architecture":"{}","os":"linux"}})", HostPlatform().architecture)),
              HasSubstr("rootfs"));
  EXPECT_THAT(ConfigRefusal(std::string(100000, '[')), HasSubstr("nested"));
}

}  // namespace
}  // namespace caisson::image
