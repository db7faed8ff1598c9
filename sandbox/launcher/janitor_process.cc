// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/janitor_process.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <vector>

#include "sandbox/channel.h"
#include "sandbox/protocol.h"

namespace caisson::sandbox {
namespace {

class JanitorLoop {
 public:
  JanitorLoop(int channel, StoreDirectories store) : channel_(channel), store_(store) {}

  void Run() {
    for (;;) {
      Result<std::optional<Packet>> packet = ReceivePacket(channel_, Waiting::kBlock);
      if (!packet || !*packet || (*packet)->bytes.size() != sizeof(JanitorOrder)) return;
      JanitorOrder order;
      std::memcpy(&order, (*packet)->bytes.data(), sizeof order);
      if (order.verb == JanitorVerb::kHold) {
        held_[order.ticket] = std::move((*packet)->descriptors);
        continue;
      }
      Fd file;
      const Result<void> result = Do(order, (*packet)->descriptors, file);
      if (!Answer(order.ticket, result, file)) return;
    }
  }

 private:
  Result<void> Do(const JanitorOrder& order, const std::vector<Fd>& descriptors, Fd& file) {
    LayerName name;
    std::copy(std::begin(order.layer), std::end(order.layer), name.bytes.begin());
    const std::string work(order.work, ::strnlen(order.work, sizeof order.work));
    switch (order.verb) {
      case JanitorVerb::kHold: break;
      case JanitorVerb::kDrop: held_.erase(order.ticket); break;  // by now the last reference: this unmounts
      case JanitorVerb::kCommit: {
        if (descriptors.empty()) return Fail(ErrorCode::kInternal, "the list of opaque directories did not arrive");
        const auto opaque = TRY(protocol::ReadStrings(descriptors[0].get(), order.opaque_count));
        return CommitLayer(store_, work, name, opaque);
      }
      case JanitorVerb::kRetire: return RetireLayer(store_, name, work);
      case JanitorVerb::kRemove: return RemoveTree(store_.tmp, work);
      case JanitorVerb::kSweep: return SweepTmp(store_.tmp, work);
      case JanitorVerb::kList: {
        const auto layers = TRY(ListLayers(store_.layers));
        file = TRY(protocol::PackLayers(layers));
        break;
      }
    }
    return {};
  }

  bool Answer(uint64_t ticket, const Result<void>& result, const Fd& file) {
    JanitorAnswer answer{};
    answer.ticket = ticket;
    if (!result) {
      answer.failed = 1;
      answer.code = static_cast<uint32_t>(result.error().code);
      answer.sys_errno = result.error().sys_errno;
      result.error().message.copy(answer.message, sizeof answer.message - 1);
    }
    const int descriptor = file.get();
    const auto sent = SendPacket(channel_, {reinterpret_cast<const char*>(&answer), sizeof answer},
                                 std::span(&descriptor, file ? 1 : 0), Waiting::kBlock);
    return sent && *sent;
  }

  int channel_;
  StoreDirectories store_;
  std::map<uint64_t, std::vector<Fd>> held_;
};

}  // namespace

void RunJanitor(int channel, StoreDirectories store) {
  JanitorLoop(channel, store).Run();
  ::_exit(0);
}

}  // namespace caisson::sandbox
