// SPDX-License-Identifier: Apache-2.0
#include "api/job_request.h"

#include <algorithm>
#include <cmath>

#include "api/fields.h"
#include "api/image_request.h"
#include "base/encoding.h"

namespace caisson::api {
namespace {

constexpr StringRule kArgument{kMaxStringBytes, /*may_be_empty=*/true};

// A JobRequest while its members are read: what a rule needs that looks at more than one of them.
struct Draft {
  JobRequest request;
  std::string image;
  bool has_image = false;
  bool has_payload_text = false;
  bool has_payload_base64 = false;
  bool has_disk = false;
};

bool IsAlphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

// [A-Za-z_][A-Za-z0-9_]*: what every shell can name; "=", NUL or newline in a name would forge another variable.
bool IsVariableName(std::string_view name) {
  return !name.empty() && !(name[0] >= '0' && name[0] <= '9') &&
         std::all_of(name.begin(), name.end(), [](char c) { return IsAlphanumeric(c) || c == '_'; });
}

bool IsLabelName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxLabelNameBytes && IsAlphanumeric(name[0]) &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return IsAlphanumeric(c) || c == '-' || c == '_' || c == '.' || c == '/'; });
}

void ReadImage(const Json& json, const std::string& pointer, Draft& draft, FieldErrors& errors) {
  draft.has_image = true;
  if (auto text = ReadString(json, pointer, {512, false, true}, errors)) draft.image = std::move(*text);
}

void ReadPull(const Json& json, const std::string& pointer, Draft& draft, FieldErrors& errors) {
  const std::string* text = json.AsString();
  if (!text || !ParsePullPolicy(*text)) return errors.Add(pointer, fmt::format("must be one of {}", kPullPolicies));
  draft.request.spec.pull_policy = *text;
}

void ReadCommand(const Json& json, const std::string& pointer, Draft& draft, FieldErrors& errors) {
  draft.request.spec.command = ReadStrings(json, pointer, kArgument, errors);
}

void ReadEntrypoint(const Json& json, const std::string& pointer, Draft& draft, FieldErrors& errors) {
  auto words = ReadStrings(json, pointer, kArgument, errors);
  if (words && !words->empty() && words->front().empty())
    return errors.Add(JsonPointer(pointer, "0"), "must not be empty: it names the program");
  draft.request.spec.entrypoint = std::move(words);
}

void ReadEnv(const Json& json, const std::string& pointer, Draft& draft, FieldErrors& errors) {
  const Json::Object* object = json.AsObject();
  if (!object) return errors.Add(pointer, "must be an object of names and string values");
  for (const auto& [name, value] : *object) {
    if (errors.full()) return;
    const std::string place = JsonPointer(pointer, name);
    if (!IsVariableName(name)) {
      errors.Add(place, "a variable's name has letters, digits and _ and does not begin with a digit");
    } else if (name.size() + 1 >= kMaxStringBytes) {
      errors.Add(place, fmt::format("name and value are longer than {} bytes", kMaxStringBytes));
    } else if (auto text = ReadString(value, place, {kMaxStringBytes - name.size() - 1, true}, errors)) {
      draft.request.spec.env.emplace_back(name, std::move(*text));
    }
  }
}

void ReadWorkingDir(const Json& json, const std::string& pointer, Draft& draft, FieldErrors& errors) {
  auto text = ReadString(json, pointer, {kMaxPathBytes}, errors);
  if (!text) return;
  if (text->front() != '/') return errors.Add(pointer, "must be an absolute path");
  draft.request.spec.working_dir = std::move(*text);
}

void ReadUser(const Json& json, const std::string& pointer, Draft& draft, FieldErrors& errors) {
  auto text = ReadString(json, pointer, {kMaxUserBytes, false, true}, errors);
  if (!text) return;
  if (std::count(text->begin(), text->end(), ':') > 1 || text->front() == ':' || text->back() == ':')
    return errors.Add(pointer, "must be USER or USER:GROUP, names or numbers");
  draft.request.spec.user = std::move(*text);
}

