// SPDX-License-Identifier: Apache-2.0
#include "sandbox/protocol.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "sandbox/protocol_wire.h"

namespace caisson::sandbox::protocol {
namespace {

// ---- Pieces -----------------------------------------------------------------------------------------------------

template <typename T>
T Blank(Verb verb, uint64_t request_id) {
  T message{};
  message.header = {kMagic, kVersion, static_cast<uint16_t>(verb), request_id};
  return message;
}

template <typename T>
std::string Bytes(const T& message) {
  return {reinterpret_cast<const char*>(&message), sizeof message};
}

// The size was held against the verb's own before.
template <typename T>
T Read(std::string_view bytes) {
  CHECK(bytes.size() == sizeof(T));
  T message;
  std::memcpy(&message, bytes.data(), sizeof message);
  return message;
}

// What does not fit is cut without the NUL that the reader demands, so that it is refused there and never shortened.
template <size_t N>
void PutText(char (&to)[N], std::string_view from) {
  std::memcpy(to, from.data(), std::min(from.size(), N));
}

template <size_t N>
Result<std::string> GetText(const char (&from)[N], std::string_view what) {
  const void* end = std::memchr(from, 0, N);
  if (end == nullptr) return Fail(ErrorCode::kInvalid, "{} does not end within {} bytes", what, N);
  const size_t length = static_cast<size_t>(static_cast<const char*>(end) - from);
  if (std::any_of(from + length, from + N, [](char c) { return c != 0; }))
    return Fail(ErrorCode::kInvalid, "{} has bytes behind its end", what);
  return std::string(from, length);
}

template <typename Wire>
void PutLayers(Wire& message, const std::vector<LayerName>& layers) {
  message.layer_count = static_cast<uint32_t>(layers.size());
  for (size_t i = 0; i < std::min(layers.size(), kMaxLayers); ++i)
    std::copy(layers[i].bytes.begin(), layers[i].bytes.end(), message.layers[i]);
}

LayerName GetLayer(const uint8_t (&bytes)[32]) {
  LayerName name;
  std::copy(std::begin(bytes), std::end(bytes), name.bytes.begin());
  return name;
}

template <typename Wire>
Result<std::vector<LayerName>> GetLayers(const Wire& message, size_t least, size_t most) {
  if (message.layer_count < least || message.layer_count > most)
    return Fail(ErrorCode::kInvalid, "{} layers; allowed are {} to {}", message.layer_count, least, most);
  std::vector<LayerName> layers;
  for (size_t i = 0; i < message.layer_count; ++i) layers.push_back(GetLayer(message.layers[i]));
  return layers;
}

template <typename T>
Result<void> CheckRange(std::string_view what, T value, T least, T most) {
  if (value < least || value > most)
    return Fail(ErrorCode::kInvalid, "{} is {}; allowed are {} to {}", what, value, least, most);
  return {};
}

// ---- Launch -----------------------------------------------------------------------------------------------------

wire::Launch PutLaunch(uint64_t request_id, const Launch& launch) {
  const SandboxSpec& spec = launch.spec;
  auto message = Blank<wire::Launch>(Verb::kLaunch, request_id);
  message.rootfs = launch.rootfs.value;
  message.memory_bytes = spec.limits.memory_bytes;
  message.disk_bytes = spec.limits.disk_bytes;
  message.timeout_ms = static_cast<uint64_t>(spec.timeout.count());  // a negative one becomes too large
  message.grace_ms = static_cast<uint64_t>(spec.grace.count());
  message.argument_count = launch.argument_count;
  message.environment_count = launch.environment_count;
  message.has_payload = launch.has_payload ? 1 : 0;
  message.cpu_millis = spec.limits.cpu_millis;
  message.pids = spec.limits.pids;
  message.stop_signal = static_cast<uint32_t>(spec.stop_signal);
  message.uid = spec.uid;
  message.gid = spec.gid;
  message.group_count = static_cast<uint32_t>(spec.groups.size());
  std::copy_n(spec.groups.begin(), std::min(spec.groups.size(), kMaxGroups), message.groups);
  for (size_t i = 0; i < spec.mount_points.size(); ++i) {
    const Attributes& from = spec.mount_points[i];
    message.mount_points[i] = {from.mode, from.uid, from.gid};
  }
  PutText(message.id, spec.id);
  PutText(message.working_dir, spec.working_dir);
  return message;
}

// Field by field; whether the values make a sandbox is ValidateSpec's to say, once the arguments are there too.
Result<Launch> GetLaunch(const wire::Launch& message) {
  Launch launch;
  launch.rootfs = RootfsHandle{message.rootfs};
  launch.argument_count = message.argument_count;
  launch.environment_count = message.environment_count;
  constexpr uint32_t kMaxStrings = kMaxArgumentBytes / 8;  // 8 bytes a pointer are counted too
  TRY(CheckRange("number of arguments", message.argument_count, 1U, kMaxStrings));
  TRY(CheckRange("number of environment strings", message.environment_count, 0U, kMaxStrings));
  TRY(CheckRange("payload flag", message.has_payload, 0U, 1U));
  launch.has_payload = message.has_payload == 1;
  SandboxSpec& spec = launch.spec;
  spec.id = TRY(GetText(message.id, "sandbox id"));
  spec.working_dir = TRY(GetText(message.working_dir, "working directory"));
  spec.uid = message.uid;
  spec.gid = message.gid;
  TRY(CheckRange<uint32_t>("number of groups", message.group_count, 0, kMaxGroups));
  spec.groups.assign(message.groups, message.groups + message.group_count);
  TRY(CheckRange("stop signal", message.stop_signal, 1U, 64U));
  spec.stop_signal = static_cast<int>(message.stop_signal);
  spec.limits = {message.cpu_millis, message.memory_bytes, message.pids, message.disk_bytes};
  TRY(CheckRange<uint64_t>("timeout in ms", message.timeout_ms, 0, kMaxTimeoutMs));
  TRY(CheckRange<uint64_t>("grace in ms", message.grace_ms, 0, kMaxGraceMs));
  spec.timeout = std::chrono::milliseconds(message.timeout_ms);
  spec.grace = std::chrono::milliseconds(message.grace_ms);
  for (size_t i = 0; i < spec.mount_points.size(); ++i) {
    const wire::Attributes& from = message.mount_points[i];
    spec.mount_points[i] = {from.mode, from.uid, from.gid};
  }
  return launch;
}

// ---- Store ------------------------------------------------------------------------------------------------------

Result<StartWorker> GetStartWorker(const wire::StartWorker& message) {
  TRY(CheckRange("worker verb", message.verb, 1U, 5U));
  StartWorker start;
  start.verb = static_cast<WorkerVerb>(message.verb);
  const bool merges = start.verb == WorkerVerb::kMerge || start.verb == WorkerVerb::kExport;
  const size_t least = start.verb == WorkerVerb::kUnpack ? 0 : 1;
  const size_t most = merges ? kMaxLayers : least;
  start.layers_top_first = TRY(GetLayers(message, least, most));
  return start;
}

Result<CommitLayer> GetCommitLayer(const wire::CommitLayer& message) {
  TRY(CheckRange<uint64_t>("number of opaque directories", message.opaque_count, 0, kMaxOpaqueDirectories));
  return CommitLayer{WorkerHandle{message.worker}, GetLayer(message.name), static_cast<uint32_t>(message.opaque_count)};
}

Result<Stop> GetStop(const wire::Stop& message) {
  TRY(CheckRange<uint64_t>("grace in ms", message.grace_ms, 0, kMaxGraceMs));
  return Stop{SandboxHandle{message.sandbox}, std::chrono::milliseconds(message.grace_ms)};
}

Result<Drained> GetDrained(const wire::Drained& message) {
  TRY(CheckRange<uint64_t>("stream", message.stream, 1, 2));
  return Drained{SandboxHandle{message.sandbox}, static_cast<Stream>(message.stream), message.position};
}

// ---- Encode, one function a request -----------------------------------------------------------------------------

struct Encoder {
  uint64_t id;

