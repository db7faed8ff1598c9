#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# "No TLS in root" must be visible to ldd: which of the daemon's programs may link what.
# Usage: linked_libraries.sh BUILD_DIRECTORY
set -u
build=$1
bad=0

# refuses PROGRAM PATTERN: the program must not be linked with a library of that name.
refuses() {
  if ldd "$build/$1" | grep -E "$2"; then
    echo "$1 must not link $2"
    bad=1
  fi
}
needs() {
  ldd "$build/$1" | grep -qE "$2" || { echo "$1 is expected to link $2: does this check still see what it should?"; bad=1; }
}

# holds PROGRAM SYMBOL, lacks PROGRAM SYMBOL: for what is linked statically.
holds() { nm "$build/$1" | grep -qw "$2"; }
lacks() {
  if holds "$1" "$2"; then
    echo "$1 must not contain $2"
    bad=1
  fi
}

for program in caissond caisson-service caisson-worker caisson-init; do
  [ -x "$build/$program" ] || { echo "$build/$program is missing"; exit 1; }
done

refuses caissond 'libssl|libcrypto|libcurl|libsqlite|libarchive|libz\.|libzstd'
needs caissond 'libseccomp'
needs caissond 'libcap'
refuses caisson-service 'libarchive|libseccomp'
needs caisson-service 'libssl'
needs caisson-service 'libcurl'
needs caisson-service 'libsqlite3'
lacks caissond archive_read_new
lacks caisson-service archive_read_new
holds caisson-worker archive_read_new || { echo "caisson-worker reads archives: does this check still see what it should?"; bad=1; }
# libcrypto is there for SHA-256. TLS, HTTP and the store must not come near hostile layers, nor the parsers that a shared
# libarchive would bring.
refuses caisson-worker 'libssl|libcurl|libsqlite|libarchive|libxml2|libicu'

if file -L "$build/caisson-init" 2>/dev/null | grep -q 'dynamically linked' || ldd "$build/caisson-init" >/dev/null 2>&1; then
  echo "caisson-init must be static"
  bad=1
fi
exit $bad
