// SPDX-License-Identifier: Apache-2.0
// Pulls from a registry that misbehaves, through the real worker: what goes wrong gives one clear error and leaves
// nothing behind; what is there already is not asked for again.
#include "image/image_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "base/crypto/crypto.h"
#include "base/io.h"
#include "image/manifest.h"
#include "image/records.h"
#include "tests/image/scripted_registry.h"
#include "tests/image/tar_builder.h"
#include "tests/image/temporary.h"
#include "tests/image/worker_store.h"

namespace caisson::image {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ImageStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    worker_store_ = std::make_unique<WorkerStore>(directory_.path() + "/data");
    ImageStoreOptions options{.directory = directory_.path() + "/service", .store = worker_store_.get()};
    options.registries[registry_.address()] = {.plain_http = true};
    store_ = *OpenImageStore(options);
  }

  std::string Name(const std::string& tag) const { return registry_.address() + "/team/app:" + tag; }
  Result<ImageRecord> Pull(const std::string& tag, const PullContext& context = {}, bool may_use_cached = false) {
    return store_->Pull(TRY(store_->Resolve(Name(tag), PullPolicy::kAlways, context)), may_use_cached, context);
  }
  std::string Refusal(const std::string& tag) {
    const Result<ImageRecord> record = Pull(tag);
    return record ? "accepted" : record.error().message;
  }
  // No temporary directory, no lock, no record.
  void ExpectNothingLeft() {
    EXPECT_THAT(worker_store_->TemporaryNames(), IsEmpty());
    EXPECT_TRUE(std::filesystem::is_empty(directory_.path() + "/service/locks"));
    EXPECT_TRUE(std::filesystem::is_empty(directory_.path() + "/service/images"));
    EXPECT_TRUE(std::filesystem::is_empty(directory_.path() + "/service/blobs/sha256"));
  }
  static std::string Tar(const std::string& path, const std::string& content) {
    return TarBuilder().File(path, content).Finish();
  }

  TemporaryDirectory directory_;
  ScriptedRegistry registry_;
  std::unique_ptr<WorkerStore> worker_store_;
  std::unique_ptr<ImageStore> store_;
};

TEST_F(ImageStoreTest, RecordSaysWhatWasPulled) {
  const ScriptedImage image = ImageOf({Tar("etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
                                       TarBuilder()
                                           .Add({.path = "dev/null", .type = '3', .device_major = 1, .device_minor = 3})
                                           .Directory("tmp", 01777)
                                           .Finish()});
  const Digest digest = PutImage(registry_, "1", image);
  std::atomic<uint64_t> done = 0, total = 0;
  const PullContext context{.progress = [&](const PullProgress& progress) {
    done = progress.bytes_done;
    total = progress.bytes_total;
  }};
  const Result<ImageRecord> record = Pull("1", context);
  ASSERT_TRUE(record) << record.error().message;
  EXPECT_EQ(record->manifest, digest);
  EXPECT_EQ(record->index, digest);
  EXPECT_EQ(record->reference, Name("1") + "@" + digest.ToString());
  EXPECT_EQ(record->repository, registry_.address() + "/team/app");
  EXPECT_EQ(record->layers.size(), 2u);
  EXPECT_EQ(record->layers[0].diff_id, Sha256Of(image.tars[0]));
  EXPECT_THAT(record->rootfs, ElementsAre(record->fixup, LayerName::Of(record->layers[1].digest),
                                          LayerName::Of(record->layers[0].digest)));
  EXPECT_EQ(record->directories.at("tmp").mode, 01777u);
  EXPECT_EQ(record->passwd, "root:x:0:0::/root:/bin/sh\n");
  EXPECT_THAT(record->warnings, ElementsAre("1 device nodes skipped"));
  EXPECT_EQ(done, total);
  EXPECT_EQ(total, image.layers[0].size() + image.layers[1].size());
  const std::vector<ImageRecord> all = *store_->List();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].rootfs, record->rootfs);
  EXPECT_EQ(EncodeImageRecord(**store_->Find(digest)), EncodeImageRecord(*record));
  EXPECT_FALSE(*store_->Find(Sha256Of("other")));
}

TEST_F(ImageStoreTest, WrongBytesOfALayerLeaveNothingBehind) {
  const ScriptedImage image = ImageOf({Tar("a", "good")});
  PutImage(registry_, "1", image);
  registry_.SetScript([&](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.path.find(Sha256Of(image.layers[0]).ToString()) == std::string::npos) return std::nullopt;
    ScriptedAnswer answer{.body = MakeGzip(Tar("a", "evil"))};
    answer.body.resize(image.layers[0].size(), '\0');
    return answer;
  });
  const Result<ImageRecord> record = Pull("1");
  ASSERT_FALSE(record);
  EXPECT_TRUE(record.error().code == ErrorCode::kCorrupt || record.error().code == ErrorCode::kInvalid)
      << record.error().message;
  EXPECT_THAT(record.error().message, AllOf(HasSubstr("pull " + registry_.address()), HasSubstr("layer sha256:")));
  ExpectNothingLeft();
}

