// SPDX-License-Identifier: Apache-2.0
#include "api/listener.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "base/encoding.h"

namespace caisson::api {
namespace {

constexpr int kBacklog = 1024;
constexpr int kSocketFlags = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;

Result<sockaddr_un> UnixAddress(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return Fail(ErrorCode::kInvalid, "the socket's path {} is longer than {} bytes: choose a shorter run directory",
                path, sizeof address.sun_path - 1);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

// Removes what an earlier server left at `path`; never a socket that answers, never another kind of file.
Result<void> RemoveStaleSocket(const std::string& path, const sockaddr_un& address) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return {};
    return FailErrno(errno, "look at {}", path);
  }
  if (!S_ISSOCK(info.st_mode)) return Fail(ErrorCode::kConflict, "{} exists and is no socket: move it away", path);
  const Fd probe(::socket(AF_UNIX, kSocketFlags, 0));
  if (!probe) return FailErrno(errno, "make a socket");
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 || errno == EAGAIN)
    return Fail(ErrorCode::kConflict, "another server listens on {}", path);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return FailErrno(errno, "remove the old socket {}", path);
  return {};
}

using AddressList = std::unique_ptr<addrinfo, void (*)(addrinfo*)>;

Result<AddressList> Resolve(const HostPort& place) {
  addrinfo hints{};
  hints.ai_family = place.host.empty() ? AF_INET6 : AF_UNSPEC;  // "::" takes IPv4 too
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(place.host.empty() ? "::" : place.host.c_str(), place.port.c_str(), &hints, &found);
  if (error != 0)
    return Fail(ErrorCode::kInvalid, "cannot listen on \"{}\": {}", EscapeForLog(place.host), ::gai_strerror(error));
  return AddressList(found, ::freeaddrinfo);
}

}  // namespace

Result<Fd> ListenOnUnixSocket(const std::string& path) {
  const sockaddr_un address = TRY(UnixAddress(path));
  TRY(RemoveStaleSocket(path, address));
  Fd socket(::socket(AF_UNIX, kSocketFlags, 0));
  if (!socket) return FailErrno(errno, "make a socket");
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return FailErrno(errno, "bind to {}", path);
  if (::chmod(path.c_str(), 0666) != 0) return FailErrno(errno, "chmod {}", path);
  if (::listen(socket.get(), kBacklog) != 0) return FailErrno(errno, "listen on {}", path);
  return socket;
}

Result<HostPort> ParseHostPort(std::string_view text) {
  const auto invalid = [&] {
    return Fail(ErrorCode::kInvalid, "\"{}\" is not HOST:PORT (127.0.0.1:7070, [::1]:7070)", EscapeForLog(text));
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return invalid();
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  if (port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != std::string_view::npos)
    return invalid();
  if (std::stoi(std::string(port)) > 65535) return invalid();
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return invalid();  // IPv6 needs its brackets
  }
  return HostPort{std::string(host), std::string(port)};
}

Result<Fd> ListenOnTcp(std::string_view listen) {
  const HostPort place = TRY(ParseHostPort(listen));
  const AddressList addresses = TRY(Resolve(place));
  Fd socket(::socket(addresses->ai_family, kSocketFlags, 0));
  if (!socket) return FailErrno(errno, "make a socket");
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);  // past TIME_WAIT of an earlier server
  if (::bind(socket.get(), addresses->ai_addr, addresses->ai_addrlen) != 0)
    return FailErrno(errno, "listen on {}", listen);
  if (::listen(socket.get(), kBacklog) != 0) return FailErrno(errno, "listen on {}", listen);
  return socket;
}

Result<int> BoundPort(int socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return FailErrno(errno, "read a socket's address");
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port);
  return ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
}

}  // namespace caisson::api
