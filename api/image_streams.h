// SPDX-License-Identifier: Apache-2.0
// Bodies that a long call makes on its own thread while a session sends them: a pull's progress as events, and a root
// file system as a tar archive. Dropping the stream cancels the call.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "api/http_types.h"
#include "api/image_ports.h"
#include "api/long_calls.h"

namespace caisson::api {

inline constexpr std::chrono::milliseconds kProgressInterval{100};  // between two `progress` events
inline constexpr size_t kRootfsBufferBytes = 512 << 10;             // of an export that its reader has not taken

// Events `progress`, at most one in kProgressInterval and each the newest, then one last event.
class PullEvents {
 public:
  PullEvents() : token_(std::make_shared<CallToken>()) {}
  const std::shared_ptr<CallToken>& token() const { return token_; }

  void Progress(const PullProgress& progress);              // from any thread
  void End(std::string_view event, std::string_view data);  // once
  static std::shared_ptr<BodyStream> StreamOf(const std::shared_ptr<PullEvents>& events);

 private:
  class Stream;
  const std::shared_ptr<CallToken> token_;
  std::mutex mutex_;
  std::optional<PullProgress> newest_;  // these are guarded by mutex_; not yet sent
  std::string last_event_;
  std::function<void()> notify_;
};

// Bytes from one thread to another, at most kRootfsBufferBytes between them: a reader that is slow slows the writer.
class RootfsPipe {
 public:
  RootfsPipe();
  const std::shared_ptr<CallToken>& token() const { return token_; }

  Result<void> Write(std::string_view bytes);  // blocks; kCancelled once the reader has gone
  void End(Result<void> result);               // once; an error cuts the reader's connection
  static std::shared_ptr<BodyStream> StreamOf(const std::shared_ptr<RootfsPipe>& pipe);

 private:
  class Stream;
  struct State;
  const std::shared_ptr<State> state_;
  const std::shared_ptr<CallToken> token_;
};

}  // namespace caisson::api
