#!/bin/sh
# What goes into an image, in two steps; the Dockerfiles run it, and so does images/build.py in a chroot.
#   install.sh packages build|runtime        print the Debian packages of a stage
#   install.sh build operator|workload       from /src: the environment /opt/seedbed, with hashes, compiled, without pip
#   install.sh finish                        in the last stage: user 1000, bytecode of the standard library, no caches
# WHEELS names a folder of wheels; without it pip asks its index.
set -eu

VENV=/opt/seedbed

packages() {
  case "$1" in
  build) echo python3 python3-venv ca-certificates ;;
  runtime) echo python3 ca-certificates libstdc++6 ;; # libstdc++6: numpy, torch, pyarrow
  esac
}

# Checked by the hash of the source, never by its time: images have one time for all files, and a read-only root.
# Files for a newer Python, such as torch's py312_intrinsics.py, are left as they are: nothing imports them here.
compile() {
  python3 -m compileall -q -f -x '/py31[2-9]_' --invalidation-mode unchecked-hash "$@"
}

build() {
  pip="python3 -m pip --disable-pip-version-check --no-cache-dir"
  index="${WHEELS:+--no-index --find-links $WHEELS}"
  python3 -m venv /tmp/tools
  # shellcheck disable=SC2086
  /tmp/tools/bin/$pip install --quiet --require-hashes $index -r /src/requirements/bootstrap.lock
  /tmp/tools/bin/$pip wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir /tmp/wheel /src
  python3 -m venv "$VENV"
  # shellcheck disable=SC2086
  "$VENV"/bin/$pip install --quiet --no-compile --no-deps --require-hashes $index -r "/src/requirements/$1.lock"
  "$VENV"/bin/$pip install --quiet --no-compile --no-deps --no-index /tmp/wheel/*.whl
  "$VENV"/bin/$pip check
  "$VENV"/bin/$pip uninstall --quiet --yes setuptools pip
  # The wheel declares the commands of both planes; the other's is not there.
  case "$1" in operator) rm "$VENV/bin/seedbed" ;; workload) rm "$VENV/bin/seedbed-operator" ;; esac
  find "$VENV" -name direct_url.json -delete
  find "$VENV" -name __pycache__ -prune -exec rm -rf {} +
  compile "$VENV"/lib
  rm -rf /tmp/tools /tmp/wheel
}

finish() {
  grep -q '^seedbed:' /etc/passwd || {
    echo 'seedbed:x:1000:1000::/tmp:/usr/sbin/nologin' >>/etc/passwd
    echo 'seedbed:x:1000:' >>/etc/group
  }
  compile /usr/lib/python3.11 /usr/lib/python3
  rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf /var/cache/ldconfig /var/log/* /tmp/* /root/.cache
}

"$@"
