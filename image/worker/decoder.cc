// SPDX-License-Identifier: Apache-2.0
#include "image/worker/decoder.h"

#include <poll.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "image/layer/limits.h"
#if CAISSON_HAVE_ISAL
#include <isa-l/igzip_lib.h>
#endif

namespace caisson::image {
namespace {

constexpr size_t kOutputBytes = 256 << 10;  // stays in a core's second-level cache between inflate, hash and write

uint8_t* Bytes(std::string& text) { return reinterpret_cast<uint8_t*>(text.data()); }
const uint8_t* Bytes(std::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }

tl::unexpected<Error> Damaged(std::string_view what) {
  return Fail(ErrorCode::kInvalid, "{} stream: {}", what, "damaged data");
}
tl::unexpected<Error> CutOff(std::string_view what) { return Fail(ErrorCode::kInvalid, "{} stream: cut off", what); }
tl::unexpected<Error> Trailing(std::string_view what) {
  return Fail(ErrorCode::kInvalid, "{} stream: something else follows it", what);
}

// The compressed bytes that are not used yet: those read for the look at the first bytes, then the input's.
class Feed {
 public:
  Feed(LayerInput& input, std::string first) : input_(input), first_(std::move(first)), view_(first_) {}
  // False at the end of the input; otherwise at least one byte is there.
  Result<bool> Fill() {
    if (view_.empty()) view_ = TRY(input_.Next());
    return !view_.empty();
  }
  std::string_view view() const { return view_; }
  void Use(size_t bytes) { view_.remove_prefix(bytes); }

 private:
  LayerInput& input_;
  std::string first_;
  std::string_view view_;
};

// For a decoder that inflates into memory of its own.
void Exchange(std::string& output, std::string& buffer) {
  buffer.resize(kOutputBytes);  // the first time round
  std::swap(output, buffer);
}

class PlainDecoder : public Decoder {
 public:
  PlainDecoder(LayerInput& input, std::string first) : feed_(input, std::move(first)) {}
  Result<std::string_view> Next() override {
    if (!TRY(feed_.Fill())) return std::string_view();
    const std::string_view piece = feed_.view();
    feed_.Use(piece.size());
    return piece;
  }
  void MoveTo(std::string& buffer, std::string_view piece) override {
    buffer.resize(std::max(buffer.size(), piece.size()));
    piece.copy(buffer.data(), piece.size());
  }

 private:
  Feed feed_;
};

class ZlibDecoder : public Decoder {
 public:
  ZlibDecoder(LayerInput& input, std::string first) : feed_(input, std::move(first)), output_(kOutputBytes, '\0') {
    CHECK(inflateInit2(&stream_, 16 + MAX_WBITS) == Z_OK);  // gzip header and checksum
  }
  ZlibDecoder(const ZlibDecoder&) = delete;
  ZlibDecoder& operator=(const ZlibDecoder&) = delete;
  ~ZlibDecoder() override { inflateEnd(&stream_); }

  Result<std::string_view> Next() override {
    stream_.next_out = Bytes(output_);
    stream_.avail_out = static_cast<uInt>(output_.size());
    while (stream_.avail_out == output_.size()) {
      const bool more = TRY(feed_.Fill());
      if (!more && member_done_) return std::string_view();
      if (!more) return CutOff("gzip");
      if (member_done_) {
        if (static_cast<uint8_t>(feed_.view()[0]) != 0x1f) return Trailing("gzip");
        inflateReset(&stream_);
        member_done_ = false;
      }
      stream_.next_in = const_cast<Bytef*>(Bytes(feed_.view()));
      stream_.avail_in = static_cast<uInt>(feed_.view().size());
      const int result = inflate(&stream_, Z_NO_FLUSH);
      feed_.Use(feed_.view().size() - stream_.avail_in);
      if (result == Z_STREAM_END) {
        member_done_ = true;
      } else if (result != Z_OK && result != Z_BUF_ERROR) {
        return Damaged("gzip");
      }
    }
    return std::string_view(output_).substr(0, output_.size() - stream_.avail_out);
  }

  void MoveTo(std::string& buffer, std::string_view) override { Exchange(output_, buffer); }

 private:
  Feed feed_;
  z_stream stream_{};
  std::string output_;
  bool member_done_ = false;
};

#if CAISSON_HAVE_ISAL
class IsalDecoder : public Decoder {
 public:
  IsalDecoder(LayerInput& input, std::string first)
      : feed_(input, std::move(first)), state_(std::make_unique<inflate_state>()), output_(kOutputBytes, '\0') {
    isal_inflate_init(state_.get());
    BeginMember();
  }

