// SPDX-License-Identifier: Apache-2.0
// Whom the store asks what a tag means, what it remembers, whom it refuses, and that one pull serves all who wait.
#include <condition_variable>
#include <mutex>
#include <thread>

#include "image/image_policy.h"
#include "image/manifest.h"
#include "image/records.h"
#include "image/worker_slots.h"
#include "tests/image/store_fixture.h"

namespace caisson::image {
namespace {

using testing::HasSubstr, testing::IsEmpty;

class StorePolicyTest : public StoreTest {
 protected:
  int Requests() const { return static_cast<int>(registry_.requests().size()); }
  std::string Refusal(const std::string& tag, PullPolicy policy, bool may_use_cached, const std::string& tenant = "") {
    const Result<ImageRecord> record = Pull(tag, policy, may_use_cached, For(tenant));
    return record ? "accepted" : record.error().message;
  }
};

TEST_F(StorePolicyTest, AlwaysAsksWhatTheTagMeansNow) {
  const ImageRecord first = MustPull("1", {"old"});
  const Digest second = PutImage(registry_, "1", PlainImageOf({"new"}));
  EXPECT_EQ(Pull("1", PullPolicy::kAlways, true)->manifest, second);
  EXPECT_EQ(store_->FindTag("", Name("1")).value()->digest, second);
}

TEST_F(StorePolicyTest, IfMissingAsksNobodyForWhatIsThere) {
  const ImageRecord first = MustPull("1", {"old"});
  PutImage(registry_, "1", PlainImageOf({"new"}));
  const int before = Requests();
  EXPECT_EQ(Pull("1", PullPolicy::kIfMissing, true)->manifest, first.manifest);
  EXPECT_EQ(Requests(), before);
}

TEST_F(StorePolicyTest, IfMissingAsksForWhatIsNotThere) {
  PutImage(registry_, "1", PlainImageOf({"layer"}));
  EXPECT_TRUE(Pull("1", PullPolicy::kIfMissing));
  const ImageRecord old = *store_->List()->begin();
  ASSERT_TRUE(store_->Remove(old.manifest));
  const Digest moved = PutImage(registry_, "1", PlainImageOf({"new"}));
  EXPECT_EQ(Pull("1", PullPolicy::kIfMissing)->manifest, moved);
}

TEST_F(StorePolicyTest, NeverAsksNobody) {
  PutImage(registry_, "1", PlainImageOf({"layer"}));
  EXPECT_THAT(Refusal("1", PullPolicy::kNever, true), HasSubstr("was never pulled here"));
  EXPECT_THAT(registry_.requests(), IsEmpty());
  ASSERT_TRUE(Pull("1"));
  const int before = Requests();
  EXPECT_TRUE(Pull("1", PullPolicy::kNever, true));
  EXPECT_THAT(Refusal("1", PullPolicy::kNever, false), HasSubstr("right to use it without asking has ended"));
  EXPECT_EQ(Requests(), before);
}

TEST_F(StorePolicyTest, TagMemoryIsOfOneTenant) {
  PutImage(registry_, "1", PlainImageOf({"layer"}));
  ASSERT_TRUE(Pull("1", PullPolicy::kAlways, false, For("a")));
  EXPECT_TRUE(Pull("1", PullPolicy::kNever, true, For("a")));
  EXPECT_THAT(Refusal("1", PullPolicy::kNever, true, "b"), HasSubstr("was never pulled here"));
  ASSERT_TRUE(store_->ForgetTags("a", {store_->FindTag("a", Name("1")).value()->digest}));
  EXPECT_THAT(Refusal("1", PullPolicy::kNever, true, "a"), HasSubstr("was never pulled here"));
}

TEST_F(StorePolicyTest, RegistryThatTheTenantMayNotUseIsAskedNothingAndServesNoCache) {
  ASSERT_TRUE(MustPull("1", {"layer"}).layers.size());
  const ResolvedReference resolved = store_->Resolve(Name("1"), PullPolicy::kAlways, For("b")).value();
  const ImagePolicy policy({.registries = {}, .by_tenant = {{"b", {"ghcr.io/acme"}}}, .signatures = {}});
  options_.policy = &policy;
  Open();
  const int before = Requests();
  EXPECT_EQ(store_->Resolve(Name("1"), PullPolicy::kNever, For("b")).error().code, ErrorCode::kDenied);
  EXPECT_EQ(store_->Pull(resolved, /*may_use_cached=*/true, For("b")).error().code, ErrorCode::kDenied);
  EXPECT_EQ(Requests(), before);
  EXPECT_TRUE(Pull("1", PullPolicy::kAlways, true, For("a")));
  store_.reset();
}

TEST_F(StorePolicyTest, RuleOnSignaturesHoldsForCachedImagesAndBeforeAnyLayer) {
  const ImageRecord image = MustPull("1", {"layer"});
  PutImage(registry_, "2", PlainImageOf({"other"}));
  ImagePolicy::Options rules;
  rules.signatures.push_back({.scope = "*"});  // no key: nothing can count
  const ImagePolicy policy(std::move(rules));
  options_.policy = &policy;
  Open();
  EXPECT_EQ(Pull("1", PullPolicy::kAlways, true).error().code, ErrorCode::kDenied);
  const int unpacked = layers_.started("unpack");
  EXPECT_EQ(Pull("2").error().code, ErrorCode::kDenied);
  EXPECT_EQ(layers_.started("unpack"), unpacked);
  EXPECT_EQ(store_->Signature(image, image.repository).value(), SignatureState::kUnverified);
  // What was verified under the very rule counts without asking.
  const Records records = Records::Open(options_.directory).value();
  ASSERT_TRUE(records.PutSigned(image.manifest, image.repository, policy.RuleFor(image.repository)->Fingerprint()));
  EXPECT_TRUE(Pull("1", PullPolicy::kAlways, true));
  EXPECT_EQ(store_->Signature(image, image.repository).value(), SignatureState::kVerified);
  store_.reset();
}

TEST_F(StorePolicyTest, ProgressTellsTheStateOfEachLayer) {
  PutImage(registry_, "1", PlainImageOf({"one", "two"}));
  std::mutex mutex;
  PullProgress last;
  std::vector<LayerProgress::State> first_states;
  const PullContext context{.progress = [&](const PullProgress& progress) {
    const std::lock_guard lock(mutex);
    first_states.push_back(progress.layers[0].state);
    last = progress;
  }};
  ASSERT_TRUE(Pull("1", PullPolicy::kAlways, false, context));
  EXPECT_EQ(last.bytes_done, 6u);
  EXPECT_EQ(last.bytes_total, 6u);
  EXPECT_EQ(first_states.front(), LayerProgress::kWaiting);
  EXPECT_THAT(first_states, testing::IsSupersetOf({LayerProgress::kDownloading, LayerProgress::kUnpacking}));
  EXPECT_EQ(last.layers[0].state, LayerProgress::kDone);
  ASSERT_TRUE(Pull("1", PullPolicy::kAlways, false, context));
  EXPECT_EQ(last.layers[1].state, LayerProgress::kCached);
  EXPECT_EQ(last.bytes_done, 6u);
}

// The first caller's pull stands still until the others wait for it.
TEST_F(StorePolicyTest, OnePullServesAllWhoWaitAndTellsThemItsProgress) {
  PutImage(registry_, "1", PlainImageOf({"one", "two"}));
  constexpr int kWaiters = 4;
  std::mutex mutex;
  std::condition_variable changed;
  int told = 0;
  layers_.SetOnStep([&](std::string_view step, const LayerName&) -> Result<void> {
    std::unique_lock lock(mutex);
    if (step == "merge") changed.wait(lock, [&] { return told >= kWaiters; });
    return {};
  });
  const ResolvedReference resolved = store_->Resolve(Name("1"), PullPolicy::kAlways, {}).value();
  std::atomic<int> succeeded = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kWaiters; ++i)
    threads.emplace_back([&] {
      bool heard = false;
      const PullContext context{.progress = [&](const PullProgress&) {
        const std::lock_guard lock(mutex);
        if (!std::exchange(heard, true)) ++told;
        changed.notify_all();
      }};
      succeeded += store_->Pull(resolved, false, context) ? 1 : 0;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(succeeded, kWaiters);
  EXPECT_EQ(registry_.CountRequests("GET", "/manifests/sha256:"), 1);
  EXPECT_EQ(registry_.CountRequests("GET", "/blobs/"), 3);  // two layers and the config
  EXPECT_EQ(layers_.started("unpack"), 2);
  EXPECT_EQ(layers_.started("merge"), 1);
}

TEST_F(StorePolicyTest, WaiterTakesOverFromACallerThatCancels) {
  PutImage(registry_, "1", PlainImageOf({"one"}));
  std::mutex mutex;
  std::condition_variable changed;
  bool second_waits = false, merging = false;
  std::atomic<bool> cancelled = false;
  layers_.SetOnStep([&](std::string_view step, const LayerName&) -> Result<void> {
    std::unique_lock lock(mutex);
    if (step != "merge" || std::exchange(merging, true)) return {};
    changed.notify_all();
    changed.wait(lock, [&] { return second_waits; });
    cancelled = true;
    return Fail(ErrorCode::kCancelled, "cancelled");
  });
  const ResolvedReference resolved = store_->Resolve(Name("1"), PullPolicy::kAlways, {}).value();
  Result<ImageRecord> first = Fail(ErrorCode::kInternal, ""), second = first;
  std::thread leader([&] { first = store_->Pull(resolved, false, {.cancelled = &cancelled}); });
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return merging; });
  }
  std::thread waiter([&] {
    second = store_->Pull(resolved, false, {.progress = [&](const PullProgress&) {
                            const std::lock_guard lock(mutex);
                            second_waits = true;
                            changed.notify_all();
                          }});
  });
  leader.join();
  waiter.join();
  EXPECT_EQ(first.error().code, ErrorCode::kCancelled);
  EXPECT_TRUE(second) << second.error().message;
  EXPECT_EQ(layers_.started("unpack"), 1);  // what the first had is used
}

