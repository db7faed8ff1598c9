// SPDX-License-Identifier: Apache-2.0
#include "base/result.h"

#include <cerrno>
#include <cstring>

namespace caisson {
namespace {

ErrorCode CodeOf(int sys_errno) {
  switch (sys_errno) {
    case ENOENT: return ErrorCode::kNotFound;
    case EPERM:
    case EACCES: return ErrorCode::kDenied;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM: return ErrorCode::kExhausted;
    case EEXIST:
    case EBUSY: return ErrorCode::kConflict;
    case ENOSYS:
    case EOPNOTSUPP: return ErrorCode::kUnsupported;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE: return ErrorCode::kUnavailable;
    case ETIMEDOUT: return ErrorCode::kTimedOut;
    default: return ErrorCode::kInternal;
  }
}

}  // namespace

std::string_view ToString(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInternal: return "internal";
    case ErrorCode::kInvalid: return "invalid";
    case ErrorCode::kNotFound: return "not_found";
    case ErrorCode::kDenied: return "denied";
    case ErrorCode::kUnavailable: return "unavailable";
    case ErrorCode::kExhausted: return "exhausted";
    case ErrorCode::kConflict: return "conflict";
    case ErrorCode::kUnsupported: return "unsupported";
    case ErrorCode::kTooLarge: return "too_large";
    case ErrorCode::kCorrupt: return "corrupt";
    case ErrorCode::kCancelled: return "cancelled";
    case ErrorCode::kTimedOut: return "timed_out";
  }
  return "internal";
}

Error Error::Context(std::string_view what) && {
  message.insert(0, ": ").insert(0, what);
  return std::move(*this);
}

tl::unexpected<Error> FailWithErrno(int sys_errno, std::string message) {
  message.append(": ").append(strerrordesc_np(sys_errno) ? strerrordesc_np(sys_errno) : "unknown error");
  return tl::unexpected(Error{CodeOf(sys_errno), std::move(message), sys_errno});
}

}  // namespace caisson
