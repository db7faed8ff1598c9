// SPDX-License-Identifier: Apache-2.0
#include "executor/judge.h"

#include <cerrno>
#include <cstring>

#include "base/encoding.h"

namespace caisson::executor {
namespace {

using Kind = sandbox::ExitReport::Kind;
using queue::Outcome;
using queue::Reason;

constexpr int kExitNotFound = 127;  // as shells say it
constexpr int kExitNotExecutable = 126;

queue::Usage UsageOf(const sandbox::Usage& usage) {
  queue::Usage result;
  if (usage.cpu_micros) result.cpu_seconds = static_cast<double>(*usage.cpu_micros) / 1e6;
  result.memory_peak_bytes = usage.memory_peak_bytes;
  result.pids_peak = usage.pids_peak;
  return result;
}

std::string ErrnoText(int number) {
  const char* text = ::strerrordesc_np(number);
  return text ? text : fmt::format("error {}", number);
}

void ExplainExecFailure(Outcome& outcome, int error, const std::string& command) {
  const std::string name = EscapeForLog(command);
  outcome.reason = Reason::kSetupError;
  outcome.exit_code = error == ENOENT ? kExitNotFound : kExitNotExecutable;
  switch (error) {
    case ENOENT:
      outcome.message =
          command.find('/') == std::string::npos
              ? fmt::format("command \"{}\" was not found in the image's PATH", name)
              : fmt::format("command \"{}\", or the interpreter that it names, is not in the image", name);
      break;
    case EACCES:
      outcome.message = fmt::format("command \"{}\" may not be executed: it is no executable file for this user", name);
      break;
    case ENOEXEC:
      outcome.message = fmt::format("command \"{}\" is not a program for this machine, nor a script with #!", name);
      break;
    default: outcome.message = fmt::format("command \"{}\" cannot be executed: {}", name, ErrnoText(error));
  }
}

void ExplainEnd(Outcome& outcome, const sandbox::ExitReport& report, const std::string& command) {
  switch (report.kind) {
    case Kind::kExited:
      outcome.reason = Reason::kExited;
      outcome.exit_code = report.status;
      break;
    case Kind::kSignaled:
      outcome.reason = Reason::kSignaled;
      outcome.signal = report.status;
      break;
    case Kind::kExecFailed: ExplainExecFailure(outcome, report.status, command); break;
    case Kind::kSetupFailed:
      outcome.reason = Reason::kSetupError;
      outcome.message = fmt::format("the sandbox could not be made: {}: {}", report.step, ErrnoText(report.status));
      break;
    case Kind::kKilled:
      outcome.reason = Reason::kLost;
      outcome.message = "the sandbox was killed before the program's end was known";
      break;
  }
}

bool Succeeded(const sandbox::ExitReport& report) { return report.kind == Kind::kExited && report.status == 0; }

}  // namespace

Outcome Judge(const sandbox::ExitReport& report, const queue::JobSpec& spec, const std::string& command,
              bool cancelled) {
  Outcome outcome;
  outcome.usage = UsageOf(report.usage);
  ExplainEnd(outcome, report, command);
  // From here on: what explains the end better than the way in which the program left. A stop wins over the exit code
  // that the program answered it with; a full disk or a kill inside matters only where the program failed.
  if (report.stopped && cancelled) {
    outcome.reason = Reason::kCancelled;
    outcome.message.clear();
  } else if (report.timed_out) {
    outcome.reason = Reason::kTimedOut;
    outcome.message = fmt::format("ran longer than timeout_seconds = {}", spec.timeout_seconds);
  } else if (report.oom && !Succeeded(report)) {
    outcome.reason = Reason::kOomKilled;
    outcome.message = fmt::format("reached the memory limit of {} bytes", spec.resources.memory_bytes);
  } else if (report.foreign_abi) {
    outcome.reason = Reason::kForeignAbi;
    outcome.message = "made a system call of another ABI (is it a 32-bit program?)";
  } else if (report.disk_full && (report.kind == Kind::kSignaled || report.kind == Kind::kExited) &&
             !Succeeded(report)) {
    outcome.reason = Reason::kDiskFull;
    outcome.message = fmt::format("failed with its scratch space of {} bytes full", spec.resources.disk_bytes);
  }
  return outcome;
}

Outcome JudgeImageError(const Error& error) {
  Outcome outcome;
  outcome.reason = error.code == ErrorCode::kCancelled ? Reason::kCancelled : Reason::kImageError;
  outcome.transient = error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kTimedOut ||
                      error.code == ErrorCode::kExhausted;
  if (outcome.reason == Reason::kImageError) outcome.message = error.message;
  return outcome;
}

Outcome JudgeLaunchError(const Error& error, const queue::JobSpec& spec) {
  Outcome outcome;
  outcome.message = error.message;
  switch (error.code) {
    case ErrorCode::kUnavailable: return Lost("the sandbox could not be made now: " + error.message);
    case ErrorCode::kExhausted:
      // The launcher's word for a memory limit that was met while setting up.
      if (error.message.find("memory limit") == std::string::npos) return Lost(error.message);
      outcome.reason = Reason::kOomKilled;
      outcome.message =
          fmt::format("reached the memory limit of {} bytes while it was set up", spec.resources.memory_bytes);
      return outcome;
    case ErrorCode::kInvalid:  // the image's, or the job's, working directory
      outcome.reason = Reason::kImageError;
      return outcome;
    default: outcome.reason = Reason::kSetupError; return outcome;
  }
}

Outcome Lost(std::string message) {
  Outcome outcome;
  outcome.reason = Reason::kLost;
  outcome.message = std::move(message);
  return outcome;
}

std::vector<std::string> UnenforcedNames(uint32_t unenforced) {
  std::vector<std::string> names;
  if (unenforced & sandbox::kUnenforcedMemory) names.emplace_back("memory");
  if (unenforced & sandbox::kUnenforcedPids) names.emplace_back("pids");
  if (unenforced & sandbox::kUnenforcedCpu) names.emplace_back("cpu");
  return names;
}

}  // namespace caisson::executor
