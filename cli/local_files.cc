// SPDX-License-Identifier: Apache-2.0
#include "cli/local_files.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <set>

#include "base/io.h"
#include "cli/text.h"

namespace caisson::cli {
namespace {

constexpr size_t kMaxEntries = 100'000;  // an image's archive has a few for each layer
constexpr int kMaxLinks = 8;
constexpr size_t kBlockBytes = 256 << 10;

// ---- A directory
// -------------------------------------------------------------------------------------------------------

class Directory final : public LocalFiles {
 public:
  explicit Directory(Fd directory) : directory_(std::move(directory)) {}
  bool Has(const std::string& name) const override { return Open(name).has_value(); }
  // Beneath it, whatever links are there: an image from a stranger must not make us upload a file of the user's.
  Result<Fd> Open(const std::string& name) const override {
    open_how how{};
    how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    Fd file(static_cast<int>(syscall(SYS_openat2, directory_.get(), name.c_str(), &how, sizeof how)));
    if (!file) return FailErrno(errno, "open {}", Printable(name));
    struct stat status {};
    if (fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode))
      return Fail(ErrorCode::kInvalid, "{} is no regular file", Printable(name));
    return file;
  }

 private:
  const Fd directory_;
};

// ---- An archive
// --------------------------------------------------------------------------------------------------------

// A directory with files "0", "1", ... of ours.
class Scratch {
 public:
  static Result<std::unique_ptr<Scratch>> Make(const std::string& where) {
    std::unique_ptr<Scratch> scratch(new Scratch(where + "/caisson-import-XXXXXX"));
    if (!mkdtemp(scratch->path_.data())) {
      scratch->path_.clear();
      return FailErrno(errno, "make a temporary directory in {} (TMPDIR names another)", Printable(where));
    }
    scratch->directory_ = Fd(open(scratch->path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!scratch->directory_) return FailErrno(errno, "open {}", scratch->path_);
    return scratch;
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    for (size_t i = 0; i < count_; ++i) unlinkat(directory_.get(), std::to_string(i).c_str(), 0);
    if (!path_.empty()) rmdir(path_.c_str());
  }

  Result<Fd> Create(size_t& number) {
    number = count_;
    Fd file(openat(directory_.get(), std::to_string(number).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file) return FailErrno(errno, "create a file in {}", path_);
    ++count_;
    return file;
  }
  Result<Fd> Open(size_t number) const {
    Fd file(openat(directory_.get(), std::to_string(number).c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return FailErrno(errno, "open a file in {}", path_);
    return file;
  }
  const std::string& path() const { return path_; }

 private:
  explicit Scratch(std::string path) : path_(std::move(path)) {}
  std::string path_;
  Fd directory_;
  size_t count_ = 0;
};

using Reader = std::unique_ptr<archive, int (*)(archive*)>;

class Archive final : public LocalFiles {
 public:
  static Result<std::unique_ptr<Archive>> Unpack(const std::string& path, int fd, const std::string& where) {
    std::unique_ptr<Archive> self(new Archive());
    self->scratch_ = TRY(Scratch::Make(where));
    const Reader reader(archive_read_new(), archive_read_free);
    archive_read_support_filter_gzip(reader.get());
    archive_read_support_filter_zstd(reader.get());
    archive_read_support_format_tar(reader.get());
    if (archive_read_open_fd(reader.get(), fd, kBlockBytes) != ARCHIVE_OK) return NoArchive(path, reader.get());
    for (size_t entries = 0;; ++entries) {
      archive_entry* entry = nullptr;
      const int read = archive_read_next_header(reader.get(), &entry);
      if (read == ARCHIVE_EOF) break;
      if (read != ARCHIVE_OK && read != ARCHIVE_WARN) {
        if (entries == 0) return NoArchive(path, reader.get());
        return Broken(path, reader.get());
      }
      if (entries == kMaxEntries)
        return Fail(ErrorCode::kTooLarge, "{} has more than {} entries: that is no image's archive", Printable(path),
                    kMaxEntries);
      TRY(self->Take(path, reader.get(), entry));
    }
    return self;
  }

  bool Has(const std::string& name) const override { return Find(name) != nullptr; }

  Result<Fd> Open(const std::string& name) const override {
    const size_t* number = Find(name);
    if (!number) return Fail(ErrorCode::kNotFound, "{} is not in the archive", Printable(name));
    return scratch_->Open(*number);
  }

 private:
  Archive() = default;

  static tl::unexpected<Error> NoArchive(const std::string& path, archive* reader) {
    const char* reason = archive_error_string(reader);
    return Fail(
        ErrorCode::kInvalid,
        "{} is no tar archive, plain or packed with gzip or zstd ({})\nimport takes an OCI layout directory, an "
        "OCI archive or a `docker save` archive",
        Printable(path), Printable(reason ? reason : "unknown format"));
  }
  static tl::unexpected<Error> Broken(const std::string& path, archive* reader) {
    const char* reason = archive_error_string(reader);
    return Fail(ErrorCode::kCorrupt, "{} is damaged or cut off: {}", Printable(path),
                Printable(reason ? reason : "unreadable"));
  }

  // What is no regular file and no link has no meaning in an image's archive, and is passed over.
  Result<void> Take(const std::string& path, archive* reader, archive_entry* entry) {
    const char* raw = archive_entry_pathname(entry);
    const std::string name = NormalName(raw ? raw : "");
    if (name.empty()) return {};
    if (const char* target = archive_entry_hardlink(entry)) {
      links_[name] = NormalName(target);
      return {};
    }
    if (archive_entry_filetype(entry) == AE_IFLNK) {
      const char* target = archive_entry_symlink(entry);
      const size_t slash = name.rfind('/');
      const std::string directory = slash == std::string::npos ? "" : name.substr(0, slash + 1);
      links_[name] = target && target[0] != '/' ? NormalName(directory + target) : "";
      return {};
    }
    if (archive_entry_filetype(entry) != AE_IFREG) return {};
    size_t number = 0;
    const Fd file = TRY(scratch_->Create(number));
    for (;;) {
      const void* bytes = nullptr;
      size_t size = 0;
      la_int64_t offset = 0;
      const int read = archive_read_data_block(reader, &bytes, &size, &offset);
      if (read == ARCHIVE_EOF) break;
      if (read != ARCHIVE_OK && read != ARCHIVE_WARN) return Broken(path, reader);
      if (lseek(file.get(), offset, SEEK_SET) < 0) return FailErrno(errno, "write in {}", scratch_->path());
      TRY_IN("unpack into " + scratch_->path() + " (TMPDIR names another place)",
             WriteAll(file.get(), {static_cast<const char*>(bytes), size}));
    }
    files_[name] = number;  // a later entry of the same name is the one that counts
    return {};
  }

  const size_t* Find(std::string name) const {
    for (int links = 0; links <= kMaxLinks; ++links) {
      if (const auto file = files_.find(name); file != files_.end()) return &file->second;
      const auto link = links_.find(name);
      if (link == links_.end()) return nullptr;
      name = link->second;
    }
    return nullptr;
  }

  std::unique_ptr<Scratch> scratch_;
  std::map<std::string, size_t> files_;
  std::map<std::string, std::string> links_;
};

}  // namespace

std::string NormalName(std::string_view name) {
  std::vector<std::string_view> parts;
  if (name.starts_with('/')) return {};
  while (!name.empty()) {
    const size_t end = std::min(name.find('/'), name.size());
    const std::string_view part = name.substr(0, end);
    name.remove_prefix(std::min(end + 1, name.size()));
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      parts.push_back(part);
    } else if (parts.empty()) {
      return {};
    } else {
      parts.pop_back();
    }
  }
  std::string normal;
  for (const std::string_view part : parts) normal += (normal.empty() ? "" : "/") + std::string(part);
  return normal;
}

Result<std::unique_ptr<LocalFiles>> OpenLocalFiles(const std::string& path, const std::string& temporary_directory) {
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return FailErrno(errno, "open {}", Printable(path));
  struct stat status {};
  if (fstat(fd.get(), &status) != 0) return FailErrno(errno, "look at {}", Printable(path));
  if (S_ISDIR(status.st_mode)) return std::make_unique<Directory>(std::move(fd));
  if (!S_ISREG(status.st_mode))
    return Fail(ErrorCode::kInvalid, "{} is neither a directory nor a regular file", Printable(path));
  return TRY(Archive::Unpack(path, fd.get(), temporary_directory));
}

uint64_t SizeOfFile(int fd) {
  struct stat status {};
  return fstat(fd, &status) == 0 ? static_cast<uint64_t>(status.st_size) : 0;
}

Result<std::string> ReadSmall(const LocalFiles& files, const std::string& name, size_t limit) {
  const Fd file = TRY(files.Open(name));
  return TRY_IN(Printable(name), ReadAll(file.get(), limit));
}

}  // namespace caisson::cli
