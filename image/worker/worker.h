// SPDX-License-Identifier: Apache-2.0
// The store worker: a short-lived process that parses one layer's hostile bytes, or merges, reads or removes layers,
// and can spoil nothing but the directory that it was given. The launcher starts it with
//   argv      {"caisson-worker", "unpack" | "merge" | "verify" | "export" | "remove"}
//   fd 0, 1   the order (and the layer), the report (image/layer/report.h; of export image/layer/framed_output.h)
//   cwd       a directory with `out`, writable, and for merge, verify and export `layers/0` (topmost) to `layers/N-1`,
//             read-only
// as user 0 of a user namespace of its own.
#pragma once

namespace caisson::image {

// Exit status: 0 done, 1 refused (the reason is in the report), 2 could not be confined or called wrongly.
int RunWorker(int argc, char** argv);

}  // namespace caisson::image
