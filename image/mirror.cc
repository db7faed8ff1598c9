// SPDX-License-Identifier: Apache-2.0
#include "image/mirror.h"

#include "base/encoding.h"
#include "image/reference.h"

namespace caisson::image {

Result<Mirror> ParseMirror(std::string_view text) {
  const std::string context = fmt::format("mirror \"{}\"", EscapeForLog(text, 120));
  if (text.find("://") != std::string_view::npos)
    return Fail(ErrorCode::kInvalid,
                "{}: write HOST[:PORT][/PREFIX] without a scheme; plain HTTP is set by an entry "
                "[registries.\"HOST:PORT\"] of its own",
                context);
  if (text.ends_with('/')) return Fail(ErrorCode::kInvalid, "{}: it ends with a slash", context);
  if (text.find('@') != std::string_view::npos) return Fail(ErrorCode::kInvalid, "{}: it has a \"@\"", context);
  // The grammar of an image's name, with a repository behind it. "mirror" alone would be a name on Docker Hub.
  const size_t slash = text.find('/');
  const std::string_view host = text.substr(0, slash);
  const Reference reference = TRY_IN(context, ParseReference(std::string(text) + "/name"));
  Mirror mirror{reference.host, slash == std::string_view::npos ? "" : std::string(text.substr(slash + 1))};
  const bool is_hub =
      mirror.host == "docker.io" && host != "docker.io" && host != "registry-1.docker.io" && host != "index.docker.io";
  if (is_hub)
    return Fail(ErrorCode::kInvalid, "{}: \"{}\" is no host: it needs a dot or a port", context,
                EscapeForLog(host, 100));
  return mirror;
}

}  // namespace caisson::image
