#!/bin/sh
# Makes the environment of a job, once for each content: install.sh ENVIRONMENT PARCEL PYTHON [PYTHON_OF_THE_IMAGE]
set -eu
environment=$1 parcel=$2 python=$3 image=${4:-}
if [ -f "$environment/complete" ]; then
    echo cached
    exit 0
fi
# A machine that installs is not idle.
(while sleep 1; do touch /run/tenyson/alive; done) </dev/null >/dev/null 2>&1 &
busy=$!
trap 'kill $busy' EXIT
uv=$(command -v uv || echo /opt/tenyson/bin/uv)
if [ ! -x "$uv" ]; then
    curl -LsSf --retry 5 https://astral.sh/uv/install.sh | env UV_INSTALL_DIR=/opt/tenyson/bin UV_NO_MODIFY_PATH=1 sh >&2 ||
        python3 -m pip install --quiet --target /opt/tenyson/uv uv >&2
    [ -x "$uv" ] || uv=/opt/tenyson/uv/bin/uv
fi
rm -rf "$environment"
if [ -n "$image" ]; then
    "$uv" venv --quiet --system-site-packages --python "$image" "$environment" >&2
else
    "$uv" venv --quiet --python "$python" "$environment" >&2
fi
"$uv" pip install --quiet --python "$environment/bin/python" \
    -r "$parcel/requirements.txt" -c "$parcel/constraints.txt" >&2
touch "$environment/complete"
echo installed
