// SPDX-License-Identifier: Apache-2.0
#include "tests/image/registry_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sstream>

#include "base/check.h"
#include "base/http/http_client.h"
#include "base/io.h"

namespace caisson::image {
int FreePort() {
  const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  CHECK(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
  CHECK(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  return ntohs(address.sin_port);
}

bool RegistryServer::Available() { return RunProgram({"docker-registry", "--version"}) == 0; }

RegistryServer::RegistryServer() : port_(FreePort()) {
  const std::string config = directory_.path() + "/config.yml";
  const std::string text = fmt::format(
      "version: 0.1\nlog: {{accesslog: {{disabled: false}}, level: warn}}\n"
      "storage: {{filesystem: {{rootdirectory: {0}/storage}}, delete: {{enabled: true}}}}\nhttp: {{addr: "
      "127.0.0.1:{1}}}\n",
      directory_.path(), port_);
  CHECK(WriteFileDurably(AT_FDCWD, config, text, 0600));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, (directory_.path() + "/log").c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                   0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  const char* argv[] = {"docker-registry", "serve", config.c_str(), nullptr};
  CHECK(::posix_spawnp(&pid_, argv[0], &actions, nullptr, const_cast<char**>(argv), environ) == 0);
  posix_spawn_file_actions_destroy(&actions);
  HttpClient http;
  for (int tries = 0; !http.Perform({.url = "http://" + address() + "/v2/"}); ++tries) {
    CHECK(tries < 200);
    ::poll(nullptr, 0, 50);
  }
}

RegistryServer::~RegistryServer() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

std::string RegistryServer::address() const { return fmt::format("127.0.0.1:{}", port_); }

int RegistryServer::CountRequests(const std::string& text) const {
  std::istringstream log(*ReadFile(directory_.path() + "/log", 64 << 20));
  int count = 0;
  for (std::string line; std::getline(log, line);) count += line.find(text) != std::string::npos;
  return count;
}

void RegistryServer::Push(const std::string& layout_and_tag, const std::string& name_and_tag,
                          const std::vector<std::string>& options) const {
  std::vector<std::string> command = {"skopeo", "copy", "--dest-tls-verify=false"};
  command.insert(command.end(), options.begin(), options.end());
  command.push_back("oci:" + layout_and_tag);
  command.push_back("docker://" + address() + "/" + name_and_tag);
  const std::string log = directory_.path() + "/push.log";
  ASSERT_EQ(RunProgram(command, log), 0) << *ReadFile(log, 1 << 20);
}

}  // namespace caisson::image
