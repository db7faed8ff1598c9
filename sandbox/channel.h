// SPDX-License-Identifier: Apache-2.0
// One packet with descriptors over a SEQPACKET socket: the transport beneath sandbox/protocol.h, for both ends. Every
// descriptor that arrives is owned at once and closed unless somebody takes it. Functions without state.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace caisson::sandbox {

struct Packet {
  std::string bytes;
  std::vector<Fd> descriptors;
  bool complete = true;  // false: it was too long or brought too many descriptors; what came is not to be used
};

struct SocketPair {
  Fd ours;
  Fd theirs;
};
Result<SocketPair> MakeSocketPair();

enum class Waiting { kBlock, kReturn };

// nullopt: nothing there now (only with kReturn). kUnavailable: the other end is gone.
Result<std::optional<Packet>> ReceivePacket(int socket, Waiting waiting);
// False: the socket is full now (only with kReturn). kUnavailable: the other end is gone.
Result<bool> SendPacket(int socket, std::string_view bytes, std::span<const int> descriptors, Waiting waiting);

}  // namespace caisson::sandbox
