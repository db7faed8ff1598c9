// SPDX-License-Identifier: Apache-2.0
// Who may do what. On the Unix socket the kernel says who the peer is: root, the service's own user and members of
// the admin group are admins and choose a tenant; nobody else may do anything. On TCP a bearer token says the tenant.
#pragma once

#include <sys/types.h>

#include "api/http_types.h"
#include "api/problem.h"
#include "api/router.h"
#include "queue/store.h"

namespace caisson::api {

// What SO_PEERCRED and SO_PEERGROUPS say of a connected Unix socket.
Result<Peer> UnixPeer(int socket);

bool IsAdmin(const Peer& peer, gid_t admin_gid);

// Asks the store (a token, a tenant's name): blocks. kUnauthenticated, kForbidden or kNotFound (no such tenant).
tl::expected<Caller, Problem> Authenticate(const Request& request, Access access, gid_t admin_gid,
                                           queue::JobStore& store);

}  // namespace caisson::api
