// SPDX-License-Identifier: Apache-2.0
#include "queue/log_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <random>
#include <thread>

#include "base/io.h"
#include "queue/log_file.h"
#include "tests/queue/fake_clock.h"
#include "tests/queue/temporary_directory.h"

namespace caisson::queue {
namespace {

using caisson::testing::FakeClock;
using caisson::testing::TemporaryDirectory;
using std::chrono::milliseconds;
using std::chrono::seconds;

// What a log should hold: every kept byte with its stream.
struct Model {
  std::string bytes;
  std::string streams;  // one digit a byte

  void Append(LogStream stream, std::string_view text) {
    bytes += text;
    streams.append(text.size(), stream == LogStream::kStdout ? '1' : '2');
  }
};

class LogStoreTest : public ::testing::Test {
 protected:
  LogStoreTest() { Open(1 << 20); }
  void Open(uint64_t cap_bytes) {
    logs_ = OpenLogStore({.directory = directory_.file("logs"), .cap_bytes = cap_bytes, .clock = &clock_}).value();
  }
  std::string PathOf(const std::string& name) const {
    return directory_.file("logs") + "/" + id_.value.substr(12, 2) + "/" + id_.value + "/" + name;
  }
  void Overwrite(const std::string& name, const std::string& bytes) const {
    const Fd file = OpenAt(AT_FDCWD, PathOf(name), O_WRONLY | O_TRUNC).value();
    ASSERT_TRUE(WriteAll(file.get(), bytes));
  }
  std::unique_ptr<LogWriter> Writer(int attempt = 1) { return logs_->OpenWriter(id_, attempt).value(); }
  std::string ReadFrom(uint64_t position, std::optional<LogStream> stream = {}, size_t step = 1 << 20) {
    std::string text;
    for (;;) {
      const std::vector<LogChunk> chunks = logs_->Read(id_, position, step, stream).value();
      if (chunks.empty()) return text;
      for (const LogChunk& chunk : chunks) text += chunk.bytes;
      position = chunks.back().end();
    }
  }
  LogState State() { return logs_->State(id_).value(); }

  // Every byte from `position` on, with its stream and its position, in steps of `step`.
  void ExpectReadsAs(const Model& model, uint64_t position, size_t step) {
    Model read;
    uint64_t at = position;
    for (;;) {
      const std::vector<LogChunk> chunks = logs_->Read(id_, at, step, {}).value();
      if (chunks.empty()) break;
      size_t got = 0;
      for (const LogChunk& chunk : chunks) {
        ASSERT_EQ(chunk.position, at);
        ASSERT_FALSE(chunk.bytes.empty());
        read.Append(chunk.stream, chunk.bytes);
        at = chunk.end();
        got += chunk.bytes.size();
      }
      ASSERT_LE(got, step);
    }
    const uint64_t from = std::min<uint64_t>(position, model.bytes.size());
    ASSERT_EQ(read.bytes, model.bytes.substr(from)) << "from " << position;
    ASSERT_EQ(read.streams, model.streams.substr(from)) << "from " << position;
  }

