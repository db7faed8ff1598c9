// SPDX-License-Identifier: Apache-2.0
// Every bound on what an image can make us read, write or remember, in one place: the registry client and the store
// worker both include it. Each has its reason beside it. Constants only.
#pragma once

#include <cstddef>
#include <cstdint>

namespace caisson::image {

// ---- What the registry sends ------------------------------------------------------------------------------------
inline constexpr size_t kMaxManifestBytes = 4 << 20;     // the size that registries have to take (distribution spec)
inline constexpr size_t kMaxConfigBytes = 8 << 20;       // real ones have some 10 KiB
inline constexpr size_t kMaxTokenBytes = 1 << 20;        // answer of a token service
inline constexpr size_t kMaxJsonDepth = 32;              // manifests need 5, configs 6
inline constexpr size_t kMaxIndexEntries = 1000;         // platforms and attestations of one index
inline constexpr size_t kMaxImageLayers = 128;           // and the fix-up layer: below the launcher's kMaxLayers
inline constexpr uint64_t kMaxLayerBytes = 16ull << 30;  // compressed
inline constexpr uint64_t kMaxImageBytes = 64ull << 30;  // compressed, all layers

// ---- What a layer unpacks to ------------------------------------------------------------------------------------
inline constexpr uint64_t kMaxUnpackedBytes = 32ull << 30;  // of the tar stream, and of the files' logical sizes
// A gzip stream can swell 1032 times. Above this allowance it must not swell more than the ratio: layers of zeros
// exist, layers of nothing else do not.
inline constexpr uint64_t kRatioFreeBytes = 1ull << 30;
inline constexpr uint64_t kMaxRatio = 200;
inline constexpr uint64_t kMaxEntries = 1'000'000;        // inodes are a shared good; the largest images have half
inline constexpr size_t kMaxPathBytes = 4095;             // PATH_MAX without its NUL: no job could name it
inline constexpr size_t kMaxNameBytes = 255;              // NAME_MAX
inline constexpr size_t kMaxPathDepth = 256;              // names in a path
inline constexpr size_t kMaxLinkBytes = 4095;             // target of a symbolic link
inline constexpr size_t kMaxPaxBytes = 1 << 20;           // one extended header; xattr values are the large ones
inline constexpr size_t kMaxXattrs = 64;                  // of one entry
inline constexpr size_t kMaxXattrValueBytes = 64 << 10;   // XATTR_SIZE_MAX
inline constexpr size_t kMaxRememberedBytes = 256 << 20;  // of a worker: paths of directories and whiteouts
inline constexpr uint32_t kMaxStoredId = 65535;           // what the id ranges of jobs hold
inline constexpr uint32_t kOverflowId = 65534;            // what a larger id is stored as
inline constexpr int kZstdWindowLog = 27;                 // 128 MiB of memory

// Those of a whole layer that no test can reach, as what a test puts smaller ones in place of.
struct UnpackLimits {
  uint64_t unpacked_bytes = kMaxUnpackedBytes;
  uint64_t ratio_free_bytes = kRatioFreeBytes;
  uint64_t entries = kMaxEntries;
  size_t remembered_bytes = kMaxRememberedBytes;
  size_t reported_paths = 100'000;  // of one list of the report
};

// ---- What a worker may report -----------------------------------------------------------------------------------
inline constexpr size_t kMaxReportBytes = 24 << 20;  // one report, all lists
inline constexpr size_t kMaxReportedPaths = UnpackLimits{}.reported_paths;
inline constexpr size_t kMaxUnreadablePaths = 100;       // of a damaged layer: enough to tell a file from a disk
inline constexpr size_t kMaxMergeOrderBytes = 64 << 20;  // the lists of all layers of an image
inline constexpr size_t kMaxReasonBytes = 1024;          // text of a refusal
inline constexpr size_t kMaxAccountFileBytes = 1 << 20;  // etc/passwd and etc/group, each
inline constexpr int kMaxLinksFollowed = 40;             // as the kernel does
inline constexpr size_t kMaxFrameBytes = 1 << 20;        // one piece of an export's output

}  // namespace caisson::image
