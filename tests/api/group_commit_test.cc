// SPDX-License-Identifier: Apache-2.0
// What 202 promises: the job is on the disk; and what makes that cheap: submits that wait together share the disk's
// time. Counts the calls that reach the disk, whoever makes them.
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "tests/api/api_fixture.h"

namespace {
std::atomic<int> syncs{0};
}  // namespace

// In place of the C library's, for SQLite too.
extern "C" int fdatasync(int fd) {
  ++syncs;
  return static_cast<int>(::syscall(SYS_fdatasync, fd));
}
extern "C" int fsync(int fd) {
  ++syncs;
  return static_cast<int>(::syscall(SYS_fsync, fd));
}

namespace caisson::api {
namespace {

class GroupCommitTest : public ApiTest {};

TEST_F(GroupCommitTest, EverySubmitIsOnTheDiskBeforeItsAnswer) {
  for (int i = 0; i < 5; ++i) {
    const int before = syncs;
    Submit();
    EXPECT_GT(syncs, before);
  }
}

TEST_F(GroupCommitTest, SubmitsInFlightShareTheDisk) {
  constexpr int kClients = 64;
  constexpr int kEach = 10;
  std::atomic<int> accepted{0};
  const int before = syncs;
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back([&, this] {
      auto connection = RawConnection::ToUnix(directory_.file("caisson.sock"));
      for (int k = 0; k < kEach; ++k) {
        connection.Send("POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 19\r\n\r\n{\"image\":\"busybox\"}");
        if (connection.ReadResponse().starts_with("HTTP/1.1 202 ")) ++accepted;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(accepted, kClients * kEach);
  EXPECT_LT(syncs - before, kClients * kEach / 2);
  RecordProperty("syncs", syncs - before);
}

}  // namespace
}  // namespace caisson::api
