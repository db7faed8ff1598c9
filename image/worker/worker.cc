// SPDX-License-Identifier: Apache-2.0
#include "image/worker/worker.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <clocale>
#include <string_view>

#include "base/crypto/crypto.h"
#include "base/io.h"
#include "image/layer/framed_output.h"
#include "image/layer/limits.h"
#include "image/worker/beneath.h"
#include "image/worker/confine.h"
#include "image/worker/export.h"
#include "image/worker/merge.h"
#include "image/worker/unpack.h"
#include "image/worker/verify.h"

namespace caisson::image {
namespace {

constexpr int kInput = 0, kReport = 1;
enum ExitStatus { kDone = 0, kRefused = 1, kUnfit = 2 };

// Loads what libraries load lazily from files that are gone after the pivot: libcrypto's configuration, the locale
// (without it every name that is not ASCII fails in libarchive), and libarchive's converters.
void WarmUp() {
  setlocale(LC_CTYPE, "C.UTF-8");
  Sha256Of("");
  char block[1024] = {};
  archive* reader = archive_read_new();
  archive_read_support_format_tar(reader);
  archive_read_support_format_empty(reader);
  archive_read_open_memory(reader, block, sizeof block);
  archive_entry* entry = nullptr;
  archive_read_next_header(reader, &entry);
  archive_read_free(reader);
}

Result<std::string> Unpack() {
  const Fd out = TRY(OpenAt(AT_FDCWD, "/out", O_PATH | O_DIRECTORY | O_NOFOLLOW));
  return EncodeReport(TRY(UnpackLayer(kInput, out.get())));
}

struct OrderedLayers {
  MergeOrder order;
  std::vector<Fd> fds;
  std::vector<int> top_first;  // borrowed from fds
};

Result<OrderedLayers> OpenLayers() {
  OrderedLayers layers;
  layers.order = TRY(DecodeMergeOrder(TRY_IN("read the order", ReadAll(kInput, kMaxMergeOrderBytes))));
  for (size_t i = 0; i < layers.order.layers.size(); ++i) {
    layers.fds.push_back(TRY(OpenAt(AT_FDCWD, fmt::format("/layers/{}", i), O_PATH | O_DIRECTORY | O_NOFOLLOW)));
    layers.top_first.push_back(layers.fds.back().get());
  }
  return layers;
}

Result<std::string> Merge() {
  const OrderedLayers layers = TRY(OpenLayers());
  const Fd out = TRY(OpenAt(AT_FDCWD, "/out", O_PATH | O_DIRECTORY | O_NOFOLLOW));
  return EncodeReport(TRY(MergeLayers(layers.order, layers.top_first, out.get())));
}

// The archive goes out while it is made. Whatever happens, the frames are ended, so that a refusal can follow.
Result<std::string> Export() {
  FramedWriter archive(kReport);
  const auto write = [&archive]() -> Result<void> {
    const OrderedLayers layers = TRY(OpenLayers());
    return ExportTree(layers.order, layers.top_first, archive);
  };
  const Result<void> written = write();
  TRY(archive.End());
  TRY(written);
  return EncodeEmptyReport();
}

Result<std::string> Verify() {
  const Fd layer = TRY(OpenAt(AT_FDCWD, "/layers/0", O_PATH | O_DIRECTORY | O_NOFOLLOW));
  return EncodeReport(TRY(VerifyTree(layer.get())));
}

Result<std::string> Remove() {
  const Fd out = TRY(OpenAt(AT_FDCWD, "/out", O_PATH | O_DIRECTORY | O_NOFOLLOW));
  TRY(RemoveContents(out.get()));
  return EncodeEmptyReport();
}

struct Verb {
  std::string_view name;
  Result<std::string> (*run)();  // gives the encoded report
  bool framed = false;           // data comes before it (image/layer/framed_output.h)
};
constexpr Verb kVerbs[] = {
    {"unpack", Unpack}, {"merge", Merge}, {"remove", Remove}, {"verify", Verify}, {"export", Export, true}};

int End(ExitStatus status, std::string_view report) {
  // Nobody is there to be told when this fails; the missing report says it.
  return WriteAll(kReport, report) ? status : kUnfit;
}

}  // namespace

int RunWorker(int argc, char** argv) {
  const Verb* verb = nullptr;
  for (const Verb& known : kVerbs)
    if (argc == 2 && known.name == argv[1]) verb = &known;
  if (!verb) {
    dprintf(STDERR_FILENO, "caisson-worker is started by caissond and not meant to be run by hand\n");
    return kUnfit;
  }
  ::prctl(PR_SET_NAME, "caisson-worker");  // run by descriptor, an older kernel names it by the number
  ::mallopt(M_ARENA_MAX, 1);               // the threads of an unpacking hardly allocate: no heap for each
  WarmUp();
  if (Result<void> confined = ConfineWorker(); !confined) {
    const Error error = std::move(confined).error().Context("confine the store worker");
    dprintf(STDERR_FILENO, "caisson-worker: %s\n", error.message.c_str());
    if (verb->framed) (void)FramedWriter(kReport).End();
    return End(kUnfit, EncodeRefusal({ErrorCode::kInternal, error.message, error.sys_errno}));
  }
  // From here on nothing but the directory that we were given has a name, and every byte that is read is hostile.
  Result<std::string> report = verb->run();
  if (!report) return End(kRefused, EncodeRefusal(report.error()));
  return End(kDone, *report);
}

}  // namespace caisson::image
