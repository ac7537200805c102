#!/usr/bin/env bash
# Makes the environment: a Python >= 3.11 with a venv, and exactly the locked packages in it.
# On a Debian-like machine, as root, it installs the system packages that are missing; otherwise it names them.
set -euo pipefail
venv=${1:?usage: bootstrap.sh VENV}
cd "$(dirname "$0")/.."

need() { # need COMMAND-THAT-MUST-WORK PACKAGE...
  local check=$1
  shift
  if bash -c "$check" >/dev/null 2>&1; then return; fi
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing $* …" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
  fi
  bash -c "$check" >/dev/null 2>&1 && return
  echo "missing: $*. Install with: sudo apt-get install $*" >&2
  exit 4
}

usable() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info)' 2>/dev/null; }

python=${PYTHON:-}
for candidate in python3.12 python3.11 python3; do
  [ -n "$python" ] && break
  if usable "$candidate"; then python=$candidate; fi
done
if [ -z "$python" ]; then
  need 'python3 -c "import sys; sys.exit(sys.version_info < (3, 11))"' python3 python3-venv
  python=python3
fi
need "$python -c 'import ensurepip, venv'" python3-venv
if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 13))'; then
  # LevelDB's binding has no wheel there and is compiled.
  need 'command -v g++' g++
  need 'test -e /usr/include/leveldb/db.h' libleveldb-dev
  need "$python -c 'import sysconfig, os, sys; sys.exit(not os.path.exists(sysconfig.get_path(\"include\") + \"/Python.h\"))'" python3-dev
fi

echo "making $venv with $("$python" --version) …" >&2
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
touch "$venv/.installed"
