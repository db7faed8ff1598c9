// SPDX-License-Identifier: Apache-2.0
// For tests of real launches: one launcher environment in this process (which leaves the host's mounts for it), a
// store of layers made by the tests, and a way to run a sandbox to its end. Below $TMPDIR, which must be on a file
// system that can be idmapped.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "sandbox/launcher/environment.h"
#include "sandbox/launcher/sandbox.h"

namespace caisson::sandbox {

// A directory tree in the layer store. Every path is relative to its root; parents are made.
class Layer {
 public:
  explicit Layer(Fd directory) : directory_(std::move(directory)) {}
  int directory() const { return directory_.get(); }
  void Directory(const std::string& path, mode_t mode = 0755, uid_t owner = 0) const;
  void File(const std::string& path, std::string_view content, mode_t mode = 0644, uid_t owner = 0) const;
  void Link(const std::string& path, const std::string& target) const;
  void Fifo(const std::string& path) const;

 private:
  Fd directory_;
};

struct RunResult {
  std::string out;
  std::string err;
  ExitReport report;
  bool executed = false;  // pid 1 said that the payload was exec'd
};

// What a launch may leave behind: compared before and after.
struct Footprint {
  size_t mounts = 0;
  size_t descriptors = 0;
  size_t children = 0;
  size_t cgroups = 0;
  size_t ids_in_use = 0;
  bool operator==(const Footprint&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Footprint& footprint);

class SandboxHost {
 public:
  // Prepared at the first call, taken down at the end of the program.
  static SandboxHost& Get();

  Environment& environment() { return environment_; }
  // A new empty directory in the store.
  Layer MakeLayer();
  // Debian's static busybox with its commands as links in /bin: below every image of these tests.
  const Layer& busybox() const { return *busybox_; }

  // sh -c SCRIPT on busybox.
  SandboxSpec Shell(std::string_view script) const;

  Result<Sandbox> Launch(const SandboxSpec& spec, const std::vector<int>& layers_top_first = {}, int payload = -1);
  // `when_ready` is called once, when the payload has printed a line "ready".
  RunResult Run(const SandboxSpec& spec, const std::vector<int>& layers_top_first = {}, int payload = -1,
                const std::function<void(Sandbox&)>& when_ready = {});
  // Waits for the end of a launched sandbox and drops what is left of it; `look` may look at that before.
  RunResult Finish(Sandbox sandbox, const std::function<void(Sandbox&)>& when_ready = {},
                   const std::function<void(const Remains&)>& look = {});

  // When no sandbox is there; what counts as a left cgroup is removed.
  Footprint Measure();

 private:
  SandboxHost();
  ~SandboxHost();

  std::string data_dir_;
  Environment environment_;
  std::unique_ptr<Layer> busybox_;
  int layers_made_ = 0;
};

// A static program of these machine instructions (x86-64), as an ELF file.
std::string MakeProgram(std::string_view code);

}  // namespace caisson::sandbox
