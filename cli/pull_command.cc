// SPDX-License-Identifier: Apache-2.0
// `caisson image pull`: asks for the pull, shows its events, and ends as it did.
#include <stdlib.h>

#include <memory>

#include "base/io.h"
#include "cli/command_context.h"
#include "cli/exit_status.h"
#include "cli/pull_view.h"

namespace caisson::cli {
namespace {

// Where a pull's events are shown: on standard error, and only there.
class ProgressView {
 public:
  virtual ~ProgressView() = default;
  virtual void Show(const Json& progress) = 0;
  virtual void End() {}
};

class Bars final : public ProgressView {
 public:
  explicit Bars(const Console& console) : err_(console.err), lines_(console.err) {}
  void Show(const Json& progress) override { lines_.Show(RenderBars(ParsePull(progress), SizeOf(err_))); }
  void End() override { lines_.Clear(); }

 private:
  const int err_;
  LiveLines lines_;
};

class PlainLines final : public ProgressView {
 public:
  explicit PlainLines(const Console& console) : err_(console.err) {}
  void Show(const Json& progress) override {
    static_cast<void>(WriteAll(err_, changes_.Changes(ParsePull(progress))).has_value());
  }

 private:
  const int err_;
  PlainProgress changes_;
};

class JsonLines final : public ProgressView {
 public:
  explicit JsonLines(const Console& console) : err_(console.err) {}
  void Show(const Json& progress) override {
    static_cast<void>(WriteAll(err_, TerminalSafeJson(progress.Dump()) + "\n").has_value());
  }

 private:
  const int err_;
};

class NoProgress final : public ProgressView {
 public:
  void Show(const Json&) override {}
};

std::unique_ptr<ProgressView> MakeView(const std::string& kind, bool json, const Console& console) {
  const char* terminal = getenv("TERM");
  const bool can_redraw = console.err_is_terminal() && !(terminal && std::string_view(terminal) == "dumb");
  if (kind == "auto" && json) return std::make_unique<NoProgress>();
  if (kind == "auto" && can_redraw) return std::make_unique<Bars>(console);
  if (kind == "auto" || kind == "plain") return std::make_unique<PlainLines>(console);
  if (kind == "json") return std::make_unique<JsonLines>(console);
  return std::make_unique<NoProgress>();
}

// The image, from the stream's last event.
Result<Json> FollowPull(const PullImageCommand& command, Context& context, ProgressView& view) {
  Json body = Json::MakeObject();
  body.Set("reference", command.reference);
  body.Set("policy", command.policy);
  std::optional<Json> image;
  std::optional<Error> problem;
  const auto sink = [&](const SseEvent& event) -> Result<void> {
    Json json = TRY(ParseJson(event.data));
    if (event.name == "progress") view.Show(json);
    if (event.name == "end") image = std::move(json);
    if (event.name == "error")
      problem = ToError(static_cast<int>(json.IntOr("status", 500)), "application/problem+json", event.data);
    return {};
  };
  const Result<void> streamed = context.client.PostForEvents("/v1/images/pull", body.Dump(), sink);
  view.End();
  if (problem) return tl::unexpected(*std::move(problem));
  if (image) return *std::move(image);
  if (!streamed) return tl::unexpected(streamed.error());
  return Fail(ErrorCode::kUnavailable, "the daemon stopped before the pull had ended: ask again");
}

}  // namespace

Result<int> Do(const PullImageCommand& command, Context& context) {
  const std::unique_ptr<ProgressView> view = MakeView(command.progress, context.options.json, context.console);
  const Json image = TRY(FollowPull(command, context, *view));
  if (context.options.json) {
    TRY(context.Print(image));
    return kExitOk;
  }
  for (const Json& warning : image.ArrayOrEmpty("warnings"))
    if (warning.AsString()) context.console.Say("warning: " + Printable(*warning.AsString()));
  TRY(context.console.Print(Printable(image.StringOr("digest", "-")) + "\n"));
  return kExitOk;
}

}  // namespace caisson::cli