  Result<std::string_view> Next() override {
    state_->next_out = Bytes(output_);
    state_->avail_out = static_cast<uint32_t>(output_.size());
    while (state_->avail_out == output_.size()) {
      // A full output buffer may have left bytes inside the library that need no further input.
      const bool pending = !member_done_ && started_ && output_was_full_;
      output_was_full_ = false;
      const bool more = TRY(feed_.Fill());
      if (!more && member_done_) return std::string_view();
      if (!more && !pending) return CutOff("gzip");
      if (member_done_) {
        if (static_cast<uint8_t>(feed_.view()[0]) != 0x1f) return Trailing("gzip");
        isal_inflate_reset(state_.get());
        BeginMember();
      }
      started_ = true;
      TRY(CheckFlags());
      state_->next_in = const_cast<uint8_t*>(Bytes(feed_.view()));
      state_->avail_in = static_cast<uint32_t>(feed_.view().size());
      if (!header_done_) TRY(ReadHeader());
      if (header_done_ && isal_inflate(state_.get()) != ISAL_DECOMP_OK) return Damaged("gzip");
      feed_.Use(feed_.view().size() - state_->avail_in);
      member_done_ = state_->block_state == ISAL_BLOCK_FINISH;
    }
    output_was_full_ = state_->avail_out == 0;
    return std::string_view(output_).substr(0, output_.size() - state_->avail_out);
  }

  void MoveTo(std::string& buffer, std::string_view) override { Exchange(output_, buffer); }

 private:
  void BeginMember() {
    isal_gzip_header_init(&header_);
    state_->crc_flag = ISAL_GZIP_NO_HDR_VER;  // no header before the data, but a checksum behind it
    header_done_ = member_done_ = false;
    header_seen_ = 0;
  }

  // isal_inflate() could read the header too, but forgets the header's flags when it comes in pieces.
  Result<void> ReadHeader() {
    const int result = isal_read_gzip_header(state_.get(), &header_);
    if (result != ISAL_DECOMP_OK && result != ISAL_END_INPUT) return Damaged("gzip");
    header_done_ = result == ISAL_DECOMP_OK;
    return {};
  }

  // The reserved bits of a gzip header must be zero (RFC 1952, 2.3.1.2): zlib refuses others, ISA-L does not look.
  Result<void> CheckFlags() {
    constexpr size_t kFlagsOffset = 3;
    constexpr uint8_t kReservedFlags = 0xe0;
    for (const char c : feed_.view().substr(0, kFlagsOffset + 1 - std::min(header_seen_, kFlagsOffset + 1)))
      if (header_seen_++ == kFlagsOffset && (static_cast<uint8_t>(c) & kReservedFlags)) return Damaged("gzip");
    return {};
  }

  Feed feed_;
  std::unique_ptr<inflate_state> state_;
  isal_gzip_header header_{};
  std::string output_;
  bool header_done_ = false;
  bool member_done_ = false;
  bool started_ = false;
  bool output_was_full_ = false;
  size_t header_seen_ = 0;  // bytes of the member, as far as CheckFlags looks
};
#endif

class ZstdDecoder : public Decoder {
 public:
  ZstdDecoder(LayerInput& input, std::string first)
      : feed_(input, std::move(first)), stream_(ZSTD_createDStream()), output_(kOutputBytes, '\0') {
    CHECK(stream_);
    CHECK(!ZSTD_isError(ZSTD_DCtx_setParameter(stream_, ZSTD_d_windowLogMax, kZstdWindowLog)));
  }
  ZstdDecoder(const ZstdDecoder&) = delete;
  ZstdDecoder& operator=(const ZstdDecoder&) = delete;
  ~ZstdDecoder() override { ZSTD_freeDStream(stream_); }

  Result<std::string_view> Next() override {
    ZSTD_outBuffer out{output_.data(), output_.size(), 0};
    while (out.pos == 0) {
      const bool pending = output_was_full_;
      output_was_full_ = false;
      const bool more = TRY(feed_.Fill());
      if (!more && frame_done_ && !pending) return std::string_view();
      if (!more && !pending) return CutOff("zstd");
      ZSTD_inBuffer in{feed_.view().data(), feed_.view().size(), 0};
      const size_t result = ZSTD_decompressStream(stream_, &out, &in);
      if (ZSTD_isError(result)) return Fail(ErrorCode::kInvalid, "zstd stream: {}", ZSTD_getErrorName(result));
      feed_.Use(in.pos);
      frame_done_ = result == 0;
    }
    output_was_full_ = out.pos == out.size && !frame_done_;
    return std::string_view(output_).substr(0, out.pos);
  }

