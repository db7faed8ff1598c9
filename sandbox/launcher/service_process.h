// SPDX-License-Identifier: Apache-2.0
// ServiceProcess: keeps caisson-service running: starts it without any right, with only its own directories in sight,
// gives each new one a new channel, restarts it with backoff when it dies, replaces it on request, and ends it. The
// launcher outlives it. Owned by the launcher's main, on its only thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "sandbox/launcher/data_directory.h"
#include "sandbox/launcher/event_loop.h"

namespace caisson::sandbox {

struct ServiceOptions {
  std::string program_path;  // opened again for an upgrade
  Fd program;                // O_PATH
  std::string service_dir;   // shown to it as /mnt/data
  std::string run_dir;       // as /mnt/run
  ServiceUser user;
  std::string settings_toml;      // handed on in a sealed memory file
  int host_mount_namespace = -1;  // these three are borrowed
  int liveness_read = -1;
  int liveness_write = -1;
  std::chrono::milliseconds end_deadline{50'000};  // from the first request to end until it is killed
};

class ServiceProcess {
 public:
  struct Events {
    std::function<void(Fd)> on_channel;  // a service has started; this is our end
    std::function<void()> on_gone;       // it has ended; another may follow
    std::function<void()> on_ended;      // it has ended after End(): none follows
  };
  ServiceProcess(EventLoop& loop, ServiceOptions options, Events events);
  ~ServiceProcess();  // kills it

  Result<void> Start();
  // SIGHUP: it stops claiming, waits for its jobs and ends; then the program found at the path is started.
  void Replace();
  // SIGTERM: the same without a successor. A second call passes the signal on again: it then skips its wait. Past
  // the deadline it is killed.
  void End();

 private:
  void OnDeath();
  void TakeProgramAtPath();
  void StartLater();

  EventLoop& loop_;
  ServiceOptions options_;
  Events events_;
  Fd pidfd_;
  EventLoop::WatchId watch_ = 0;
  EventLoop::TimerId restart_timer_ = 0;
  EventLoop::TimerId kill_timer_ = 0;
  EventLoop::Clock::time_point started_;
  std::chrono::milliseconds backoff_{0};
  bool ending_ = false;
  bool replacing_ = false;
};

}  // namespace caisson::sandbox
