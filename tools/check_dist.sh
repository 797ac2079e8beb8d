#!/usr/bin/env bash
# Build sdist and wheel of the last commit into dist/, then train, test and
# predict with the wheel in a fresh environment.
#
#   tools/check_dist.sh [REPOSITORY TAG]
#
# REPOSITORY (https://github.com/OWNER/NAME) and TAG make the README's links
# absolute: PyPI shows the README without the pages that it links to.
#
# Needed before: what `make env` needs.
set -euo pipefail
cd "$(dirname "$0")/.."
unset PYTHONDONTWRITEBYTECODE  # every process would compile MMPose anew
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

case $# in
0 | 2) ;;
*) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac

uv=$(command -v uv) || { make .venv-uv/bin/uv && uv=$PWD/.venv-uv/bin/uv; }
folder=$(mktemp -d -t check_dist.XXXXXX)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/source" "$folder/out"

git archive HEAD | tar -x -C "$folder/source"
if [ $# = 2 ]; then
    sed -E -i "s,(!\[[^]]*\]\()([A-Za-z0-9_./-]+\)),\1$1/raw/$2/\2,g
        s,(\]\()([A-Za-z0-9_./#-]+\)),\1$1/blob/$2/\2,g" \
        "$folder/source/README.md"
fi
if command -v npm >/dev/null; then
    make --no-print-directory -C "$folder/source" web
else
    echo 'no npm: the packages are without the page of lgm-pose web' >&2
fi
rm -rf dist
"$uv" build --quiet --out-dir dist "$folder/source"
"$uv" tool run twine check --strict dist/*

# The wheel's own requirements are what a user gets from pip.
"$uv" venv --quiet --python "${PYTHON:->=3.10,<3.14}" "$folder/env"
export VIRTUAL_ENV=$folder/env
"$uv" pip install --quiet --no-deps --only-binary :all: \
    --requirements "$folder/source/requirements/mmpose.txt"
"$uv" pip install --quiet --only-binary :all: "$(echo dist/*.whl)[predict]"
unset VIRTUAL_ENV
export PATH=$folder/env/bin:$PATH
unset PYTHONPATH
cd "$folder/out"  # where no checkout is found in place of the wheel
lgm-pose doctor
# Read every config, and build its network.
find "$folder"/env/lib/python*/site-packages/lgm_pose_plugin/.mim/configs \
    -path '*/_base_' -prune -o -name '*.py' -print0 |
    xargs -0 lgm-pose complexity >complexity.md
lgm-pose demo . --images 40 --epochs 1  # mim train and mim test
lgm-pose predict data/rendered/val2017 --detector whole
lgm-pose --version
