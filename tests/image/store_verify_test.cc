// SPDX-License-Identifier: Apache-2.0
// What a disk or a hand has changed is found, and fetched again.
#include "tests/image/store_fixture.h"

namespace caisson::image {
namespace {

using testing::ElementsAre, testing::HasSubstr;

class StoreVerifyTest : public StoreTest {
 protected:
  StoreVerifyTest() { image_ = MustPull("1", {"base", "top"}); }
  LayerName Layer(size_t i) const { return LayerName::Of(image_.layers[i].digest); }
  std::string Reference() const { return registry_.address() + "/team/app@" + image_.manifest.ToString(); }
  static std::vector<LayerVerdict::State> States(const ImageVerdict& verdict) {
    std::vector<LayerVerdict::State> states;
    for (const LayerVerdict& layer : verdict.layers) states.push_back(layer.state);
    return states;
  }
  Result<ImageVerdict> Repair() { return store_->Repair(image_.manifest, Reference(), {}); }

  ImageRecord image_;
};

TEST_F(StoreVerifyTest, SoundImageIsOk) {
  const Result<ImageVerdict> verdict = store_->Verify(image_.manifest, {});
  ASSERT_TRUE(verdict) << verdict.error().message;
  EXPECT_TRUE(verdict->ok());
  EXPECT_EQ(verdict->layers.size(), 3u);
  EXPECT_EQ(store_->Verify(Sha256Of("other"), {}).error().code, ErrorCode::kNotFound);
}

TEST_F(StoreVerifyTest, DamagedAndMissingLayersAreNamed) {
  layers_.Damage(Layer(1));
  ASSERT_TRUE(layers_.RemoveLayer(Layer(0)));
  const ImageVerdict verdict = *store_->Verify(image_.manifest, {});
  EXPECT_FALSE(verdict.ok());
  EXPECT_THAT(States(verdict), ElementsAre(LayerVerdict::kOk, LayerVerdict::kDamaged, LayerVerdict::kMissing));
  EXPECT_THAT(verdict.layers[1].reason, HasSubstr("not those that were unpacked"));
}

TEST_F(StoreVerifyTest, RecordThatIsGoneIsDamage) {
  std::filesystem::remove(options_.directory + "/layers/" + Layer(0).hex());
  EXPECT_THAT(States(*store_->Verify(image_.manifest, {})),
              ElementsAre(LayerVerdict::kOk, LayerVerdict::kOk, LayerVerdict::kDamaged));
  EXPECT_TRUE(Repair()->ok());
}

TEST_F(StoreVerifyTest, RepairFetchesWhatIsDamagedAndNothingElse) {
  layers_.Damage(Layer(1));
  layers_.Damage(image_.fixup);
  const int blobs = registry_.CountRequests("GET", "/blobs/");
  const Result<ImageVerdict> verdict = Repair();
  ASSERT_TRUE(verdict) << verdict.error().message;
  EXPECT_TRUE(verdict->ok());
  EXPECT_TRUE(verdict->layers[0].repaired);
  EXPECT_TRUE(verdict->layers[1].repaired);
  EXPECT_FALSE(verdict->layers[2].repaired);
  EXPECT_EQ(registry_.CountRequests("GET", "/blobs/"), blobs + 1);
}

TEST_F(StoreVerifyTest, LayerThatAJobUsesIsNotReplaced) {
  layers_.Damage(Layer(1));
  layers_.SetInUse(Layer(1), true);
  const Error error = Repair().error();
  EXPECT_EQ(error.code, ErrorCode::kConflict);
  EXPECT_THAT(error.message, HasSubstr("a running job uses it"));
  EXPECT_TRUE(layers_.Has(Layer(1)));
}

// A repair on the word of a worker that was ended would take a sound layer away.
TEST_F(StoreVerifyTest, WorkerThatWasEndedGivesNoVerdict) {
  layers_.SetOnStep([](std::string_view step, const LayerName&) -> Result<void> {
    if (step == "verify") return Fail(ErrorCode::kCorrupt, "the store worker was ended by signal 9");
    return {};
  });
  EXPECT_FALSE(store_->Verify(image_.manifest, {}));
  EXPECT_FALSE(Repair());
  EXPECT_EQ(layers_.started("remove"), 0);
}

// The new tree is complete before the old one goes.
TEST_F(StoreVerifyTest, RepairThatFailsKeepsWhatThereIs) {
  layers_.Damage(Layer(1));
  registry_.SetScript([](const ScriptedRequest& request) -> std::optional<ScriptedAnswer> {
    if (request.path.find("/blobs/") == std::string::npos) return std::nullopt;
    return ScriptedAnswer{.status = 404};
  });
  EXPECT_FALSE(Repair());
  EXPECT_TRUE(layers_.Has(Layer(1)));
}

TEST_F(StoreVerifyTest, RepairBringsAnImageWhoseRecordWasSetAside) {
  std::filesystem::resize_file(options_.directory + "/images/" + image_.manifest.hex() + ".json", 10);
  const Result<ImageVerdict> verdict = Repair();
  ASSERT_TRUE(verdict) << verdict.error().message;
  EXPECT_TRUE(verdict->ok());
}

}  // namespace
}  // namespace caisson::image
