// SPDX-License-Identifier: Apache-2.0
// What people see of the API's answers: tables and fields. Pure functions; every word of the server is Printable.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json/json.h"
#include "cli/job_view.h"

namespace caisson::cli {

// "exited 3", "signal 9 (KILL)", "timed_out", "" before the end.
std::string ResultText(const JobView& job);

std::string RenderJobs(const std::vector<JobView>& jobs, UnixMillis now);
std::string RenderJob(const Json& json, const JobView& job, UnixMillis now);
std::string RenderImages(const Json& answer, UnixMillis now);
std::string RenderImage(const Json& image, UnixMillis now);
std::string RenderVerdict(const Json& verdict);
std::string RenderLogins(const Json& answer, UnixMillis now);

// One line for `run` about a job that did not simply exit; empty where its status says all.
std::string EpilogueText(const JobView& job);
// "N bytes of output were dropped ...": no output may be missing in silence.
std::string DroppedText(int64_t bytes);

struct DoctorReport {
  std::string text;
  bool strict_possible = false;
};
// kInvalid when it is no report of caissond's.
Result<DoctorReport> RenderDoctor(const Json& report);

}  // namespace caisson::cli
