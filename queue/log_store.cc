// SPDX-License-Identifier: Apache-2.0
#include "queue/log_store.h"

#include <algorithm>
#include <condition_variable>
#include <list>
#include <map>
#include <mutex>

#include "base/io.h"
#include "queue/log_file.h"

namespace caisson::queue {
namespace {

// What a writer, its readers and its followers share while any of them is there. Safe on any thread.
struct Live {
  std::mutex mutex;
  std::condition_variable changed;
  bool open = false;  // guarded by mutex, as are these
  LogExtent extent;   // while open
  uint64_t dropped = 0;
  uint64_t closes = 0;

  std::mutex notify_mutex;  // held while callbacks run: a handle's destructor waits for them
  std::list<std::function<void()>> callbacks;

  void Notify() {
    changed.notify_all();
    const std::lock_guard lock(notify_mutex);
    for (const auto& callback : callbacks) callback();
  }
};

// The Live of each job that has one, for as long as somebody holds it.
class Registry : public std::enable_shared_from_this<Registry> {
 public:
  std::shared_ptr<Live> Get(const JobId& id) {
    const std::lock_guard lock(mutex_);
    std::weak_ptr<Live>& entry = entries_[id];
    if (auto live = entry.lock()) return live;
    std::shared_ptr<Live> live(new Live, [registry = shared_from_this(), id](Live* gone) {
      delete gone;
      registry->Forget(id);
    });
    entry = live;
    return live;
  }
  std::shared_ptr<Live> Find(const JobId& id) {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(id);
    return found == entries_.end() ? nullptr : found->second.lock();
  }

 private:
  void Forget(const JobId& id) {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(id);
    if (found != entries_.end() && found->second.expired()) entries_.erase(found);
  }

  std::mutex mutex_;
  std::map<JobId, std::weak_ptr<Live>> entries_;
};

class FileLogWriter final : public LogWriter {
 public:
  FileLogWriter(LogFile file, std::shared_ptr<Live> live, const LogStoreOptions& options)
      : file_(std::move(file)), live_(std::move(live)), options_(options), dropped_(file_.extent().dropped) {
    Publish();
  }
  ~FileLogWriter() override {
    (void)WriteDropped();
    {
      const std::lock_guard lock(live_->mutex);
      live_->open = false;
      live_->closes += 1;
    }
    live_->Notify();
  }

  Result<void> Append(LogStream stream, std::string_view bytes) override {
    const UnixMillis now = options_.clock->NowMs();
    size_t kept = Fitting(stream, bytes.size(), now);
    Result<void> appended = file_.Append(stream, bytes.substr(0, kept), now);
    if (!appended) kept = 0;
    dropped_ += bytes.size() - kept;
    Publish();
    live_->Notify();
    return appended;
  }

  Result<void> Sync() override {
    TRY(WriteDropped());
    return file_.Sync();
  }

  LogState state() const override { return {file_.extent().bytes, dropped_, true}; }

 private:
  size_t Fitting(LogStream stream, size_t bytes, UnixMillis now) const {
    const LogExtent& extent = file_.extent();
    if (dropped_ > 0 || extent.bytes >= options_.cap_bytes) return 0;
    const size_t fitting = std::min<uint64_t>(bytes, options_.cap_bytes - extent.bytes);
    if (extent.records >= kMaxIndexRecords && file_.NeedsRecord(stream, fitting, now)) return 0;
    return fitting;
  }
  Result<void> WriteDropped() {
    if (dropped_ == file_.extent().dropped) return {};
    return file_.Drop(dropped_);
  }
  void Publish() {
    const std::lock_guard lock(live_->mutex);
    live_->open = true;
    live_->extent = file_.extent();
    live_->dropped = dropped_;
  }

