// SPDX-License-Identifier: Apache-2.0
// Process: a program that a test started, ended at the latest with the test: by its destructor, and by the kernel when
// the test itself is killed. Belongs to the thread that started it.
#pragma once

#include <signal.h>

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"

namespace caisson::integration {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Looks again and again until `condition` holds; false when it did not within `limit`.
bool WaitUntil(const std::function<bool()>& condition, milliseconds limit = seconds(30));

struct ProcessOptions {
  std::map<std::string, std::string> environment;  // beside our own
  int in = -1;                                     // borrowed; -1: /dev/null
  std::string out_file;                            // empty: dropped
  std::string err_file;
  bool keep_on_parent_death = false;
};

class Process {
 public:
  Process() = default;
  Process(std::vector<std::string> arguments, const ProcessOptions& options);
  Process(Process&& other) noexcept { *this = std::move(other); }
  Process& operator=(Process&& other) noexcept;
  ~Process();

  bool started() const { return pid_ > 0; }
  pid_t pid() const { return pid_; }
  void Signal(int signal) const;
  // Its exit code, or 128 and the signal that ended it; nullopt when it still runs after `limit`.
  std::optional<int> Wait(milliseconds limit = seconds(60));
  bool running();

 private:
  pid_t pid_ = 0;
  Fd pidfd_;
  std::optional<int> status_;
};

struct Finished {
  int status = -1;  // as Process::Wait; -1: it did not end in time and was killed
  std::string out;
  std::string err;
};

// Runs a program to its end, with `input` on its standard input through a pipe ("" gives an empty one, nullopt
// /dev/null).
Finished RunProgram(std::vector<std::string> arguments, const std::optional<std::string>& input = std::nullopt,
                    const std::map<std::string, std::string>& environment = {}, milliseconds limit = seconds(120));

// A directory that is gone with everything in it when the test is over.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void WriteFile(const std::string& path, const std::string& contents);
std::string ReadWholeFile(const std::string& path);  // empty where there is none
// Names in a directory, sorted; empty where there is none.
std::vector<std::string> ListDirectory(const std::string& path);

}  // namespace caisson::integration
