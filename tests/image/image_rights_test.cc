// SPDX-License-Identifier: Apache-2.0
// A registry that belongs to an attacker and names what another tenant has cached: digests are no secrets, and naming
// one opens nothing. Two registries, one store, the real worker.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/crypto/crypto.h"
#include "image/image_store.h"
#include "image/manifest.h"
#include "tests/image/scripted_registry.h"
#include "tests/image/tar_builder.h"
#include "tests/image/temporary.h"
#include "tests/image/worker_store.h"

namespace caisson::image {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kIndexType[] = "application/vnd.oci.image.index.v1+json";
constexpr char kManifestType[] = "application/vnd.oci.image.manifest.v1+json";

class ImageRightsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    worker_store_ = std::make_unique<WorkerStore>(directory_.path() + "/data");
    ImageStoreOptions options{.directory = directory_.path() + "/service", .store = worker_store_.get()};
    options.registries[victim_.address()] = {.plain_http = true};
    options.registries[other_.address()] = {.plain_http = true};
    store_ = *OpenImageStore(options);
    digest_ = PutImage(victim_, "secret", image_);
    manifest_ = victim_.Usual({.method = "GET", .path = "/manifests/secret"}).body;
    ASSERT_TRUE(Pull(victim_, ":secret"));
  }

  // As for a tenant without a grant.
  Result<ImageRecord> Pull(const ScriptedRegistry& registry, const std::string& tag_or_digest) {
    const std::string name = registry.address() + "/team/app" + tag_or_digest;
    return store_->Pull(TRY(store_->Resolve(name, PullPolicy::kAlways, {})), /*may_use_cached=*/false, {});
  }
  ErrorCode RefusalByOther(const std::string& tag_or_digest) {
    const Result<ImageRecord> record = Pull(other_, tag_or_digest);
    return record ? ErrorCode::kInternal : record.error().code;
  }
  static int BlobRequests(const ScriptedRegistry& registry) { return registry.CountRequests("GET", "/blobs/"); }
  static std::string IndexOf(const Digest& manifest, size_t size) {
    return fmt::format(
        R"({{"schemaVersion":2,"mediaType":"{}","manifests":[{{"mediaType":"{}","digest":"{}","size":{},"platform":{{"os":"linux","architecture":"{}"}}}}]}})",
        kIndexType, kManifestType, manifest.ToString(), size, HostPlatform().architecture);
  }

  TemporaryDirectory directory_;
  ScriptedRegistry victim_, other_;
  std::unique_ptr<WorkerStore> worker_store_;
  std::unique_ptr<ImageStore> store_;
  const ScriptedImage image_ = ImageOf({TarBuilder().File("secret", "of another tenant").Finish()});
  Digest digest_;
  std::string manifest_;
};

TEST_F(ImageRightsTest, HeadThatNamesAForeignDigestProvesNothing) {
  other_.SetScript([this](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.method != "HEAD") return std::nullopt;
    return ScriptedAnswer{.headers = {{"Docker-Content-Digest", digest_.ToString()}}};
  });
  EXPECT_EQ(RefusalByOther(":latest"), ErrorCode::kNotFound);
  EXPECT_EQ(RefusalByOther("@" + digest_.ToString()), ErrorCode::kNotFound);
}

TEST_F(ImageRightsTest, OtherBytesUnderAForeignDigestAreRefused) {
  other_.SetScript([this](const ScriptedRequest&) {
    return ScriptedAnswer{.headers = {{"Docker-Content-Digest", digest_.ToString()}, {"Content-Type", kManifestType}},
                          .body = manifest_ + " "};
  });
  EXPECT_EQ(RefusalByOther(":latest"), ErrorCode::kCorrupt);
}

TEST_F(ImageRightsTest, IndexThatNamesAForeignManifestProvesNothing) {
  other_.PutManifest("index", IndexOf(digest_, manifest_.size()), kIndexType);
  EXPECT_EQ(RefusalByOther(":index"), ErrorCode::kNotFound);
}

TEST_F(ImageRightsTest, ManifestThatNamesForeignPartsProvesNothing) {
  other_.PutManifest("stolen", manifest_, kManifestType);  // whoever knows the manifest still has not the image
  EXPECT_EQ(RefusalByOther(":stolen"), ErrorCode::kNotFound);

  // A config and a manifest of his own around a foreign layer, whose diff_id he guesses wrongly: no word of the right
  // one.
  ScriptedImage thief = image_;
  thief.diff_ids = {Sha256Of("a guess").ToString()};
  PutImage(other_, "thief", thief);
  other_.SetScript([this](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.path.find(Sha256Of(image_.layers[0]).ToString()) == std::string::npos) return std::nullopt;
    return ScriptedAnswer{.status = 404};
  });
  const Error error = Pull(other_, ":thief").error();
  EXPECT_EQ(error.code, ErrorCode::kNotFound);
  EXPECT_THAT(error.message, Not(HasSubstr(Sha256Of(image_.tars[0]).ToString())));
}

TEST_F(ImageRightsTest, PartsOfAnotherRepositoryAreFetchedAgainOnceBeforeUse) {
  PutImage(other_, "mine", image_);
  const int workers = worker_store_->started();
  ASSERT_TRUE(Pull(other_, ":mine"));
  EXPECT_EQ(BlobRequests(other_), 2);  // config and layer
  EXPECT_EQ(worker_store_->started(), workers) << "a layer that is there is compared, not unpacked again";
  ASSERT_TRUE(Pull(other_, ":mine"));
  EXPECT_EQ(BlobRequests(other_), 2);
  // Another image of this repository has the layer from now on, and only this repository's images have.
  ScriptedImage upper = ImageOf({image_.tars[0], TarBuilder().File("more", "").Finish()});
  PutImage(other_, "upper", upper);
  ASSERT_TRUE(Pull(other_, ":upper"));
  EXPECT_EQ(other_.CountRequests("GET", Sha256Of(image_.layers[0]).ToString()), 1);
}

TEST_F(ImageRightsTest, WrongBytesForAForeignLayerAreRefused) {
  PutImage(other_, "liar", image_);
  other_.SetScript([this](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.path.find(Sha256Of(image_.layers[0]).ToString()) == std::string::npos) return std::nullopt;
    return ScriptedAnswer{.body = std::string(image_.layers[0].size(), 'x')};
  });
  EXPECT_EQ(RefusalByOther(":liar"), ErrorCode::kCorrupt);
  EXPECT_EQ(RefusalByOther(":liar"), ErrorCode::kCorrupt) << "the failure counted as proof";
}

}  // namespace
}  // namespace caisson::image
