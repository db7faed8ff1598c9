// SPDX-License-Identifier: Apache-2.0
#include "executor/sandbox_plan.h"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstring>
#include <map>

#include "base/encoding.h"
#include "image/resolve_user.h"
#include "sandbox/validate.h"

namespace caisson::executor {
namespace {

using queue::Outcome;
using queue::Reason;

constexpr std::string_view kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr std::string_view kPayloadFile = "/run/caisson/payload";  // where the launcher puts it
constexpr std::string_view kReserved[] = {"CAISSON_JOB_ID", "CAISSON_ATTEMPT", "CAISSON_FENCE", "CAISSON_PAYLOAD_FILE"};
constexpr int kFirstRealtimeSignal = 34;  // as C libraries count: the first two are their own
constexpr int kLastRealtimeSignal = 64;

template <typename... Args>
tl::unexpected<Outcome> Refuse(Reason reason, fmt::format_string<Args...> format, Args&&... args) {
  Outcome outcome;
  outcome.reason = reason;
  outcome.message = fmt::format(format, std::forward<Args>(args)...);
  return tl::unexpected(std::move(outcome));
}

// ---- Environment ------------------------------------------------------------------------------------------------

bool IsVariableName(std::string_view name) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !name.empty() && is_letter(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); });
}

bool IsReserved(std::string_view name) {
  return std::find(std::begin(kReserved), std::end(kReserved), name) != std::end(kReserved);
}

// Variables in the order of their first appearance; a later value wins.
class Environment {
 public:
  void Set(std::string_view name, std::string_view value) {
    const auto [entry, is_new] = places_.try_emplace(std::string(name), variables_.size());
    if (is_new) variables_.emplace_back();
    variables_[entry->second] = fmt::format("{}={}", name, value);
  }
  size_t bytes() const {
    size_t total = 0;
    for (const std::string& variable : variables_) total += variable.size() + 1;
    return total;
  }
  std::vector<std::string> Take() && { return std::move(variables_); }

 private:
  std::map<std::string, size_t> places_;
  std::vector<std::string> variables_;
};

// An image may carry anything here: what is no variable is left out, and an empty PATH would find no command.
void AddImageVariables(Environment& environment, const std::vector<std::string>& entries) {
  for (const std::string& entry : entries) {
    const size_t equals = entry.find('=');
    if (equals == std::string::npos) continue;
    const std::string_view name = std::string_view(entry).substr(0, equals);
    const std::string_view value = std::string_view(entry).substr(equals + 1);
    if (!IsVariableName(name) || IsReserved(name) || value.find('\0') != std::string_view::npos) continue;
    if (name == "PATH" && value.empty()) continue;
    environment.Set(name, value);
  }
}

tl::expected<std::vector<std::string>, Outcome> BuildEnvironment(const queue::Claim& claim,
                                                                 const image::ImageRecord& image,
                                                                 const std::string& home) {
  Environment environment;
  environment.Set("PATH", kDefaultPath);
  environment.Set("HOME", home);
  environment.Set("HOSTNAME", claim.id.value);
  AddImageVariables(environment, image.config.env);
  if (environment.bytes() > kMaxEnvironmentBytes) {
    return Refuse(Reason::kImageError, "the image's environment has more than {} bytes", kMaxEnvironmentBytes);
  }
  for (const auto& [name, value] : claim.spec.env) {
    if (!IsVariableName(name) || value.find('\0') != std::string::npos) {
      return Refuse(Reason::kSetupError, "env: \"{}\" is not a variable that a program can be given",
                    EscapeForLog(name, 64));
    }
    if (!IsReserved(name)) environment.Set(name, value);
  }
  environment.Set("CAISSON_JOB_ID", claim.id.value);
  environment.Set("CAISSON_ATTEMPT", std::to_string(claim.attempt));
  environment.Set("CAISSON_FENCE", std::to_string(claim.fence));
  if (claim.spec.has_payload) environment.Set("CAISSON_PAYLOAD_FILE", kPayloadFile);
  if (environment.bytes() > kMaxEnvironmentBytes) {
    return Refuse(Reason::kSetupError, "the environment of image and job has more than {} bytes", kMaxEnvironmentBytes);
  }
  return std::move(environment).Take();
}

// ---- Command, directory, user -----------------------------------------------------------------------------------

tl::expected<std::vector<std::string>, Outcome> BuildCommand(const queue::JobSpec& spec,
                                                             const image::ImageConfig& config) {
  std::vector<std::string> argv = spec.entrypoint ? *spec.entrypoint : config.entrypoint;
  const std::vector<std::string> nothing;
  const std::vector<std::string>& image_command = spec.entrypoint ? nothing : config.command;
  const std::vector<std::string>& command = spec.command ? *spec.command : image_command;
  argv.insert(argv.end(), command.begin(), command.end());
  if (argv.empty()) return Refuse(Reason::kImageError, "the image has no ENTRYPOINT and no CMD: give a command");
  if (argv[0].empty()) {
    return Refuse(spec.entrypoint || spec.command ? Reason::kSetupError : Reason::kImageError,
                  "the command's name is empty");
  }
  return argv;
}

// The path's components without "" and ".".
std::vector<std::string_view> ComponentsOf(std::string_view path) {
  std::vector<std::string_view> components;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view component = path.substr(begin, end - begin);
    if (!component.empty() && component != ".") components.push_back(component);
    begin = end + 1;
  }
  return components;
}

