// SPDX-License-Identifier: Apache-2.0
// System calls without libc: for code that shares the launcher's memory between clone and exec, and for pid 1, which
// has no libc. Nothing here touches errno, takes a lock or allocates; an error is a negative errno. x86-64 only.
#pragma once

#include <asm/unistd.h>

#ifndef __x86_64__
#error "Caisson's launch path is written for x86-64; other architectures need their system call sequence here"
#endif

namespace caisson::sandbox::raw {

// What the sanitizers would add to such code assumes a stack and a process of its own.
#if defined(__SANITIZE_ADDRESS__) || defined(__clang__)
#define CAISSON_BARE __attribute__((no_sanitize("address", "undefined")))
#else
#define CAISSON_BARE
#endif

template <typename T>
inline __attribute__((always_inline)) long ToWord(T value) {
  if constexpr (__is_same(T, decltype(nullptr))) {
    return 0;
  } else {
    return (long)value;  // NOLINT: pointers and integers alike
  }
}

inline __attribute__((always_inline)) long Call6(long number, long a, long b, long c, long d, long e, long f) {
  long result = number;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  asm volatile("syscall" : "+a"(result) : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return result;
}

template <typename A = long, typename B = long, typename C = long, typename D = long, typename E = long,
          typename F = long>
inline __attribute__((always_inline)) long Call(long number, A a = 0, B b = 0, C c = 0, D d = 0, E e = 0, F f = 0) {
  return Call6(number, ToWord(a), ToWord(b), ToWord(c), ToWord(d), ToWord(e), ToWord(f));
}

}  // namespace caisson::sandbox::raw