  std::string operator()(const OpenRootfs& request) const {
    auto message = Blank<wire::OpenRootfs>(Verb::kOpenRootfs, id);
    PutLayers(message, request.layers_top_first);
    return Bytes(message);
  }
  std::string operator()(const CloseRootfs& request) const { return Handle(Verb::kCloseRootfs, request.rootfs.value); }
  std::string operator()(const Launch& request) const { return Bytes(PutLaunch(id, request)); }
  std::string operator()(const Stop& request) const {
    auto message = Blank<wire::Stop>(Verb::kStop, id);
    message.sandbox = request.sandbox.value;
    message.grace_ms = static_cast<uint64_t>(request.grace.count());
    return Bytes(message);
  }
  std::string operator()(const Kill& request) const { return Handle(Verb::kKill, request.sandbox.value); }
  std::string operator()(const List&) const { return Nothing(Verb::kList); }
  std::string operator()(const Drained& request) const {
    auto message = Blank<wire::Drained>(Verb::kDrained, id);
    message.sandbox = request.sandbox.value;
    message.position = request.position;
    message.stream = static_cast<uint64_t>(request.stream);
    return Bytes(message);
  }
  std::string operator()(const StartWorker& request) const {
    auto message = Blank<wire::StartWorker>(Verb::kStartWorker, id);
    message.verb = static_cast<uint32_t>(request.verb);
    PutLayers(message, request.layers_top_first);
    return Bytes(message);
  }
  std::string operator()(const KillWorker& request) const { return Handle(Verb::kKillWorker, request.worker.value); }
  std::string operator()(const CommitLayer& request) const {
    auto message = Blank<wire::CommitLayer>(Verb::kCommitLayer, id);
    message.worker = request.worker.value;
    message.opaque_count = request.opaque_count;
    std::copy(request.name.bytes.begin(), request.name.bytes.end(), message.name);
    return Bytes(message);
  }
  std::string operator()(const DiscardWorker& request) const {
    return Handle(Verb::kDiscardWorker, request.worker.value);
  }
  std::string operator()(const RemoveLayer& request) const {
    auto message = Blank<wire::RemoveLayer>(Verb::kRemoveLayer, id);
    std::copy(request.name.bytes.begin(), request.name.bytes.end(), message.name);
    return Bytes(message);
  }
  std::string operator()(const ListLayers&) const { return Nothing(Verb::kListLayers); }
  std::string operator()(const Node&) const { return Nothing(Verb::kNode); }
  std::string operator()(const Shutdown&) const { return Nothing(Verb::kShutdown); }

