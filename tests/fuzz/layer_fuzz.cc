// SPDX-License-Identifier: Apache-2.0
// A whole layer: inflate, both tar readers, and the files that come of it, in a temporary directory whose neighbour
// must stay as it is. The first byte is the compression.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "base/io.h"
#include "image/worker/beneath.h"
#include "image/worker/unpack.h"

namespace {

using caisson::Fd;
using namespace caisson::image;

// DIR/out is the layer's, DIR/canary nobody's.
struct Place {
  Place() {
    std::string path = "/tmp/caisson-layer-fuzz-XXXXXX";
    CHECK(::mkdtemp(path.data()));
    directory = Fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    CHECK(::mkdirat(directory.get(), "out", 0755) == 0 && ::mkdirat(directory.get(), "canary", 0700) == 0);
    out = *OpenBeneath(directory.get(), "out", O_RDONLY | O_DIRECTORY);
    name = path;
    CHECK(::fstatat(directory.get(), "canary", &canary, AT_SYMLINK_NOFOLLOW) == 0 &&
          ::fstat(directory.get(), &above) == 0);
  }
  ~Place() {
    CHECK(RemoveContents(directory.get()));
    CHECK(::rmdir(name.c_str()) == 0);
  }
  // Nothing was made, removed or changed beside `out`.
  void CheckCanary() const {
    struct stat now {};
    CHECK(::fstatat(directory.get(), "canary", &now, AT_SYMLINK_NOFOLLOW) == 0);
    CHECK(now.st_mode == canary.st_mode && now.st_ctim.tv_sec == canary.st_ctim.tv_sec &&
          now.st_ctim.tv_nsec == canary.st_ctim.tv_nsec);
    CHECK(::fstat(directory.get(), &now) == 0);
    CHECK(now.st_mtim.tv_sec == above.st_mtim.tv_sec && now.st_mtim.tv_nsec == above.st_mtim.tv_nsec);
  }
  std::string name;
  Fd directory;
  Fd out;
  struct stat canary {
  }, above{};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Place place;
  if (size == 0) return 0;
  const std::string layer(reinterpret_cast<const char*>(data + 1), size - 1);
  const Fd input(::memfd_create("layer", MFD_CLOEXEC));
  CHECK(
      caisson::WriteAll(input.get(), EncodeUnpackOrder({static_cast<Compression>(data[0] % 3), layer.size()}) + layer));
  CHECK(::lseek(input.get(), 0, SEEK_SET) == 0);
  if (const auto report = UnpackLayer(input.get(), place.out.get())) CHECK(DecodeUnpackReport(EncodeReport(*report)));
  place.CheckCanary();
  CHECK(RemoveContents(place.out.get()));
  return 0;
}
