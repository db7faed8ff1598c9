// SPDX-License-Identifier: Apache-2.0
// Images as umoci, skopeo and buildah make them: a job sees the very tree that umoci unpacks from the same image.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/integration/daemon.h"

namespace caisson::integration {
namespace {

using testing::HasSubstr;

// Everything below /data: directories without their times, of which umoci keeps none where a layer has no entry.
constexpr char kDescribe[] =
    "cd /data && { find . -type d -exec stat -c '%n %F %a %u:%g' {} + | sort; "
    "find . ! -type d -exec stat -c '%N %F %a %u:%g links %h at %Y' {} + | sort; "
    "find . -type f -exec sha256sum {} + | sort; }";

class BuiltImagesTest : public testing::Test {
 protected:
  void Build(const std::string& kind) {
    const Finished built =
        RunProgram({CAISSON_SOURCE "/tests/integration/build-image", kind, work_.path(), registry_.address()},
                   std::nullopt, {}, seconds(400));
    ASSERT_EQ(built.status, 0) << built.out << built.err;
  }
  std::string Name(const std::string& kind) const { return registry_.Name(kind + ":1"); }
  void ExpectTheTreeThatUmociSees(const std::string& kind) {
    ASSERT_NO_FATAL_FAILURE(Build(kind));
    const Finished expected = RunProgram({"chroot", work_.path() + "/" + kind + "/rootfs", "/bin/sh", "-c", kDescribe});
    ASSERT_EQ(expected.status, 0) << expected.err;
    ASSERT_THAT(expected.out, HasSubstr("./"));  // or two empty trees would be the same
    const Finished job = daemon_.Caisson({"run", Name(kind), "--", "/bin/sh", "-c", kDescribe});
    EXPECT_EQ(job.status, 0) << job.err;
    EXPECT_EQ(job.out, expected.out);
  }

  Registry registry_;
  Daemon daemon_{registry_};
  TemporaryDirectory work_;
};

TEST_F(BuiltImagesTest, WhiteoutsAndReplacementsOfThreeLayers) { ExpectTheTreeThatUmociSees("whiteouts"); }
TEST_F(BuiltImagesTest, FortyLayersWithWhiteouts) { ExpectTheTreeThatUmociSees("forty_layers"); }
TEST_F(BuiltImagesTest, LayersThatSkopeoCompressedWithZstd) {
  ExpectTheTreeThatUmociSees("zstd_layers");
  EXPECT_THAT(registry_.ManifestOf("zstd_layers", "1"), HasSubstr("tar+zstd"));
}
TEST_F(BuiltImagesTest, DockersMediaTypes) { ExpectTheTreeThatUmociSees("docker_types"); }
TEST_F(BuiltImagesTest, ImplicitDirectoriesKeepTheAttributesBelow) {
  ExpectTheTreeThatUmociSees("implicit_directories");
}
TEST_F(BuiltImagesTest, OpaqueDirectoriesHideWhatIsBelow) { ExpectTheTreeThatUmociSees("opaque_directories"); }
TEST_F(BuiltImagesTest, TheSameLayerTwice) { ExpectTheTreeThatUmociSees("same_layer_twice"); }
TEST_F(BuiltImagesTest, CommitsOfBuildah) { ExpectTheTreeThatUmociSees("buildah_image"); }

TEST_F(BuiltImagesTest, AnIndexGivesThisHostsImage) {
  ExpectTheTreeThatUmociSees("multi_arch");
  // Only the index's entry for this platform has the variable.
  EXPECT_EQ(daemon_.Caisson({"run", Name("multi_arch"), "--", "/bin/sh", "-c", "echo $WHICH"}).out, "this\n");
}

// The specification lets an unpacker refuse them: a layer's worker sees no other layer.
TEST_F(BuiltImagesTest, AHardLinkAcrossLayersIsRefusedByName) {
  ASSERT_NO_FATAL_FAILURE(Build("link_across_layers"));
  const Finished job = daemon_.Caisson({"run", Name("link_across_layers"), "--", "/bin/sh", "-c", "true"});
  EXPECT_NE(job.status, 0);
  EXPECT_THAT(job.err, HasSubstr("data/zlink"));
  EXPECT_THAT(job.err, HasSubstr("which this layer does not have"));
}

}  // namespace
}  // namespace caisson::integration
