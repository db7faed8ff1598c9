// SPDX-License-Identifier: Apache-2.0
#include "cli/helper_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"
#include "base/io.h"

namespace caisson::cli {
namespace {

using std::chrono::steady_clock;

constexpr size_t kMaxOutputBytes = 64 << 10;

// posix_spawnp looks in our PATH; the helper's own is meant. Relative directories are left out: the current one is
// nothing that a credential is asked of.
std::string FindProgram(const std::string& program, const std::string& path) {
  for (size_t at = 0; at <= path.size();) {
    const size_t end = std::min(path.find(':', at), path.size());
    const std::string directory = path.substr(at, end - at);
    at = end + 1;
    if (!directory.starts_with('/')) continue;
    std::string candidate = directory + "/" + program;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return {};
}

// The child, killed with its group unless it was reaped.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ > 0) {
      kill(-pid_, SIGKILL);
      Reap();
    }
  }
  int Reap() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t pid_;
};

std::vector<char*> Pointers(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

Result<pid_t> Spawn(const std::string& file, std::vector<std::string> words, std::vector<std::string> variables,
                    int input, int output) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);  // ignored here, and that would be inherited
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setpgroup(&attributes, 0);  // so that what it starts can be killed with it
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  pid_t pid = 0;
  const int failed =
      posix_spawn(&pid, file.c_str(), &actions, &attributes, Pointers(words).data(), Pointers(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (failed != 0) return FailErrno(failed, "start {}", file);
  return pid;
}

// Until the end of its output. The input is small: a pipe takes it whole.
Result<std::string> ReadUntil(int fd, steady_clock::time_point end) {
  std::string output;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - steady_clock::now()).count();
    pollfd readable{fd, POLLIN, 0};
    const int ready = left > 0 ? poll(&readable, 1, static_cast<int>(left)) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return Fail(ErrorCode::kTimedOut, "it did not answer in time, and was killed");
    char bytes[4096];
    const ssize_t got = read(fd, bytes, sizeof bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno(errno, "read its answer");
    if (got == 0) return output;
    output.append(bytes, static_cast<size_t>(got));
    if (output.size() > kMaxOutputBytes) return Fail(ErrorCode::kTooLarge, "its answer is too long");
  }
}

}  // namespace

Result<HelperResult> RunHelper(const std::string& program, const std::vector<std::string>& arguments,
                               const std::string& input, const std::map<std::string, std::string>& environment,
                               std::chrono::milliseconds limit) {
  const auto path = environment.find("PATH");
  const std::string file = FindProgram(program, path == environment.end() ? "/usr/bin:/bin" : path->second);
  if (file.empty()) return Fail(ErrorCode::kUnsupported, "there is no such program in PATH");
  std::vector<std::string> words{program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> variables;
  for (const auto& [name, value] : environment) variables.push_back(name + "=" + value);

  Pipe to = TRY(MakePipe());
  Pipe from = TRY(MakePipe());
  Child child(TRY(Spawn(file, std::move(words), std::move(variables), to.read.get(), from.write.get())));
  to.read.reset();
  from.write.reset();
  static_cast<void>(WriteAll(to.write.get(), input).has_value());  // one that asks nothing may have closed it
  to.write.reset();
  HelperResult result;
  result.output = TRY(ReadUntil(from.read.get(), steady_clock::now() + limit));
  result.status = child.Reap();
  return result;
}

}  // namespace caisson::cli