  TemporaryDirectory directory_;
  FakeClock clock_;
  std::unique_ptr<LogStore> logs_;
  const JobId id_ = JobId::New(1'700'000'000'000);
};

TEST_F(LogStoreTest, JobWithoutOutputHasAnEmptyLogAndNoFiles) {
  EXPECT_EQ(State().bytes, 0u);
  ASSERT_TRUE(Writer()->Sync());
  EXPECT_TRUE(logs_->Read(id_, 0, 100, {}).value().empty());
  EXPECT_FALSE(std::filesystem::exists(PathOf("data")));
}

TEST_F(LogStoreTest, StreamsComeBackInOrderAndApart) {
  const auto writer = Writer();
  ASSERT_TRUE(writer->Append(LogStream::kStdout, "one "));
  ASSERT_TRUE(writer->Append(LogStream::kStderr, "two "));
  ASSERT_TRUE(writer->Append(LogStream::kStdout, "three"));
  EXPECT_EQ(ReadFrom(0), "one two three");
  EXPECT_EQ(ReadFrom(0, LogStream::kStdout), "one three");
  EXPECT_EQ(ReadFrom(0, LogStream::kStderr), "two ");
  EXPECT_EQ(ReadFrom(2, LogStream::kStderr), "two ");
  EXPECT_EQ(ReadFrom(5, LogStream::kStderr), "wo ");
  EXPECT_EQ(ReadFrom(13), "");
  EXPECT_EQ(ReadFrom(1000), "");
  const std::vector<LogChunk> chunks = logs_->Read(id_, 0, 100, LogStream::kStdout).value();
  ASSERT_EQ(chunks.size(), 2u);
  EXPECT_EQ(chunks[1].position, 8u);
}

TEST_F(LogStoreTest, AnyBytesComeBack) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<char>(i));
  ASSERT_TRUE(Writer()->Append(LogStream::kStdout, bytes));
  EXPECT_EQ(ReadFrom(0), bytes);
}

