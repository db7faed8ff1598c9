// SPDX-License-Identifier: Apache-2.0
#include "image/layer/framed_output.h"

#include <algorithm>

#include "base/io.h"
#include "image/layer/limits.h"
#include "image/layer/report.h"
#include "image/layer/wire.h"

namespace caisson::image {
namespace {

constexpr size_t kCollectBytes = 256 << 10;
constexpr size_t kHeaderBytes = 4;
static_assert(kCollectBytes <= kMaxFrameBytes);

std::string Header(size_t bytes) {
  WireWriter header;
  header.Number(static_cast<uint32_t>(bytes));
  return std::move(header).Take();
}

}  // namespace

Result<void> FramedWriter::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    if (collected_.empty()) collected_.append(kHeaderBytes, '\0');  // its place
    const size_t taken = std::min(bytes.size(), kCollectBytes + kHeaderBytes - collected_.size());
    collected_.append(bytes.substr(0, taken));
    bytes.remove_prefix(taken);
    if (collected_.size() == kCollectBytes + kHeaderBytes) TRY(Flush());
  }
  return {};
}

Result<void> FramedWriter::Flush() {
  if (collected_.empty()) return {};
  collected_.replace(0, kHeaderBytes, Header(collected_.size() - kHeaderBytes));
  TRY(WriteAll(fd_, collected_));
  collected_.clear();
  return {};
}

Result<void> FramedWriter::End() {
  TRY(Flush());
  return WriteAll(fd_, Header(0));
}

Result<void> FramedReader::Feed(std::string_view bytes) {
  while (!bytes.empty()) {
    if (ended_) {
      if (report_.size() + bytes.size() > kMaxReportBytes)
        return Fail(ErrorCode::kCorrupt, "the store worker's report has no end");
      report_.append(bytes);
      return {};
    }
    if (left_ > 0) {
      const std::string_view data = bytes.substr(0, left_);
      TRY(sink_(data));
      left_ -= data.size();
      bytes.remove_prefix(data.size());
      continue;
    }
    const size_t missing = std::min(kHeaderBytes - header_.size(), bytes.size());
    header_.append(bytes.substr(0, missing));
    bytes.remove_prefix(missing);
    if (header_.size() < kHeaderBytes) return {};
    left_ = WireReader(header_).Number<uint32_t>();
    header_.clear();
    if (left_ > kMaxFrameBytes) return Fail(ErrorCode::kCorrupt, "the store worker's output is malformed");
    ended_ = left_ == 0;
  }
  return {};
}

Result<void> FramedReader::Finish() const {
  if (!ended_) return Fail(ErrorCode::kCorrupt, "the store worker's output was cut off");
  return DecodeEmptyReport(report_);
}

}  // namespace caisson::image
