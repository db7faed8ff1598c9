// SPDX-License-Identifier: Apache-2.0
// Requests to a real launcher, from launch to exit.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <random>
#include <thread>

#include "base/io.h"
#include "sandbox/protocol.h"
#include "tests/kernel/launcher_host.h"
#include "tests/kernel/sandbox_host.h"

namespace caisson::sandbox {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

class LauncherServerTest : public LauncherTest {
 protected:
  Launched Run(RootfsHandle rootfs, const SandboxSpec& spec, int payload = -1) {
    Result<Launched> launched = client->Launch(rootfs, spec, payload);
    EXPECT_TRUE(launched) << (launched ? "" : launched.error().message);
    return launched ? std::move(*launched) : Launched{};
  }
};

TEST_F(LauncherServerTest, ASandboxRunsAndItsOutputAndStatusComeBack) {
  Start();
  const RootfsHandle rootfs = OpenBusybox();
  const Launched launched = Run(rootfs, Shell("echo out; echo err >&2; exit 7"));
  const ExitReport report = events.WaitForExit(launched.handle);
  EXPECT_EQ(report.kind, ExitReport::Kind::kExited);
  EXPECT_EQ(report.status, 7);
  EXPECT_FALSE(report.timed_out || report.stopped);
  EXPECT_FALSE(report.timings.empty());
  EXPECT_EQ(ReadToEnd(launched.stdout_pipe.get()), "out\n");
  EXPECT_EQ(ReadToEnd(launched.stderr_pipe.get()), "err\n");
}

TEST_F(LauncherServerTest, ListShowsWhatRunsAndForgetsWhatEnded) {
  Start();
  const RootfsHandle rootfs = OpenBusybox();
  const Launched launched = Run(rootfs, Shell("sleep 100"));
  const auto running = client->List();
  ASSERT_TRUE(running);
  ASSERT_EQ(running->size(), 1U);
  EXPECT_EQ((*running)[0].handle.value, launched.handle.value);
  EXPECT_EQ((*running)[0].id, "launcher-test");
  ASSERT_TRUE(client->Kill(launched.handle));
  events.WaitForExit(launched.handle);
  EXPECT_TRUE(client->List()->empty());
  const Result<void> again = client->Kill(launched.handle);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kNotFound);
}

TEST_F(LauncherServerTest, PayloadReachesStandardInput) {
  Start();
  const Fd payload = *MakeSealedMemfd("payload", "from the outside");
  const Launched launched = Run(OpenBusybox(), Shell("cat"), payload.get());
  EXPECT_EQ(ReadToEnd(launched.stdout_pipe.get()), "from the outside");
}

TEST_F(LauncherServerTest, TheTimeOutStartsTheStopSequence) {
  Start();
  SandboxSpec spec = Shell("trap 'echo asked; exit 3' TERM; while :; do sleep 0.05; done");
  spec.timeout = milliseconds(200);
  const Launched launched = Run(OpenBusybox(), spec);
  const ExitReport report = events.WaitForExit(launched.handle);
  EXPECT_TRUE(report.timed_out);
  EXPECT_FALSE(report.stopped);
  EXPECT_EQ(report.kind, ExitReport::Kind::kExited);
  EXPECT_EQ(report.status, 3);
  EXPECT_EQ(ReadToEnd(launched.stdout_pipe.get()), "asked\n");
}

TEST_F(LauncherServerTest, TheTimeOutEndsASandboxWhosePayloadNeverStarts) {
  // In place of pid 1: pause(2) again and again.
  const std::string program = data_dir_ + "/stuck";
  const Fd file = *OpenAt(AT_FDCWD, program, O_WRONLY | O_CREAT | O_EXCL, 0755);
  ASSERT_TRUE(WriteAll(file.get(), MakeProgram(std::string_view("\xb8\x22\0\0\0\x0f\x05\xeb\xf7", 9))));
  Start({.init_program = program});
  SandboxSpec spec = Shell("true");
  spec.timeout = spec.grace = milliseconds(1);
  const ExitReport report = events.WaitForExit(Run(OpenBusybox(), spec).handle);
  EXPECT_TRUE(report.timed_out);
  EXPECT_EQ(report.kind, ExitReport::Kind::kKilled);
}

