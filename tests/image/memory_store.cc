// SPDX-License-Identifier: Apache-2.0
#include "tests/image/memory_store.h"

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <optional>
#include <thread>

#include "base/check.h"
#include "base/crypto/crypto.h"
#include "base/io.h"
#include "image/layer/framed_output.h"
#include "image/layer/report.h"

namespace caisson::image {
namespace {

constexpr int kLookMs = 20;  // whether it was killed

TreeSum SumOf(const std::string& bytes) {
  const Digest digest = Sha256Of(bytes);
  TreeSum sum;
  for (size_t i = 0; i < 8; ++i) {
    sum.low = sum.low << 8 | digest.bytes[i];
    sum.high = sum.high << 8 | digest.bytes[8 + i];
  }
  return sum;
}

}  // namespace

// Its thread reads all of the input and answers; `answer` returns what becomes of the directory.
class MemoryWorker final : public StoreWorker {
 public:
  using Answer = std::function<std::string(const std::string& input, int output)>;
  MemoryWorker(MemoryStore& store, int input, int output, Answer answer) : store_(store) {
    thread_ = std::thread([this, in = Fd(::dup(input)), out = Fd(::dup(output)), answer = std::move(answer)]() mutable {
      const std::optional<std::string> bytes = ReadInput(in.get());
      if (bytes) tree_ = answer(*bytes, out.get());
      out.reset();
    });
  }
  ~MemoryWorker() override {
    killed_ = true;
    if (thread_.joinable()) thread_.join();
  }
  Result<void> Wait() override {
    thread_.join();
    return {};
  }
  Result<void> Commit(const LayerName& name, std::span<const std::string>) override {
    TRY(store_.Step("commit", name));
    const std::lock_guard lock(store_.mutex_);
    store_.layers_.try_emplace(name, MemoryStore::Layer{tree_});  // as the real one: the first stays
    return {};
  }

 private:
  // nullopt: killed meanwhile.
  std::optional<std::string> ReadInput(int input) {
    std::string bytes;
    for (char buffer[64 << 10]; !killed_;) {
      pollfd ready{input, POLLIN, 0};
      if (::poll(&ready, 1, kLookMs) <= 0) continue;
      const ssize_t got = ::read(input, buffer, sizeof buffer);
      if (got <= 0) return bytes;
      bytes.append(buffer, static_cast<size_t>(got));
    }
    return std::nullopt;
  }

  MemoryStore& store_;
  std::atomic<bool> killed_ = false;
  std::string tree_;
  std::thread thread_;
};

void MemoryStore::SetOnStep(OnStep on_step) {
  const std::lock_guard lock(mutex_);
  on_step_ = std::move(on_step);
}

Result<void> MemoryStore::Step(std::string_view step, const LayerName& name) {
  OnStep on_step;
  {
    const std::lock_guard lock(mutex_);
    ++started_[std::string(step)];
    on_step = on_step_;
  }
  return on_step ? on_step(step, name) : Result<void>();
}

Result<std::string> MemoryStore::BytesOf(const LayerName& name) const {
  const std::lock_guard lock(mutex_);
  const auto found = layers_.find(name);
  if (found == layers_.end()) return Fail(ErrorCode::kNotFound, "layer {} is not in the store", name.hex());
  return found->second.bytes;
}

Result<std::unique_ptr<StoreWorker>> MemoryStore::StartUnpack(int input, int report) {
  TRY(Step("unpack", {}));
  return std::make_unique<MemoryWorker>(*this, input, report, [](const std::string& bytes, int output) -> std::string {
    if (bytes.size() < kUnpackOrderBytes) return "";
    std::string tree = bytes.substr(kUnpackOrderBytes);
    UnpackReport answer;
    answer.diff_id = Sha256Of(tree);
    answer.tree_sum = SumOf(tree);
    answer.unpacked_bytes = tree.size();
    answer.entries = 1;
    (void)WriteAll(output, EncodeReport(answer));
    return tree;
  });
}

Result<std::unique_ptr<StoreWorker>> MemoryStore::StartMerge(int input, int report,
                                                             std::span<const LayerName> layers_top_first) {
  TRY(Step("merge", layers_top_first.front()));
  for (const LayerName& name : layers_top_first) TRY(BytesOf(name));
  return std::make_unique<MemoryWorker>(*this, input, report, [](const std::string&, int output) -> std::string {
    MergeReport answer;
    answer.directories[""] = {.mode = 0755};
    answer.tree_sum = SumOf("fix-up");
    (void)WriteAll(output, EncodeReport(answer));
    return "fix-up";
  });
}

Result<std::unique_ptr<StoreWorker>> MemoryStore::StartVerify(int input, int report, const LayerName& layer) {
  TRY(Step("verify", layer));
  return std::make_unique<MemoryWorker>(*this, input, report,
                                        [bytes = TRY(BytesOf(layer))](const std::string&, int output) -> std::string {
                                          VerifyReport answer;
                                          answer.tree_sum = SumOf(bytes);
                                          (void)WriteAll(output, EncodeReport(answer));
                                          return "";
                                        });
}

Result<std::unique_ptr<StoreWorker>> MemoryStore::StartExport(int input, int output,
                                                              std::span<const LayerName> layers_top_first) {
  TRY(Step("export", layers_top_first.front()));
  std::string all;
  for (auto name = layers_top_first.rbegin(); name != layers_top_first.rend(); ++name) all += TRY(BytesOf(*name));
  return std::make_unique<MemoryWorker>(*this, input, output, [all](const std::string&, int out) -> std::string {
    FramedWriter writer(out);
    if (writer.Write(all) && writer.End()) (void)WriteAll(out, EncodeEmptyReport());
    return "";
  });
}

Result<bool> MemoryStore::HasLayer(const LayerName& name) {
  TRY(Step("has", name));
  return Has(name);
}

Result<void> MemoryStore::RemoveLayer(const LayerName& name) {
  TRY(Step("remove", name));
  const std::lock_guard lock(mutex_);
  const auto found = layers_.find(name);
  if (found == layers_.end()) return Fail(ErrorCode::kNotFound, "layer {} is not in the store", name.hex());
  if (found->second.in_use) return Fail(ErrorCode::kConflict, "layer {} is in use", name.hex());
  layers_.erase(found);
  return {};
}

Result<std::vector<StoredLayer>> MemoryStore::ListLayers() {
  TRY(Step("list", {}));
  const std::lock_guard lock(mutex_);
  std::vector<StoredLayer> stored;
  for (const auto& [name, layer] : layers_) stored.push_back({name, layer.bytes.size(), layer.in_use});
  return stored;
}

void MemoryStore::SetInUse(const LayerName& name, bool in_use) {
  const std::lock_guard lock(mutex_);
  layers_.at(name).in_use = in_use;
}

void MemoryStore::Damage(const LayerName& name) {
  const std::lock_guard lock(mutex_);
  layers_.at(name).bytes += "?";
}

bool MemoryStore::Has(const LayerName& name) const {
  const std::lock_guard lock(mutex_);
  return layers_.contains(name);
}

size_t MemoryStore::size() const {
  const std::lock_guard lock(mutex_);
  return layers_.size();
}

int MemoryStore::started(const std::string& verb) const {
  const std::lock_guard lock(mutex_);
  const auto found = started_.find(verb);
  return found == started_.end() ? 0 : found->second;
}

ScriptedImage PlainImageOf(const std::vector<std::string>& layers) {
  return {.layers = layers,
          .layer_types = std::vector<std::string>(layers.size(), "application/vnd.oci.image.layer.v1.tar"),
          .tars = layers};
}

}  // namespace caisson::image
