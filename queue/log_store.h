// SPDX-License-Identifier: Apache-2.0
// LogStore: the output of jobs in append-only files, one directory a job. A position counts the bytes kept of both
// streams over all attempts, so that one number is SSE id, Range offset and resume point. Past the cap bytes are
// dropped and counted. Thread-safe; one writer a job at a time (the holder of its claim), any number of readers.
//
// A job's log is two files: DIR/<first 2 digits of the id's random half>/<id>/data (the bytes) and .../index (fixed
// 24-byte records: position, length, stream, attempt, time). A crash is healed at the next open: the index is cut to
// whole records and the data to what the index covers. Once a byte was dropped everything after it is: what is kept is
// the log's beginning, without a gap. The index is bounded too (kMaxIndexRecords): a program that changes stream with
// every byte reaches that before the cap.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "queue/job.h"

namespace caisson::queue {

inline constexpr uint64_t kMaxIndexRecords = 1 << 18;  // 6 MiB of index for one job

enum class LogStream : uint8_t { kStdout = 1, kStderr = 2 };

struct LogChunk {
  uint64_t position = 0;  // of its first byte
  LogStream stream = LogStream::kStdout;
  std::string bytes;
  uint64_t end() const { return position + bytes.size(); }
};

struct LogState {
  uint64_t bytes = 0;
  uint64_t dropped = 0;
  bool open = false;  // a writer holds it: more may come
};

class LogWriter {
 public:
  virtual ~LogWriter() = default;
  // Keeps what fits below the cap and counts the rest as dropped. After an error (disk full) all further bytes are
  // dropped and counted, without further errors.
  virtual Result<void> Append(LogStream stream, std::string_view bytes) = 0;
  // fdatasync: before the attempt's end is committed.
  virtual Result<void> Sync() = 0;
  virtual LogState state() const = 0;
};

class LogStore {
 public:
  virtual ~LogStore() = default;
  // kConflict while another writer has it. The writer must not outlive the store.
  virtual Result<std::unique_ptr<LogWriter>> OpenWriter(const JobId& id, int attempt) = 0;
  // Up to `max_bytes` from `position` on, at record borders of the streams; empty at the end. `stream` filters.
  virtual Result<std::vector<LogChunk>> Read(const JobId& id, uint64_t position, size_t max_bytes,
                                             std::optional<LogStream> stream) = 0;
  virtual Result<LogState> State(const JobId& id) = 0;  // zeros for a job without output
  // Waits until the log grew past `position`, its writer closed, or `timeout`; true when there is something new.
  // (Callers with an event loop use Subscribe.)
  virtual bool WaitBeyond(const JobId& id, uint64_t position, std::chrono::milliseconds timeout) = 0;
  // `notify` runs on the writer's thread after each append and at close, until the returned handle is destroyed
  // (which waits for a call to end, so not from within one). Must be quick.
  virtual std::shared_ptr<void> Subscribe(const JobId& id, std::function<void()> notify) = 0;
};

struct LogStoreOptions {
  std::string directory;
  uint64_t cap_bytes = 10 << 20;  // of one job, all attempts
  const Clock* clock = &SystemClock();
};
Result<std::unique_ptr<LogStore>> OpenLogStore(const LogStoreOptions& options);

}  // namespace caisson::queue
