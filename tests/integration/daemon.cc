// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/daemon.h"

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>

#include "base/http/http_client.h"

namespace caisson::integration {
namespace {

constexpr char kPrograms[] = CAISSON_PROGRAMS;
constexpr char kServiceUser[] = "59999:59999";

// Where the whole cgroup v2 tree is mounted; empty for nowhere.
std::string CgroupMount() {
  std::ifstream table("/proc/self/mountinfo");
  for (std::string line; std::getline(table, line);) {
    std::istringstream fields(line);
    std::string skip, root, point;
    fields >> skip >> skip >> skip >> root >> point;
    if (line.find(" - cgroup2 ") != std::string::npos && root == "/") return point;
  }
  return {};
}

// Name and parent of a process, from /proc/PID/stat; nullopt once it is gone.
std::optional<Daemon::Role> ReadRole(const std::string& pid) {
  const std::string stat = ReadWholeFile("/proc/" + pid + "/stat");
  const size_t open = stat.find('('), close = stat.rfind(')');
  if (close == std::string::npos) return std::nullopt;
  std::istringstream rest(stat.substr(close + 2));
  char state = 0;
  Daemon::Role role{.pid = std::stoi(pid), .name = stat.substr(open + 1, close - open - 1)};
  rest >> state >> role.parent;
  return role;
}

}  // namespace

std::vector<Daemon::Role> DescendantsOf(pid_t root) {
  std::vector<Daemon::Role> all;
  for (const std::string& name : ListDirectory("/proc"))
    if (std::isdigit(static_cast<unsigned char>(name[0])))
      if (const auto role = ReadRole(name)) all.push_back(*role);
  std::vector<Daemon::Role> found;
  std::vector<pid_t> parents = {root};
  for (size_t i = 0; i < parents.size(); ++i)
    for (const Daemon::Role& role : all)
      if (role.parent == parents[i]) {
        parents.push_back(role.pid);
        found.push_back(role);
      }
  return found;
}

const std::string& HostIsolation() {
  static const std::string isolation = [] {
    const Finished doctor = RunProgram({std::string(kPrograms) + "/caissond", "doctor", "--json"});
    const Result<Json> report = ParseJson(doctor.out);
    EXPECT_TRUE(report) << doctor.out << doctor.err;
    const Json* strict = report ? report->Find("strict_possible") : nullptr;
    return strict && strict->AsBool() && *strict->AsBool() ? "strict" : "best-effort";
  }();
  return isolation;
}

Daemon::Daemon(const Registry& registry, const DaemonOptions& options)
    : Daemon(fmt::format("[registries.\"{}\"]\nplain_http = true\n", registry.address()), options) {}

Daemon::Daemon(const std::string& settings, const DaemonOptions& options) : options_(options) {
  WriteFile(directory_.path() + "/caisson.toml", settings);
  cgroup_flag_ = "/caisson-it-" + directory_.path().substr(directory_.path().size() - 6);
  if (const std::string mount = CgroupMount(); !mount.empty()) cgroup_parent_ = mount + cgroup_flag_;
  if (options.start) Start();
}

Daemon::~Daemon() {
  if (testing::Test::HasFailure()) fmt::print(stderr, "-- caissond's log:\n{}\n", log());
  process_.Signal(SIGTERM);
  if (running() && !process_.Wait(seconds(2))) Stop();  // the second one does not wait for jobs that still run
  process_ = Process();
  if (cgroup_parent_.empty()) return;
  for (const std::string& name : ListDirectory(cgroup_parent_)) rmdir((cgroup_parent_ + "/" + name).c_str());
  rmdir(cgroup_parent_.c_str());
}

void Daemon::Start(const std::vector<std::string>& further) {
  std::vector<std::string> arguments = options_.run_under;
  arguments.insert(arguments.end(),
                   {std::string(kPrograms) + "/caissond", "--config", directory_.path() + "/caisson.toml", "--data-dir",
                    data_dir(), "--run-dir", run_dir(), "--service-user", kServiceUser, "--isolation", HostIsolation(),
                    "--node-key-file", directory_.path() + "/node.key"});
  if (!cgroup_parent_.empty()) arguments.insert(arguments.end(), {"--cgroup-parent", cgroup_flag_});
  arguments.insert(arguments.end(), options_.arguments.begin(), options_.arguments.end());
  arguments.insert(arguments.end(), further.begin(), further.end());
  process_ = Process(arguments, {.out_file = log_file(), .err_file = log_file()});
  ASSERT_TRUE(WaitReady()) << log();
  launcher_ = process_.pid();
  if (options_.run_under.empty()) return;
  for (const Role& role : DescendantsOf(process_.pid()))  // of strace, its first child is the launcher
    if (role.parent == process_.pid()) launcher_ = role.pid;
}

void Daemon::Stop(int signal) {
  process_.Signal(signal);
  EXPECT_TRUE(process_.Wait(seconds(60))) << "caissond does not end\n" << log();
}

bool Daemon::WaitReady(milliseconds limit) {
  return WaitUntil([&] { return Call("/readyz").status == 200 || !running(); }, limit) && running();
}

Finished Daemon::Caisson(std::vector<std::string> words, const std::optional<std::string>& input,
                         milliseconds limit) const {
  words.insert(words.begin(), std::string(kPrograms) + "/caisson");
  return RunProgram(std::move(words), input, {{"CAISSON_HOST", host()}}, limit);
}

Answer Daemon::Call(const std::string& path, const std::optional<std::string>& body) const {
  HttpRequest request{.method = body ? "POST" : "GET",
                      .url = "http://localhost" + path,
                      .body = body,
                      .unix_socket = run_dir() + "/caisson.sock",
                      .max_body_bytes = 256 << 20};
  if (body) request.headers.emplace_back("Content-Type", "application/json");
  HttpClient client;
  const Result<HttpResponse> response = client.Perform(request);
  if (!response) return {};
  Answer answer{.status = response->status, .json = {}, .body = response->body};
  if (Result<Json> json = ParseJson(answer.body)) answer.json = *std::move(json);
  return answer;
}

Json Daemon::WaitFinal(const std::string& id, milliseconds limit) const {
  Json job;
  const bool is_final = WaitUntil(
      [&] {
        job = Job(id);
        const std::string state = job.StringOr("state", "");
        return state == "succeeded" || state == "failed" || state == "cancelled";
      },
      limit);
  EXPECT_TRUE(is_final) << id << ": " << job.Dump();
  return job;
}

bool Daemon::WaitState(const std::string& id, const std::string& state, milliseconds limit) const {
  return WaitUntil([&] { return Job(id).StringOr("state", "") == state; }, limit);
}

std::string Daemon::Submit(const std::string& body) const {
  const Answer answer = Call("/v1/jobs", body);
  EXPECT_EQ(answer.status, 202) << answer.body;
  return answer.json.StringOr("id", "");
}

std::vector<Daemon::Role> Daemon::Roles() const { return DescendantsOf(launcher_); }

pid_t Daemon::service() const {
  for (const Role& role : Roles())
    if (role.name == "caisson-service") return role.pid;
  return 0;
}

}  // namespace caisson::integration
