// SPDX-License-Identifier: Apache-2.0
// USER of an image, or `user` of a job, to numbers, from the copies of etc/passwd and etc/group that the merge worker
// took. All digits are a number and never a name; a name that is absent is an error and never 0. A pure function.
#pragma once

#include "base/result.h"
#include "image/image.h"

namespace caisson::image {

// `text` is "", "user", "uid", "user:group", "uid:gid" or a mixture.
Result<ResolvedUser> ResolveUser(std::string_view text, std::string_view passwd, std::string_view group);

}  // namespace caisson::image