  void MoveTo(std::string& buffer, std::string_view) override { Exchange(output_, buffer); }

 private:
  Feed feed_;
  ZSTD_DStream* stream_;
  std::string output_;
  bool frame_done_ = false;
  bool output_was_full_ = false;
};

Compression Detect(std::string_view first) {
  const auto byte = [first](size_t i) { return i < first.size() ? static_cast<uint8_t>(first[i]) : 0; };
  if (byte(0) == 0x1f && byte(1) == 0x8b) return Compression::kGzip;
  const uint32_t magic =
      static_cast<uint32_t>(byte(0)) | byte(1) << 8 | byte(2) << 16 | static_cast<uint32_t>(byte(3)) << 24;
  if (magic == ZSTD_MAGICNUMBER || (magic & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START)
    return Compression::kZstd;
  return Compression::kNone;
}

std::string_view NameOf(Compression compression) {
  switch (compression) {
    case Compression::kGzip: return "gzip";
    case Compression::kZstd: return "zstd";
    case Compression::kNone: return "uncompressed";
  }
  return "unknown";
}

}  // namespace

LayerInput::LayerInput(int fd, uint64_t limit, size_t piece_bytes)
    : fd_(fd), limit_(limit), buffer_(piece_bytes, '\0') {}

Result<void> LayerInput::WaitForBytes() const {
  pollfd fds[] = {{fd_, POLLIN, 0}, {stop_, POLLIN, 0}};
  while (::poll(fds, 2, -1) < 0)
    if (errno != EINTR) return FailErrno(errno, "wait for the layer");
  if (fds[1].revents != 0) return Fail(ErrorCode::kCancelled, "the unpacking has ended");
  return {};
}

Result<std::string_view> LayerInput::Next() {
  if (stop_ >= 0) TRY(WaitForBytes());
  ssize_t got;
  do {
    got = ::read(fd_, buffer_.data(), buffer_.size());
  } while (got < 0 && errno == EINTR);
  if (got < 0) return FailErrno(errno, "read the layer");
  bytes_read_ += static_cast<uint64_t>(got);
  if (bytes_read_ > limit_)
    return Fail(ErrorCode::kInvalid, "the layer has more than the {} bytes that its manifest says", limit_);
  return std::string_view(buffer_).substr(0, static_cast<size_t>(got));
}

Result<std::string> LayerInput::ReadExactly(size_t size) {
  std::string bytes(size, '\0');
  for (size_t done = 0; done < size;) {
    const ssize_t got = ::read(fd_, bytes.data() + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno(errno, "read the order");
    if (got == 0) return Fail(ErrorCode::kInvalid, "the order is cut off");
    done += static_cast<size_t>(got);
  }
  return bytes;
}

Result<std::unique_ptr<Decoder>> OpenDecoder(Compression expected, LayerInput& input) {
  std::string first;
  while (first.size() < 4) {  // a pipe may give one byte at a time
    const std::string_view piece = TRY(input.Next());
    if (piece.empty()) break;
    first.append(piece);
  }
  const Compression found = Detect(first);
  if (found != expected)
    return Fail(ErrorCode::kInvalid, "the manifest calls the layer {}, its first bytes are {}", NameOf(expected),
                NameOf(found));
  switch (found) {
    case Compression::kNone: return std::make_unique<PlainDecoder>(input, std::move(first));
    case Compression::kZstd: return std::make_unique<ZstdDecoder>(input, std::move(first));
    case Compression::kGzip: break;
  }
  if (auto isal = internal::MakeIsalDecoder(input, first)) return isal;
  return internal::MakeZlibDecoder(input, std::move(first));
}

namespace internal {

std::unique_ptr<Decoder> MakeZlibDecoder(LayerInput& input, std::string first) {
  return std::make_unique<ZlibDecoder>(input, std::move(first));
}

std::unique_ptr<Decoder> MakeIsalDecoder([[maybe_unused]] LayerInput& input, [[maybe_unused]] std::string first) {
#if CAISSON_HAVE_ISAL
  return std::make_unique<IsalDecoder>(input, std::move(first));
#else
  return nullptr;
#endif
}

}  // namespace internal
}  // namespace caisson::image
