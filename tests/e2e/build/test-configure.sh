#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# configure in folders of its own: what it writes, what it refuses and with which words; and the
# goals of make that need no compiling.
. "$SRC/tests/e2e/lib.sh"

configure=$SRC/configure
unset CC CFLAGS LDFLAGS PKG_CONFIG_PATH PKG_CONFIG_LIBDIR MAKEFLAGS MAKELEVEL MFLAGS

# refuses NAME WORDS ARGUMENT...: it ends with these words and writes nothing.
refuses() {
    name_=$1 words_=$2
    shift 2
    rm -rf refused
    mkdir refused
    (cd refused && "$configure" "$@" >../out 2>../err)
    is "$name_" "$? $(tail -n 1 err)$(ls -A refused)" "1 configure: $words_"
}

refuses 'unknown option' "unknown option '--nonsense' (see --help)" --nonsense
refuses 'unknown library' "unknown option '--enable-nonsense' (see --help)" --enable-nonsense
refuses 'unknown coroutine' "unknown option '--with-coroutine=x' (see --help)" --with-coroutine=x
refuses 'relative prefix' '--prefix=usr is not an absolute path' --prefix=usr
refuses 'no such compiler' \
    'no-such-cc is missing (Debian: apt-get install gcc make pkg-config python3)' --cc=no-such-cc
refuses 'flag the compiler does not know' "'cc -O2 -g --no-such-flag' cannot build a program" \
    --cc=cc --extra-cflags=--no-such-flag
refuses 'sanitizers that exclude each other' '--enable-asan and --enable-tsan exclude each other' \
    --enable-asan --enable-tsan

refuses 'whitelist of what is no name' "'raw;x' is not a list of block drivers" \
    --block-drv-rw-whitelist='raw;x'

# without LIBRARY: a folder of all of pkg-config's files but those of one library.
without() {
    rm -rf pc
    mkdir pc
    for dir_ in $(pkg-config --variable pc_path pkg-config | tr : ' '); do
        for file_ in "$dir_"/*.pc; do
            [ ! -e "$file_" ] || [ -e "pc/${file_##*/}" ] || ln -s "$file_" pc/
        done
    done
    rm -f "pc/$1.pc"
    PKG_CONFIG_LIBDIR=$PWD/pc
    export PKG_CONFIG_LIBDIR
}
without glib-2.0
refuses 'no glib' 'library glib-2.0 is missing (Debian: apt-get install libglib2.0-dev)'
without zlib
refuses 'no zlib' 'library zlib is missing (Debian: apt-get install zlib1g-dev)'
without libzstd
refuses 'insisting on zstd' \
    '--enable-zstd: library libzstd is missing (Debian: apt-get install libzstd-dev)' --enable-zstd
mkdir nozstd
(cd nozstd && "$configure" >../out)
is 'zstd is optional' "$? $(grep -c ZSTD nozstd/config.h)" '0 0'
without liburing
refuses 'insisting on io_uring' \
    '--enable-io-uring: library liburing is missing (Debian: apt-get install liburing-dev)' \
    --enable-io-uring
unset PKG_CONFIG_LIBDIR

mkdir mine
echo 'all:' >mine/Makefile
(cd mine && "$configure" 2>../err)
is "another's Makefile stays" "$? $(cat mine/Makefile) $(ls -A mine)" '1 all: Makefile'

# In a copy, because it would be the source's own folder that it writes into.
mkdir 'a source'
cp "$configure" 'a source/'
(cd 'a source' && ./configure 2>../err)
is "in the source's folder" "$? $(cat err) $(ls -A 'a source')" \
    '1 configure: run it from a build folder: mkdir build && cd build && ../configure configure'
mkdir -p 'a source/b/c' beside
(cd 'a source/b/c' && ../../configure >../../../out)
is 'below a path with a space' "$? $(grep '^SRC :=' 'a source/b/c/config.mak')" '0 SRC := ../..'
(cd beside && '../a source/configure' 2>../err)
is 'beside a path with a space' "$? $(ls -A beside)" '1 '

mkdir build
(cd build && CFLAGS='-O1 -DQUOTE' "$configure" --prefix=/opt/x --disable-zstd --disable-io-uring \
    --with-coroutine=ucontext --extra-cflags=-DEXTRA --enable-debug \
    --block-drv-rw-whitelist='raw,file null-co' --block-drv-ro-whitelist=qcow2 >../out)
is 'everything chosen' "$?" 0
is 'no library that is disabled' "$(grep -c 'ZSTD\|URING' build/config.h)" 0
is 'whitelists' "$(grep WHITELIST build/config.h | sed 's/ *$//')" \
    '#define CONFIG_BDRV_RW_WHITELIST "raw", "file", "null-co",
#define CONFIG_BDRV_RO_WHITELIST "qcow2",'
is 'ucontext' "$(grep -c COROUTINE_UCONTEXT build/config.h)" 1
is 'extra flags stay with --enable-debug' "$(grep -c -e '-O0 -g3 -DEXTRA' build/config.mak)" 1
cp -p build/config.mak before
touch -d '2001-01-01' build/config.mak build/config.h
(cd build && ./config.status >../out)
is 'config.status makes the same choices' "$? $(cmp before build/config.mak)" '0 '
is 'what is the same keeps its date' "$(find build -name 'config.[mh]*' -newermt 2002-01-01)" ''

check 'make help' make -s -C build help
echo keep >build/notes
mkdir build/util
echo keep >build/util/notes
: >build/util/old.o
check 'make clean' make -s -C build clean
is 'clean leaves what is not its own' "$(cat build/util/notes)$(find build -name '*.o')" keep
check 'make distclean' make -s -C build distclean
is 'distclean leaves what is not its own' "$(cd build && find . -type f | sort | tr '\n' ' ')" \
    './notes ./util/notes '
done_testing
