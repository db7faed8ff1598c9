// SPDX-License-Identifier: Apache-2.0
// A store worker that its layer has taken over, played by this test: whatever it reads, writes or reports, the pull
// ends with words, its layer does not enter the store, and other layers are as they were. What such a worker can do to
// the host and to its directory is in kernel/launcher_store_test.cc.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <thread>

#include "base/io.h"
#include "image/layer/report.h"
#include "tests/image/store_fixture.h"

namespace caisson::image {
namespace {

using testing::HasSubstr;

// What the worker does with its input and its report, and how it ends.
struct Part {
  std::string name;
  std::function<void(int input, int report, const std::atomic<bool>& killed)> play;
  Result<void> end;
  std::string words;  // of the pull's error
};

class RogueWorker final : public StoreWorker {
 public:
  RogueWorker(const Part& part, int input, int report, bool& committed) : part_(part), committed_(committed) {
    thread_ = std::thread(
        [this, in = Fd(::dup(input)), out = Fd(::dup(report))] { part_.play(in.get(), out.get(), killed_); });
  }
  ~RogueWorker() override {
    killed_ = true;
    if (thread_.joinable()) thread_.join();
  }
  Result<void> Wait() override {
    thread_.join();
    return part_.end;
  }
  Result<void> Commit(const LayerName&, std::span<const std::string>) override {
    committed_ = true;
    return {};
  }

 private:
  const Part part_;
  bool& committed_;
  std::atomic<bool> killed_ = false;
  std::thread thread_;
};

class RogueStore : public MemoryStore {
 public:
  std::optional<Part> part;  // of the next worker that unpacks
  bool committed = false;

  Result<std::unique_ptr<StoreWorker>> StartUnpack(int input, int report) override {
    if (!part) return MemoryStore::StartUnpack(input, report);
    const Part now = *std::exchange(part, std::nullopt);
    return std::make_unique<RogueWorker>(now, input, report, committed);
  }
};

std::string ReadLayer(int input) {
  const std::string all = ReadAll(input, 1 << 20).value_or("");
  return all.substr(std::min(all.size(), kUnpackOrderBytes));
}

UnpackReport HonestReport(int input) {
  UnpackReport report;
  const std::string layer = ReadLayer(input);
  report.diff_id = Sha256Of(layer);
  report.unpacked_bytes = layer.size();
  return report;
}

class RogueWorkerTest : public StoreTest {
 protected:
  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);
    options_.store = &rogue_;
    Open();
  }
  RogueStore rogue_;
};

TEST_F(RogueWorkerTest, SpoilsItsLayerAlone) {
  const auto tell = [](auto change) {
    return [change](int input, int report, const std::atomic<bool>&) {
      UnpackReport said = HonestReport(input);
      change(said);
      (void)WriteAll(report, EncodeReport(said));
    };
  };
  const Part parts[] = {
      {"a false diff_id", tell([](UnpackReport& said) { said.diff_id.bytes[0] ^= 1; }), {}, "it unpacks to"},
      {"more entries than there can be", tell([](UnpackReport& said) { said.entries = ~0ull; }), {}, "malformed"},
      {"more bytes than there can be", tell([](UnpackReport& said) { said.unpacked_bytes = ~0ull; }), {}, "malformed"},
      {"an opaque path that climbs",
       tell([](UnpackReport& said) { said.facts.opaque = {"../../etc"}; }),
       {},
       "malformed"},
      {"an absolute opaque path", tell([](UnpackReport& said) { said.facts.opaque = {"/etc"}; }), {}, "malformed"},
      {"an opaque path twice",
       tell([](UnpackReport& said) {
         said.facts.opaque = {"a", "a"};
       }),
       {},
       "malformed"},
      {"the report of another verb",
       [](int input, int report, const std::atomic<bool>&) {
         ReadLayer(input);
         (void)WriteAll(report, EncodeReport(VerifyReport{}));
       },
       {},
       "malformed"},
      {"noise",
       [](int input, int report, const std::atomic<bool>&) {
         ReadLayer(input);
         (void)WriteAll(report, std::string(1000, '\xff'));
       },
       {},
       "malformed"},
      {"something behind its report",
       [](int input, int report, const std::atomic<bool>&) {
         (void)WriteAll(report, EncodeReport(HonestReport(input)) + "more");
       },
       {},
       "malformed"},
      {"no report at all", [](int input, int, const std::atomic<bool>&) { ReadLayer(input); }, {}, "without a report"},
      {"a report without end",
       [](int, int report, const std::atomic<bool>& killed) {
         const std::string piece(1 << 16, 'r');
         ::fcntl(report, F_SETFL, O_NONBLOCK);
         for (pollfd ready{report, POLLOUT, 0}; !killed;)
           if (::poll(&ready, 1, 20) > 0 && ::write(report, piece.data(), piece.size()) < 0 && errno != EAGAIN) return;
       },
       {},
       "has no end"},
      {"no interest in its layer", [](int, int, const std::atomic<bool>&) {}, {}, "without a report"},
      {"a good report and a bad end",
       [](int input, int report, const std::atomic<bool>&) {
         (void)WriteAll(report, EncodeReport(HonestReport(input)));
       },
       Fail(ErrorCode::kCorrupt, "the store worker was ended by signal 11"), "signal 11"},
      {"nothing until its deadline", [](int input, int, const std::atomic<bool>&) { ReadLayer(input); },
       Fail(ErrorCode::kTimedOut, "the store worker took too long and was stopped"), "took too long"},
      {"a refusal that poses as ours",
       [](int input, int report, const std::atomic<bool>&) {
         ReadLayer(input);
         (void)WriteAll(report, EncodeRefusal({ErrorCode::kDenied, "\x1b[31mall is well\n"}));
       },
       Fail(ErrorCode::kCorrupt, "status 1"), "all is well"},
  };
  const ImageRecord before = MustPull("before", {"an honest layer"});
  for (const Part& part : parts) {
    SCOPED_TRACE(part.name);
    PutImage(registry_, "rogue", PlainImageOf({"a layer of " + part.name}));
    rogue_.part = part;
    const Result<ImageRecord> record = Pull("rogue");
    ASSERT_FALSE(record);
    EXPECT_THAT(record.error().message, HasSubstr(part.words));
    EXPECT_EQ(record.error().message.find('\x1b'), std::string::npos);
    EXPECT_FALSE(rogue_.committed);
    EXPECT_EQ(rogue_.size(), 2u);  // the honest one and its fix-up layer
    // The same bytes by an honest worker are taken.
    EXPECT_TRUE(Pull("rogue"));
    ASSERT_TRUE(store_->Remove(store_->Resolve(Name("rogue"), PullPolicy::kAlways, {})->digest));
  }
  EXPECT_EQ(Pull("before")->manifest, before.manifest);
}

}  // namespace
}  // namespace caisson::image
