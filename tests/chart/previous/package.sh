#!/bin/sh
# Package the chart as it was at a commit, for the tests of upgrades: package.sh HELM COMMIT VERSION
set -eu
helm=$1 commit=$2 version=$3
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
git -C "$here/../../.." archive "$commit" charts/seedbed | tar -x -C "$folder"
"$helm" package "$folder/charts/seedbed" --version "$version" --destination "$here"
