// SPDX-License-Identifier: Apache-2.0
// Images that a client brings itself: upload, import, whose they are, and the merged root on its way out.
#include "image/image_policy.h"
#include "image/manifest.h"
#include "tests/image/store_fixture.h"

namespace caisson::image {
namespace {

using testing::ElementsAre, testing::HasSubstr, testing::IsEmpty, testing::SizeIs, testing::UnorderedElementsAre;

class StoreImportTest : public StoreTest {
 protected:
  // The documents of an image, made by the registry's own means; nothing is asked of it.
  StoreImportTest() {
    PutImage(registry_, "x", PlainImageOf({kBase, kTop}));
    manifest_ = registry_.Usual({.method = "GET", .path = "/manifests/x"}).body;
    config_digest_ = std::get<Manifest>(*ParseManifest(manifest_, "")).config.digest;
    config_ = registry_.Usual({.method = "GET", .path = "/blobs/" + config_digest_.ToString()}).body;
  }
  Result<void> Upload(const std::string& tenant, const std::string& bytes) {
    const std::unique_ptr<BlobUpload> upload = TRY(store_->StartUpload(tenant, Sha256Of(bytes)));
    TRY(upload->Write(bytes.substr(0, 2)));
    TRY(upload->Write(bytes.substr(2)));
    return upload->Finish();
  }
  void UploadAll(const std::string& tenant) {
    for (const std::string& blob : {kBase, kTop, config_}) {
      const Result<void> uploaded = Upload(tenant, blob);
      ASSERT_TRUE(uploaded) << uploaded.error().message;
    }
  }
  ImportRequest Request(const std::string& tenant, const std::string& name = "local/app:1") const {
    return {.tenant = tenant, .reference = name, .manifest = manifest_};
  }
  Result<ImageRecord> Import(const std::string& tenant) { return store_->Import(Request(tenant), For(tenant)); }

