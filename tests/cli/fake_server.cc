// SPDX-License-Identifier: Apache-2.0
#include "tests/cli/fake_server.h"

#include <fmt/core.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "base/check.h"
#include "base/io.h"

namespace caisson::cli {
namespace {

// Reads a request whole; false when the peer went away before that.
bool ReadRequest(int fd, FakeRequest& request) {
  std::string bytes;
  char buffer[65536];
  for (;;) {
    const size_t end = bytes.find("\r\n\r\n");
    if (end != std::string::npos) {
      request.head = bytes.substr(0, end + 2);
      const std::string length = request.Header("Content-Length");
      const size_t wanted = length.empty() ? 0 : std::stoul(length);
      request.body = bytes.substr(end + 4);
      if (request.body.size() >= wanted) return true;
    }
    const ssize_t got = read(fd, buffer, sizeof buffer);
    if (got <= 0) return false;
    bytes.append(buffer, static_cast<size_t>(got));
  }
}

}  // namespace

std::string FakeRequest::Header(const std::string& name) const {
  for (size_t at = head.find("\r\n"); at != std::string::npos; at = head.find("\r\n", at + 2)) {
    const char* line = head.c_str() + at + 2;
    if (strncasecmp(line, name.c_str(), name.size()) != 0 || line[name.size()] != ':') continue;
    const size_t start = head.find_first_not_of(' ', at + 2 + name.size() + 1);
    return head.substr(start, head.find("\r\n", start) - start);
  }
  return {};
}

FakeServer::FakeServer(Answer answer) : answer_(std::move(answer)) {
  const char* base = getenv("TMPDIR");
  directory_ = std::string(base ? base : "/tmp") + "/caisson-cli-XXXXXX";
  CHECK(mkdtemp(directory_.data()));
  path_ = directory_ + "/s";
  listener_ = Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  CHECK(path_.size() < sizeof address.sun_path);
  memcpy(address.sun_path, path_.c_str(), path_.size() + 1);
  CHECK(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  CHECK(listen(listener_.get(), 16) == 0);
  stop_ = Fd(eventfd(0, EFD_CLOEXEC));
  thread_ = std::thread([this] { Run(); });
}

FakeServer::~FakeServer() {
  CHECK(eventfd_write(stop_.get(), 1) == 0);
  thread_.join();
  unlink(path_.c_str());
  rmdir(directory_.c_str());
}

std::vector<FakeRequest> FakeServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void FakeServer::Run() {
  sigset_t all;  // a signal that a test sends is for the code under test
  sigfillset(&all);
  CHECK(pthread_sigmask(SIG_BLOCK, &all, nullptr) == 0);
  for (;;) {
    pollfd fds[] = {{listener_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    CHECK(poll(fds, 2, -1) > 0);
    if (fds[1].revents) return;
    const Fd connection(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    FakeRequest request;
    if (!connection || !ReadRequest(connection.get(), request)) continue;
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
    }
    static_cast<void>(WriteAll(connection.get(), answer_(request)).has_value());
  }
}

std::string HttpAnswer(int status, const std::string& content_type, const std::string& body) {
  return fmt::format("HTTP/1.1 {} X\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}", status,
                     content_type, body.size(), body);
}

std::string HttpStream(const std::string& body) {
  // Chunked, and without the last chunk: a close is a break, as it is with the real server.
  return fmt::format(
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
      "{:x}\r\n{}\r\n",
      body.size(), body);
}

}  // namespace caisson::cli