void ReadPayload(const Json& json, const std::string& pointer, Draft& draft, FieldErrors& errors) {
  draft.has_payload_text = true;
  const std::string* text = json.AsString();
  if (!text) return errors.Add(pointer, "must be a string; other bytes go into payload_base64");
  draft.request.payload = *text;
}

void ReadPayloadBase64(const Json& json, const std::string& pointer, Draft& draft, FieldErrors& errors) {
  draft.has_payload_base64 = true;
  const std::string* text = json.AsString();
  if (!text) return errors.Add(pointer, "must be a string");
  std::optional<std::string> bytes = Base64Decode(*text);
  if (!bytes) return errors.Add(pointer, "is not base64 (RFC 4648 with padding, no line breaks)");
  draft.request.payload = std::move(bytes);
}

// A member that is one bounded integer.
template <uint32_t queue::JobSpec::*kMember, int64_t kLeast, int64_t kGreatest>
void ReadSpecInteger(const Json& json, const std::string& pointer, Draft& draft, FieldErrors& errors) {
  if (const auto value = ReadInteger(json, pointer, kLeast, kGreatest, errors))
    draft.request.spec.*kMember = static_cast<uint32_t>(*value);
}

void ReadCpu(const Json& json, const std::string& pointer, Draft& draft, FieldErrors& errors) {
  if (const auto cores = ReadNumber(json, pointer, kMinCpu, kMaxCpu, errors))
    draft.request.spec.resources.cpu_millis = static_cast<uint32_t>(std::lround(*cores * 1000));
}

void ReadMemory(const Json& json, const std::string& pointer, Draft& draft, FieldErrors& errors) {
  if (const auto bytes = ReadInteger(json, pointer, kMinMemoryBytes, kMaxMemoryBytes, errors))
    draft.request.spec.resources.memory_bytes = static_cast<uint64_t>(*bytes);
}

void ReadPids(const Json& json, const std::string& pointer, Draft& draft, FieldErrors& errors) {
  if (const auto count = ReadInteger(json, pointer, 1, kMaxPids, errors))
    draft.request.spec.resources.pids = static_cast<uint32_t>(*count);
}

void ReadDisk(const Json& json, const std::string& pointer, Draft& draft, FieldErrors& errors) {
  const auto bytes = ReadInteger(json, pointer, kMinDiskBytes, kMaxMemoryBytes, errors);
  if (!bytes) return;
  draft.has_disk = true;
  draft.request.spec.resources.disk_bytes = static_cast<uint64_t>(*bytes);
}

void ReadResources(const Json& json, const std::string& pointer, Draft& draft, FieldErrors& errors) {
  static constexpr Field<Draft> kFields[] = {
      {"cpu", ReadCpu}, {"memory_bytes", ReadMemory}, {"pids", ReadPids}, {"disk_bytes", ReadDisk}};
  ReadObject(json, pointer, kFields, draft, errors);
}

void ReadLabels(const Json& json, const std::string& pointer, Draft& draft, FieldErrors& errors) {
  const Json::Object* object = json.AsObject();
  if (!object) return errors.Add(pointer, "must be an object of names and string values");
  if (object->size() > kMaxLabels) return errors.Add(pointer, fmt::format("has more than {} labels", kMaxLabels));
  for (const auto& [name, value] : *object) {
    const std::string place = JsonPointer(pointer, name);
    if (!IsLabelName(name)) {
      errors.Add(place,
                 fmt::format("a label's name has 1 to {} letters, digits, - _ . / and begins with a letter or digit",
                             kMaxLabelNameBytes));
    } else if (auto text = ReadString(value, place, {kMaxLabelValueBytes, true, true}, errors)) {
      draft.request.spec.labels.emplace_back(name, std::move(*text));
    }
  }
}

using Spec = queue::JobSpec;
constexpr Field<Draft> kJobFields[] = {
    {"image", ReadImage},
    {"pull", ReadPull},
    {"command", ReadCommand},
    {"entrypoint", ReadEntrypoint},
    {"env", ReadEnv},
    {"working_dir", ReadWorkingDir},
    {"user", ReadUser},
    {"payload", ReadPayload},
    {"payload_base64", ReadPayloadBase64},
    {"timeout_seconds", ReadSpecInteger<&Spec::timeout_seconds, 1, kMaxTimeoutSeconds>},
    {"max_attempts", ReadSpecInteger<&Spec::max_attempts, 1, kMaxAttempts>},
    {"retry_delay_seconds", ReadSpecInteger<&Spec::retry_delay_seconds, 0, kMaxRetryDelaySeconds>},
    {"resources", ReadResources},
    {"labels", ReadLabels},
};

