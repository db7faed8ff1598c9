// SPDX-License-Identifier: Apache-2.0
#include "sandbox/launcher/janitor_process.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <deque>
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
      if (!Receive() || (!waiting_.empty() && !Serve())) return;
    }
  }

 private:
  struct Received {
    JanitorOrder order;
    std::vector<Fd> descriptors;
  };

  // Takes in whatever orders are there; waits for one only when there is nothing else to do. False at the end.
  bool Receive() {
    for (;;) {
      const bool idle = waiting_.empty();
      Result<std::optional<Packet>> packet = ReceivePacket(channel_, idle ? Waiting::kBlock : Waiting::kReturn);
      if (!packet) return false;
      if (!*packet) {
        return !idle;
      }
      if ((*packet)->bytes.size() != sizeof(JanitorOrder)) return false;
      Received received{{}, std::move((*packet)->descriptors)};
      std::memcpy(&received.order, (*packet)->bytes.data(), sizeof received.order);
      waiting_.push_back(std::move(received));
    }
  }

  // The next order, or as many commits as stand in a row. False when nobody takes the answer.
  bool Serve() {
    if (waiting_.front().order.verb == JanitorVerb::kCommit) return ServeCommits();
    Received received = std::move(waiting_.front());
    waiting_.pop_front();
    if (received.order.verb == JanitorVerb::kHold) {
      held_[received.order.ticket] = std::move(received.descriptors);
      return true;
    }
    Fd file;
    const Result<void> result = Do(received.order, file);
    return Answer(received.order.ticket, result, file);
  }

  bool ServeCommits() {
    std::vector<uint64_t> tickets;
    std::vector<LayerCommit> commits;
    for (; !waiting_.empty() && waiting_.front().order.verb == JanitorVerb::kCommit; waiting_.pop_front()) {
      const JanitorOrder& order = waiting_.front().order;
      Result<std::vector<std::string>> opaque =
          waiting_.front().descriptors.empty()
              ? Fail(ErrorCode::kInternal, "the list of opaque directories did not arrive")
              : protocol::ReadStrings(waiting_.front().descriptors[0].get(), order.opaque_count);
      if (!opaque) {
        if (!Answer(order.ticket, tl::unexpected(opaque.error()), Fd())) return false;
        continue;
      }
      tickets.push_back(order.ticket);
      commits.push_back({WorkOf(order), LayerOf(order), *std::move(opaque)});
    }
    if (commits.empty()) return true;
    const std::vector<Result<void>> results = CommitLayers(store_, commits);
    for (size_t i = 0; i < results.size(); ++i)
      if (!Answer(tickets[i], results[i], Fd())) return false;
    return true;
  }

  static std::string WorkOf(const JanitorOrder& order) {
    return std::string(order.work, ::strnlen(order.work, sizeof order.work));
  }
  static LayerName LayerOf(const JanitorOrder& order) {
    LayerName name;
    std::copy(std::begin(order.layer), std::end(order.layer), name.bytes.begin());
    return name;
  }

  Result<void> Do(const JanitorOrder& order, Fd& file) {
    const LayerName name = LayerOf(order);
    const std::string work = WorkOf(order);
    switch (order.verb) {
      case JanitorVerb::kHold: break;
      case JanitorVerb::kDrop: held_.erase(order.ticket); break;  // by now the last reference: this unmounts
      case JanitorVerb::kCommit: break;                           // together with others
      case JanitorVerb::kRetire: return RetireLayer(store_, name, work);
      case JanitorVerb::kRemove: return RemoveTree(store_.tmp, work);
      case JanitorVerb::kMeasure: return NoteSize(store_.layers, name);
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
  std::deque<Received> waiting_;
  std::map<uint64_t, std::vector<Fd>> held_;
};

}  // namespace

void RunJanitor(int channel, StoreDirectories store) {
  JanitorLoop(channel, store).Run();
  ::_exit(0);
}

}  // namespace caisson::sandbox
