#!/bin/sh
# in-venv.sh PROGRAM [ARGUMENT...]: run a program of .venv, wherever the system keeps it.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
for programs in "$root/.venv/bin" "$root/.venv/Scripts"; do
    if [ -e "$programs/$1" ] || [ -e "$programs/$1.exe" ]; then
        program=$1
        shift
        exec "$programs/$program" "$@"
    fi
done
echo "in-venv: .venv has no program $1; 'make check' sets it up." >&2
exit 1
