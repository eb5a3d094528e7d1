#!/usr/bin/env bash
# Run the tiers in a clone as machines would that lack something: tests/machines.sh [MACHINE...]
#   without-tools   no Go, no containers, no tool of the testbed built; a clone in a folder with a space, below /tmp
#   ordinary-user   another user than root, whose home cannot be written; needs root
#   python-and-go   another user than root, with Go and the tools that it built, without containers; needs root
# Unit tests that depend on the machine (marker `machine`) and all that skips run; the other tiers are collected.
# With SEEDBED_MACHINE_WHOLE=1 the two commands of the README run there in full, timed.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/.." && pwd)
containers="containerd containerd-shim-runc-v2 ctr runc nft ip iptables nsenter unshare openssl kubectl helm kwok
  prometheus promtool mmdebstrap apt-get docker podman"
user=65534

clone() { # clone FOLDER: what is committed, with the environment of this checkout
  git -c safe.directory='*' clone --quiet "$checkout" "$1"
  ln -s "$checkout/.venv" "$1/.venv"
  touch -d @0 "$1"/requirements/* "$1/pyproject.toml" # so that make takes the environment for complete
}

commands_without() { # commands_without FOLDER NAME...: fill a folder with the commands of PATH but those
  local folder=$1 place name
  shift
  mkdir "$folder"
  while read -r place; do
    find -L "$place" -maxdepth 1 -type f -executable -exec ln -sft "$folder" {} + 2> /dev/null || true
  done < <(tr : '\n' <<< "$PATH:/usr/sbin:/sbin" | tac)
  for name in "$@"; do rm -f "$folder/$name"; done
}

tiers() { # what runs in the clone
  if [ -n "${SEEDBED_MACHINE_WHOLE:-}" ]; then
    time make --no-print-directory demo
    time make --no-print-directory test
    return
  fi
  .venv/bin/python -m pytest -p no:cacheprovider --collect-only -q tests/scenarios tests/determinism tests/data > collected \
    || { cat collected; return 1; }
  UNIT_TESTS="machine and not slow and not ray and not s3 and not gpu" \
    tests/tiers.sh test-unit test-cluster chart test-e2e test-gpu
}

machine_without-tools() {
  clone "$1/a clone"
  commands_without "$1/bin" go gofmt $containers
  mkdir "$1/home"
  cd "$1/a clone"
  export PATH="$1/bin" HOME="$1/home" XDG_CACHE_HOME="$1/home/cache" PYTHONPATH="$PWD/crds:$PWD/operator:$PWD/workloads"
  tiers
}

machine_ordinary-user() {
  mkdir "$1/home"
  as_another_user "$1"
}

machine_python-and-go() {
  mkdir -p "$1/home/.cache"
  cp -r "${XDG_CACHE_HOME:-$HOME/.cache}/seedbed" "$1/home/.cache" 2> /dev/null || true # else it builds them
  chown -R "$user:$user" "$1/home"
  commands_without "$1/bin" $containers
  PATH="$1/bin" as_another_user "$1"
}

as_another_user() { # as_another_user FOLDER: its home is there
  local path=$PATH PATH=$PATH:/usr/sbin:/usr/bin
  export PATH_OF_A_USER=$path
  [ "$(id -u)" = 0 ] || { echo "not run: not root"; return 0; }
  unshare --mount true || { echo "not run: no right to mount"; return 0; }
  clone "$1/clone"
  mkdir "$1/tmp"
  chown -R "$user:$user" "$1/clone" "$1/tmp"
  chmod 755 "$1" "$1/home"
  export FOLDER_OF_A_USER="$1" PYTHON_BASE
  PYTHON_BASE=$("$checkout/.venv/bin/python" -c 'import sys; print(sys.base_prefix)')
  unshare --mount --propagation private "$checkout/tests/machines.sh" as-user
}

as_user() { # in a mount namespace of its own
  local places=("$PYTHON_BASE" "$checkout") number closed
  for number in 0 1; do
    mkdir -p "$FOLDER_OF_A_USER/shown/$number"
    mount --bind "${places[number]}" "$FOLDER_OF_A_USER/shown/$number"
  done
  for number in 0 1; do # folders that are closed to others, such as root's home, show these two places alone
    closed=$(closed_above "${places[number]}")
    if [ -n "$closed" ]; then mount -t tmpfs -o mode=755 none "$closed"; fi
  done
  for number in 0 1; do
    if [ ! -d "${places[number]}" ]; then
      mkdir -p "${places[number]}"
      mount --bind "$FOLDER_OF_A_USER/shown/$number" "${places[number]}"
    fi
  done
  cd "$FOLDER_OF_A_USER/clone"
  local as=(setpriv --reuid "$user" --regid "$user" --clear-groups --bounding-set=-all --no-new-privs)
  if ! "${as[@]}" .venv/bin/python -c "import pytest" 2> /dev/null; then
    echo "not run: another user may not read $checkout/.venv"
    exit 0
  fi
  exec "${as[@]}" env HOME="$FOLDER_OF_A_USER/home" XDG_CACHE_HOME="$FOLDER_OF_A_USER/home/.cache" \
    TMPDIR="$FOLDER_OF_A_USER/tmp" PATH="$PATH_OF_A_USER" USER=nobody PYTHONPATH="$PWD/crds:$PWD/operator:$PWD/workloads" tests/machines.sh tiers
}

closed_above() { # closed_above PLACE: the first folder on the way to it that others may not enter
  local path= part
  while read -r -d / part; do
    path=${path%/}/$part
    case $(stat -c %A "$path") in *[xt]) ;; *) echo "$path"; return ;; esac
  done <<< "$1/"
}

case ${1:-} in
  tiers) tiers ;;
  as-user) as_user ;;
  in) "machine_$2" "$3" ;; # a process of its own, which ends with the first command that fails
  "") exec "$checkout/tests/machines.sh" without-tools ordinary-user ;;
  *)
    failed=0
    for name in "$@"; do
      folder=$(mktemp -d "/tmp/seedbed-machine-XXXXXX")
      echo "machine: $name"
      # another user may not write the counts: the last line is added to them here
      env -u SEEDBED_TEST_COUNTS "$checkout/tests/machines.sh" in "$name" "$folder" | tee "$folder.output" || failed=1
      tail -n 1 "$folder.output" | sed -nE 's/^([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$/\1 \2 \3/p' \
        >> "${SEEDBED_TEST_COUNTS:-/dev/null}"
      rm "$folder.output"
      rm -rf "$folder"
    done
    exit "$failed"
    ;;
esac