// argv and environment as the kernel counts them.
size_t ArgumentBytes(const queue::JobSpec& spec) {
  size_t bytes = 0;
  for (const auto* words : {&spec.entrypoint, &spec.command})
    if (*words)
      for (const std::string& word : **words) bytes += word.size() + 1 + sizeof(char*);
  for (const auto& [name, value] : spec.env) bytes += name.size() + value.size() + 2 + sizeof(char*);
  return bytes;
}

// The rules that need more than one member, once each has been read.
void CheckTogether(Draft& draft, const ReferenceCheck& reference, FieldErrors& errors) {
  queue::JobSpec& spec = draft.request.spec;
  if (!draft.has_image) errors.Add("/image", "is missing");
  if (!draft.image.empty()) {
    Result<std::string> normal = reference(draft.image);
    if (normal) {
      spec.image = *std::move(normal);
    } else {
      errors.Add("/image", normal.error().message);
    }
  }
  if (draft.has_payload_text && draft.has_payload_base64)
    errors.Add("/payload_base64", "cannot stand beside payload: a job has one payload");
  spec.has_payload = draft.request.payload.has_value();
  if (ArgumentBytes(spec) > kMaxArgumentBytes)
    errors.Add("/command",
               fmt::format("command, entrypoint and env are together larger than {} bytes", kMaxArgumentBytes));
  if (spec.entrypoint && spec.entrypoint->empty() && spec.command &&
      (spec.command->empty() || spec.command->front().empty()))
    errors.Add("/command", "must name a program, since entrypoint is empty");

  queue::Resources& resources = spec.resources;
  if (!draft.has_disk) {
    resources.disk_bytes = std::min<uint64_t>(256ULL << 20, resources.memory_bytes / 2);
  } else if (resources.disk_bytes > resources.memory_bytes) {
    errors.Add("/resources/disk_bytes",
               fmt::format("must not be above memory_bytes ({}): scratch space is memory", resources.memory_bytes));
  }
}

}  // namespace

tl::expected<JobRequest, std::vector<FieldError>> ParseJobRequest(const Json& body, const ReferenceCheck& reference) {
  Draft draft;
  FieldErrors errors;
  ReadObject(body, "", kJobFields, draft, errors);
  if (body.AsObject()) CheckTogether(draft, reference, errors);
  if (!errors.empty()) return tl::unexpected(std::move(errors).Take());
  return std::move(draft.request);
}

tl::expected<CancelRequest, std::vector<FieldError>> ParseCancelRequest(const Json& body) {
  static constexpr Field<CancelRequest> kFields[] = {
      {"grace_seconds", [](const Json& json, const std::string& pointer, CancelRequest& request, FieldErrors& errors) {
         if (const auto value = ReadInteger(json, pointer, 0, kMaxGraceSeconds, errors))
           request.grace_seconds = static_cast<uint32_t>(*value);
       }}};
  CancelRequest request;
  FieldErrors errors;
  ReadObject(body, "", kFields, request, errors);
  if (!errors.empty()) return tl::unexpected(std::move(errors).Take());
  return request;
}

tl::expected<TokenRequest, std::vector<FieldError>> ParseTokenRequest(const Json& body) {
  static constexpr Field<TokenRequest> kFields[] = {
      {"tenant", [](const Json& json, const std::string& pointer, TokenRequest& request, FieldErrors& errors) {
         if (auto text = ReadString(json, pointer, {63, false, true}, errors)) request.tenant = std::move(*text);
       }}};
  TokenRequest request;
  FieldErrors errors;
  ReadObject(body, "", kFields, request, errors);
  if (!errors.empty()) return tl::unexpected(std::move(errors).Take());
  return request;
}

}  // namespace caisson::api
