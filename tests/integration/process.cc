// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/process.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/check.h"
#include "base/io.h"

namespace caisson::integration {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr size_t kMaxOutput = 256 << 20;

int OpenForChild(const std::string& path) {
  return open(path.empty() ? "/dev/null" : path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

}  // namespace

bool WaitUntil(const std::function<bool()>& condition, milliseconds limit) {
  for (const auto end = Clock::now() + limit; Clock::now() < end;) {
    if (condition()) return true;
    poll(nullptr, 0, 20);
  }
  return condition();
}

Process::Process(std::vector<std::string> arguments, const ProcessOptions& options) {
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const Fd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const Fd out(OpenForChild(options.out_file)), err(OpenForChild(options.err_file));
  CHECK(null && out && err);
  const pid_t parent = getpid();
  pid_ = fork();
  CHECK(pid_ >= 0);
  if (pid_ == 0) {
    if (!options.keep_on_parent_death) prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(126);
    dup2(options.in >= 0 ? options.in : null.get(), STDIN_FILENO);
    dup2(out.get(), STDOUT_FILENO);
    dup2(err.get(), STDERR_FILENO);
    for (const auto& [name, value] : options.environment) setenv(name.c_str(), value.c_str(), 1);
    execvp(argv[0], argv.data());
    fmt::print(stderr, "cannot run {}: {}\n", argv[0], strerror(errno));
    _exit(127);
  }
  pidfd_ = Fd(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
  CHECK(pidfd_);
}

Process& Process::operator=(Process&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(pidfd_, other.pidfd_);
  std::swap(status_, other.status_);
  return *this;
}

Process::~Process() {
  if (!started() || status_) return;
  Signal(SIGKILL);
  Wait();
}

void Process::Signal(int signal) const {
  if (!status_) syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0);
}

std::optional<int> Process::Wait(milliseconds limit) {
  if (status_ || !started()) return status_;
  pollfd ended{pidfd_.get(), POLLIN, 0};
  if (poll(&ended, 1, static_cast<int>(limit.count())) <= 0) return std::nullopt;
  int status = 0;
  CHECK(waitpid(pid_, &status, 0) == pid_);
  status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return status_;
}

bool Process::running() { return started() && !Wait(milliseconds(0)); }

Finished RunProgram(std::vector<std::string> arguments, const std::optional<std::string>& input,
                    const std::map<std::string, std::string>& environment, milliseconds limit) {
  const TemporaryDirectory directory;
  ProcessOptions options{
      .environment = environment, .out_file = directory.path() + "/out", .err_file = directory.path() + "/err"};
  Pipe pipe;
  if (input) {
    pipe = *MakePipe();
    options.in = pipe.read.get();
  }
  Process process(std::move(arguments), options);
  pipe.read.reset();
  std::thread writer([&] {
    if (input) static_cast<void>(WriteAll(pipe.write.get(), *input).has_value());
    pipe.write.reset();
  });
  const std::optional<int> status = process.Wait(limit);
  if (!status) process.Signal(SIGKILL);
  writer.join();
  return {status.value_or(-1), ReadFile(options.out_file, kMaxOutput).value_or(""),
          ReadFile(options.err_file, kMaxOutput).value_or("")};
}

TemporaryDirectory::TemporaryDirectory() {
  const char* base = getenv("TMPDIR");
  path_ = std::string(base && *base ? base : "/tmp") + "/caisson-it-XXXXXX";
  CHECK(mkdtemp(path_.data()));
  CHECK(chmod(path_.c_str(), 0755) == 0);  // the service's user must reach its own part
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code error;
  fs::remove_all(path_, error);
  if (error) fmt::print(stderr, "left behind: {}: {}\n", path_, error.message());
}

void WriteFile(const std::string& path, const std::string& contents) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << contents;
  file.close();
  CHECK(file.good());
}

std::string ReadWholeFile(const std::string& path) {
  return ReadFile(path, 1ull << 30).value_or("");  // a stream would throw when a process ends while its /proc is read
}

std::vector<std::string> ListDirectory(const std::string& path) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error))
    names.push_back(entry->path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace caisson::integration