  LogFile file_;
  std::shared_ptr<Live> live_;
  const LogStoreOptions& options_;
  uint64_t dropped_;
};

struct Subscription {
  std::shared_ptr<Live> live;
  std::list<std::function<void()>>::iterator callback;
  ~Subscription() {
    const std::lock_guard lock(live->notify_mutex);
    live->callbacks.erase(callback);
  }
};

class FileLogStore final : public LogStore {
 public:
  explicit FileLogStore(const LogStoreOptions& options) : options_(options) {}

  Result<std::unique_ptr<LogWriter>> OpenWriter(const JobId& id, int attempt) override {
    const std::string directory = TRY(DirectoryOf(id));
    std::shared_ptr<Live> live = registry_->Get(id);
    const std::lock_guard lock(open_mutex_);  // a log is healed by one, and read by nobody who does not know yet
    {
      const std::lock_guard live_lock(live->mutex);
      if (live->open) return Fail(ErrorCode::kConflict, "the log of job {} has a writer", id.value);
    }
    LogFile file = TRY_IN("open log", LogFile::Open(directory, attempt));
    return std::make_unique<FileLogWriter>(std::move(file), std::move(live), options_);
  }

  Result<std::vector<LogChunk>> Read(const JobId& id, uint64_t position, size_t max_bytes,
                                     std::optional<LogStream> stream) override {
    const std::string directory = TRY(DirectoryOf(id));
    const std::optional<LogExtent> known = KnownExtent(id);
    const LogReader reader = TRY_IN("read log", LogReader::Open(directory, known ? &*known : nullptr));
    return TRY_IN("read log", reader.Read(position, max_bytes, stream));
  }

  Result<LogState> State(const JobId& id) override {
    if (const std::shared_ptr<Live> live = registry_->Find(id)) {
      const std::lock_guard lock(live->mutex);
      if (live->open) return LogState{live->extent.bytes, live->dropped, true};
    }
    const LogReader reader = TRY_IN("read log", LogReader::Open(TRY(DirectoryOf(id))));
    return LogState{reader.extent.bytes, reader.extent.dropped, false};
  }

  bool WaitBeyond(const JobId& id, uint64_t position, std::chrono::milliseconds timeout) override {
    const std::shared_ptr<Live> live = registry_->Get(id);
    std::unique_lock lock(live->mutex);
    const uint64_t closes = live->closes;
    lock.unlock();
    if (IsBeyond(id, position)) return true;
    lock.lock();
    live->changed.wait_for(lock, timeout,
                           [&] { return live->closes != closes || (live->open && live->extent.bytes > position); });
    lock.unlock();
    return IsBeyond(id, position);
  }

  std::shared_ptr<void> Subscribe(const JobId& id, std::function<void()> notify) override {
    std::shared_ptr<Live> live = registry_->Get(id);
    const std::lock_guard lock(live->notify_mutex);
    const auto callback = live->callbacks.insert(live->callbacks.end(), std::move(notify));
    return std::shared_ptr<Subscription>(new Subscription{live, callback});
  }

 private:
  // Two digits of the random half spread the jobs over 256 directories.
  Result<std::string> DirectoryOf(const JobId& id) const {
    TRY(JobId::Parse(id.value));  // it becomes a path
    return options_.directory + "/" + id.value.substr(12, 2) + "/" + id.value;
  }
  std::optional<LogExtent> KnownExtent(const JobId& id) {
    const std::shared_ptr<Live> live = registry_->Find(id);
    if (!live) return std::nullopt;
    const std::lock_guard lock(live->mutex);
    return live->open ? std::optional(live->extent) : std::nullopt;
  }
  bool IsBeyond(const JobId& id, uint64_t position) {
    const auto state = State(id);
    return state && state->bytes > position;
  }

  const LogStoreOptions options_;
  const std::shared_ptr<Registry> registry_ = std::make_shared<Registry>();
  std::mutex open_mutex_;
};

}  // namespace

Result<std::unique_ptr<LogStore>> OpenLogStore(const LogStoreOptions& options) {
  TRY_IN("open log store", MakeDirectories(options.directory, 0700));
  return std::make_unique<FileLogStore>(options);
}

}  // namespace caisson::queue
