// SPDX-License-Identifier: Apache-2.0
#include "queue/log_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "base/check.h"
#include "base/io.h"

namespace caisson::queue {
namespace {

constexpr uint64_t kRecordBytes = sizeof(LogRecord);
constexpr uint64_t kRecordsPerRead = 512;
constexpr uint32_t kMaxMergedBytes = 64 << 10;  // a record is what one read of a follower takes
constexpr uint64_t kMaxMergedMs = 1000;         // times stay true to a second

Result<uint64_t> SizeOf(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return FailErrno(errno, "stat log");
  return static_cast<uint64_t>(info.st_size);
}

Result<std::vector<LogRecord>> ReadRecords(int index, uint64_t first, uint64_t count) {
  const std::string bytes = TRY(ReadAt(index, count * kRecordBytes, first * kRecordBytes));
  std::vector<LogRecord> records(count);
  std::memcpy(records.data(), bytes.data(), bytes.size());
  return records;
}

bool IsStream(uint8_t number) {
  return number == static_cast<uint8_t>(LogStream::kStdout) || number == static_cast<uint8_t>(LogStream::kStderr);
}

// What of the files is whole: records without a gap, covered by data. A record that covers more than there is (power
// was lost before the data came to disk) counts in part. `last` is set to the last valid record.
Result<LogExtent> Survey(int data, int index, LogRecord* last) {
  const uint64_t data_bytes = TRY(SizeOf(data));
  const uint64_t whole_records = TRY(SizeOf(index)) / kRecordBytes;
  LogExtent extent;
  for (uint64_t first = 0; first < whole_records; first += kRecordsPerRead) {
    for (LogRecord& record : TRY(ReadRecords(index, first, std::min(kRecordsPerRead, whole_records - first)))) {
      if (record.position != extent.bytes) return extent;
      if (record.stream == 0) {
        extent.dropped = record.value;
        extent.has_end_mark = true;
        return extent;
      }
      if (!IsStream(record.stream) || record.length == 0 || record.position >= data_bytes) return extent;
      record.length = static_cast<uint32_t>(std::min<uint64_t>(record.length, data_bytes - record.position));
      extent.bytes += record.length;
      extent.records += 1;
      *last = record;
    }
  }
  return extent;
}

// The extent of files whose last record ends where the data ends, as a writer leaves them: seen at the end alone,
// since a long log has many records and is read in many steps.
Result<std::optional<LogExtent>> ClosedExtent(int data, int index) {
  const uint64_t data_bytes = TRY(SizeOf(data));
  const uint64_t index_bytes = TRY(SizeOf(index));
  if (index_bytes == 0 || index_bytes % kRecordBytes != 0) return std::optional<LogExtent>();
  const uint64_t records = index_bytes / kRecordBytes;
  const LogRecord last = TRY(ReadRecords(index, records - 1, 1))[0];
  const bool is_mark = last.stream == 0;
  if ((!is_mark && !IsStream(last.stream)) || last.position + last.length != data_bytes || (is_mark && last.length)) {
    return std::optional<LogExtent>();
  }
  return std::optional(LogExtent{data_bytes, records - is_mark, is_mark ? last.value : 0, is_mark});
}

Result<void> WriteAt(int fd, std::string_view bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FailErrno(errno, "write log");
    bytes.remove_prefix(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  return {};
}

Result<void> SyncDirectory(const std::string& path) {
  const Fd directory = TRY(OpenAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY));
  if (::fsync(directory.get()) != 0) return FailErrno(errno, "fsync {}", path);
  return {};
}

std::string ParentOf(const std::string& path) { return path.substr(0, path.rfind('/')); }

// Empty where the file does not exist.
Result<Fd> OpenIfThere(const std::string& path, int flags) {
  auto fd = OpenAt(AT_FDCWD, path, flags | O_NOFOLLOW);
  if (!fd && fd.error().code == ErrorCode::kNotFound) return Fd();
  return fd;
}

}  // namespace

// ---- Reading ----------------------------------------------------------------------------------------------------

Result<LogReader> LogReader::Open(const std::string& directory, const LogExtent* known) {
  LogReader reader;
  reader.data = TRY(OpenIfThere(directory + "/data", O_RDONLY));
  reader.index = TRY(OpenIfThere(directory + "/index", O_RDONLY));
  if (!reader.data || !reader.index) return LogReader();
  LogRecord last;
  if (known) {
    reader.extent = *known;
  } else if (const auto closed = TRY(ClosedExtent(reader.data.get(), reader.index.get()))) {
    reader.extent = *closed;
  } else {
    reader.extent = TRY(Survey(reader.data.get(), reader.index.get(), &last));
  }
  return reader;
}

Result<std::vector<LogChunk>> LogReader::Read(uint64_t position, size_t max_bytes,
                                              std::optional<LogStream> stream) const {
  std::vector<LogChunk> chunks;
  if (position >= extent.bytes || max_bytes == 0) return chunks;
  // The last record that begins at or before `position`.
  uint64_t low = 0, high = extent.records;
  while (high - low > 1) {
    const uint64_t middle = low + (high - low) / 2;
    const std::vector<LogRecord> record = TRY(ReadRecords(index.get(), middle, 1));
    (record[0].position <= position ? low : high) = middle;
  }
  size_t budget = max_bytes;
  for (uint64_t first = low; first < extent.records; first += kRecordsPerRead) {
    for (const LogRecord& record :
         TRY(ReadRecords(index.get(), first, std::min(kRecordsPerRead, extent.records - first)))) {
      const auto of = static_cast<LogStream>(record.stream);
      if (stream && *stream != of) continue;
      const uint64_t begin = std::max(record.position, position);
      // The last record may have grown, or be longer than its data: the extent is what counts.
      const uint64_t end = std::min({record.position + record.length, extent.bytes, begin + budget});
      if (begin >= end) continue;
      std::string bytes = TRY(ReadAt(data.get(), end - begin, begin));
      budget -= bytes.size();
      if (!chunks.empty() && chunks.back().stream == of && chunks.back().end() == begin) {
        chunks.back().bytes += bytes;
      } else {
        chunks.push_back({begin, of, std::move(bytes)});
      }
      if (budget == 0) return chunks;
    }
  }
  return chunks;
}

// ---- Writing ----------------------------------------------------------------------------------------------------

Result<LogFile> LogFile::Open(std::string directory, int attempt) {
  LogFile file;
  file.directory_ = std::move(directory);
  file.attempt_ = attempt;
  file.data_ = TRY(OpenIfThere(file.directory_ + "/data", O_RDWR));
  file.index_ = TRY(OpenIfThere(file.directory_ + "/index", O_RDWR));
  if (!file.data_ || !file.index_) return file;
  file.extent_ = TRY(Survey(file.data_.get(), file.index_.get(), &file.last_));
  const LogExtent& extent = file.extent_;
  if (extent.records > 0) TRY(file.WriteRecord(extent.records - 1, file.last_));  // may have been shortened
  if (::ftruncate(file.index_.get(), static_cast<off_t>((extent.records + extent.has_end_mark) * kRecordBytes)) != 0 ||
      ::ftruncate(file.data_.get(), static_cast<off_t>(extent.bytes)) != 0) {
    return FailErrno(errno, "cut {} to what is whole", file.directory_);
  }
  return file;
}

Result<void> LogFile::Create() {
  if (data_ && index_) return {};
  TRY(MakeDirectories(directory_, 0700));
  data_ = TRY(OpenAt(AT_FDCWD, directory_ + "/data", O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
  index_ = TRY(OpenAt(AT_FDCWD, directory_ + "/index", O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
  directories_synced_ = false;
  return {};
}

Result<void> LogFile::WriteRecord(uint64_t number, const LogRecord& record) {
  return WriteAt(index_.get(), {reinterpret_cast<const char*>(&record), kRecordBytes}, number * kRecordBytes);
}

bool LogFile::NeedsRecord(LogStream stream, size_t bytes, UnixMillis now) const {
  return extent_.records == 0 || last_.stream != static_cast<uint8_t>(stream) || last_.attempt != attempt_ ||
         last_.length + bytes > kMaxMergedBytes || static_cast<uint64_t>(now) - last_.value > kMaxMergedMs;
}

Result<void> LogFile::Append(LogStream stream, std::string_view bytes, UnixMillis now) {
  if (bytes.empty()) return {};
  CHECK(!extent_.has_end_mark && bytes.size() <= UINT32_MAX);
  TRY(Create());
  TRY(WriteAt(data_.get(), bytes, extent_.bytes));
  const auto length = static_cast<uint32_t>(bytes.size());
  if (NeedsRecord(stream, bytes.size(), now)) {
    const LogRecord record{extent_.bytes,
                           length,
                           static_cast<uint8_t>(stream),
                           0,
                           static_cast<uint16_t>(attempt_),
                           static_cast<uint64_t>(now)};
    TRY(WriteRecord(extent_.records, record));
    extent_.records += 1;
    last_ = record;
  } else {
    // The four bytes of the length alone: they never cross a page, so no reader sees half of a change.
    const uint32_t grown = last_.length + length;
    TRY(WriteAt(index_.get(), {reinterpret_cast<const char*>(&grown), sizeof grown},
                (extent_.records - 1) * kRecordBytes + offsetof(LogRecord, length)));
    last_.length = grown;
  }
  extent_.bytes += length;
  return {};
}

Result<void> LogFile::Drop(uint64_t dropped) {
  TRY(Create());
  LogRecord mark;
  mark.position = extent_.bytes;
  mark.attempt = static_cast<uint16_t>(attempt_);
  mark.value = dropped;
  TRY(WriteRecord(extent_.records, mark));
  extent_.dropped = dropped;
  extent_.has_end_mark = true;
  return {};
}

Result<void> LogFile::Sync() {
  if (!data_ || !index_) return {};
  if (::fdatasync(data_.get()) != 0 || ::fdatasync(index_.get()) != 0) {
    return FailErrno(errno, "sync log in {}", directory_);
  }
  if (directories_synced_) return {};
  // The job's directory, the one of its two digits, and the root, which names those.
  TRY(SyncDirectory(directory_));
  TRY(SyncDirectory(ParentOf(directory_)));
  TRY(SyncDirectory(ParentOf(ParentOf(directory_))));
  directories_synced_ = true;
  return {};
}

}  // namespace caisson::queue
