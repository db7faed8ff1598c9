// SPDX-License-Identifier: Apache-2.0
#include "api/auth.h"

#include <gmock/gmock.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/api/api_fixture.h"

namespace caisson::api {
namespace {

using ::testing::HasSubstr;

constexpr gid_t kAdmins = 4242;

TEST(AuthTest, AdminsAreRootOurselvesAndTheGroup) {
  const auto admin = [](uid_t uid, gid_t gid, std::vector<gid_t> groups, gid_t admin_gid = kAdmins) {
    return IsAdmin({.unix_socket = true, .uid = uid, .gid = gid, .groups = std::move(groups)}, admin_gid);
  };
  EXPECT_TRUE(admin(0, 1, {}));
  EXPECT_TRUE(admin(::geteuid(), 1, {}));
  EXPECT_TRUE(admin(1000, kAdmins, {}));
  EXPECT_TRUE(admin(1000, 1000, {5, kAdmins}));
  EXPECT_FALSE(admin(1000, 1000, {5, 6}));
  EXPECT_FALSE(admin(1000, 0, {0}, 0));  // 0 is "no group", not root's
  EXPECT_FALSE(IsAdmin({.unix_socket = false}, kAdmins));
}

TEST(AuthTest, KernelSaysWhoThePeerIs) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const Fd ours(ends[0]);
  const Fd theirs(ends[1]);
  const Result<Peer> peer = UnixPeer(ours.get());
  ASSERT_TRUE(peer);
  EXPECT_EQ(peer->uid, ::geteuid());
  EXPECT_EQ(peer->gid, ::getegid());
  EXPECT_TRUE(peer->unix_socket);
}

class PeerTest : public ApiTest {
 protected:
  // GET `path` on the Unix socket by a process of another user; the answer.
  std::string GetAs(uid_t uid, std::vector<gid_t> groups, const std::string& path) {
    ::chmod(directory_.path().c_str(), 0755);
    const Pipe pipe = *MakePipe();
    const pid_t child = ::fork();
    if (child == 0) {
      const bool changed = ::setgroups(groups.size(), groups.data()) == 0 && ::setresgid(uid, uid, uid) == 0 &&
                           ::setresuid(uid, uid, uid) == 0;
      auto connection = RawConnection::ToUnix(directory_.file("caisson.sock"));
      connection.Send("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
      const bool written = changed && WriteAll(pipe.write.get(), connection.ReadToEnd());
      ::_exit(written ? 0 : 1);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    char answer[8192];
    const ssize_t size = ::read(pipe.read.get(), answer, sizeof answer);
    return size > 0 ? std::string(answer, static_cast<size_t>(size)) : "";
  }
};

TEST_F(PeerTest, OthersThanAdminsGet403OnTheUnixSocket) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can be another user";
  StartServer(1 << 20, kAdmins);
  for (const char* path : {"/v1/jobs", "/v1/node", "/metrics", "/v1/images"}) {
    const std::string answer = GetAs(12345, {5}, path);
    EXPECT_THAT(answer, HasSubstr("HTTP/1.1 403 ")) << path;
    EXPECT_THAT(answer, HasSubstr("uid 12345 is not an admin"));
  }
  EXPECT_THAT(GetAs(12345, {5}, "/livez"), HasSubstr("HTTP/1.1 200 "));
}

TEST_F(PeerTest, MembersOfTheGroupAreAdmins) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can be another user";
  StartServer(1 << 20, kAdmins);
  EXPECT_THAT(GetAs(12345, {5, kAdmins}, "/v1/jobs"), HasSubstr("HTTP/1.1 200 "));
}

}  // namespace
}  // namespace caisson::api
