// SPDX-License-Identifier: Apache-2.0
// `caisson image export`: a tar archive to standard output or to a file that appears only once it is whole.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"
#include "base/io.h"
#include "cli/command_context.h"
#include "cli/exit_status.h"

namespace caisson::cli {
namespace {

// A file beside its final name, removed again unless it was kept.
class UnfinishedFile {
 public:
  static Result<UnfinishedFile> Make(const std::string& path) {
    UnfinishedFile file(path, path + ".caisson-XXXXXX");
    file.fd_ = Fd(mkostemp(file.temporary_.data(), O_CLOEXEC));
    if (!file.fd_) {
      file.temporary_.clear();
      return FailErrno(errno, "create a file beside {}", Printable(path));
    }
    // mkostemp makes it for the owner alone: what a shell's `>` would make is expected here.
    const mode_t mask = umask(0);
    umask(mask);
    fchmod(file.fd_.get(), 0666 & ~mask);
    return file;
  }
  UnfinishedFile(UnfinishedFile&& other) noexcept
      : path_(std::move(other.path_)), temporary_(std::exchange(other.temporary_, {})), fd_(std::move(other.fd_)) {}
  UnfinishedFile& operator=(UnfinishedFile&&) = delete;
  ~UnfinishedFile() {
    if (!temporary_.empty()) unlink(temporary_.c_str());
  }

  int fd() const { return fd_.get(); }
  Result<void> Keep() {
    if (fsync(fd_.get()) != 0 || rename(temporary_.c_str(), path_.c_str()) != 0)
      return FailErrno(errno, "write {}", Printable(path_));
    temporary_.clear();
    return {};
  }

 private:
  UnfinishedFile(std::string path, std::string temporary) : path_(std::move(path)), temporary_(std::move(temporary)) {}
  std::string path_;
  std::string temporary_;
  Fd fd_;
};

Result<void> DownloadTo(int fd, const std::string& where, const ExportImageCommand& command, Context& context) {
  const auto sink = [fd, &where](std::string_view bytes) -> Result<void> {
    TRY_IN(where, WriteAll(fd, bytes));
    return {};
  };
  return context.client.Download("/v1/images/" + UrlEncode(command.image) + "/rootfs", sink);
}

}  // namespace

Result<int> Do(const ExportImageCommand& command, Context& context) {
  if (!command.output.empty()) {
    UnfinishedFile file = TRY(UnfinishedFile::Make(command.output));
    TRY_IN("export " + Printable(command.image), DownloadTo(file.fd(), Printable(command.output), command, context));
    TRY(file.Keep());
    return kExitOk;
  }
  if (isatty(context.console.out) == 1)
    return Fail(ErrorCode::kInvalid,
                "a tar archive is nothing for a terminal: send it to a file or a program, or name a file with -o FILE");
  const Result<void> sent = DownloadTo(context.console.out, "standard output", command, context);
  if (!sent && sent.error().code == ErrorCode::kCorrupt)
    return Fail(ErrorCode::kCorrupt, "export {}: {}\nwhat was written is no whole archive: throw it away",
                Printable(command.image), sent.error().message);
  if (!sent) return tl::unexpected(Error(sent.error()).Context("export " + Printable(command.image)));
  return kExitOk;
}

}  // namespace caisson::cli
