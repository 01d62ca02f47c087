#!/bin/sh
# Makes the environment of a job, once for each content: install.sh HOME/envs/KEY BUNDLE PYTHON [PYTHON_OF_THE_IMAGE]
set -eu
environment=$1 bundle=$2 python=$3 image=${4:-}
home=${environment%/envs/*}
uv_version=0.13.9
# One at a time: an installer outlives its connection, and the next one waits for it, or for what it left running.
mkdir -p "$home/envs"
exec 9>"$environment.lock"
# A machine that installs is not idle. This loop ends with the script, and must not hold the lock.
(while kill -0 $$; do touch /run/tenyson/alive; sleep 1; done) </dev/null >/dev/null 2>&1 9>&- &
flock 9
if [ -f "$environment/complete" ]; then
    echo cached
    exit 0
fi
uv=$(command -v uv || echo "$home/bin/uv")
if [ ! -x "$uv" ]; then
    # To a file first: what a pipe's end gets of a download that failed is an empty script, which succeeds.
    (curl -LsSf --retry 5 -o "$home/uv-install.sh" "https://astral.sh/uv/$uv_version/install.sh" &&
        env UV_INSTALL_DIR="$home/bin" UV_NO_MODIFY_PATH=1 sh "$home/uv-install.sh") >&2 ||
        python3 -m pip install --quiet --target "$home/uv" "uv==$uv_version" >&2 || true
    [ -x "$uv" ] || uv=$home/uv/bin/uv
    if [ ! -x "$uv" ]; then
        echo "uv $uv_version could be had neither from astral.sh nor by pip: has the machine a way to the internet, or the image a uv?" >&2
        exit 1
    fi
fi
rm -rf "$environment"
if [ -n "$image" ]; then
    "$uv" venv --quiet --system-site-packages --python "$image" "$environment" >&2
else
    "$uv" venv --quiet --python "$python" "$environment" >&2
fi
"$uv" pip install --quiet --python "$environment/bin/python" \
    -r "$bundle/requirements.txt" -c "$bundle/constraints.txt" >&2
touch "$environment/complete"
echo installed
