// SPDX-License-Identifier: Apache-2.0
// LaunchPlan: all that one launch needs before its clone, in the order in which it is acquired, and the context that
// the child works from. Made for one launch on the launcher's thread; dropping it gives everything back. What the
// sandbox keeps is moved out of it after the clone.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/io.h"
#include "base/result.h"
#include "sandbox/launcher/child.h"
#include "sandbox/launcher/dev.h"
#include "sandbox/launcher/sandbox.h"

namespace caisson::sandbox {

// Names and times steps, one after another.
class StepTimer {
 public:
  StepTimer() : last_(std::chrono::steady_clock::now()) {}
  void Done(std::string step);
  std::vector<StepTiming> Take() && { return std::move(timings_); }
  void Add(std::string step, uint32_t micros) { timings_.push_back({std::move(step), micros}); }

 private:
  std::chrono::steady_clock::time_point last_;
  std::vector<StepTiming> timings_;
};

struct LaunchPlan {
  LaunchPlan() = default;
  LaunchPlan(const LaunchPlan&) = delete;  // `context` points into it
  LaunchPlan& operator=(const LaunchPlan&) = delete;

  StepTimer timer;
  uint32_t unenforced = 0;
  IdRange ids;
  Cgroup cgroup;
  Fd user_namespace;
  Fd upper;
  SmallMounts mounts;
  std::vector<Fd>
      layers;  // idmapped clones. Kept beyond the clone: dropping one waits for the kernel, and the job need not
  Fd root;
  Pipe status;
  Pipe standard_output;
  Pipe standard_error;
  ChildContext context;

  // What `context` points to.
  std::vector<std::string> words;
  std::vector<char*> argv;
  std::vector<char*> envp;
  std::vector<std::string> sysctl_values;
  std::vector<SysctlValue> sysctls;
  std::vector<sock_fprog> filters;

  // Everything up to the clone. `request` and `environment` must outlive the plan. Error: the step and its reason;
  // nothing is left behind.
  Result<void> Prepare(const LaunchRequest& request, Environment& environment);

  // Ends what is left of a launch that failed after its clone: kills, waits, removes the cgroup.
  void CleanUp(int pidfd);

 private:
  Result<void> MakeIsolation(const SandboxSpec& spec, Environment& environment);
  Result<void> MakeFileSystems(const LaunchRequest& request, Environment& environment);
  Result<void> MakePipes(const SandboxSpec& spec);
  void FillArguments(const SandboxSpec& spec, bool with_payload);
  Result<void> FillContext(const LaunchRequest& request, Environment& environment);
};

}  // namespace caisson::sandbox