TEST_F(ImageStoreTest, ConfigThatLiesAboutALayerIsCorrupt) {
  ScriptedImage image = ImageOf({Tar("a", "x")});
  image.diff_ids = {Sha256Of("another").ToString()};
  PutImage(registry_, "1", image);
  EXPECT_EQ(Pull("1").error().code, ErrorCode::kCorrupt);
  ExpectNothingLeft();
}

// What containerd 1.6 let through: an image that only lists another tenant's diff_id gets that layer's files.
TEST_F(ImageStoreTest, KnowingADiffIdGivesNobodysLayer) {
  const ScriptedImage victim = ImageOf({Tar("secret", "of another tenant")});
  PutImage(registry_, "victim", victim);
  ASSERT_TRUE(Pull("victim"));
  ScriptedImage thief = ImageOf({Tar("a", "my own")});
  thief.diff_ids = {Sha256Of(victim.tars[0]).ToString()};
  PutImage(registry_, "thief", thief);
  EXPECT_EQ(Pull("thief").error().code, ErrorCode::kCorrupt);
  // Nor does a stored layer of one's own pass for another diff_id.
  ScriptedImage liar = victim;
  liar.diff_ids = {Sha256Of("x").ToString()};
  PutImage(registry_, "liar", liar);
  EXPECT_EQ(Pull("liar").error().code, ErrorCode::kCorrupt);
}

TEST_F(ImageStoreTest, RefusalOfTheWorkerReachesTheUser) {
  PutImage(registry_, "1", ImageOf({TarBuilder().Symlink("a", "/").File("a/etc/x", "").Finish()}));
  const Error error = Pull("1").error();
  EXPECT_EQ(error.code, ErrorCode::kInvalid);
  EXPECT_THAT(error.message, HasSubstr("an entry lies below \"a\", which is a symbolic link in this layer"));
  ExpectNothingLeft();
}

TEST_F(ImageStoreTest, RefusalInTheMiddleOfALargeLayerIsToldToo) {
  std::string noise(8 << 20, '\0');
  for (size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<char>((i * 2654435761u) >> 13);
  PutImage(registry_, "1", ImageOf({TarBuilder().File("../escape", "").File("large", noise).Finish()}));
  EXPECT_THAT(Refusal("1"), HasSubstr("\"..\""));
  ExpectNothingLeft();
}

TEST_F(ImageStoreTest, OtherKindsOfDocumentsAreRefused) {
  registry_.PutManifest("html", "<html>", "text/html");
  registry_.PutManifest("v1", R"({"schemaVersion":1})", "application/vnd.docker.distribution.manifest.v1+prettyjws");
  EXPECT_THAT(Refusal("html"), HasSubstr("not JSON"));
  EXPECT_THAT(Refusal("v1"), HasSubstr("schema 1"));
  EXPECT_EQ(Pull("absent").error().code, ErrorCode::kNotFound);
  ScriptedImage foreign = ImageOf({Tar("a", "x")});
  foreign.architecture = "s390x";
  PutImage(registry_, "foreign", foreign);
  EXPECT_THAT(Refusal("foreign"), HasSubstr("this host runs"));
  ExpectNothingLeft();
}

TEST_F(ImageStoreTest, IndexLeadsToThisPlatformAndIsFoundByItsDigest) {
  const Digest manifest = PutImage(registry_, "platform", ImageOf({Tar("a", "x")}));
  const std::string bytes = registry_.Usual({.method = "GET", .path = "/manifests/platform"}).body;
  const std::string index = fmt::format(
      R"({{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":{},"platform":{{"os":"linux","architecture":"{}"}}}}]}})",
      manifest.ToString(), bytes.size(), HostPlatform().architecture);
  const Digest index_digest = registry_.PutManifest("index", index, "application/vnd.oci.image.index.v1+json");
  const Result<ImageRecord> record = Pull("index");
  ASSERT_TRUE(record) << record.error().message;
  EXPECT_EQ(record->manifest, manifest);
  EXPECT_EQ(record->index, index_digest);
  EXPECT_EQ((*store_->Find(index_digest))->manifest, manifest);
  EXPECT_EQ((*store_->Find(manifest))->manifest, manifest);
  const int blobs = registry_.CountRequests("GET", "/blobs/");
  EXPECT_TRUE(Pull("platform"));
  EXPECT_TRUE(Pull("index"));
  EXPECT_EQ(registry_.CountRequests("GET", "/blobs/"), blobs);
}

