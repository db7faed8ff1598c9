// SPDX-License-Identifier: Apache-2.0
// FakeServer: an HTTP server for one test, on a Unix socket of its own. Each connection carries one request, which a
// function answers with raw bytes; so a test decides byte for byte what comes, and when the connection breaks. One
// thread; requests are kept for the test to look at after Stop().
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"

namespace caisson::cli {

struct FakeRequest {
  std::string head;  // request line and headers
  std::string body;
  // Value of a header, by its name in any case; empty where there is none.
  std::string Header(const std::string& name) const;
  bool Asks(const std::string& start) const { return head.starts_with(start); }
};

class FakeServer {
 public:
  using Answer = std::function<std::string(const FakeRequest& request)>;

  explicit FakeServer(Answer answer);
  ~FakeServer();
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  std::string host() const { return "unix://" + path_; }
  std::vector<FakeRequest> requests() const;

 private:
  void Run();

  const Answer answer_;
  std::string directory_;
  std::string path_;
  Fd listener_;
  Fd stop_;
  mutable std::mutex mutex_;
  std::vector<FakeRequest> requests_;
  std::thread thread_;
};

// A whole answer.
std::string HttpAnswer(int status, const std::string& content_type, const std::string& body);
// The start of a stream whose length nobody knows.
std::string HttpStream(const std::string& body);

}  // namespace caisson::cli
