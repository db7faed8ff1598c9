// SPDX-License-Identifier: Apache-2.0
#include "tests/executor/fakes.h"

#include <unistd.h>

#include <algorithm>

#include "base/check.h"
#include "image/reference.h"

namespace caisson::testing {

using sandbox::ExitReport;
using sandbox::SandboxHandle;

ExitReport Exited(int code) {
  ExitReport report;
  report.kind = ExitReport::Kind::kExited;
  report.status = code;
  return report;
}

ExitReport StoppedBy(int signal) {
  ExitReport report;
  report.kind = ExitReport::Kind::kSignaled;
  report.status = signal;
  report.stopped = true;
  return report;
}

Digest DigestOf(char digit) { return Digest::Parse("sha256:" + std::string(64, digit)).value(); }

bool ProgramContext::WaitForStop() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return stopped_ || killed_; });
  return !killed_;
}

void ProgramContext::Stop(bool kill) {
  const std::lock_guard lock(mutex_);
  (kill ? killed_ : stopped_) = true;
  changed_.notify_all();
}

// ---- Launcher ---------------------------------------------------------------------------------------------------

FakeLauncher::~FakeLauncher() {
  for (auto& [handle, sandbox] : sandboxes_) {
    sandbox->context.Stop(true);
    if (sandbox->thread.joinable()) sandbox->thread.join();
  }
}

Result<sandbox::RootfsHandle> FakeLauncher::OpenRootfs(std::span<const LayerName> layers_top_first) {
  if (on_open_rootfs) TRY(on_open_rootfs(layers_top_first));
  const std::lock_guard lock(mutex_);
  ++open_rootfs_;
  return sandbox::RootfsHandle{++last_handle_};
}

Result<void> FakeLauncher::CloseRootfs(sandbox::RootfsHandle) {
  const std::lock_guard lock(mutex_);
  --open_rootfs_;
  return {};
}

Result<sandbox::Launched> FakeLauncher::Launch(sandbox::RootfsHandle, const sandbox::SandboxSpec& spec, int payload) {
  if (launch_error) return tl::unexpected(*launch_error);
  auto made = std::make_unique<Sandbox>();
  Sandbox& sandbox = *made;
  sandbox.context.spec = spec;
  if (payload >= 0) {
    sandbox.context.has_payload = true;
    sandbox.context.payload = TRY(ReadAt(payload, TRY(CheckSealedMemfd(payload)), 0));
  }
  for (Pipe& pipe : sandbox.pipes) pipe = TRY(MakePipe());
  sandbox.context.out = sandbox.pipes[0].write.get();
  sandbox.context.err = sandbox.pipes[1].write.get();
  sandbox::Launched launched{.handle = {},
                             .stdout_pipe = Fd(::dup(sandbox.pipes[0].read.get())),
                             .stderr_pipe = Fd(::dup(sandbox.pipes[1].read.get())),
                             .unenforced = unenforced};
  {
    const std::lock_guard lock(mutex_);
    launched.handle = {++last_handle_};
    ++launches_;
    int same = 1;
    for (const auto& [handle, other] : sandboxes_) same += !other->exited && other->context.spec.id == spec.id;
    beside_itself_ = std::max(beside_itself_, same);
    sandboxes_[launched.handle.value] = std::move(made);
  }
  sandbox.thread = std::thread([this, handle = launched.handle, &sandbox] { RunProgram(handle, sandbox); });
  if (report_before_reply) sandbox.thread.join();
  return launched;
}

void FakeLauncher::RunProgram(SandboxHandle handle, Sandbox& sandbox) {
  const ExitReport report = program(sandbox.context);
  if (!keep_pipes_open) {
    for (Pipe& pipe : sandbox.pipes) pipe.write.reset();
  }
  {
    const std::lock_guard lock(mutex_);
    sandbox.exited = true;
  }
  if (on_exited) on_exited(handle, report);
  // Only after the report does the launcher let go of its own ends.
  const std::lock_guard lock(mutex_);
  for (Pipe& pipe : sandbox.pipes) pipe.read.reset();
}

FakeLauncher::Sandbox* FakeLauncher::FindRunning(SandboxHandle handle) {
  const auto found = sandboxes_.find(handle.value);
  return found == sandboxes_.end() || found->second->exited ? nullptr : found->second.get();
}

