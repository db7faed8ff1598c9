// SPDX-License-Identifier: Apache-2.0
#include "sandbox/channel.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "sandbox/protocol.h"

namespace caisson::sandbox {
namespace {

// Room for exactly the descriptors that a message may bring: the kernel closes the others itself and says MSG_CTRUNC.
constexpr size_t kControlBytes = CMSG_SPACE(protocol::kMaxDescriptors * sizeof(int));

std::vector<Fd> TakeDescriptors(msghdr& message) {
  std::vector<Fd> descriptors;
  for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr; item = CMSG_NXTHDR(&message, item)) {
    if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(item) + i * sizeof fd, sizeof fd);
      descriptors.emplace_back(fd);
    }
  }
  return descriptors;
}

}  // namespace

Result<SocketPair> MakeSocketPair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return FailErrno(errno, "make a socket pair");
  return SocketPair{Fd(ends[0]), Fd(ends[1])};
}

Result<std::optional<Packet>> ReceivePacket(int socket, Waiting waiting) {
  Packet packet;
  packet.bytes.resize(protocol::kMaxMessageBytes);
  alignas(cmsghdr) char control[kControlBytes];
  iovec part{packet.bytes.data(), packet.bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const int flags = MSG_CMSG_CLOEXEC | (waiting == Waiting::kReturn ? MSG_DONTWAIT : 0);
  ssize_t got;
  do {
    got = ::recvmsg(socket, &message, flags);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return std::optional<Packet>();
  if (got < 0 && errno != ECONNRESET) return FailErrno(errno, "receive a message");
  packet.descriptors = TakeDescriptors(message);
  if (got <= 0) return Fail(ErrorCode::kUnavailable, "the other end of the channel is closed");
  packet.bytes.resize(static_cast<size_t>(got));
  packet.complete = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
  return std::optional<Packet>(std::move(packet));
}

Result<bool> SendPacket(int socket, std::string_view bytes, std::span<const int> descriptors, Waiting waiting) {
  CHECK(descriptors.size() <= protocol::kMaxDescriptors);
  alignas(cmsghdr) char control[kControlBytes] = {};
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* item = CMSG_FIRSTHDR(&message);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(item), descriptors.data(), descriptors.size_bytes());
  }
  const int flags = MSG_NOSIGNAL | (waiting == Waiting::kReturn ? MSG_DONTWAIT : 0);
  ssize_t sent;
  do {
    sent = ::sendmsg(socket, &message, flags);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) return true;  // SEQPACKET: all or nothing
  // ETOOMANYREFS: the peer left too many descriptors unread; to us that is a full socket as well.
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == ETOOMANYREFS) return false;
  if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)
    return Fail(ErrorCode::kUnavailable, "the other end of the channel is closed");
  return FailErrno(errno, "send a message of {} bytes", bytes.size());
}

}  // namespace caisson::sandbox
