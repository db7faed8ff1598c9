// SPDX-License-Identifier: Apache-2.0
// The two files of one job's log, and their healing. `data` holds the bytes of both streams as they came; `index` says
// which are whose, in records of 24 bytes. Data is written before the record that covers it, so what the index covers
// is there unless the machine lost power. A LogFile belongs to one thread at a time; reading needs only descriptors
// and bounds, and may run beside one writer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "queue/log_store.h"

namespace caisson::queue {

// On disk as it is in memory (little endian). Records lie in the order of `position` and leave no gap.
struct LogRecord {
  uint64_t position = 0;
  uint32_t length = 0;
  uint8_t stream = 0;  // LogStream; 0 in the end mark, which is the last record where there is one
  uint8_t reserved = 0;
  uint16_t attempt = 0;
  uint64_t value = 0;  // time of the first byte in ms; of an end mark: bytes dropped
};
static_assert(sizeof(LogRecord) == 24);

// How much of the files is valid. `records` leaves out the end mark.
struct LogExtent {
  uint64_t bytes = 0;
  uint64_t records = 0;
  uint64_t dropped = 0;
  bool has_end_mark = false;
};

// For reading: the files as they are, with what of them is valid. Both descriptors are empty for a job without output.
struct LogReader {
  Fd data;
  Fd index;
  LogExtent extent;

  // An absent log is an empty one. Beside a writer its extent must be `known`: the files alone may be in between.
  static Result<LogReader> Open(const std::string& directory, const LogExtent* known = nullptr);
  // See LogStore::Read.
  Result<std::vector<LogChunk>> Read(uint64_t position, size_t max_bytes, std::optional<LogStream> stream) const;
};

class LogFile {
 public:
  // Heals what a crash left. Makes nothing: the files come with the first byte, since most jobs print little and
  // many nothing.
  static Result<LogFile> Open(std::string directory, int attempt);

  // Appends all of `bytes`. One record covers what follows each other in one stream of one attempt within a second,
  // so that a program that prints byte by byte does not make an index larger than its output.
  Result<void> Append(LogStream stream, std::string_view bytes, UnixMillis now);
  // Would Append need a further record?
  bool NeedsRecord(LogStream stream, size_t bytes, UnixMillis now) const;
  // Writes the count of dropped bytes; nothing may be appended after it.
  Result<void> Drop(uint64_t dropped);
  // Data, index and, for new files, the directories that name them.
  Result<void> Sync();

  const LogExtent& extent() const { return extent_; }

 private:
  Result<void> Create();
  Result<void> WriteRecord(uint64_t number, const LogRecord& record);

  std::string directory_;
  int attempt_ = 0;
  Fd data_;
  Fd index_;
  LogExtent extent_;
  LogRecord last_;  // of extent_.records - 1
  bool directories_synced_ = true;
};

}  // namespace caisson::queue
