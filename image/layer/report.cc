// SPDX-License-Identifier: Apache-2.0
#include "image/layer/report.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "base/encoding.h"
#include "image/layer/limits.h"
#include "image/layer/path.h"
#include "image/layer/wire.h"

namespace caisson::image {
namespace {

// First bytes of each message; the last is the version of the format. Service and worker are installed together, so
// that a mismatch means a broken installation.
constexpr std::string_view kUnpackOrderMagic = "csnU\1";
constexpr std::string_view kMergeOrderMagic = "csnM\1";
constexpr std::string_view kReportMagic = "csnR\2";

enum class ReportKind : uint8_t { kRefusal = 0, kUnpack = 1, kMerge = 2, kEmpty = 3, kVerify = 4 };

constexpr uint32_t kPermissionBits = 07777;

void EncodePaths(WireWriter& out, const std::vector<std::string>& paths) {
  out.Number(static_cast<uint32_t>(paths.size()));
  for (const std::string& path : paths) out.String(path);
}

// Strictly ascending, so that there is one spelling of a list and no duplicate.
std::vector<std::string> DecodePaths(WireReader& in, size_t most = kMaxReportedPaths) {
  std::vector<std::string> paths;
  const uint32_t count = in.Count(most, sizeof(uint32_t));
  for (uint32_t i = 0; i < count; ++i) {
    std::string path(in.String(kMaxPathBytes));
    if (in.failed() || !IsLayerPath(path) || (!paths.empty() && path <= paths.back())) {
      in.Fail();
      return {};
    }
    paths.push_back(std::move(path));
  }
  return paths;
}

void EncodeFacts(WireWriter& out, const LayerFacts& facts) {
  EncodePaths(out, facts.implicit);
  EncodePaths(out, facts.opaque);
  EncodePaths(out, facts.replaced);
  EncodePaths(out, facts.whiteouts);
}

LayerFacts DecodeFacts(WireReader& in) {
  LayerFacts facts;
  facts.implicit = DecodePaths(in);
  facts.opaque = DecodePaths(in);
  facts.replaced = DecodePaths(in);
  facts.whiteouts = DecodePaths(in);
  if (std::binary_search(facts.replaced.begin(), facts.replaced.end(), "")) in.Fail();  // a root cannot be whited out
  return facts;
}

void EncodeSum(WireWriter& out, const TreeSum& sum) {
  out.Number(sum.low);
  out.Number(sum.high);
}

TreeSum DecodeSum(WireReader& in) {
  TreeSum sum;
  sum.low = in.Number<uint64_t>();
  sum.high = in.Number<uint64_t>();
  return sum;
}

WireWriter BeginReport(ReportKind kind) {
  WireWriter out;
  out.Raw(kReportMagic);
  out.Number(static_cast<uint8_t>(kind));
  return out;
}

tl::unexpected<Error> Malformed(std::string_view what) {
  return Fail(ErrorCode::kCorrupt, "the store worker's {} is malformed", what);
}

bool IsPlainText(std::string_view text) {
  return IsValidUtf8(text) &&
         std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

ErrorCode CodeOfRefusal(uint8_t code) {
  switch (static_cast<ErrorCode>(code)) {
    case ErrorCode::kInvalid:
    case ErrorCode::kTooLarge:
    case ErrorCode::kExhausted: return static_cast<ErrorCode>(code);
    default: return ErrorCode::kInternal;
  }
}

// Opens a report of the wanted kind; a refusal becomes the Error.
Result<WireReader> OpenReport(std::string_view bytes, ReportKind wanted) {
  if (bytes.empty()) return Fail(ErrorCode::kInternal, "the store worker ended without a report");
  if (bytes.size() > kMaxReportBytes) return Malformed("report");
  WireReader in(bytes);
  if (in.Raw(kReportMagic.size()) != kReportMagic) return Malformed("report");
  const auto kind = static_cast<ReportKind>(in.Number<uint8_t>());
  if (kind == ReportKind::kRefusal) {
    const uint8_t code = in.Number<uint8_t>();
    const std::string_view reason = in.String(kMaxReasonBytes);
    if (!in.AtEnd()) return Malformed("report");
    return Fail(CodeOfRefusal(code), "{}",
                IsPlainText(reason) ? std::string(reason) : EscapeForLog(reason, kMaxReasonBytes));
  }
  if (in.failed() || kind != wanted) return Malformed("report");
  return in;
}

}  // namespace

std::string EncodeUnpackOrder(const UnpackOrder& order) {
  WireWriter out;
  out.Raw(kUnpackOrderMagic);
  out.Number(static_cast<uint8_t>(order.compression));
  out.Number(uint16_t{0});
  out.Number(order.compressed_bytes);
  CHECK(out.bytes().size() == kUnpackOrderBytes);
  return std::move(out).Take();
}

Result<UnpackOrder> DecodeUnpackOrder(std::string_view bytes) {
  WireReader in(bytes);
  UnpackOrder order;
  const bool known = in.Raw(kUnpackOrderMagic.size()) == kUnpackOrderMagic;
  const uint8_t compression = in.Number<uint8_t>();
  const uint16_t padding = in.Number<uint16_t>();
  order.compressed_bytes = in.Number<uint64_t>();
  if (!known || !in.AtEnd() || padding != 0 || compression > static_cast<uint8_t>(Compression::kZstd) ||
      order.compressed_bytes > kMaxLayerBytes)
    return Fail(ErrorCode::kInvalid, "malformed order to unpack a layer");
  order.compression = static_cast<Compression>(compression);
  return order;
}

std::string EncodeMergeOrder(const MergeOrder& order) {
  WireWriter out;
  out.Raw(kMergeOrderMagic);
  out.Number(static_cast<uint32_t>(order.layers.size()));
  for (const LayerFacts& facts : order.layers) EncodeFacts(out, facts);
  return std::move(out).Take();
}

Result<MergeOrder> DecodeMergeOrder(std::string_view bytes) {
  WireReader in(bytes);
  MergeOrder order;
  if (in.Raw(kMergeOrderMagic.size()) != kMergeOrderMagic) in.Fail();
  const uint32_t count = in.Count(kMaxImageLayers, 4 * sizeof(uint32_t));
  for (uint32_t i = 0; i < count; ++i) order.layers.push_back(DecodeFacts(in));
  if (!in.AtEnd()) return Fail(ErrorCode::kInvalid, "malformed order to merge layers");
  return order;
}

std::string EncodeRefusal(const Error& reason) {
  WireWriter out = BeginReport(ReportKind::kRefusal);
  out.Number(static_cast<uint8_t>(reason.code));
  out.String(std::string_view(reason.message).substr(0, kMaxReasonBytes));
  return std::move(out).Take();
}

std::string EncodeReport(const UnpackReport& report) {
  WireWriter out = BeginReport(ReportKind::kUnpack);
  out.Raw({reinterpret_cast<const char*>(report.diff_id.bytes.data()), report.diff_id.bytes.size()});
  for (uint64_t number :
       {report.unpacked_bytes, report.entries, report.devices_skipped, report.ids_changed, report.xattrs_dropped})
    out.Number(number);
  EncodeSum(out, report.tree_sum);
  EncodeFacts(out, report.facts);
  return std::move(out).Take();
}

std::string EncodeReport(const MergeReport& report) {
  WireWriter out = BeginReport(ReportKind::kMerge);
  out.Number(static_cast<uint32_t>(report.directories.size()));
  for (const auto& [path, attributes] : report.directories) {
    out.String(path);
    for (uint32_t number : {attributes.mode, attributes.uid, attributes.gid}) out.Number(number);
  }
  out.String(report.passwd);
  out.String(report.group);
  out.Number(report.directories_written);
  EncodeSum(out, report.tree_sum);
  return std::move(out).Take();
}

std::string EncodeReport(const VerifyReport& report) {
  WireWriter out = BeginReport(ReportKind::kVerify);
  EncodeSum(out, report.tree_sum);
  out.Number(report.entries);
  out.Number(report.bytes);
  EncodePaths(out, report.unreadable);
  return std::move(out).Take();
}

std::string EncodeEmptyReport() { return BeginReport(ReportKind::kEmpty).bytes(); }

Result<UnpackReport> DecodeUnpackReport(std::string_view bytes) {
  WireReader in = TRY(OpenReport(bytes, ReportKind::kUnpack));
  UnpackReport report;
  const std::string_view digest = in.Raw(report.diff_id.bytes.size());
  std::copy(digest.begin(), digest.end(), report.diff_id.bytes.begin());
  for (uint64_t* number :
       {&report.unpacked_bytes, &report.entries, &report.devices_skipped, &report.ids_changed, &report.xattrs_dropped})
    *number = in.Number<uint64_t>();
  report.tree_sum = DecodeSum(in);
  report.facts = DecodeFacts(in);
  if (!in.AtEnd() || report.unpacked_bytes > kMaxUnpackedBytes || report.entries > kMaxEntries)
    return Malformed("report of a layer");
  return report;
}

Result<MergeReport> DecodeMergeReport(std::string_view bytes) {
  WireReader in = TRY(OpenReport(bytes, ReportKind::kMerge));
  MergeReport report;
  const uint32_t count = in.Count(std::size(kReportedDirectories), 4 * sizeof(uint32_t));
  for (uint32_t i = 0; i < count; ++i) {
    std::string path(in.String(kMaxPathBytes));
    DirectoryAttributes attributes;
    attributes.mode = in.Number<uint32_t>();
    attributes.uid = in.Number<uint32_t>();
    attributes.gid = in.Number<uint32_t>();
    const bool asked = std::find(std::begin(kReportedDirectories), std::end(kReportedDirectories), path) !=
                       std::end(kReportedDirectories);
    if (!asked || attributes.mode > kPermissionBits || attributes.uid > kMaxStoredId || attributes.gid > kMaxStoredId)
      in.Fail();
    report.directories[std::move(path)] = attributes;
  }
  report.passwd = in.String(kMaxAccountFileBytes);
  report.group = in.String(kMaxAccountFileBytes);
  report.directories_written = in.Number<uint64_t>();
  report.tree_sum = DecodeSum(in);
  if (!in.AtEnd()) return Malformed("report of the merged image");
  return report;
}

Result<VerifyReport> DecodeVerifyReport(std::string_view bytes) {
  WireReader in = TRY(OpenReport(bytes, ReportKind::kVerify));
  VerifyReport report;
  report.tree_sum = DecodeSum(in);
  report.entries = in.Number<uint64_t>();
  report.bytes = in.Number<uint64_t>();
  report.unreadable = DecodePaths(in, kMaxUnreadablePaths);
  if (!in.AtEnd()) return Malformed("report of a stored layer");
  return report;
}

Result<void> DecodeEmptyReport(std::string_view bytes) {
  if (!TRY(OpenReport(bytes, ReportKind::kEmpty)).AtEnd()) return Malformed("report");
  return {};
}

std::string TreeSum::ToHex() const { return fmt::format("{:016x}{:016x}", high, low); }

Result<TreeSum> TreeSum::Parse(std::string_view hex) {
  TreeSum sum;
  const auto half = [hex](size_t start, uint64_t& number) {
    const std::string_view digits = hex.substr(start, 16);
    const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), number, 16);
    return end.ec == std::errc() && end.ptr == digits.data() + digits.size();
  };
  if (hex.size() != 32 || !half(0, sum.high) || !half(16, sum.low) || sum.ToHex() != hex)
    return Fail(ErrorCode::kInvalid, "not a tree's checksum");
  return sum;
}

}  // namespace caisson::image
