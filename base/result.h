// SPDX-License-Identifier: Apache-2.0
// Result<T>: what every function returns that can fail in an expected way. An Error says what was attempted, on
// what, and why it failed; each layer adds its own words once with Context(). Bugs are not Errors: see base/check.h.
// Plain values, for any thread.
#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace caisson {

enum class ErrorCode {
  kInternal,     // something of ours or the operating system failed: nothing the caller can correct
  kInvalid,      // the input is not well-formed or breaks a rule
  kNotFound,     // the named thing does not exist
  kDenied,       // the caller may not
  kUnavailable,  // a peer is down or busy; the same request may work later
  kExhausted,    // a limit or a disk is full
  kConflict,     // the thing exists or is in use
  kUnsupported,  // this host or build cannot do it
  kTooLarge,     // over a size limit
  kCorrupt,      // bytes do not match their digest, or a stored file is damaged
  kCancelled,    // somebody asked to stop
  kTimedOut,     // a deadline passed
};

std::string_view ToString(ErrorCode code);

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
  int sys_errno = 0;  // the errno behind it, 0 where there is none

  // Puts "what: " in front of the message.
  Error Context(std::string_view what) &&;
};

template <typename T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
};

template <typename... Args>
tl::unexpected<Error> Fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected(Error{code, fmt::format(format, std::forward<Args>(args)...), 0});
}

// Fails with "MESSAGE: text of errno"; the code follows from the errno (ENOENT is kNotFound, ENOSPC kExhausted, ...).
tl::unexpected<Error> FailWithErrno(int sys_errno, std::string message);

template <typename... Args>
tl::unexpected<Error> FailErrno(int sys_errno, fmt::format_string<Args...> format, Args&&... args) {
  return FailWithErrno(sys_errno, fmt::format(format, std::forward<Args>(args)...));
}

namespace internal {
inline void Unwrap(Result<void>&&) {}
template <typename T>
T Unwrap(Result<T>&& result) {
  return *std::move(result);
}
}  // namespace internal

}  // namespace caisson

// TRY(expression): the value of a Result, or return its error from the enclosing function. May be nested.
#define TRY(...) CAISSON_TRY(CAISSON_JOIN(try_result_, __COUNTER__), std::move(failure), __VA_ARGS__)
// TRY_IN("what", expression): the same, with "what: " put in front of the error's message.
#define TRY_IN(what, ...) \
  CAISSON_TRY(CAISSON_JOIN(try_result_, __COUNTER__), std::move(failure).Context(what), __VA_ARGS__)

#define CAISSON_JOIN2(a, b) a##b
#define CAISSON_JOIN(a, b) CAISSON_JOIN2(a, b)
#define CAISSON_TRY(result, error_to_return, ...)   \
  __extension__({                                   \
    auto result = (__VA_ARGS__);                    \
    if (!result) {                                  \
      auto failure = std::move(result).error();     \
      return tl::unexpected(error_to_return);       \
    }                                               \
    ::caisson::internal::Unwrap(std::move(result)); \
  })