tl::expected<std::string, Outcome> ChooseDirectory(const queue::JobSpec& spec, const image::ImageConfig& config) {
  const bool is_jobs = !spec.working_dir.empty();
  const std::string& path = is_jobs ? spec.working_dir : config.working_dir;
  if (path.empty()) return std::string("/");
  const Reason reason = is_jobs ? Reason::kSetupError : Reason::kImageError;
  const std::string name =
      fmt::format("{} \"{}\"", is_jobs ? "working_dir" : "the image's WORKDIR", EscapeForLog(path, 80));
  if (path[0] != '/') return Refuse(reason, "{} is not an absolute path", name);
  if (path.size() > sandbox::kMaxPathBytes || path.find('\0') != std::string::npos) {
    return Refuse(reason, "{} is not a path that can exist", name);
  }
  const std::vector<std::string_view> components = ComponentsOf(path);
  if (std::find(components.begin(), components.end(), "..") != components.end()) {
    return Refuse(reason, "{} has \"..\" in it", name);
  }
  // /proc/self/fd/N is the classic way out of a sandbox: a directory of the host that somebody left open.
  if (!components.empty() && components[0] == "proc") return Refuse(reason, "{} is in /proc", name);
  return path;
}

tl::expected<image::ResolvedUser, Outcome> ChooseUser(const queue::JobSpec& spec, const image::ImageRecord& image) {
  const bool is_jobs = !spec.user.empty();
  auto user = image::ResolveUser(is_jobs ? spec.user : image.config.user, image.passwd, image.group);
  if (user) return *user;
  return Refuse(Reason::kImageError, "{}: {}", is_jobs ? "user" : "the image's USER", user.error().message);
}

// What is no number of an id inside keeps the default.
sandbox::MountPointAttributes MountPointsOf(const image::ImageRecord& image) {
  sandbox::MountPointAttributes attributes = sandbox::DefaultMountPointAttributes();
  for (size_t i = 0; i < attributes.size(); ++i) {
    const auto found = image.directories.find(sandbox::MountPointPath(static_cast<sandbox::MountPoint>(i)));
    if (found == image.directories.end()) continue;
    const image::PathAttributes& from = found->second;
    if (from.uid > sandbox::kMaxId || from.gid > sandbox::kMaxId) continue;
    attributes[i] = {.mode = from.mode & 07777, .uid = from.uid, .gid = from.gid};
  }
  return attributes;
}

std::optional<int> NumberIn(std::string_view text, int low, int high) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < low || number > high) return std::nullopt;
  return number;
}

std::optional<int> SignalByName(std::string_view name) {
  if (name.starts_with("SIG")) name.remove_prefix(3);
  const int span = kLastRealtimeSignal - kFirstRealtimeSignal;
  if (name == "RTMIN") return kFirstRealtimeSignal;
  if (name == "RTMAX") return kLastRealtimeSignal;
  if (name.starts_with("RTMIN+")) {
    const auto offset = NumberIn(name.substr(6), 0, span);
    return offset ? std::optional(kFirstRealtimeSignal + *offset) : std::nullopt;
  }
  if (name.starts_with("RTMAX-")) {
    const auto offset = NumberIn(name.substr(6), 0, span);
    return offset ? std::optional(kLastRealtimeSignal - *offset) : std::nullopt;
  }
  for (int number = 1; number < 32; ++number) {
    const char* abbreviation = ::sigabbrev_np(number);
    if (abbreviation && name == abbreviation) return number;
  }
  return std::nullopt;
}

}  // namespace

int StopSignalOf(std::string_view text) {
  std::optional<int> number = NumberIn(text, 1, kLastRealtimeSignal);
  if (!number) number = SignalByName(text);
  // Those that stop a program for a while, or go on with one, would only use up the grace.
  if (!number || *number == SIGSTOP || *number == SIGTSTP || *number == SIGCONT || *number == SIGCHLD) return SIGTERM;
  return *number;
}

Plan BuildSandboxSpec(const queue::Claim& claim, const image::ImageRecord& image) {
  sandbox::SandboxSpec plan;
  plan.id = claim.id.value;
  auto argv = BuildCommand(claim.spec, image.config);
  if (!argv) return tl::unexpected(argv.error());
  plan.argv = std::move(*argv);
  auto working_dir = ChooseDirectory(claim.spec, image.config);
  if (!working_dir) return tl::unexpected(working_dir.error());
  plan.working_dir = std::move(*working_dir);
  auto user = ChooseUser(claim.spec, image);
  if (!user) return tl::unexpected(user.error());
  plan.uid = user->uid;
  plan.gid = user->gid;
  plan.groups = std::move(user->groups);
  auto env = BuildEnvironment(claim, image, user->home);
  if (!env) return tl::unexpected(env.error());
  plan.env = std::move(*env);
  plan.stop_signal = StopSignalOf(image.config.stop_signal);
  const queue::Resources& resources = claim.spec.resources;
  plan.limits = {.cpu_millis = resources.cpu_millis,
                 .memory_bytes = resources.memory_bytes,
                 .pids = resources.pids,
                 .disk_bytes = resources.disk_bytes};
  plan.timeout = std::chrono::seconds(claim.spec.timeout_seconds);
  plan.grace = std::chrono::seconds(claim.spec.grace_seconds);
  plan.mount_points = MountPointsOf(image);
  if (auto valid = sandbox::ValidateSpec(plan); !valid) return Refuse(Reason::kSetupError, "{}", valid.error().message);
  return plan;
}

}  // namespace caisson::executor
