// SPDX-License-Identifier: Apache-2.0
#include "sandbox/protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/mman.h>

#include <cerrno>
#include <cstddef>

#include "base/io.h"
#include "sandbox/protocol_wire.h"
#include "sandbox/validate.h"

namespace caisson::sandbox::protocol {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

LayerName Layer(uint8_t first) {
  LayerName name;
  name.bytes.fill(0xab);
  name.bytes[0] = first;
  return name;
}

SandboxSpec Spec() {
  SandboxSpec spec;
  spec.id = "65f0a1b2c3d4e5f601234567";
  spec.argv = {"sh", "-c", "echo hi"};
  spec.env = {"PATH=/bin", "EMPTY="};
  spec.working_dir = "/srv";
  spec.uid = 1000;
  spec.gid = 100;
  spec.groups = {5, 100};
  spec.stop_signal = 2;
  spec.limits = {1500, 64 << 20, 40, 16 << 20};
  spec.timeout = std::chrono::milliseconds(90'000);
  spec.grace = std::chrono::milliseconds(1'500);
  spec.mount_points[static_cast<size_t>(MountPoint::kTmp)] = {01777, 3, 4};
  return spec;
}

Launch LaunchOf(SandboxSpec spec) {
  Launch launch;
  launch.rootfs = RootfsHandle{(7ULL << 32) | 3};
  launch.argument_count = static_cast<uint32_t>(spec.argv.size());
  launch.environment_count = static_cast<uint32_t>(spec.env.size());
  launch.has_payload = true;
  launch.spec = std::move(spec);
  return launch;
}

template <typename T>
T Decoded(const Request& request, size_t descriptors = 0) {
  Result<Request> decoded = DecodeRequest(Encode(77, request), descriptors);
  EXPECT_TRUE(decoded) << (decoded ? "" : decoded.error().message);
  return std::get<T>(std::move(*decoded));
}

// What the launcher does with a Launch: message, then the file.
Result<Launch> Received(const SandboxSpec& spec, Result<Fd> file) {
  Result<Request> request = DecodeRequest(Encode(1, LaunchOf(spec)), 2);
  if (!request) return tl::unexpected(request.error());
  Launch launch = std::get<Launch>(std::move(*request));
  if (!file) return tl::unexpected(file.error());
  TRY(ReadArguments(file->get(), launch));
  return launch;
}

// As a client would that checks nothing.
Result<Fd> UncheckedArguments(const SandboxSpec& spec) {
  std::string data;
  for (const auto* strings : {&spec.argv, &spec.env})
    for (const std::string& string : *strings) data.append(string).push_back('\0');
  return MakeSealedMemfd("test", data);
}

bool Accepted(const SandboxSpec& spec) { return Received(spec, UncheckedArguments(spec)).has_value(); }

// ---- Round trips ------------------------------------------------------------------------------------------------

TEST(LauncherProtocolTest, LaunchComesOutAsItWentIn) {
  const SandboxSpec spec = Spec();
  const Result<Launch> got = Received(spec, PackArguments(spec));
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_EQ(got->rootfs.value, (7ULL << 32) | 3);
  EXPECT_TRUE(got->has_payload);
  EXPECT_EQ(got->spec.id, spec.id);
  EXPECT_EQ(got->spec.argv, spec.argv);
  EXPECT_EQ(got->spec.env, spec.env);
  EXPECT_EQ(got->spec.working_dir, "/srv");
  EXPECT_EQ(got->spec.uid, 1000U);
  EXPECT_EQ(got->spec.gid, 100U);
  EXPECT_EQ(got->spec.groups, spec.groups);
  EXPECT_EQ(got->spec.stop_signal, 2);
  EXPECT_EQ(got->spec.limits.cpu_millis, 1500U);
  EXPECT_EQ(got->spec.limits.memory_bytes, 64U << 20);
  EXPECT_EQ(got->spec.limits.pids, 40U);
  EXPECT_EQ(got->spec.limits.disk_bytes, 16U << 20);
  EXPECT_EQ(got->spec.timeout, spec.timeout);
  EXPECT_EQ(got->spec.grace, spec.grace);
  const Attributes& tmp = got->spec.mount_points[static_cast<size_t>(MountPoint::kTmp)];
  EXPECT_EQ(tmp.mode, 01777U);
  EXPECT_EQ(tmp.uid, 3U);
  EXPECT_EQ(tmp.gid, 4U);
}

TEST(LauncherProtocolTest, EveryOtherRequestComesOutAsItWentIn) {
  EXPECT_THAT(Decoded<OpenRootfs>(OpenRootfs{{Layer(1), Layer(2)}}).layers_top_first, ElementsAre(Layer(1), Layer(2)));
  EXPECT_EQ(Decoded<CloseRootfs>(CloseRootfs{{11}}).rootfs.value, 11U);
  const auto stop = Decoded<Stop>(Stop{{12}, std::chrono::milliseconds(250)});
  EXPECT_EQ(stop.sandbox.value, 12U);
  EXPECT_EQ(stop.grace.count(), 250);
  EXPECT_EQ(Decoded<Kill>(Kill{{13}}).sandbox.value, 13U);
  const auto drained = Decoded<Drained>(Drained{{14}, Stream::kStderr, 1ULL << 40});
  EXPECT_EQ(drained.sandbox.value, 14U);
  EXPECT_EQ(drained.stream, Stream::kStderr);
  EXPECT_EQ(drained.position, 1ULL << 40);
  const auto start = Decoded<StartWorker>(StartWorker{WorkerVerb::kMerge, {Layer(3)}}, 2);
  EXPECT_EQ(start.verb, WorkerVerb::kMerge);
  EXPECT_THAT(start.layers_top_first, ElementsAre(Layer(3)));
  EXPECT_EQ(Decoded<KillWorker>(KillWorker{{15}}).worker.value, 15U);
  const auto commit = Decoded<CommitLayer>(CommitLayer{{16}, Layer(4), 9}, 1);
  EXPECT_EQ(commit.worker.value, 16U);
  EXPECT_EQ(commit.name, Layer(4));
  EXPECT_EQ(commit.opaque_count, 9U);
  EXPECT_EQ(Decoded<DiscardWorker>(DiscardWorker{{17}}).worker.value, 17U);
  EXPECT_EQ(Decoded<RemoveLayer>(RemoveLayer{Layer(5)}).name, Layer(5));
  Decoded<List>(List{});
  Decoded<ListLayers>(ListLayers{});
  Decoded<Node>(Node{});
  Decoded<Shutdown>(Shutdown{});
}

TEST(LauncherProtocolTest, RepliesCarryValuesOrTheErrorInFull) {
  const auto good = std::get<Reply>(*DecodeAnswer(Encode(5, Answer(Reply{{}, 99, kUnenforcedCpu}))));
  EXPECT_TRUE(good.result);
  EXPECT_EQ(good.handle, 99U);
  EXPECT_EQ(good.unenforced, kUnenforcedCpu);
  const Error error{ErrorCode::kConflict, "layer is in use", EBUSY};
  const auto bad = std::get<Reply>(*DecodeAnswer(Encode(5, Answer(Reply{tl::unexpected(error)}))));
  ASSERT_FALSE(bad.result);
  EXPECT_EQ(bad.result.error().code, ErrorCode::kConflict);
  EXPECT_EQ(bad.result.error().message, "layer is in use");
  EXPECT_EQ(bad.result.error().sys_errno, EBUSY);
}

TEST(LauncherProtocolTest, AnErrorsTextIsCutAtItsBound) {
  const Error error{ErrorCode::kInternal, std::string(kMaxErrorBytes + 1, 'x'), 0};
  const auto reply = std::get<Reply>(*DecodeAnswer(Encode(5, Answer(Reply{tl::unexpected(error)}))));
  EXPECT_EQ(reply.result.error().message.size(), kMaxErrorBytes);
}

TEST(LauncherProtocolTest, ExitReportComesOutAsItWentIn) {
  ExitReport report;
  report.kind = ExitReport::Kind::kSetupFailed;
  report.status = ENOSPC;
  report.timed_out = report.oom = report.foreign_abi = true;
  report.step = "mount proc";
  report.usage = {123, std::nullopt, 7};
  report.timings = {{"clone", 250}, {"exec init", 900}};
  const auto got = std::get<Exited>(*DecodeAnswer(Encode(0, Answer(Exited{{21}, report}))));
  EXPECT_EQ(got.sandbox.value, 21U);
  EXPECT_EQ(got.report.kind, report.kind);
  EXPECT_EQ(got.report.status, ENOSPC);
  EXPECT_TRUE(got.report.timed_out && got.report.oom && got.report.foreign_abi);
  EXPECT_FALSE(got.report.stopped || got.report.disk_full);
  EXPECT_EQ(got.report.step, "mount proc");
  EXPECT_EQ(got.report.usage.cpu_micros, 123U);
  EXPECT_EQ(got.report.usage.memory_peak_bytes, std::nullopt);
  EXPECT_EQ(got.report.usage.pids_peak, 7U);
  ASSERT_EQ(got.report.timings.size(), 2U);
  EXPECT_EQ(got.report.timings[1].step, "exec init");
  EXPECT_EQ(got.report.timings[1].micros, 900U);
}

TEST(LauncherProtocolTest, WorkerDoneAndListsComeOutAsTheyWentIn) {
  const auto done = std::get<WorkerDone>(*DecodeAnswer(Encode(0, Answer(WorkerDone{{31}, {137, true}}))));
  EXPECT_EQ(done.worker.value, 31U);
  EXPECT_EQ(done.exit.wait_status, 137);
  EXPECT_TRUE(done.exit.timed_out);
  const std::vector<RunningSandbox> sandboxes = {{{1}, "a"}, {{2}, std::string(63, 'b')}};
  const auto listed = ReadSandboxes(PackSandboxes(sandboxes)->get());
  ASSERT_EQ(listed->size(), 2U);
  EXPECT_EQ((*listed)[1].handle.value, 2U);
  EXPECT_EQ((*listed)[1].id, std::string(63, 'b'));
  const std::vector<StoredLayer> layers = {{Layer(1), 1ULL << 33, true}};
  const auto stored = ReadLayers(PackLayers(layers)->get());
  ASSERT_EQ(stored->size(), 1U);
  EXPECT_EQ((*stored)[0].name, Layer(1));
  EXPECT_EQ((*stored)[0].bytes, 1ULL << 33);
  EXPECT_TRUE((*stored)[0].in_use);
}

// ---- Sizes and envelopes ----------------------------------------------------------------------------------------

TEST(LauncherProtocolTest, EveryVerbRefusesAMessageThatIsOneByteShortOrLong) {
  const Request requests[] = {OpenRootfs{{Layer(1)}},
                              CloseRootfs{{1}},
                              LaunchOf(Spec()),
                              Stop{{1}, {}},
                              Kill{{1}},
                              List{},
                              Drained{{1}, Stream::kStdout, 0},
                              StartWorker{WorkerVerb::kUnpack, {}},
                              KillWorker{{1}},
                              CommitLayer{{1}, Layer(1), 0},
                              DiscardWorker{{1}},
                              RemoveLayer{Layer(1)},
                              ListLayers{},
                              Node{},
                              Shutdown{}};
  for (const Request& request : requests) {
    const std::string message = Encode(1, request);
    EXPECT_TRUE(OpenEnvelope(message)) << request.index();
    EXPECT_FALSE(OpenEnvelope(message.substr(0, message.size() - 1))) << request.index();
    EXPECT_FALSE(OpenEnvelope(message + '\0')) << request.index();
  }
}

TEST(LauncherProtocolTest, ForeignMagicVersionVerbAndEmptyMessagesAreNoMessages) {
  EXPECT_FALSE(OpenEnvelope(""));
  EXPECT_FALSE(OpenEnvelope("short"));
  const std::string good = Encode(1, List{});
  for (const size_t byte : {size_t{0}, offsetof(wire::Header, version), offsetof(wire::Header, verb)}) {
    std::string bad = good;
    bad[byte] = static_cast<char>(bad[byte] + 120);
    EXPECT_FALSE(OpenEnvelope(bad)) << byte;
  }
}

TEST(LauncherProtocolTest, AnswersAreNoRequestsAndRequestsNoAnswers) {
  EXPECT_FALSE(DecodeRequest(Encode(1, Answer(Reply{})), 0));
  EXPECT_FALSE(DecodeAnswer(Encode(1, Request(List{}))));
}

TEST(LauncherProtocolTest, TheNumberOfDescriptorsMustFit) {
  EXPECT_FALSE(DecodeRequest(Encode(1, List{}), 1));
  Launch launch = LaunchOf(Spec());
  EXPECT_FALSE(DecodeRequest(Encode(1, launch), 1));  // it says that it has a payload
  launch.has_payload = false;
  EXPECT_TRUE(DecodeRequest(Encode(1, launch), 1));
  EXPECT_FALSE(DecodeRequest(Encode(1, launch), 2));
  EXPECT_FALSE(DecodeRequest(Encode(1, StartWorker{}), 1));
  EXPECT_FALSE(DecodeRequest(Encode(1, CommitLayer{}), 0));
}

// ---- Fields at their bounds -------------------------------------------------------------------------------------

struct Bound {
  const char* name;
  uint64_t least;
  uint64_t most;
  void (*set)(SandboxSpec&, uint64_t);
};

const Bound kBounds[] = {
    {"uid", 0, kMaxId, [](SandboxSpec& s, uint64_t v) { s.uid = static_cast<uint32_t>(v); }},
    {"gid", 0, kMaxId, [](SandboxSpec& s, uint64_t v) { s.gid = static_cast<uint32_t>(v); }},
    {"group", 0, kMaxId, [](SandboxSpec& s, uint64_t v) { s.groups = {static_cast<uint32_t>(v)}; }},
    {"number of groups", 0, kMaxGroups, [](SandboxSpec& s, uint64_t v) { s.groups.assign(v, 1); }},
    {"stop signal", 1, 64, [](SandboxSpec& s, uint64_t v) { s.stop_signal = static_cast<int>(v); }},
    {"cpu", kMinCpuMillis, kMaxCpuMillis,
     [](SandboxSpec& s, uint64_t v) { s.limits.cpu_millis = static_cast<uint32_t>(v); }},
    {"memory", kMinMemoryBytes, kMaxMemoryBytes,
     [](SandboxSpec& s, uint64_t v) {
       s.limits.memory_bytes = v;
       s.limits.disk_bytes = kMinDiskBytes;
     }},
    {"pids", 1, kMaxPids, [](SandboxSpec& s, uint64_t v) { s.limits.pids = static_cast<uint32_t>(v); }},
    {"disk", kMinDiskBytes, 64 << 20, [](SandboxSpec& s, uint64_t v) { s.limits.disk_bytes = v; }},
    {"timeout", 0, kMaxTimeoutMs, [](SandboxSpec& s, uint64_t v) { s.timeout = std::chrono::milliseconds(v); }},
    {"grace", 0, kMaxGraceMs, [](SandboxSpec& s, uint64_t v) { s.grace = std::chrono::milliseconds(v); }},
    {"mode", 0, 07777, [](SandboxSpec& s, uint64_t v) { s.mount_points[1].mode = static_cast<uint32_t>(v); }},
    {"owner", 0, kMaxId, [](SandboxSpec& s, uint64_t v) { s.mount_points[2].uid = static_cast<uint32_t>(v); }},
    {"id length", 1, 63, [](SandboxSpec& s, uint64_t v) { s.id.assign(v, 'a'); }},
    {"argument length", 1, kMaxStringBytes - 1, [](SandboxSpec& s, uint64_t v) { s.argv = {std::string(v, 'a')}; }},
    {"working directory length", 1, kMaxPathBytes,
     [](SandboxSpec& s, uint64_t v) { s.working_dir = v == 0 ? "" : "/" + std::string(v - 1, 'a'); }},
};

TEST(LauncherProtocolTest, EveryNumberIsTakenAtItsBoundsAndRefusedBeyond) {
  for (const Bound& bound : kBounds) {
    SandboxSpec spec = Spec();
    bound.set(spec, bound.least);
    EXPECT_TRUE(Accepted(spec)) << bound.name << " at its least";
    bound.set(spec, bound.most);
    EXPECT_TRUE(Accepted(spec)) << bound.name << " at its most";
    bound.set(spec, bound.most + 1);
    EXPECT_FALSE(Accepted(spec)) << bound.name << " above its most";
    if (bound.least == 0) continue;
    bound.set(spec, bound.least - 1);
    EXPECT_FALSE(Accepted(spec)) << bound.name << " below its least";
  }
}

TEST(LauncherProtocolTest, LayersOfARootfsAreOneToTheMost) {
  EXPECT_FALSE(DecodeRequest(Encode(1, OpenRootfs{}), 0));
  EXPECT_TRUE(DecodeRequest(Encode(1, OpenRootfs{std::vector<LayerName>(kMaxLayers)}), 0));
  EXPECT_FALSE(DecodeRequest(Encode(1, OpenRootfs{std::vector<LayerName>(kMaxLayers + 1)}), 0));
}

TEST(LauncherProtocolTest, WorkerVerbsTakeTheirOwnNumberOfLayers) {
  const auto accepted = [](int verb, size_t layers) {
    const StartWorker start{static_cast<WorkerVerb>(verb), std::vector<LayerName>(layers)};
    return DecodeRequest(Encode(1, start), 2).has_value();
  };
  EXPECT_TRUE(accepted(1, 0));
  EXPECT_FALSE(accepted(1, 1));
  EXPECT_FALSE(accepted(2, 0));
  EXPECT_TRUE(accepted(2, kMaxLayers));
  EXPECT_FALSE(accepted(2, kMaxLayers + 1));
  EXPECT_TRUE(accepted(3, 1));
  EXPECT_FALSE(accepted(3, 2));
  EXPECT_FALSE(accepted(0, 0));
  EXPECT_FALSE(accepted(4, 0));
}

TEST(LauncherProtocolTest, StreamGraceAndOpaqueCountHaveBounds) {
  EXPECT_FALSE(DecodeRequest(Encode(1, Drained{{1}, static_cast<Stream>(0), 0}), 0));
  EXPECT_FALSE(DecodeRequest(Encode(1, Drained{{1}, static_cast<Stream>(3), 0}), 0));
  EXPECT_TRUE(DecodeRequest(Encode(1, Stop{{1}, std::chrono::milliseconds(kMaxGraceMs)}), 0));
  EXPECT_FALSE(DecodeRequest(Encode(1, Stop{{1}, std::chrono::milliseconds(kMaxGraceMs + 1)}), 0));
  EXPECT_FALSE(DecodeRequest(Encode(1, Stop{{1}, std::chrono::milliseconds(-1)}), 0));
  EXPECT_TRUE(DecodeRequest(Encode(1, CommitLayer{{1}, Layer(1), kMaxOpaqueDirectories}), 1));
  EXPECT_FALSE(DecodeRequest(Encode(1, CommitLayer{{1}, Layer(1), kMaxOpaqueDirectories + 1}), 1));
}

TEST(LauncherProtocolTest, BytesBehindTheEndOfATextAreRefused) {
  std::string message = Encode(1, LaunchOf(Spec()));
  message[offsetof(wire::Launch, id) + 63] = 'x';
  EXPECT_FALSE(DecodeRequest(message, 2));
}

// ---- Strings ----------------------------------------------------------------------------------------------------

TEST(LauncherProtocolTest, NamesAndVariablesHaveACharset) {
  for (const char* id : {"a/b", "..", "A", "a b", "a\nb", "a=b", "%s", "a.b"}) {
    SandboxSpec spec = Spec();
    spec.id = id;
    EXPECT_FALSE(Accepted(spec)) << id;
  }
  for (const char* variable : {"=x", "1A=x", "NOEQUALS", "A-B=x", "A B=x", ""}) {
    SandboxSpec spec = Spec();
    spec.env = {variable};
    EXPECT_FALSE(Accepted(spec)) << variable;
  }
  for (const char* path : {"relative", "/a/../b", "/..", ""}) {
    SandboxSpec spec = Spec();
    spec.working_dir = path;
    EXPECT_FALSE(Accepted(spec)) << path;
  }
}

TEST(LauncherProtocolTest, AnEmptyCommandIsRefused) {
  SandboxSpec spec = Spec();
  spec.argv = {};
  EXPECT_FALSE(Accepted(spec));
  spec.argv = {"", "x"};
  EXPECT_FALSE(Accepted(spec));
}

TEST(LauncherProtocolTest, ArgumentsAndEnvironmentTogetherHaveABound) {
  SandboxSpec spec = Spec();
  spec.env.clear();
  spec.argv.assign(8, std::string(kMaxStringBytes - 9, 'a'));  // with NUL and pointer: exactly the bound
  EXPECT_TRUE(Accepted(spec));
  spec.argv.emplace_back("b");
  EXPECT_FALSE(Accepted(spec));
}

TEST(LauncherProtocolTest, CountsThatDoNotMatchTheFileAreRefused) {
  const SandboxSpec spec = Spec();
  for (const int difference : {-1, 1}) {
    Launch launch = LaunchOf(spec);
    launch.environment_count = static_cast<uint32_t>(static_cast<int>(launch.environment_count) + difference);
    launch = std::get<Launch>(*DecodeRequest(Encode(1, launch), 2));
    EXPECT_FALSE(ReadArguments(PackArguments(spec)->get(), launch)) << difference;
  }
}

TEST(LauncherProtocolTest, AFileThatCouldStillChangeIsRefused) {
  const Fd open(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_TRUE(WriteAll(open.get(), std::string("sh\0", 3)));
  Launch launch = LaunchOf(Spec());
  launch.argument_count = 1;
  launch.environment_count = 0;
  const Result<void> read = ReadArguments(open.get(), launch);
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().message, HasSubstr("sealed"));
}

TEST(LauncherProtocolTest, PackArgumentsTellsTheCallerWhatTheLauncherWouldRefuse) {
  SandboxSpec spec = Spec();
  spec.argv = {std::string("a\0b", 3)};
  const Result<Fd> packed = PackArguments(spec);
  ASSERT_FALSE(packed);
  EXPECT_THAT(packed.error().message, HasSubstr("NUL"));
}

TEST(LauncherProtocolTest, OpaqueDirectoriesArePlainRelativePaths) {
  for (const char* good : {"a", "usr/share/doc", "..a", "a..", ".hidden/x"})
    EXPECT_TRUE(IsPlainRelativePath(good)) << good;
  for (const char* bad : {"", "/", "/a", "a/", "a//b", ".", "./a", "..", "a/../b", "a/."})
    EXPECT_FALSE(IsPlainRelativePath(bad)) << bad;
  EXPECT_FALSE(IsPlainRelativePath(std::string_view("a\0b", 3)));
  EXPECT_FALSE(IsPlainRelativePath(std::string(kMaxPathBytes + 1, 'a')));
}

}  // namespace
}  // namespace caisson::sandbox::protocol
