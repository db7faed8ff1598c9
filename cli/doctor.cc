// SPDX-License-Identifier: Apache-2.0
#include "cli/doctor.h"

#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/io.h"
#include "cli/text.h"

namespace caisson::cli {
namespace {

constexpr size_t kMaxReportBytes = 1 << 20;

std::string OwnProgram() {
  char path[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  return length > 0 ? std::string(path, static_cast<size_t>(length)) : std::string();
}

std::string DirectoryOf(const std::string& path) { return path.substr(0, path.rfind('/')); }

}  // namespace

std::vector<std::string> CaissondCandidates(const std::string& own_program, const std::string& path) {
  std::vector<std::string> directories;
  const std::string own = own_program.starts_with('/') ? DirectoryOf(own_program) : std::string();
  if (!own_program.empty()) {
    directories.push_back(own);
    directories.push_back(DirectoryOf(own) + "/sbin");
  }
  for (size_t start = 0; start <= path.size();) {
    const size_t end = std::min(path.find(':', start), path.size());
    // An empty or relative entry means the current directory: root must not run what lies there.
    if (path.substr(start, 1) == "/") directories.push_back(path.substr(start, end - start));
    start = end + 1;
  }
  std::vector<std::string> candidates;
  for (const std::string& directory : directories) {
    std::string candidate = directory + "/caissond";
    if (std::find(candidates.begin(), candidates.end(), candidate) == candidates.end())
      candidates.push_back(std::move(candidate));
  }
  return candidates;
}

Result<Json> RunLocalDoctor(const std::string& program) {
  Pipe pipe = TRY(MakePipe());
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe.write.get(), STDOUT_FILENO);
  posix_spawnattr_t attributes;  // we ignore SIGPIPE; a child that inherits that would not notice a closed pipe
  posix_spawnattr_init(&attributes);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  std::string name = program, verb = "doctor", flag = "--json";
  char* arguments[] = {name.data(), verb.data(), flag.data(), nullptr};
  pid_t pid = 0;
  const int error = posix_spawn(&pid, program.c_str(), &actions, &attributes, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return FailErrno(error, "run {}", program);
  pipe.write.reset();
  const Result<std::string> output = ReadAll(pipe.read.get(), kMaxReportBytes);
  pipe.read.reset();  // a program that prints on gets SIGPIPE and ends
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!output) return tl::unexpected(Error(output.error()).Context(program));
  Result<Json> report = ParseJson(*output);
  if (!report)
    return Fail(ErrorCode::kInternal, "`{} doctor --json` gave no report (wait status {}): {}", program, status,
                Printable(report.error().message));
  return report;
}

Result<Json> FetchDoctorReport(ApiClient& client, const Console& console) {
  Result<Json> report = client.Get("/v1/node");
  if (report || report.error().code != ErrorCode::kUnavailable || client.endpoint().unix_socket.empty()) return report;
  const char* path = getenv("PATH");  // NOLINT(concurrency-mt-unsafe): nobody sets variables here
  for (const std::string& candidate : CaissondCandidates(OwnProgram(), path ? path : "")) {
    if (access(candidate.c_str(), X_OK) != 0) continue;
    console.Say("no daemon answers at " + Printable(client.endpoint().name) + ": " + candidate + " looks at this host");
    return RunLocalDoctor(candidate);
  }
  return Fail(ErrorCode::kUnavailable,
              "{}\nand no caissond was found beside this program or in PATH to look at this host",
              report.error().message);
}

}  // namespace caisson::cli
