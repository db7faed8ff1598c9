// SPDX-License-Identifier: Apache-2.0
// The channel's language: what the service says to the launcher and hears from it, on an inherited SEQPACKET socket.
// Every message has a fixed size that follows from its verb; strings of free length (arguments, environment, lists)
// travel beside it in one sealed memory file. Both ends use this file. Decoding treats the sender as hostile: what it
// returns is within all limits, or it fails before anything has happened. Pure functions and plain values, for any
// thread; they open nothing, and read only the memory files that they are given.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/digest.h"
#include "base/fd.h"
#include "base/result.h"
#include "sandbox/launcher_client.h"
#include "sandbox/spec.h"

namespace caisson::sandbox::protocol {

inline constexpr uint32_t kMagic = 0x4e534143;  // "CASN"
inline constexpr uint16_t kVersion = 1;         // both ends come from one build, except while the service is upgraded
inline constexpr size_t kMaxMessageBytes = 16384;
inline constexpr size_t kMaxDescriptors = 2;  // of one message; more are closed and refused

// Limits that only the channel knows.
inline constexpr uint64_t kMaxTimeoutMs = 365ULL * 24 * 3600 * 1000;
inline constexpr uint64_t kMaxGraceMs = 24ULL * 3600 * 1000;
inline constexpr uint32_t kMaxOpaqueDirectories = 16384;  // of one layer
inline constexpr size_t kMaxListBytes = 8 << 20;          // one list in a memory file
inline constexpr size_t kMaxTimings = 64;
inline constexpr size_t kMaxErrorBytes = 1024;

enum class Verb : uint16_t {
  kOpenRootfs = 1,
  kCloseRootfs,
  kLaunch,
  kStop,
  kKill,
  kList,
  kDrained,
  kStartWorker,
  kKillWorker,
  kCommitLayer,
  kDiscardWorker,
  kRemoveLayer,
  kListLayers,
  kNode,
  kShutdown,
  kReply = 100,
  kExited,
  kWorkerDone,
};

// ---- From the service -------------------------------------------------------------------------------------------
struct OpenRootfs {
  std::vector<LayerName> layers_top_first;
};
struct CloseRootfs {
  RootfsHandle rootfs;
};
struct Launch {  // descriptors: the strings, then the payload if there is one
  RootfsHandle rootfs;
  SandboxSpec spec;  // argv and env are empty until ReadArguments()
  uint32_t argument_count = 0;
  uint32_t environment_count = 0;
  bool has_payload = false;
};
struct Stop {
  SandboxHandle sandbox;
  std::chrono::milliseconds grace{0};
};
struct Kill {
  SandboxHandle sandbox;
};
struct List {};  // reply: memory file of running sandboxes
struct Drained {
  SandboxHandle sandbox;
  Stream stream = Stream::kStdout;
  uint64_t position = 0;
};
struct StartWorker {
  WorkerVerb verb = WorkerVerb::kUnpack;
  std::vector<LayerName> layers_top_first;
};  // fds: input, report
struct KillWorker {
  WorkerHandle worker;
};
struct CommitLayer {
  WorkerHandle worker;
  LayerName name;
  uint32_t opaque_count = 0;
};  // fd: the opaque directories
struct DiscardWorker {
  WorkerHandle worker;
};
struct RemoveLayer {
  LayerName name;
};
struct ListLayers {};  // reply: memory file of stored layers
struct Node {};        // reply: memory file of JSON text
struct Shutdown {};

using Request = std::variant<OpenRootfs, CloseRootfs, Launch, Stop, Kill, List, Drained, StartWorker, KillWorker,
                             CommitLayer, DiscardWorker, RemoveLayer, ListLayers, Node, Shutdown>;

std::string Encode(uint64_t request_id, const Request& request);

// ---- From the launcher ------------------------------------------------------------------------------------------
struct Reply {  // descriptors: of Launch stdout and stderr; of List, ListLayers and Node a memory file
  Result<void> result;
  uint64_t handle = 0;      // what OpenRootfs, Launch and StartWorker made
  uint32_t unenforced = 0;  // of Launch
};
struct Exited {
  SandboxHandle sandbox;
  ExitReport report;
};
struct WorkerDone {
  WorkerHandle worker;
  WorkerExit exit;
};

using Answer = std::variant<Reply, Exited, WorkerDone>;

std::string Encode(uint64_t request_id, const Answer& answer);  // events have request_id 0

// ---- Decoding ---------------------------------------------------------------------------------------------------
// What every message begins with, and whether its size is the verb's own. Without it nobody can be answered.
struct Envelope {
  Verb verb = Verb::kReply;
  uint64_t request_id = 0;
};
Result<Envelope> OpenEnvelope(std::string_view message);

// `descriptors`: how many came along; a number that does not fit the request is refused.
Result<Request> DecodeRequest(std::string_view message, size_t descriptors);
Result<Answer> DecodeAnswer(std::string_view message);

// The message's size by its verb; 0 for none of ours.
size_t MessageBytes(Verb verb);

// ---- Memory files -----------------------------------------------------------------------------------------------
// Arguments, then environment. Validates all of `spec` first, so that a caller hears of a mistake early.
Result<Fd> PackArguments(const SandboxSpec& spec);
// Fills launch.spec.argv and env from the file (seals checked, read by pread), and validates the spec that is whole
// now.
Result<void> ReadArguments(int file, Launch& launch);

Result<Fd> PackStrings(std::span<const std::string> strings);
// kInvalid unless the file holds exactly `count` strings.
Result<std::vector<std::string>> ReadStrings(int file, uint32_t count);
// Relative, made of plain names only, as a store worker reports them.
bool IsPlainRelativePath(std::string_view path);

Result<Fd> PackSandboxes(std::span<const RunningSandbox> sandboxes);
Result<std::vector<RunningSandbox>> ReadSandboxes(int file);
Result<Fd> PackLayers(std::span<const StoredLayer> layers);
Result<std::vector<StoredLayer>> ReadLayers(int file);

}  // namespace caisson::sandbox::protocol
