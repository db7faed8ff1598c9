// SPDX-License-Identifier: Apache-2.0
// `caisson image import`: finds the image in a directory or an archive on this side, uploads the blobs that the daemon
// lacks, and then the manifest that names them.
#include <unistd.h>

#include <cerrno>
#include <set>

#include "cli/command_context.h"
#include "cli/exit_status.h"
#include "cli/local_image.h"
#include "cli/quantity.h"
#include "cli/terminal.h"

namespace caisson::cli {
namespace {

constexpr int kRounds = 3;  // of uploads, where blobs vanish between their upload and the import

// Uploads, with one line on a terminal that says how far they are.
class Uploads {
 public:
  Uploads(const LocalFiles& files, const LocalImage& image, Context& context)
      : files_(files), context_(context), lines_(context.console.err), shown_(context.console.err_is_terminal()) {
    for (const LocalBlob& blob : image.blobs) whole_ += blob.bytes;
  }
  ~Uploads() { lines_.Clear(); }

  // Unless it is there already.
  Result<void> Send(const LocalBlob& blob) {
    const std::string path = "/v1/blobs/" + blob.digest;
    if (TRY(context_.client.Exists(path))) {
      Show(blob.bytes);
      return {};
    }
    const Fd file = TRY(files_.Open(blob.file));
    const auto read_file = [&](std::span<char> room) -> Result<size_t> {
      ssize_t got;
      do {
        got = read(file.get(), room.data(), room.size());
      } while (got < 0 && errno == EINTR);
      if (got < 0) return FailErrno(errno, "read {}", Printable(blob.file));
      Show(static_cast<uint64_t>(got));
      return static_cast<size_t>(got);
    };
    TRY_IN("upload " + blob.digest, context_.client.Upload(path, blob.bytes, read_file));
    return {};
  }

 private:
  void Show(uint64_t more) {
    done_ += more;
    if (!shown_) return;
    const std::string text =
        fmt::format("uploading {} {} of {}", Bar(done_, whole_, 32), FormatSize(done_), FormatSize(whole_));
    if (text == last_) return;
    last_ = text;
    lines_.Show({Shorten(text, std::max<size_t>(SizeOf(context_.console.err).columns, 2) - 1)});
  }

  const LocalFiles& files_;
  Context& context_;
  LiveLines lines_;
  const bool shown_;
  uint64_t whole_ = 0;
  uint64_t done_ = 0;
  std::string last_;
};

Result<Json> Import(const LocalFiles& files, const LocalImage& image, const std::string& name, Context& context) {
  Json body = Json::MakeObject();
  body.Set("reference", name);
  body.Set("manifest", image.manifest);
  for (int round = 1;; ++round) {
    {
      Uploads uploads(files, image, context);
      for (const LocalBlob& blob : image.blobs) TRY(uploads.Send(blob));
    }
    Result<Json> answer = context.client.Ask("POST", "/v1/images/import", body.Dump());
    if (answer || answer.error().code != ErrorCode::kConflict || round == kRounds) return answer;
  }
}

}  // namespace

Result<int> Do(const ImportImageCommand& command, Context& context) {
  const std::string what = "import " + Printable(command.path);
  const std::unique_ptr<LocalFiles> files = TRY_IN(what, OpenLocalFiles(command.path, command.temporary_directory));
  const LocalImage image = TRY_IN(what, FindLocalImage(*files, command.ref, HostArchitecture()));
  const std::string name = command.name.empty() ? image.name : command.name;
  if (name.empty())
    return Fail(ErrorCode::kInvalid, "{}: the image carries no name: give it one with --name REF", what);
  const Json answer = TRY_IN(what, Import(*files, image, name, context));
  if (context.options.json) {
    TRY(context.Print(answer));
    return kExitOk;
  }
  for (const Json& warning : answer.ArrayOrEmpty("warnings"))
    if (warning.AsString()) context.console.Say("warning: " + Printable(*warning.AsString()));
  const std::string reference = answer.StringOr("reference", name);
  TRY(context.console.Print(fmt::format("{} {}\n", Printable(reference.substr(0, reference.find('@'))),
                                        Printable(answer.StringOr("digest", "-")))));
  return kExitOk;
}

}  // namespace caisson::cli