// Another repository's registry that never answers holds up nobody.
TEST_F(StorePolicyTest, SlowRegistryHoldsUpNoOtherThatHasTheSameLayer) {
  ScriptedRegistry slow;
  options_.registries[slow.address()] = {.plain_http = true};
  Open();
  PutImage(registry_, "1", PlainImageOf({"shared"}));
  PutImage(slow, "1", PlainImageOf({"shared"}));
  std::atomic<bool> asked = false, go_on = false;
  slow.SetScript([&](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.path.find(Sha256Of("shared").ToString()) != std::string::npos) {
      asked = true;
      asked.notify_all();
      go_on.wait(false);
    }
    return std::nullopt;
  });
  Result<ImageRecord> held = Fail(ErrorCode::kInternal, "");
  std::thread other([&] {
    const auto resolved = store_->Resolve(slow.address() + "/team/app:1", PullPolicy::kAlways, {});
    held = store_->Pull(*resolved, false, {});
  });
  asked.wait(false);
  const Result<ImageRecord> image = Pull("1");
  EXPECT_TRUE(image) << image.error().message;
  go_on = true;
  go_on.notify_all();
  other.join();
  EXPECT_TRUE(held) << held.error().message;
}

TEST_F(StorePolicyTest, ConfigThatNobodyCouldUseIsRefused) {
  PutImage(registry_, "1", PlainImageOf({"layer"}));
  std::string manifest = registry_.Usual({.method = "GET", .path = "/manifests/1"}).body;
  const Descriptor old = std::get<Manifest>(*ParseManifest(manifest, "")).config;
  std::string config = registry_.Usual({.method = "GET", .path = "/blobs/" + old.digest.ToString()}).body;
  config.insert(1, "\"config\":{\"Env\":[\"A=" + std::string(kMaxKeptConfigBytes, 'x') + "\"]},");
  manifest.replace(manifest.find(old.digest.ToString()), old.digest.ToString().size(),
                   registry_.PutBlob(config).ToString());
  const std::string size = fmt::format("\"size\":{}", old.size);
  manifest.replace(manifest.find(size), size.size(), fmt::format("\"size\":{}", config.size()));
  registry_.PutManifest("1", manifest, "application/vnd.oci.image.manifest.v1+json");
  const Error error = Pull("1").error();
  EXPECT_EQ(error.code, ErrorCode::kTooLarge) << error.message;
  EXPECT_EQ(layers_.size(), 0u);
}