TEST_F(ImageStoreTest, CachedImageNeedsNoRegistryButOnlyWhereItMay) {
  PutImage(registry_, "1", ImageOf({Tar("a", "x")}));
  const ResolvedReference resolved = *store_->Resolve(Name("1"), PullPolicy::kAlways, {});
  ASSERT_TRUE(store_->Pull(resolved, false, {}));
  registry_.SetScript([](const ScriptedRequest&) { return ScriptedAnswer{.status = 403}; });
  EXPECT_TRUE(store_->Pull(resolved, true, {}));
  EXPECT_EQ(store_->Pull(resolved, false, {}).error().code, ErrorCode::kDenied);
}

TEST_F(ImageStoreTest, DigestIsPulledWithoutAskingForATag) {
  const Digest digest = PutImage(registry_, "1", ImageOf({Tar("a", "x")}));
  const ResolvedReference resolved =
      *store_->Resolve(registry_.address() + "/team/app@" + digest.ToString(), PullPolicy::kAlways, {});
  EXPECT_EQ(resolved.digest, digest);
  EXPECT_THAT(registry_.requests(), IsEmpty());
  EXPECT_TRUE(store_->Pull(resolved, false, {}));
  EXPECT_EQ(registry_.CountRequests("GET", "/manifests/1"), 0);
}

TEST_F(ImageStoreTest, ManyPullsAtOnceDownloadOnce) {
  PutImage(registry_, "1", ImageOf({Tar("a", "1"), Tar("b", "2"), Tar("c", "3"), Tar("d", "4")}));
  std::atomic<int> succeeded = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back([&] { succeeded += Pull("1") ? 1 : 0; });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(succeeded, 8);
  EXPECT_EQ(registry_.CountRequests("GET", "/blobs/"), 5);  // four layers and the config
  EXPECT_EQ(worker_store_->started(), 5);                   // four layers and the merge
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path() + "/service/locks"));
}

TEST_F(ImageStoreTest, LayerThatComesTwiceAndLayersUnderAnOpaqueRootAreLeftOut) {
  const std::string base = Tar("base", ""), repeated = Tar("repeated", ""),
                    opaque = TarBuilder().File(".wh..wh..opq", "").File("new", "").Finish(), top = Tar("top", "");
  PutImage(registry_, "twice", ImageOf({repeated, base, repeated}));
  const ImageRecord twice = *Pull("twice");
  EXPECT_THAT(twice.rootfs,
              ElementsAre(twice.fixup, LayerName::Of(twice.layers[2].digest), LayerName::Of(twice.layers[1].digest)));
  PutImage(registry_, "opaque", ImageOf({base, opaque, top}));
  const ImageRecord cut = *Pull("opaque");
  EXPECT_THAT(cut.rootfs,
              ElementsAre(cut.fixup, LayerName::Of(cut.layers[2].digest), LayerName::Of(cut.layers[1].digest)));
}

TEST_F(ImageStoreTest, LayerThatTheStoreHasLostIsPulledAgain) {
  PutImage(registry_, "1",
           ImageOf({TarBuilder()
                        .File("deep/er/a", "x")
                        .Directory("closed", 0)
                        .Add({.path = "closed/f", .mode = 0, .uid = 7})
                        .Finish(),
                    Tar("b", "y")}));
  const ImageRecord record = *Pull("1");
  const Result<void> removed = worker_store_->RemoveLayer(record.rootfs[2]);
  ASSERT_TRUE(removed) << removed.error().message;
  const Result<ImageRecord> again = Pull("1", {}, true);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->rootfs, record.rootfs);
  EXPECT_TRUE(*worker_store_->HasLayer(record.rootfs[2]));
  EXPECT_EQ(registry_.CountRequests("GET", record.layers[0].digest.ToString()), 2);
  EXPECT_EQ(registry_.CountRequests("GET", record.layers[1].digest.ToString()), 1);
}

TEST_F(ImageStoreTest, CancelledPullEndsAndLeavesNothing) {
  const ScriptedImage image = ImageOf({Tar("a", "x")});
  PutImage(registry_, "1", image);
  std::atomic<bool> cancelled = false;
  registry_.SetScript([&](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.path.find(Sha256Of(image.layers[0]).ToString()) == std::string::npos) return std::nullopt;
    cancelled = true;
    return ScriptedAnswer{.status = 503, .headers = {{"Retry-After", "5"}}};
  });
  EXPECT_EQ(Pull("1", {.cancelled = &cancelled}).error().code, ErrorCode::kCancelled);
  ExpectNothingLeft();
}

TEST_F(ImageStoreTest, RegistryThatIsDownIsWorthARetry) {
  PutImage(registry_, "1", ImageOf({Tar("a", "x")}));
  registry_.SetScript([](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.path.find("/blobs/") == std::string::npos) return std::nullopt;
    return ScriptedAnswer{.status = 500};
  });
  EXPECT_EQ(Pull("1").error().code, ErrorCode::kUnavailable);
  ExpectNothingLeft();
}

}  // namespace
}  // namespace caisson::image