Result<void> FakeLauncher::Stop(SandboxHandle handle, std::chrono::milliseconds grace) {
  const std::lock_guard lock(mutex_);
  ++stops_;
  last_grace_ = grace;
  Sandbox* sandbox = FindRunning(handle);
  if (!sandbox) return Fail(ErrorCode::kNotFound, "no such sandbox");
  sandbox->context.Stop(false);
  return {};
}

Result<void> FakeLauncher::Kill(SandboxHandle handle) {
  const std::lock_guard lock(mutex_);
  ++kills_;
  if (foreign_.erase(handle.value) == 1) return {};
  Sandbox* sandbox = FindRunning(handle);
  if (!sandbox) return Fail(ErrorCode::kNotFound, "no such sandbox");
  sandbox->context.Stop(true);
  return {};
}

Result<std::vector<sandbox::RunningSandbox>> FakeLauncher::List() {
  const std::lock_guard lock(mutex_);
  std::vector<sandbox::RunningSandbox> running;
  for (const auto& [handle, id] : foreign_) running.push_back({{handle}, id});
  return running;
}

Result<void> FakeLauncher::Drained(SandboxHandle handle, sandbox::Stream stream, uint64_t position) {
  const std::lock_guard lock(mutex_);
  Sandbox* sandbox = FindRunning(handle);
  if (!sandbox || refuse_drained) return Fail(ErrorCode::kNotFound, "no such sandbox");
  const size_t index = stream == sandbox::Stream::kStdout ? 0 : 1;
  std::string buffer(position - sandbox->drained[index], '\0');
  for (size_t done = 0; done < buffer.size();) {
    const ssize_t got = ::read(sandbox->pipes[index].read.get(), buffer.data() + done, buffer.size() - done);
    CHECK(got > 0);
    done += static_cast<size_t>(got);
  }
  sandbox->drained[index] = position;
  return {};
}

void FakeLauncher::AddForeign(const std::string& id) {
  const std::lock_guard lock(mutex_);
  foreign_[++last_handle_] = id;
}

int FakeLauncher::running() const {
  return Locked([&] {
    return static_cast<int>(
        std::count_if(sandboxes_.begin(), sandboxes_.end(), [](const auto& entry) { return !entry.second->exited; }));
  });
}

uint64_t FakeLauncher::drained(sandbox::Stream stream) const {
  return Locked([&] {
    uint64_t total = 0;
    for (const auto& [handle, sandbox] : sandboxes_)
      total += sandbox->drained[stream == sandbox::Stream::kStdout ? 0 : 1];
    return total;
  });
}

// ---- Images -----------------------------------------------------------------------------------------------------

FakeImages::FakeImages() {
  record.manifest = record.index = DigestOf('a');
  record.config.command = {"program"};
  record.rootfs = {LayerName::Of(DigestOf('1'))};
}

Result<image::ResolvedReference> FakeImages::Resolve(const std::string& reference, image::PullPolicy policy,
                                                     const image::PullContext& context) {
  {
    const std::lock_guard lock(mutex_);
    ++resolves_;
    policies_.push_back(policy);
  }
  const image::Reference parsed = TRY(image::ParseReference(reference));
  const Digest digest = on_resolve ? TRY(on_resolve(reference, context)) : record.index;
  return image::ResolvedReference{parsed.ToString(), parsed.repository(), digest, policy == image::PullPolicy::kNever};
}

Result<image::ImageRecord> FakeImages::Pull(const image::ResolvedReference& reference, bool may_use_cached,
                                            const image::PullContext& context) {
  {
    const std::lock_guard lock(mutex_);
    pulls_.push_back(may_use_cached);
    pulled_digests_.push_back(reference.digest);
  }
  if (on_pull) TRY(on_pull(reference, may_use_cached, context));
  return record;
}

int FakeImages::resolves() const {
  const std::lock_guard lock(mutex_);
  return resolves_;
}

std::vector<image::PullPolicy> FakeImages::policies() const {
  const std::lock_guard lock(mutex_);
  return policies_;
}

std::vector<bool> FakeImages::pulls() const {
  const std::lock_guard lock(mutex_);
  return pulls_;
}

std::vector<Digest> FakeImages::pulled_digests() const {
  const std::lock_guard lock(mutex_);
  return pulled_digests_;
}

}  // namespace caisson::testing