TEST_F(LogStoreTest, FilesAreForNobodyElse) {
  ASSERT_TRUE(Writer()->Append(LogStream::kStdout, "secret"));
  struct stat info {};
  ASSERT_EQ(::stat(PathOf("data").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ASSERT_EQ(::stat(PathOf("").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
}

TEST_F(LogStoreTest, PositionsGoOnOverAttempts) {
  ASSERT_TRUE(Writer(1)->Append(LogStream::kStdout, "first\n"));
  {
    const auto writer = Writer(2);
    EXPECT_EQ(writer->state().bytes, 6u);
    ASSERT_TRUE(writer->Append(LogStream::kStdout, "second\n"));
  }
  EXPECT_EQ(ReadFrom(0), "first\nsecond\n");
  EXPECT_EQ(ReadFrom(6), "second\n");
}

TEST_F(LogStoreTest, OneWriterAtATime) {
  auto writer = Writer();
  const auto second = logs_->OpenWriter(id_, 2);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kConflict);
  writer.reset();
  EXPECT_TRUE(logs_->OpenWriter(id_, 2));
}

TEST_F(LogStoreTest, AnIdThatIsNoneReachesNoFile) {
  EXPECT_FALSE(logs_->OpenWriter(JobId{"../../../../../../etc/x"}, 1));
  EXPECT_FALSE(logs_->Read(JobId{"../../../../../../etc/x"}, 0, 1, {}));
}

TEST_F(LogStoreTest, CapKeepsTheBeginningAndCountsTheRest) {
  Open(10);
  {
    const auto writer = Writer();
    ASSERT_TRUE(writer->Append(LogStream::kStdout, "12345"));
    ASSERT_TRUE(writer->Append(LogStream::kStderr, "6789abc"));
    ASSERT_TRUE(writer->Append(LogStream::kStdout, "more"));
    EXPECT_EQ(writer->state().bytes, 10u);
    EXPECT_EQ(writer->state().dropped, 6u);
    EXPECT_EQ(State().dropped, 6u);
    ASSERT_TRUE(writer->Sync());
    ASSERT_TRUE(writer->Append(LogStream::kStdout, "!"));
  }
  EXPECT_EQ(ReadFrom(0), "123456789a");
  EXPECT_EQ(State().bytes, 10u);
  EXPECT_EQ(State().dropped, 7u);
  Open(1000);  // the cap is the whole job's: a log that dropped bytes stays closed
  {
    const auto writer = Writer(2);
    EXPECT_EQ(writer->state().dropped, 7u);
    ASSERT_TRUE(writer->Append(LogStream::kStdout, "xyz"));
  }
  EXPECT_EQ(ReadFrom(0), "123456789a");
  EXPECT_EQ(State().dropped, 10u);
}

TEST_F(LogStoreTest, ExactFitDropsNothing) {
  Open(4);
  ASSERT_TRUE(Writer()->Append(LogStream::kStdout, "1234"));
  EXPECT_EQ(State().dropped, 0u);
  EXPECT_EQ(State().bytes, 4u);
}

TEST_F(LogStoreTest, ByteByByteOutputKeepsTheIndexSmall) {
  const auto writer = Writer();
  for (int i = 0; i < 10'000; ++i) ASSERT_TRUE(writer->Append(LogStream::kStdout, "x"));
  EXPECT_EQ(std::filesystem::file_size(PathOf("index")), sizeof(LogRecord));
  clock_.Advance(seconds(2));  // times stay true to a second
  ASSERT_TRUE(writer->Append(LogStream::kStdout, "x"));
  EXPECT_EQ(std::filesystem::file_size(PathOf("index")), 2 * sizeof(LogRecord));
  EXPECT_EQ(ReadFrom(0), std::string(10'001, 'x'));
}

TEST_F(LogStoreTest, IndexIsBoundedForAProgramThatChangesStreamsWithEveryByte) {
  const auto writer = Writer();
  const uint64_t writes = kMaxIndexRecords + 1000;
  for (uint64_t i = 0; i < writes; ++i) {
    ASSERT_TRUE(writer->Append(i % 2 ? LogStream::kStdout : LogStream::kStderr, "x"));
  }
  EXPECT_EQ(State().bytes, kMaxIndexRecords);
  EXPECT_EQ(State().dropped, 1000u);
}

TEST_F(LogStoreTest, EveryPositionResumesAndEveryStepReads) {
  Model model;
  {
    const auto writer = Writer();
    std::mt19937 random(7);
    while (model.bytes.size() < 2000) {
      const LogStream stream = random() % 3 ? LogStream::kStdout : LogStream::kStderr;
      std::string text(1 + random() % 40, 'a');
      for (char& c : text) c = static_cast<char>(random());
      ASSERT_TRUE(writer->Append(stream, text));
      model.Append(stream, text);
      clock_.Advance(milliseconds(random() % 600));
    }
  }
  for (uint64_t position = 0; position <= model.bytes.size() + 1; ++position) {
    ExpectReadsAs(model, position, 1 << 20);
  }
  for (size_t step = 1; step < 100; step += 7) ExpectReadsAs(model, 0, step);
}

TEST_F(LogStoreTest, RandomAppendsOfManyAttemptsMatchTheModel) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    const JobId id = JobId::New(1'700'000'000'000 + seed);
    const uint64_t cap = 1000 + random() % 300'000;
    Open(cap);
    Model model;
    uint64_t offered = 0;
    for (int attempt = 1; attempt <= 4; ++attempt) {
      const auto writer = logs_->OpenWriter(id, attempt).value();
      for (int i = 0; i < 40; ++i) {
        const LogStream stream = random() % 2 ? LogStream::kStdout : LogStream::kStderr;
        const std::string text(random() % (i % 10 == 0 ? 90'000 : 200), static_cast<char>('a' + random() % 26));
        ASSERT_TRUE(writer->Append(stream, text));
        const size_t room = cap - model.bytes.size();
        model.Append(stream, std::string_view(text).substr(0, room));
        offered += text.size();
        clock_.Advance(milliseconds(random() % 500));
        if (random() % 10 == 0) {
          ASSERT_TRUE(writer->Sync());
        }
      }
    }
    const LogState state = logs_->State(id).value();
    ASSERT_EQ(state.bytes, model.bytes.size()) << seed;
    ASSERT_EQ(state.dropped, offered - model.bytes.size()) << seed;
    for (int i = 0; i < 20; ++i) {
      const uint64_t position = random() % (model.bytes.size() + 1);
      std::string read, streams;
      const std::vector<LogChunk> chunks = logs_->Read(id, position, 1 << 30, {}).value();
      for (const LogChunk& chunk : chunks) {
        read += chunk.bytes;
        streams.append(chunk.bytes.size(), chunk.stream == LogStream::kStdout ? '1' : '2');
      }
      ASSERT_TRUE(read == model.bytes.substr(position)) << seed;
      ASSERT_TRUE(streams == model.streams.substr(position)) << seed;
    }
  }
}

// ---- After a crash ----------------------------------------------------------------------------------------------

// Cuts both files everywhere: whatever is left must be a prefix of what was written, and further output must follow it.
TEST_F(LogStoreTest, WhatACrashLeavesHealsToAPrefix) {
  Model model;
  {
    const auto writer = Writer();
    for (const auto& [stream, text] : {std::pair(LogStream::kStdout, "abcde"), std::pair(LogStream::kStderr, "FG"),
                                       std::pair(LogStream::kStdout, "hij")}) {
      ASSERT_TRUE(writer->Append(stream, text));
      model.Append(stream, text);
    }
  }
  const std::string data = ReadFile(PathOf("data"), 1 << 20).value();
  const std::string index = ReadFile(PathOf("index"), 1 << 20).value();
  ASSERT_EQ(index.size(), 3 * sizeof(LogRecord));
  for (size_t data_size = 0; data_size <= data.size(); ++data_size) {
    for (size_t index_size = 0; index_size <= index.size(); ++index_size) {
      Overwrite("data", data.substr(0, data_size));
      Overwrite("index", index.substr(0, index_size));
      const size_t records = index_size / sizeof(LogRecord);
      const size_t covered = std::min(data_size, size_t{records == 0   ? 0u
                                                        : records == 1 ? 5u
                                                        : records == 2 ? 7u
                                                                       : 10u});
      EXPECT_EQ(State().bytes, covered);
      EXPECT_EQ(ReadFrom(0), model.bytes.substr(0, covered));
      const auto writer = Writer(2);
      ASSERT_TRUE(writer->Append(LogStream::kStderr, "next"));
      EXPECT_EQ(ReadFrom(0), model.bytes.substr(0, covered) + "next");
    }
  }
}

TEST_F(LogStoreTest, GarbageInTheIndexEndsTheLogThere) {
  {
    const auto writer = Writer();
    ASSERT_TRUE(writer->Append(LogStream::kStdout, "good"));
    ASSERT_TRUE(writer->Append(LogStream::kStderr, "hidden"));
  }
  std::string index = ReadFile(PathOf("index"), 1 << 20).value();
  index[sizeof(LogRecord) + 3] = 77;  // the second record's position
  Overwrite("index", index);
  EXPECT_EQ(State().bytes, 4u);
  EXPECT_EQ(ReadFrom(0), "good");
  ASSERT_TRUE(Writer(2)->Append(LogStream::kStdout, "!"));
  EXPECT_EQ(ReadFrom(0), "good!");
}

TEST_F(LogStoreTest, DataThatNoRecordCoversIsCut) {
  ASSERT_TRUE(Writer()->Append(LogStream::kStdout, "kept"));
  {
    const Fd data = OpenAt(AT_FDCWD, PathOf("data"), O_WRONLY | O_APPEND).value();
    ASSERT_TRUE(WriteAll(data.get(), "torn"));
  }
  EXPECT_EQ(ReadFrom(0), "kept");
  ASSERT_TRUE(Writer(2)->Append(LogStream::kStderr, "!"));
  EXPECT_EQ(ReadFrom(0), "kept!");
  EXPECT_EQ(std::filesystem::file_size(PathOf("data")), 5u);
}

// ---- Following --------------------------------------------------------------------------------------------------

TEST_F(LogStoreTest, ReadersBesideAWriterSeeEveryByteOnce) {
  constexpr size_t kTotal = 3 << 20;
  Open(kTotal);
  std::string written;
  std::mt19937 random(3);
  while (written.size() < kTotal) written.push_back(static_cast<char>(random()));
  auto writer = Writer();
  std::vector<std::thread> readers;
  std::atomic<int> matched = 0;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&, i] {
      std::string read;
      while (read.size() < kTotal) {
        if (!logs_->WaitBeyond(id_, read.size(), seconds(60))) return;
        const std::vector<LogChunk> chunks = logs_->Read(id_, read.size(), 1000 + 50'000 * i, {}).value();
        for (const LogChunk& chunk : chunks) read += chunk.bytes;
      }
      matched += read == written;
    });
  }
  for (size_t at = 0; at < kTotal;) {
    const size_t size = std::min<size_t>(1 + random() % 5000, kTotal - at);
    ASSERT_TRUE(writer->Append(random() % 2 ? LogStream::kStdout : LogStream::kStderr, written.substr(at, size)));
    at += size;
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(matched, 3);
}

TEST_F(LogStoreTest, WaitEndsWhenTheWriterCloses) {
  auto writer = Writer();
  ASSERT_TRUE(writer->Append(LogStream::kStdout, "x"));
  EXPECT_TRUE(logs_->WaitBeyond(id_, 0, seconds(60)));
  std::atomic<bool> beyond = true;
  std::thread waiter([&] { beyond = logs_->WaitBeyond(id_, 1, seconds(60)); });
  std::thread closer([&] { writer.reset(); });
  closer.join();
  // The close may come before the wait begins: a further close then ends it.
  for (int attempt = 2; beyond; ++attempt) logs_->OpenWriter(id_, attempt).value().reset();
  waiter.join();
  EXPECT_FALSE(beyond);
}

TEST_F(LogStoreTest, WaitOfAJobThatHasNotStartedEndsWithItsFirstByte) {
  std::thread waiter([&] { EXPECT_TRUE(logs_->WaitBeyond(id_, 0, seconds(60))); });
  const auto writer = Writer();
  ASSERT_TRUE(writer->Append(LogStream::kStdout, "x"));
  waiter.join();
}

TEST_F(LogStoreTest, SubscriberHearsAppendsAndCloseUntilItsHandleIsGone) {
  int calls = 0;
  auto writer = Writer();
  auto handle = logs_->Subscribe(id_, [&] { ++calls; });
  ASSERT_TRUE(writer->Append(LogStream::kStdout, "x"));
  EXPECT_EQ(calls, 1);
  writer.reset();
  EXPECT_EQ(calls, 2);
  EXPECT_FALSE(State().open);
  handle.reset();
  ASSERT_TRUE(Writer(2)->Append(LogStream::kStdout, "y"));
  EXPECT_EQ(calls, 2);
}

TEST_F(LogStoreTest, SubscriberMayComeBeforeTheWriter) {
  std::atomic<int> calls = 0;
  const auto handle = logs_->Subscribe(id_, [&] { ++calls; });
  ASSERT_TRUE(Writer()->Append(LogStream::kStdout, "x"));
  EXPECT_EQ(calls, 2);
}

TEST_F(LogStoreTest, FailedWriteIsAnErrorOnceAndItsBytesAreCounted) {
  const auto writer = Writer();
  ASSERT_TRUE(writer->Append(LogStream::kStdout, "kept"));
  // The nearest thing to a full disk: writes past the limit fail once the signal is ignored.
  const auto old_handler = ::signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit{};
  ::getrlimit(RLIMIT_FSIZE, &old_limit);
  const rlimit small{.rlim_cur = 4096, .rlim_max = old_limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto failed = writer->Append(LogStream::kStdout, std::string(10'000, 'x'));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  ::signal(SIGXFSZ, old_handler);
  EXPECT_FALSE(failed);
  EXPECT_TRUE(writer->Append(LogStream::kStdout, "too late"));
  EXPECT_EQ(writer->state().bytes, 4u);
  EXPECT_EQ(writer->state().dropped, 10'008u);
  EXPECT_EQ(ReadFrom(0), "kept");
}

}  // namespace
}  // namespace caisson::queue
