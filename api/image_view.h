// SPDX-License-Identifier: Apache-2.0
// Images and registry logins as the API shows them. Pure functions.
#pragma once

#include "api/image_ports.h"
#include "base/json/json.h"

namespace caisson::api {

Json ImageView(const ImageSummary& image);
Json ImageDetailsView(const ImageDetails& image);
Json PullProgressView(const PullProgress& progress);  // with its layers
Json VerdictView(const ImageVerdict& verdict);
Json CollectReportView(const CollectReport& report);
Json RegistryLoginView(const RegistryLogin& login);

}  // namespace caisson::api