// By the missing question its registry would see what others have.
TEST_F(StorePolicyTest, DigestThatItsRepositoryOnlyNamedIsAskedForAgain) {
  const ImageRecord image = MustPull("1", {"layer"});
  ScriptedRegistry other;
  options_.registries[other.address()] = {.plain_http = true};
  Open();
  other.SetScript([&](const ScriptedRequest&) {
    return ScriptedAnswer{.headers = {{"Docker-Content-Digest", image.manifest.ToString()}}};
  });
  const std::string name = other.address() + "/team/app:1";
  ASSERT_TRUE(store_->Resolve(name, PullPolicy::kAlways, {}));
  const size_t asked = other.requests().size();
  ASSERT_TRUE(store_->Resolve(name, PullPolicy::kIfMissing, {}));
  EXPECT_GT(other.requests().size(), asked);
}

TEST(RecordsTest, OldestTagGoesWhereATenantHasTooMany) {
  const TemporaryDirectory directory;
  const Records records = Records::Open(directory.path()).value();
  ASSERT_TRUE(records.PutTag({.tenant = "t", .reference = "import", .digest = {}, .imported = true}));
  ASSERT_TRUE(records.PutTag({.tenant = "t", .reference = "looked up", .digest = {}}));
  // The rest of the room, as files that cost a test less than 4,094 durable writes.
  const std::string place = directory.path() + "/tags/" + Sha256Of("t").hex() + "/";
  const std::string import = place + Sha256Of("import").hex();
  for (int i = 0; i < 4094; ++i) std::filesystem::copy_file(import, place + std::to_string(i));
  EXPECT_TRUE(records.MakeRoomForTag("t").value());
  EXPECT_FALSE(records.FindTag("t", "looked up").value());
  EXPECT_TRUE(records.FindTag("t", "import").value());
  std::filesystem::copy_file(import, place + "last");
  EXPECT_FALSE(records.MakeRoomForTag("t").value());  // imports alone
}

