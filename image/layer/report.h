// SPDX-License-Identifier: Apache-2.0
// What service and store worker say to each other: the orders at the front of a worker's standard input, and the
// report that it writes to its standard output. The service trusts no byte of a report: decoding checks every count,
// length and path, and nothing of it names a place outside the layer. Plain values and pure functions.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/result.h"

namespace caisson::image {

enum class Compression : uint8_t { kNone = 0, kGzip = 1, kZstd = 2 };

// ---- unpack -----------------------------------------------------------------------------------------------------

// Fixed size; the compressed layer follows it until the end of the input.
struct UnpackOrder {
  Compression compression = Compression::kGzip;
  uint64_t compressed_bytes = 0;  // of the layer, as the manifest says
};
inline constexpr size_t kUnpackOrderBytes = 16;
std::string EncodeUnpackOrder(const UnpackOrder& order);
Result<UnpackOrder> DecodeUnpackOrder(std::string_view bytes);

// Directories of one layer that say something about the layers below it. Paths in our spelling (image/layer/path.h),
// sorted, "" is the layer's root.
struct LayerFacts {
  std::vector<std::string> implicit;   // made because an entry needed a parent: attributes are those of a layer below
  std::vector<std::string> opaque;     // marked .wh..wh..opq: hides the children below
  std::vector<std::string> replaced;   // whited out and made again: hides the whole directory below
  std::vector<std::string> whiteouts;  // directories that contain whiteouts
  bool operator==(const LayerFacts&) const = default;
};

// A checksum of a whole tree that finds what a disk or a hand has changed since the worker wrote it: the sum, modulo
// 2^128, of one XXH3 of every entry's path, type, attributes and contents. The order of entries does not matter, so
// that it can be computed while they are made. No protection against somebody who means to hit it: that is the
// digest's.
struct TreeSum {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const TreeSum&) const = default;
  std::string ToHex() const;  // 32 digits
  static Result<TreeSum> Parse(std::string_view hex);
};

struct UnpackReport {
  Digest diff_id;               // SHA-256 over every byte of the uncompressed stream
  TreeSum tree_sum;             // of what stands in the layer's directory
  uint64_t unpacked_bytes = 0;  // of that stream
  uint64_t entries = 0;
  uint64_t devices_skipped = 0;
  uint64_t ids_changed = 0;  // entries with an id above 65,535
  uint64_t xattrs_dropped = 0;
  LayerFacts facts;
};

// ---- merge ------------------------------------------------------------------------------------------------------

struct MergeOrder {
  std::vector<LayerFacts> layers;  // base first; the worker finds layer i as layers/<size - 1 - i>
};
std::string EncodeMergeOrder(const MergeOrder& order);
Result<MergeOrder> DecodeMergeOrder(std::string_view bytes);

struct DirectoryAttributes {
  uint32_t mode = 0;  // permission bits, 07777
  uint32_t uid = 0;
  uint32_t gid = 0;
  bool operator==(const DirectoryAttributes&) const = default;
};

// The directories whose attributes the launcher needs: "" and those where it mounts or makes something.
inline constexpr std::string_view kReportedDirectories[] = {"", "dev", "etc", "proc", "run", "sys", "tmp"};

struct MergeReport {
  std::map<std::string, DirectoryAttributes> directories;  // of kReportedDirectories, where the image has a real one
  std::string passwd;                                      // empty where the image has none
  std::string group;
  uint64_t directories_written = 0;  // into the fix-up layer
  TreeSum tree_sum;                  // of the fix-up layer
};

// ---- verify -----------------------------------------------------------------------------------------------------

// The input is empty; the layer stands at layers/0.
struct VerifyReport {
  TreeSum tree_sum;  // equal to the one of the unpacking or merging unless something has changed; unreadable: no match
  uint64_t entries = 0;                 // directories included, the layer's root too
  uint64_t bytes = 0;                   // of all regular files' contents, a file with several names once
  std::vector<std::string> unreadable;  // paths that gave errors, the first kMaxUnreadablePaths of them, sorted
};

// ---- export -----------------------------------------------------------------------------------------------------
// The input is a MergeOrder of the layers, top layer shown as layers/0; the output is image/layer/framed_output.h.

// ---- the report's frame -----------------------------------------------------------------------------------------

// A layer or tree that was looked at and refused, with words for the user. The worker then exits with 1.
std::string EncodeRefusal(const Error& reason);
std::string EncodeReport(const UnpackReport& report);
std::string EncodeReport(const MergeReport& report);
std::string EncodeReport(const VerifyReport& report);
std::string EncodeEmptyReport();  // of a verb that has nothing to say

// The worker's answer, or its refusal as the Error: kInvalid, kTooLarge, kExhausted or kInternal. A report that breaks
// the format is kCorrupt.
Result<UnpackReport> DecodeUnpackReport(std::string_view bytes);
Result<MergeReport> DecodeMergeReport(std::string_view bytes);
Result<VerifyReport> DecodeVerifyReport(std::string_view bytes);
Result<void> DecodeEmptyReport(std::string_view bytes);

}  // namespace caisson::image