 private:
  std::string Nothing(Verb verb) const { return Bytes(Blank<wire::Nothing>(verb, id)); }
  std::string Handle(Verb verb, uint64_t handle) const {
    auto message = Blank<wire::OneHandle>(verb, id);
    message.handle = handle;
    return Bytes(message);
  }
};

}  // namespace

std::string Encode(uint64_t request_id, const Request& request) { return std::visit(Encoder{request_id}, request); }

// ---- Decode -----------------------------------------------------------------------------------------------------

size_t MessageBytes(Verb verb) {
  switch (verb) {
    case Verb::kOpenRootfs: return sizeof(wire::OpenRootfs);
    case Verb::kLaunch: return sizeof(wire::Launch);
    case Verb::kStop: return sizeof(wire::Stop);
    case Verb::kDrained: return sizeof(wire::Drained);
    case Verb::kStartWorker: return sizeof(wire::StartWorker);
    case Verb::kCommitLayer: return sizeof(wire::CommitLayer);
    case Verb::kRemoveLayer: return sizeof(wire::RemoveLayer);
    case Verb::kCloseRootfs:
    case Verb::kKill:
    case Verb::kKillWorker:
    case Verb::kDiscardWorker: return sizeof(wire::OneHandle);
    case Verb::kList:
    case Verb::kListLayers:
    case Verb::kNode:
    case Verb::kShutdown: return sizeof(wire::Nothing);
    case Verb::kReply: return sizeof(wire::Reply);
    case Verb::kExited: return sizeof(wire::Exited);
    case Verb::kWorkerDone: return sizeof(wire::WorkerDone);
  }
  return 0;
}

Result<Envelope> OpenEnvelope(std::string_view message) {
  if (message.size() < sizeof(wire::Header))
    return Fail(ErrorCode::kInvalid, "{} bytes are no message", message.size());
  const auto header = Read<wire::Header>(message.substr(0, sizeof(wire::Header)));
  if (header.magic != kMagic) return Fail(ErrorCode::kInvalid, "not a message of Caisson");
  if (header.version != kVersion)
    return Fail(ErrorCode::kInvalid, "protocol version {} instead of {}: launcher and service are of different builds",
                header.version, kVersion);
  const size_t expected = MessageBytes(static_cast<Verb>(header.verb));
  if (expected == 0) return Fail(ErrorCode::kInvalid, "verb {} is unknown", header.verb);
  if (message.size() != expected)
    return Fail(ErrorCode::kInvalid, "message of verb {} has {} bytes instead of {}", header.verb, message.size(),
                expected);
  return Envelope{static_cast<Verb>(header.verb), header.request_id};
}

namespace {

Result<Request> DecodeBody(Verb verb, std::string_view bytes) {
  switch (verb) {
    case Verb::kOpenRootfs: return OpenRootfs{TRY(GetLayers(Read<wire::OpenRootfs>(bytes), 1, kMaxLayers))};
    case Verb::kCloseRootfs: return CloseRootfs{RootfsHandle{Read<wire::OneHandle>(bytes).handle}};
    case Verb::kLaunch: return TRY(GetLaunch(Read<wire::Launch>(bytes)));
    case Verb::kStop: return TRY(GetStop(Read<wire::Stop>(bytes)));
    case Verb::kKill: return Kill{SandboxHandle{Read<wire::OneHandle>(bytes).handle}};
    case Verb::kList: return List{};
    case Verb::kDrained: return TRY(GetDrained(Read<wire::Drained>(bytes)));
    case Verb::kStartWorker: return TRY(GetStartWorker(Read<wire::StartWorker>(bytes)));
    case Verb::kKillWorker: return KillWorker{WorkerHandle{Read<wire::OneHandle>(bytes).handle}};
    case Verb::kCommitLayer: return TRY(GetCommitLayer(Read<wire::CommitLayer>(bytes)));
    case Verb::kDiscardWorker: return DiscardWorker{WorkerHandle{Read<wire::OneHandle>(bytes).handle}};
    case Verb::kRemoveLayer: return RemoveLayer{GetLayer(Read<wire::RemoveLayer>(bytes).name)};
    case Verb::kListLayers: return ListLayers{};
    case Verb::kNode: return Node{};
    case Verb::kShutdown: return Shutdown{};
    case Verb::kReply:
    case Verb::kExited:
    case Verb::kWorkerDone: break;
  }
  return Fail(ErrorCode::kInvalid, "not a request");
}

size_t DescriptorsOf(const Request& request) {
  if (const auto* launch = std::get_if<Launch>(&request)) return launch->has_payload ? 2 : 1;
  if (std::holds_alternative<StartWorker>(request)) return 2;
  return std::holds_alternative<CommitLayer>(request) ? 1 : 0;
}

}  // namespace

Result<Request> DecodeRequest(std::string_view message, size_t descriptors) {
  const Envelope envelope = TRY(OpenEnvelope(message));
  Request request = TRY(DecodeBody(envelope.verb, message));
  if (descriptors != DescriptorsOf(request))
    return Fail(ErrorCode::kInvalid, "{} descriptors came instead of {}", descriptors, DescriptorsOf(request));
  return request;
}

// ---- Answers ----------------------------------------------------------------------------------------------------

namespace {

wire::Measured PutMeasured(const std::optional<uint64_t>& value) { return {value ? 1U : 0U, value.value_or(0)}; }
std::optional<uint64_t> GetMeasured(const wire::Measured& from) {
  return from.known != 0 ? std::optional(from.value) : std::nullopt;
}

// Names of steps are ours and may be cut; they still need their NUL.
template <size_t N>
void PutName(char (&to)[N], std::string_view from) {
  PutText(to, from.substr(0, N - 1));
}

std::string EncodeReply(uint64_t id, const Reply& reply) {
  auto message = Blank<wire::Reply>(Verb::kReply, id);
  message.handle = reply.handle;
  message.unenforced = reply.unenforced;
  if (!reply.result) {
    const Error& error = reply.result.error();
    message.failed = 1;
    message.code = static_cast<uint32_t>(error.code);
    message.sys_errno = error.sys_errno;
    message.message_bytes = static_cast<uint32_t>(std::min(error.message.size(), kMaxErrorBytes));
    std::memcpy(message.message, error.message.data(), message.message_bytes);
  }
  return Bytes(message);
}

Result<Reply> DecodeReply(const wire::Reply& message) {
  Reply reply;
  reply.handle = message.handle;
  reply.unenforced = message.unenforced;
  if (message.failed == 0) return reply;
  TRY(CheckRange("error code", message.code, 0U, static_cast<uint32_t>(ErrorCode::kTimedOut)));
  TRY(CheckRange<uint32_t>("length of an error's text", message.message_bytes, 0, kMaxErrorBytes));
  reply.result = tl::unexpected(Error{static_cast<ErrorCode>(message.code),
                                      std::string(message.message, message.message_bytes), message.sys_errno});
  return reply;
}

std::string EncodeExited(uint64_t id, const Exited& event) {
  const ExitReport& report = event.report;
  auto message = Blank<wire::Exited>(Verb::kExited, id);
  message.sandbox = event.sandbox.value;
  message.kind = static_cast<uint32_t>(report.kind);
  message.status = report.status;
  message.timed_out = report.timed_out;
  message.stopped = report.stopped;
  message.oom = report.oom;
  message.disk_full = report.disk_full;
  message.foreign_abi = report.foreign_abi;
  message.cpu_micros = PutMeasured(report.usage.cpu_micros);
  message.memory_peak_bytes = PutMeasured(report.usage.memory_peak_bytes);
  message.pids_peak = PutMeasured(report.usage.pids_peak);
  PutName(message.step, report.step);
  message.timing_count = std::min(report.timings.size(), kMaxTimings);
  for (size_t i = 0; i < message.timing_count; ++i) {
    PutName(message.timings[i].step, report.timings[i].step);
    message.timings[i].micros = report.timings[i].micros;
  }
  return Bytes(message);
}

Result<Exited> DecodeExited(const wire::Exited& message) {
  Exited event;
  event.sandbox = SandboxHandle{message.sandbox};
  ExitReport& report = event.report;
  TRY(CheckRange("kind of exit", message.kind, 0U, static_cast<uint32_t>(ExitReport::Kind::kKilled)));
  report.kind = static_cast<ExitReport::Kind>(message.kind);
  report.status = message.status;
  report.timed_out = message.timed_out != 0;
  report.stopped = message.stopped != 0;
  report.oom = message.oom != 0;
  report.disk_full = message.disk_full != 0;
  report.foreign_abi = message.foreign_abi != 0;
  report.usage = {GetMeasured(message.cpu_micros), GetMeasured(message.memory_peak_bytes),
                  GetMeasured(message.pids_peak)};
  report.step = TRY(GetText(message.step, "step"));
  TRY(CheckRange<uint64_t>("number of timings", message.timing_count, 0, kMaxTimings));
  for (size_t i = 0; i < message.timing_count; ++i)
    report.timings.push_back({TRY(GetText(message.timings[i].step, "timing")), message.timings[i].micros});
  return event;
}

std::string EncodeWorkerDone(uint64_t id, const WorkerDone& event) {
  auto message = Blank<wire::WorkerDone>(Verb::kWorkerDone, id);
  message.worker = event.worker.value;
  message.wait_status = event.exit.wait_status;
  message.timed_out = event.exit.timed_out ? 1 : 0;
  return Bytes(message);
}

}  // namespace

std::string Encode(uint64_t request_id, const Answer& answer) {
  if (const auto* reply = std::get_if<Reply>(&answer)) return EncodeReply(request_id, *reply);
  if (const auto* exited = std::get_if<Exited>(&answer)) return EncodeExited(request_id, *exited);
  return EncodeWorkerDone(request_id, std::get<WorkerDone>(answer));
}

Result<Answer> DecodeAnswer(std::string_view message) {
  const Envelope envelope = TRY(OpenEnvelope(message));
  switch (envelope.verb) {
    case Verb::kReply: return TRY(DecodeReply(Read<wire::Reply>(message)));
    case Verb::kExited: return TRY(DecodeExited(Read<wire::Exited>(message)));
    case Verb::kWorkerDone: {
      const auto done = Read<wire::WorkerDone>(message);
      return WorkerDone{WorkerHandle{done.worker}, WorkerExit{done.wait_status, done.timed_out != 0}};
    }
    default: return Fail(ErrorCode::kInvalid, "not an answer");
  }
}

}  // namespace caisson::sandbox::protocol