TEST(WorkerSlotsTest, TenantGetsItsShareAndNoMore) {
  WorkerSlots slots(3, 2);
  const std::atomic<bool> impatient = true;
  auto first = slots.Take("a", nullptr);
  auto second = slots.Take("a", nullptr);
  const auto other = slots.Take("b", nullptr);
  std::atomic<bool> got = false;
  std::thread waiter([&] { got = slots.Take("a", nullptr).has_value(); });
  EXPECT_EQ(slots.Take("b", &impatient).error().code, ErrorCode::kCancelled);
  { const auto given_back = std::move(second); }
  waiter.join();
  EXPECT_TRUE(got);
}

TEST_F(StorePolicyTest, LayerThatComesOftenIsFetchedOnceAndHeldToOneDiffId) {
  PutImage(registry_, "1", PlainImageOf({"same", "same", "same"}));
  ASSERT_TRUE(Pull("1"));
  EXPECT_EQ(registry_.CountRequests("GET", Sha256Of("same").ToString()), 1);
  ScriptedImage liar = PlainImageOf({"same", "same"});
  liar.diff_ids = {Sha256Of("same").ToString(), Sha256Of("other").ToString()};
  PutImage(registry_, "2", liar);
  EXPECT_EQ(Pull("2").error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace caisson::image
