// SPDX-License-Identifier: Apache-2.0
// api/openapi.yaml as it was when this was built. Constant.
#pragma once

#include <string_view>

namespace caisson::api {

std::string_view OpenApiDocument();

}  // namespace caisson::api
