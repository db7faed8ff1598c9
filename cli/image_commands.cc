// SPDX-License-Identifier: Apache-2.0
// Images: list, inspect, remove, verify, collect.
#include "base/clock.h"
#include "cli/command_context.h"
#include "cli/exit_status.h"
#include "cli/quantity.h"
#include "cli/render.h"

namespace caisson::cli {
namespace {

std::string ImagePath(const std::string& image) { return "/v1/images/" + UrlEncode(image); }

}  // namespace

Result<int> Do(const ListImagesCommand&, Context& context) {
  const Json answer = TRY(context.client.Get("/v1/images"));
  if (context.options.json) {
    TRY(context.Print(answer));
  } else {
    TRY(context.console.Print(RenderImages(answer, SystemClock().NowMs())));
  }
  return kExitOk;
}

Result<int> Do(const InspectImageCommand& command, Context& context) {
  const Json answer = TRY(context.client.Get(ImagePath(command.image)));
  if (context.options.json) {
    TRY(context.Print(answer));
  } else {
    TRY(context.console.Print(RenderImage(answer, SystemClock().NowMs())));
  }
  return kExitOk;
}

// All of them are tried; the first failure decides the status.
Result<int> Do(const RemoveImagesCommand& command, Context& context) {
  int status = kExitOk;
  Json::Array removed;
  for (const std::string& image : command.images) {
    const Result<Json> answer = context.client.Ask("DELETE", ImagePath(image), std::nullopt);
    if (!answer) {
      if (command.images.size() == 1) return tl::unexpected(answer.error());
      context.console.Say(Printable(image) + ": " + answer.error().message);
      status = kExitError;
      continue;
    }
    removed.emplace_back(image);
    if (!context.options.json) TRY(context.console.Print(Printable(image) + "\n"));
  }
  if (context.options.json) {
    Json document = Json::MakeObject();
    document.Set("removed", std::move(removed));
    TRY(context.Print(document));
  }
  return status;
}

Result<int> Do(const CollectImagesCommand& command, Context& context) {
  Json body = Json::MakeObject();
  body.Set("all", command.all);
  const Json answer = TRY(context.client.Ask("POST", "/v1/images/gc", body.Dump()));
  if (context.options.json) {
    TRY(context.Print(answer));
    return kExitOk;
  }
  TRY(context.console.Print(fmt::format("removed {} images and {} layers, {}\n", answer.IntOr("images", 0),
                                        answer.IntOr("layers", 0),
                                        FormatSize(static_cast<uint64_t>(answer.IntOr("bytes", 0))))));
  return kExitOk;
}

Result<int> Do(const VerifyImageCommand& command, Context& context) {
  Json body = Json::MakeObject();
  body.Set("repair", command.repair);
  const Json answer = TRY(context.client.Ask("POST", ImagePath(command.image) + "/verify", body.Dump()));
  const Json* sound = answer.Find("sound");
  if (!sound || !sound->AsBool()) return Fail(ErrorCode::kInvalid, "the answer is no verdict of caissond's");
  if (context.options.json) {
    TRY(context.Print(answer));
  } else {
    TRY(context.console.Print(RenderVerdict(answer)));
  }
  return *sound->AsBool() ? kExitOk : kExitError;
}

}  // namespace caisson::cli
