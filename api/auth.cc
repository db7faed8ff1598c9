// SPDX-License-Identifier: Apache-2.0
#include "api/auth.h"

#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/encoding.h"

namespace caisson::api {
namespace {

constexpr std::string_view kTenantHeader = "x-caisson-tenant";
constexpr size_t kMaxTokenBytes = 256;

tl::unexpected<Problem> Unauthenticated(std::string detail, std::string challenge) {
  return tl::unexpected(Problem{.type = ProblemType::kUnauthenticated,
                                .detail = std::move(detail),
                                .headers = {{"WWW-Authenticate", std::move(challenge)}}});
}

tl::expected<Caller, Problem> AuthenticatePeer(const Request& request, gid_t admin_gid, queue::JobStore& store) {
  if (!IsAdmin(request.peer, admin_gid))
    return tl::unexpected(
        Problem{ProblemType::kForbidden,
                fmt::format("uid {} is not an admin of this daemon: only root and members of its admin "
                            "group may use the Unix socket (usermod -aG caisson USER, then log in again)",
                            request.peer.uid)});
  const std::string tenant(request.HasHeader(kTenantHeader) ? request.Header(kTenantHeader) : "default");
  const Result<queue::TenantId> id = store.FindTenant(tenant);
  if (id) return Caller{*id, tenant, true};
  if (id.error().code != ErrorCode::kNotFound) return tl::unexpected(ProblemOf(id.error(), request));
  return tl::unexpected(Problem{ProblemType::kNotFound,
                                fmt::format("X-Caisson-Tenant: there is no tenant \"{}\"", EscapeForLog(tenant))});
}

tl::expected<Caller, Problem> AuthenticateToken(const Request& request, queue::JobStore& store) {
  if (request.HasHeader(kTenantHeader))
    return tl::unexpected(
        Problem{ProblemType::kForbidden, "X-Caisson-Tenant is for the Unix socket: a token has its tenant"});
  std::string_view value = request.Header("authorization");
  if (value.empty())
    return Unauthenticated("send the header Authorization: Bearer TOKEN (caisson token create makes one)",
                           "Bearer realm=\"caisson\"");
  constexpr std::string_view kScheme = "bearer ";
  const bool bearer = value.size() > kScheme.size() && ::strncasecmp(value.data(), kScheme.data(), kScheme.size()) == 0;
  if (!bearer) return Unauthenticated("the Authorization header is not a Bearer token", "Bearer realm=\"caisson\"");
  value.remove_prefix(kScheme.size());
  constexpr std::string_view kUnknown = "Bearer realm=\"caisson\", error=\"invalid_token\"";
  if (value.size() > kMaxTokenBytes) return Unauthenticated("this is no token of this daemon", std::string(kUnknown));
  const Result<queue::Token> token = store.FindToken(Secret(std::string(value)));
  if (token) return Caller{token->tenant, token->tenant_name, false};
  if (token.error().code == ErrorCode::kDenied || token.error().code == ErrorCode::kNotFound)
    return Unauthenticated("this token is not, or no longer, known here", std::string(kUnknown));
  return tl::unexpected(ProblemOf(token.error(), request));
}

}  // namespace

Result<Peer> UnixPeer(int socket) {
  Peer peer{.unix_socket = true};
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
    return FailErrno(errno, "read a peer's credentials");
  peer.uid = credentials.uid;
  peer.gid = credentials.gid;
  peer.groups.resize(64);
  for (;;) {
    size = static_cast<socklen_t>(peer.groups.size() * sizeof(gid_t));
    const int result = ::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, peer.groups.data(), &size);
    const int error = errno;
    peer.groups.resize(size / sizeof(gid_t));  // on ERANGE: how many there are
    if (result == 0) return peer;
    if (error != ERANGE) return FailErrno(error, "read a peer's groups");
  }
}

bool IsAdmin(const Peer& peer, gid_t admin_gid) {
  if (!peer.unix_socket) return false;
  if (peer.uid == 0 || peer.uid == ::geteuid()) return true;
  if (admin_gid == 0) return false;
  return peer.gid == admin_gid || std::find(peer.groups.begin(), peer.groups.end(), admin_gid) != peer.groups.end();
}

tl::expected<Caller, Problem> Authenticate(const Request& request, Access access, gid_t admin_gid,
                                           queue::JobStore& store) {
  if (access == Access::kAnyone) return Caller{};
  if (request.peer.unix_socket) return AuthenticatePeer(request, admin_gid, store);
  if (access == Access::kUnixSocket)
    return tl::unexpected(Problem{ProblemType::kForbidden, fmt::format("{} {} is served on the Unix socket only",
                                                                       request.method, EscapeForLog(request.path))});
  return AuthenticateToken(request, store);
}

}  // namespace caisson::api
