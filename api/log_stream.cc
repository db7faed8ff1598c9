// SPDX-License-Identifier: Apache-2.0
#include "api/log_stream.h"

#include <algorithm>
#include <utility>

#include "api/log_events.h"

namespace caisson::api {
namespace {

constexpr size_t kPieceBytes = 32 << 10;  // read from the log at once; what one reader can hold of our memory

class LogBytes : public BodyStream {
 public:
  LogBytes(queue::LogStore& logs, const queue::JobId& id, ByteRange range, std::optional<queue::LogStream> stream)
      : logs_(logs), id_(id), range_(range), position_(range.first), stream_(stream) {}

  std::optional<uint64_t> Length() const override {
    if (stream_) return std::nullopt;  // known only when it was read
    return range_.end - range_.first;
  }

  Result<Piece> Next() override {
    Piece piece{Step::kData, {}};
    while (piece.bytes.empty() && position_ < range_.end) {
      const size_t wanted = std::min<uint64_t>(kPieceBytes, range_.end - position_);
      const auto chunks = TRY(logs_.Read(id_, position_, wanted, std::nullopt));
      if (chunks.empty())
        return Fail(ErrorCode::kCorrupt, "the log of job {} ends at {}, not {}", id_.value, position_, range_.end);
      for (const queue::LogChunk& chunk : chunks) {
        const size_t usable = std::min<uint64_t>(chunk.bytes.size(), range_.end - std::min(chunk.position, range_.end));
        if (!stream_ || *stream_ == chunk.stream) piece.bytes.append(chunk.bytes, 0, usable);
        position_ = chunk.end();
      }
    }
    if (piece.bytes.empty()) piece.step = Step::kEnd;
    return piece;
  }

 private:
  queue::LogStore& logs_;
  const queue::JobId id_;
  const ByteRange range_;
  uint64_t position_;
  const std::optional<queue::LogStream> stream_;
};

class LogEvents : public BodyStream {
 public:
  LogEvents(LogEventSource source, const queue::JobId& id, const LogQuery& query)
      : source_(std::move(source)),
        id_(id),
        follow_(query.follow),
        options_{query.stream, query.base64},
        position_(query.after) {}

  Result<Piece> Next() override {
    if (ended_) return Piece{Step::kEnd, {}};
    for (;;) {
      auto chunks = TRY(Read());
      EncodedEvents events = EncodeLogEvents(chunks, position_, options_, false);
      if (events.position == position_) {
        // Only now, with nothing left to read, is it asked whether the job is final; and what was written between
        // the two is read again, so that the last bytes of a job are never lost.
        const queue::JobRecord job = TRY(source_.job());
        const bool final = queue::IsFinal(job.state);
        if (!final && follow_) return Piece{Step::kWait, {}};
        chunks = TRY(Read());
        events = EncodeLogEvents(chunks, position_, options_, true);
        if (events.position == position_) return End(job);
      }
      position_ = events.position;
      if (!events.text.empty()) return Piece{Step::kData, std::move(events.text)};
    }
  }

  void Watch(std::function<void()> notify) override {
    if (!follow_) return;
    log_watch_ = source_.logs->Subscribe(id_, notify);
    job_watch_ = source_.watch_job(std::move(notify));
  }

  std::string_view KeepAlive() const override { return ": ping\n\n"; }

 private:
  Result<std::vector<queue::LogChunk>> Read() { return source_.logs->Read(id_, position_, kPieceBytes, std::nullopt); }
  Piece End(const queue::JobRecord& job) {
    ended_ = true;
    return Piece{Step::kData, EncodeEvent(position_, "end", source_.view(job).Dump())};
  }

  const LogEventSource source_;
  const queue::JobId id_;
  const bool follow_;
  const EventOptions options_;
  uint64_t position_;
  bool ended_ = false;
  std::shared_ptr<void> log_watch_;
  std::shared_ptr<void> job_watch_;
};

}  // namespace

std::shared_ptr<BodyStream> MakeLogBytes(queue::LogStore& logs, const queue::JobId& id, ByteRange range,
                                         std::optional<queue::LogStream> stream) {
  return std::make_shared<LogBytes>(logs, id, range, stream);
}

std::shared_ptr<BodyStream> MakeLogEvents(LogEventSource source, const queue::JobId& id, const LogQuery& query) {
  return std::make_shared<LogEvents>(std::move(source), id, query);
}

}  // namespace caisson::api