TEST_F(LauncherServerTest, WhoIgnoresTheStopSignalIsKilledAfterTheGrace) {
  Start();
  SandboxSpec spec = Shell("trap '' TERM; echo ready; while :; do sleep 0.05; done");
  spec.timeout = milliseconds(150);
  spec.grace = milliseconds(150);
  const ExitReport report = events.WaitForExit(Run(OpenBusybox(), spec).handle);
  EXPECT_TRUE(report.timed_out);
  EXPECT_NE(report.kind, ExitReport::Kind::kExited);
}

TEST_F(LauncherServerTest, StopSendsTheStopSignalOfTheSpec) {
  Start();
  SandboxSpec spec = Shell("trap 'exit 5' INT; echo ready; while :; do sleep 0.05; done");
  spec.stop_signal = SIGINT;
  const Launched launched = Run(OpenBusybox(), spec);
  PeekAtLeast(launched.stdout_pipe.get(), 6);
  ASSERT_TRUE(client->Stop(launched.handle, milliseconds(60'000)));
  ASSERT_TRUE(client->Stop(launched.handle, milliseconds(60'000)));
  const ExitReport report = events.WaitForExit(launched.handle);
  EXPECT_TRUE(report.stopped);
  EXPECT_FALSE(report.timed_out);
  EXPECT_EQ(report.kind, ExitReport::Kind::kExited);
  EXPECT_EQ(report.status, 5);
}

TEST_F(LauncherServerTest, ALaterStopCanOnlyBringTheKillForward) {
  Start();
  const Launched launched = Run(OpenBusybox(), Shell("trap '' TERM; echo ready; while :; do sleep 0.05; done"));
  PeekAtLeast(launched.stdout_pipe.get(), 6);
  ASSERT_TRUE(client->Stop(launched.handle, milliseconds(3'600'000)));
  ASSERT_TRUE(client->Stop(launched.handle, milliseconds(50)));
  ASSERT_TRUE(client->Stop(launched.handle, milliseconds(3'600'000)));
  EXPECT_TRUE(events.WaitForExit(launched.handle).stopped);
}

TEST_F(LauncherServerTest, WhatIsTeedAndDrainedIsEveryByteOnce) {
  Start();
  const Launched launched = Run(OpenBusybox(), Shell("i=0; while [ $i -lt 60000 ]; do echo line $i; i=$((i+1)); done"));
  std::string expected;
  for (int i = 0; i < 60000; ++i) expected += "line " + std::to_string(i) + "\n";
  std::string log;
  // As the service does: copy what is there, append it to the log, say so; after the exit read what is left.
  for (bool running = true; running && log.size() < expected.size();) {
    log += PeekAtLeast(launched.stdout_pipe.get(), 1);
    const Result<void> drained = client->Drained(launched.handle, Stream::kStdout, log.size());
    if (drained) continue;
    EXPECT_EQ(drained.error().code, ErrorCode::kNotFound);
    running = false;  // it was reported as exited: the bytes of the last copy are still there
    std::string rest = ReadToEnd(launched.stdout_pipe.get());
    EXPECT_LT(log.size() - rest.size(), expected.size());
    log = expected.substr(0, expected.size() - rest.size()) + rest;
  }
  EXPECT_TRUE(log == expected) << log.size() << " bytes instead of " << expected.size();
  events.WaitForExit(launched.handle);
}

TEST_F(LauncherServerTest, DrainedDoesNotWaitForBytesThatTheJobTookItself) {
  Start();
  const Launched launched = Run(OpenBusybox(), Shell("echo 0123456789; cat /proc/self/fd/1 & sleep 100"));
  ASSERT_TRUE(client->Drained(launched.handle, Stream::kStdout, 1'000'000));
  const Result<void> back = client->Drained(launched.handle, Stream::kStdout, 5);
  ASSERT_FALSE(back);
  EXPECT_EQ(back.error().code, ErrorCode::kInvalid);
  ASSERT_TRUE(client->Kill(launched.handle));
}

TEST_F(LauncherServerTest, TheServiceCannotMakeTheLaunchersReadBlock) {
  Start();
  const Launched launched = Run(OpenBusybox(), Shell("sleep 100"));
  ASSERT_EQ(::fcntl(launched.stdout_pipe.get(), F_SETFL, 0), 0);  // would hang the launcher if the ends were one
  ASSERT_TRUE(client->Drained(launched.handle, Stream::kStdout, 10));
  ASSERT_TRUE(client->Kill(launched.handle));
}

TEST_F(LauncherServerTest, ANameThatTheStoreLacksIsNamedInTheError) {
  Start();
  LayerName missing;
  missing.bytes.fill(0xee);
  const auto rootfs = client->OpenRootfs(std::span(&missing, 1));
  ASSERT_FALSE(rootfs);
  EXPECT_EQ(rootfs.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(rootfs.error().message, HasSubstr(missing.hex()));
}

TEST_F(LauncherServerTest, ClosedAndForeignHandlesAreNotFound) {
  Start();
  const RootfsHandle rootfs = OpenBusybox();
  ASSERT_TRUE(client->CloseRootfs(rootfs));
  for (const uint64_t handle : {rootfs.value, uint64_t{0}, ~uint64_t{0}, uint64_t{12345}}) {
    const auto launched = client->Launch(RootfsHandle{handle}, Shell("true"), -1);
    ASSERT_FALSE(launched);
    EXPECT_EQ(launched.error().code, ErrorCode::kNotFound);
    EXPECT_EQ(client->CloseRootfs(RootfsHandle{handle}).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(client->Stop(SandboxHandle{handle}, milliseconds(1)).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(client->DiscardWorker(WorkerHandle{handle}).error().code, ErrorCode::kNotFound);
  }
}

TEST_F(LauncherServerTest, NodeAnswersWhatTheDoctorSaid) {
  Start();
  EXPECT_EQ(*client->Node(), "{\"node\":true}");
}

TEST_F(LauncherServerTest, NothingIsLeftAfterManyLaunches) {
  Start();
  const RootfsHandle rootfs = OpenBusybox();
  int launches = 0;
  const auto round = [&] {
    std::vector<Launched> launched;
    for (int i = 0; i < 5; ++i) {
      SandboxSpec spec = Shell(i % 2 == 0 ? "true" : "sleep 100 & exit 1");
      spec.id = "launch-" + std::to_string(++launches);
      launched.push_back(Run(rootfs, spec));
    }
    for (const Launched& one : launched) events.WaitForExit(one.handle);
  };
  round();
  const size_t mounts = CountMounts();
  ASSERT_TRUE(Eventually([&] { return client->List()->empty() && Descendants().empty(); }));
  const size_t descriptors = SettledDescriptors();
  for (int i = 0; i < 5; ++i) round();
  EXPECT_TRUE(Eventually([&] { return CountDescriptors() <= descriptors; }))
      << CountDescriptors() << " descriptors instead of " << descriptors;
  EXPECT_EQ(CountMounts(), mounts);
}

TEST_F(LauncherServerTest, ManyThreadsLaunchAndEachGetsItsOwnExit) {
  Start();
  const RootfsHandle rootfs = OpenBusybox();
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 8; ++round) {
        const std::string word = std::to_string(i) + "-" + std::to_string(round);
        const Launched launched = Run(rootfs, Shell("echo " + word + "; exit " + std::to_string(i)));
        const ExitReport report = events.WaitForExit(launched.handle);
        if (report.status == i && ReadToEnd(launched.stdout_pipe.get()) == word + "\n") ++right;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 48);
}

// ---- Ends -------------------------------------------------------------------------------------------------------

TEST_F(LauncherServerTest, NoSandboxOutlivesALauncherThatIsKilled) {
  Start();
  const RootfsHandle rootfs = OpenBusybox();
  const Launched launched = Run(rootfs, Shell("setsid sleep 1000 & echo ready; sleep 1000"));
  PeekAtLeast(launched.stdout_pipe.get(), 6);
  std::vector<Fd> processes;
  for (const pid_t pid : Descendants()) processes.emplace_back(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  ASSERT_GE(processes.size(), 3U);
  KillLauncher();
  for (const Fd& process : processes) {
    pollfd ended{process.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&ended, 1, 10'000), 1) << "a process of the sandbox lives on";
  }
}

TEST_F(LauncherServerTest, EndingAllLeavesNoProcess) {
  Start();
  const Launched launched = Run(OpenBusybox(), Shell("setsid sleep 1000 & echo ready; sleep 1000"));
  PeekAtLeast(launched.stdout_pipe.get(), 6);
  const std::set<pid_t> processes = Descendants();
  EXPECT_GE(processes.size(), 3U);
  End();
  for (const pid_t pid : processes) EXPECT_NE(::kill(pid, 0), 0);
}

TEST_F(LauncherServerTest, ShutdownIsAnsweredAndEndsTheChannel) {
  Start();
  Run(OpenBusybox(), Shell("sleep 1000"));
  ASSERT_TRUE(client->Shutdown());
  events.WaitForClose();
  const auto list = client->List();
  ASSERT_FALSE(list);
  EXPECT_EQ(list.error().code, ErrorCode::kUnavailable);
}

// ---- A hostile service ------------------------------------------------------------------------------------------

class LauncherHostileServiceTest : public LauncherServerTest {
 protected:
  protocol::Reply Ask(const std::string& message, std::span<const int> descriptors = {}) {
    EXPECT_TRUE(SendPacket(channel.get(), message, descriptors, Waiting::kBlock));
    const auto packet = ReceivePacket(channel.get(), Waiting::kBlock);
    EXPECT_TRUE(packet) << "the launcher closed the channel";
    return packet ? std::get<protocol::Reply>(*protocol::DecodeAnswer((*packet)->bytes)) : protocol::Reply{};
  }
  bool Closed() {
    const auto packet = ReceivePacket(channel.get(), Waiting::kBlock);
    return !packet;
  }
};

TEST_F(LauncherHostileServiceTest, GarbageClosesTheChannel) {
  StartBare();
  ASSERT_TRUE(SendPacket(channel.get(), "what is this", {}, Waiting::kBlock));
  EXPECT_TRUE(Closed());
}

TEST_F(LauncherHostileServiceTest, ALongMessageIsCutAndRefused) {
  StartBare();
  ASSERT_TRUE(SendPacket(channel.get(),
                         protocol::Encode(1, protocol::Request(protocol::List{})) + std::string(100'000, 'x'), {},
                         Waiting::kBlock));
  EXPECT_TRUE(Closed());
}

TEST_F(LauncherHostileServiceTest, DescriptorsOfTheWrongKindAreRefusedAndClosed) {
  StartBare();
  const std::string list = protocol::Encode(1, protocol::Request(protocol::List{}));
  ASSERT_TRUE(Ask(list).result);
  const size_t before = SettledDescriptors();
  const Fd root(::open("/", O_PATH | O_CLOEXEC));
  const Fd directory(::open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const Fd proc(::open("/proc/self/status", O_RDONLY | O_CLOEXEC));
  const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const SocketPair sockets = *MakeSocketPair();
  const Fd good = *MakeSealedMemfd("good", "");
  const Pipe pipe = *MakePipe();
  const std::string start = protocol::Encode(2, protocol::Request(protocol::StartWorker{}));
  for (const int bad : {root.get(), directory.get(), proc.get(), null.get(), sockets.ours.get(), pipe.write.get()}) {
    const int descriptors[] = {bad, pipe.write.get()};
    const auto reply = Ask(start, descriptors);
    ASSERT_FALSE(reply.result);
    EXPECT_EQ(reply.result.error().code, ErrorCode::kInvalid);
  }
  const int reading_end_to_write[] = {good.get(), pipe.read.get()};
  EXPECT_FALSE(Ask(start, reading_end_to_write).result);
  EXPECT_FALSE(Ask(start).result);
  const int one[] = {good.get()};
  EXPECT_FALSE(Ask(list, one).result);
  EXPECT_TRUE(Ask(list).result);
  EXPECT_TRUE(Eventually([&] { return CountDescriptors() == before; })) << CountDescriptors() << " != " << before;
}

TEST_F(LauncherHostileServiceTest, TooManyDescriptorsAreRefusedAndClosed) {
  StartBare();
  const std::string list = protocol::Encode(1, protocol::Request(protocol::List{}));
  ASSERT_TRUE(Ask(list).result);
  const size_t before = SettledDescriptors();
  std::vector<int> many(200, STDERR_FILENO);
  alignas(cmsghdr) char control[CMSG_SPACE(200 * sizeof(int))] = {};
  iovec part{const_cast<char*>(list.data()), list.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* item = CMSG_FIRSTHDR(&message);
  item->cmsg_level = SOL_SOCKET;
  item->cmsg_type = SCM_RIGHTS;
  item->cmsg_len = CMSG_LEN(200 * sizeof(int));
  std::memcpy(CMSG_DATA(item), many.data(), 200 * sizeof(int));
  ASSERT_GT(::sendmsg(channel.get(), &message, 0), 0);
  const auto packet = ReceivePacket(channel.get(), Waiting::kBlock);
  ASSERT_TRUE(packet);
  EXPECT_FALSE(std::get<protocol::Reply>(*protocol::DecodeAnswer((*packet)->bytes)).result);
  EXPECT_TRUE(Ask(list).result);
  EXPECT_TRUE(Eventually([&] { return CountDescriptors() == before; })) << CountDescriptors() << " != " << before;
}

TEST_F(LauncherHostileServiceTest, RandomFieldsAreAnsweredAndLeaveNothing) {
  StartBare();
  const std::string list = protocol::Encode(1, protocol::Request(protocol::List{}));
  ASSERT_TRUE(Ask(list).result);
  const size_t before = SettledDescriptors();
  std::mt19937 random(1);
  const Fd file = *MakeSealedMemfd("strings", std::string("sh\0", 3));
  const int descriptors[] = {file.get(), file.get()};
  for (int verb = 1; verb < static_cast<int>(protocol::Verb::kShutdown); ++verb) {
    const size_t size = protocol::MessageBytes(static_cast<protocol::Verb>(verb));
    for (int i = 0; i < 100; ++i) {
      std::string message = list.substr(0, 6);
      message += std::string({static_cast<char>(verb), '\0'});
      while (message.size() < size) message.push_back(static_cast<char>(random() % 4 == 0 ? random() : 0));
      Ask(message, std::span(descriptors, random() % 3));
    }
  }
  EXPECT_TRUE(Ask(list).result);
  EXPECT_TRUE(Eventually([&] { return CountDescriptors() == before; })) << CountDescriptors() << " != " << before;
  EXPECT_TRUE(NamesIn(tmp()).empty());
}

TEST_F(LauncherHostileServiceTest, WhoAsksWithoutReadingIsCutOff) {
  StartBare({.send_deadline = milliseconds(300)});
  const std::string node = protocol::Encode(1, protocol::Request(protocol::Node{}));
  // The launcher stops reading as soon as an answer does not fit, so at some point no more can be asked either.
  while (true) {
    const Result<bool> sent = SendPacket(channel.get(), node, {}, Waiting::kReturn);
    if (!sent || !*sent) break;
  }
  EXPECT_TRUE(Eventually([&] {
    const Result<bool> sent = SendPacket(channel.get(), node, {}, Waiting::kReturn);
    return !sent && sent.error().code == ErrorCode::kUnavailable;
  }));
}

}  // namespace
}  // namespace caisson::sandbox
