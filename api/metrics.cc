// SPDX-License-Identifier: Apache-2.0
#include "api/metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "base/io.h"

namespace caisson::api {
namespace {

void Head(std::string& text, std::string_view name, std::string_view type, std::string_view help) {
  text += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

std::string LabelValue(std::string_view value) {
  std::string escaped;
  for (const char c : value) {
    if (c == '\\' || c == '"') escaped += '\\';
    if (c == '\n') {
      escaped += "\\n";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

uint64_t ResidentBytes() {
  const Result<std::string> statm = ReadFile("/proc/self/statm", 4096);
  unsigned long long total = 0;
  unsigned long long resident = 0;
  if (!statm || std::sscanf(statm->c_str(), "%llu %llu", &total, &resident) != 2) return 0;
  return resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

int OpenDescriptors() {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir("/proc/self/fd"), ::closedir);
  int count = -3;  // ".", ".." and the directory itself
  if (!directory) return 0;
  while (::readdir(directory.get())) ++count;  // NOLINT(concurrency-mt-unsafe): a stream of our own
  return count;
}

void RenderProcess(std::string& text) {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  Head(text, "process_cpu_seconds_total", "counter", "CPU time of the service, user and system.");
  text += fmt::format("process_cpu_seconds_total {}\n", seconds(usage.ru_utime) + seconds(usage.ru_stime));
  Head(text, "process_resident_memory_bytes", "gauge", "Resident memory of the service.");
  text += fmt::format("process_resident_memory_bytes {}\n", ResidentBytes());
  Head(text, "process_open_fds", "gauge", "Open descriptors of the service.");
  text += fmt::format("process_open_fds {}\n", OpenDescriptors());
}

}  // namespace

void Metrics::CountRequest(std::string_view method, std::string_view route, int status) {
  const std::lock_guard lock(mutex_);
  ++requests_[{method, route, status}];
}

void Metrics::CountFinished(queue::JobState state) {
  const std::lock_guard lock(mutex_);
  ++finished_[state];
}

std::string Metrics::Render(const Gauges& gauges) const {
  std::string text;
  Head(text, "caisson_build_info", "gauge", "Constant 1; the label says what runs.");
  text += fmt::format("caisson_build_info{{version=\"{}\"}} 1\n", LabelValue(gauges.version));
  Head(text, "caisson_slots", "gauge", "Jobs that may run at once.");
  text += fmt::format("caisson_slots {}\n", gauges.node.slots);
  Head(text, "caisson_slots_busy", "gauge", "Jobs that are being prepared or run.");
  text += fmt::format("caisson_slots_busy {}\n", gauges.node.busy);
  Head(text, "caisson_draining", "gauge", "1 while no new job is taken.");
  text += fmt::format("caisson_draining {}\n", gauges.draining ? 1 : 0);
  Head(text, "caisson_jobs", "gauge", "Jobs in the store by state.");
  for (const queue::StateCount& count : gauges.jobs)
    text += fmt::format("caisson_jobs{{tenant=\"{}\",state=\"{}\"}} {}\n", LabelValue(count.tenant),
                        ToString(count.state), count.jobs);

  const std::lock_guard lock(mutex_);
  Head(text, "caisson_jobs_finished_total", "counter", "Jobs that reached a final state since the service started.");
  for (const auto& [state, count] : finished_)
    text += fmt::format("caisson_jobs_finished_total{{state=\"{}\"}} {}\n", ToString(state), count);
  Head(text, "caisson_http_requests_total", "counter", "Requests answered, by route and status.");
  for (const auto& [key, count] : requests_)
    text += fmt::format("caisson_http_requests_total{{method=\"{}\",route=\"{}\",status=\"{}\"}} {}\n", key.method,
                        key.route, key.status, count);
  RenderProcess(text);
  return text;
}

}  // namespace caisson::api