  const std::string kBase = "base layer", kTop = "top layer";
  std::string manifest_, config_;
  Digest config_digest_;
};

TEST_F(StoreImportTest, ImportNeedsNoRegistryAndGivesItsNameToTheTenant) {
  UploadAll("a");
  EXPECT_THAT(*store_->MissingBlobs(Request("a")), IsEmpty());
  const Result<ImageRecord> image = Import("a");
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ(image->manifest, Sha256Of(manifest_));
  EXPECT_EQ(image->repository, "docker.io/local/app");
  EXPECT_THAT(registry_.requests(), IsEmpty());
  const RememberedTag tag = store_->FindTag("a", "local/app:1")->value();
  EXPECT_EQ(tag.digest, image->manifest);
  EXPECT_TRUE(tag.imported);
  EXPECT_FALSE(*store_->FindTag("b", "local/app:1"));
  const auto resolved = store_->Resolve("local/app:1", PullPolicy::kNever, For("a"));
  EXPECT_TRUE(store_->Pull(*resolved, /*may_use_cached=*/true, For("a")));
  EXPECT_FALSE(store_->Pull(*resolved, /*may_use_cached=*/false, For("a")));
}

TEST_F(StoreImportTest, MissingBlobsAreListedAndNothingIsImportedWithoutThem) {
  ASSERT_TRUE(Upload("a", kTop));
  EXPECT_THAT(*store_->MissingBlobs(Request("a")), ElementsAre(config_digest_, Sha256Of(kBase)));
  const Result<ImageRecord> image = Import("a");
  EXPECT_EQ(image.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(image.error().message, HasSubstr("2 blobs were not uploaded"));
  EXPECT_EQ(layers_.size(), 0u);
}

TEST_F(StoreImportTest, WhatOneTenantUploadedServesNoOther) {
  UploadAll("a");
  ASSERT_TRUE(Import("a"));
  EXPECT_THAT(*store_->MissingBlobs(Request("b")), SizeIs(3));
  EXPECT_EQ(Import("b").error().code, ErrorCode::kNotFound);
  // Nor is it taken for what a registry sent: whoever names it has to send it.
  ASSERT_TRUE(Pull("x"));
  EXPECT_EQ(registry_.CountRequests("GET", "/blobs/"), 3);
}

TEST_F(StoreImportTest, SecondImportUploadsNothingTwice) {
  UploadAll("a");
  ASSERT_TRUE(Import("a"));
  EXPECT_TRUE(*store_->HasUpload("a", Sha256Of(kBase)));  // in the store
  EXPECT_THAT(*store_->MissingBlobs(Request("a", "local/other:1")), IsEmpty());
  EXPECT_TRUE(store_->Import(Request("a", "local/other:1"), For("a")));
}

TEST_F(StoreImportTest, UploadIsHeldToItsDigest) {
  const std::unique_ptr<BlobUpload> upload = *store_->StartUpload("a", Sha256Of("right"));
  ASSERT_TRUE(upload->Write("wrong"));
  EXPECT_EQ(upload->Finish().error().code, ErrorCode::kCorrupt);
  EXPECT_FALSE(*store_->HasUpload("a", Sha256Of("right")));
}

TEST_F(StoreImportTest, UploadThatEndsEarlyLeavesNothing) {
  { ASSERT_TRUE((*store_->StartUpload("a", Sha256Of("x")))->Write("x")); }
  ASSERT_THAT(FilesIn("partial"), SizeIs(1));
  EXPECT_TRUE(std::filesystem::is_empty(options_.directory + "/partial/" + FilesIn("partial")[0]));
}

TEST_F(StoreImportTest, SpoolIsEmptyAfterARestart) {
  ASSERT_TRUE(Upload("a", kBase));
  Open();
  EXPECT_THAT(FilesIn("partial"), IsEmpty());
}

TEST_F(StoreImportTest, UploadsThatNobodyImportsGoAfterADay) {
  ASSERT_TRUE(Upload("a", kBase));
  clock_.now = SystemClock().NowMs();
  ASSERT_TRUE(store_->Collect({}));
  EXPECT_TRUE(*store_->HasUpload("a", Sha256Of(kBase)));
  clock_.now += std::chrono::milliseconds(std::chrono::hours(25)).count();
  ASSERT_TRUE(store_->Collect({}));
  EXPECT_FALSE(*store_->HasUpload("a", Sha256Of(kBase)));
}

TEST_F(StoreImportTest, SpoolOfATenantIsBounded) {
  const std::string half(total_bytes_ / 8 / 2, 'h'), more(total_bytes_ / 8 / 2 + 1, 'm');
  ASSERT_TRUE(Upload("a", half));
  EXPECT_EQ(Upload("a", more).error().code, ErrorCode::kExhausted);
  EXPECT_TRUE(Upload("b", more));
  EXPECT_TRUE(Upload("a", half));  // in the place of itself
  std::vector<std::unique_ptr<BlobUpload>> uploads;
  for (int i = 0; i < 999; ++i) uploads.push_back(*store_->StartUpload("a", Sha256Of(std::to_string(i))));
  EXPECT_EQ(store_->StartUpload("a", Sha256Of("one more")).error().code, ErrorCode::kExhausted);
  uploads.clear();
  EXPECT_TRUE(store_->StartUpload("a", Sha256Of("one more")));
}

TEST_F(StoreImportTest, GrantThatFailsEndsTheImport) {
  UploadAll("a");
  ImportRequest request = Request("a");
  request.on_record = [](const ImageRecord&) -> Result<void> { return Fail(ErrorCode::kUnavailable, "no store"); };
  EXPECT_EQ(store_->Import(request, For("a")).error().code, ErrorCode::kUnavailable);
  EXPECT_FALSE(*store_->FindTag("a", "local/app:1"));
}

TEST_F(StoreImportTest, FullDiskRefusesAnUpload) {
  free_bytes_ = 50;
  EXPECT_EQ(store_->StartUpload("a", Sha256Of("x")).error().code, ErrorCode::kExhausted);
}

TEST_F(StoreImportTest, ImportedImageIsNotCollectedWhileItHasAName) {
  UploadAll("a");
  const ImageRecord image = *Import("a");
  EXPECT_EQ(store_->Collect({.all = true})->images, 0u);
  ASSERT_TRUE(store_->ForgetTags("a", {image.manifest}));
  EXPECT_EQ(store_->Collect({.all = true})->images, 1u);
}

TEST_F(StoreImportTest, NameOfAnImportIsUnderThePolicy) {
  UploadAll("a");
  ImagePolicy::Options rules{.registries = std::vector<std::string>{"localhost", "ghcr.io/acme"}};
  rules.signatures.push_back({.scope = "ghcr.io/acme"});
  const ImagePolicy policy(std::move(rules));
  options_.policy = &policy;
  Open();
  UploadAll("a");
  EXPECT_EQ(Import("a").error().code, ErrorCode::kDenied);  // docker.io is not on the list
  const Result<ImageRecord> signed_name = store_->Import(Request("a", "ghcr.io/acme/app:1"), For("a"));
  EXPECT_EQ(signed_name.error().code, ErrorCode::kDenied);
  EXPECT_THAT(signed_name.error().message, HasSubstr("an import brings no signature"));
  EXPECT_TRUE(store_->Import(Request("a", "localhost/app:1"), For("a")));
  EXPECT_EQ(store_->Import(Request("a", "localhost/app@" + Sha256Of("x").ToString()), For("a")).error().code,
            ErrorCode::kInvalid);
  store_.reset();
}

TEST_F(StoreImportTest, ExportIsTheMergedRoot) {
  UploadAll("a");
  const ImageRecord image = *Import("a");
  std::string tar;
  const auto sink = [&tar](std::string_view piece) -> Result<void> {
    tar += piece;
    return {};
  };
  const Result<void> exported = store_->Export(image.manifest, sink, nullptr);
  ASSERT_TRUE(exported) << exported.error().message;
  EXPECT_EQ(tar, kBase + kTop);
  EXPECT_EQ(store_->Export(Sha256Of("other"), sink, nullptr).error().code, ErrorCode::kNotFound);
  const auto refuse = [](std::string_view) -> Result<void> { return Fail(ErrorCode::kCancelled, "no more"); };
  EXPECT_EQ(store_->Export(image.manifest, refuse, nullptr).error().message, "no more");
}

}  // namespace
}  // namespace caisson::image
