#!/usr/bin/env bash
# Build environments from nothing, install the plugin from this checkout and
# run its tests there; docs/compatibility.md has the results.
#
#   tools/check_matrix.sh [-d FOLDER] [ENVIRONMENT...] [-- PYTEST_ARGUMENT...]
#
# ENVIRONMENT is `oldest` (the lower bounds of pyproject.toml) or `reference`
# (what `make env` builds); without any, both. They, their logs and the mmcv
# wheel, which a second run takes instead of compiling for many minutes, go to
# FOLDER, a temporary one by default. pytest runs in two processes; `-- -n 0`
# makes it one. The exit status is 0 if all environments pass. For each, the
# last lines have a row for the table.
#
# Needed before: what `make env` needs, and Python 3.8 with its headers
# (OLDEST_PYTHON=python3.9 takes another).
set -euo pipefail
cd "$(dirname "$0")/.."
unset PYTHONDONTWRITEBYTECODE  # every process would compile MMPose anew
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

folder=
environments=()
tests=(-n 2 --dist loadfile --max-worker-restart 0)
while [ $# -gt 0 ]; do
    case $1 in
    -d) folder=${2:?-d takes a folder}; shift ;;
    oldest | reference) environments+=("$1") ;;
    --) shift; tests+=("$@"); break ;;
    *) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
    esac
    shift
done
[ ${#environments[@]} -gt 0 ] || environments=(oldest reference)
folder=${folder:-$(mktemp -d -t check_matrix.XXXXXX)}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
echo "in $folder"

uv=$(command -v uv) || { make .venv-uv/bin/uv && uv=$PWD/.venv-uv/bin/uv; }

build_reference() {
    UV_PROJECT_ENVIRONMENT=$1 make env
}

# pyproject.toml's uv settings are those of the reference environment.
pip_in() {
    local env=$1 command=$2
    shift 2
    "$uv" pip "$command" --no-config --python "$env/bin/python" "$@"
}

# What `name==version` in the resolution says about packages.
pins() {
    grep -E "^($1)==" "$pinned"
}

build_oldest() {
    local env=$1 wheels
    local pinned=$folder/oldest.txt
    "$uv" venv --no-config --clear --python "${OLDEST_PYTHON:-3.8}" "$env"
    # As in pyproject.toml: chumpy does not build and nothing imports it,
    # opendatalab pins old versions of the rest, and OpenCV is the headless one.
    printf "%s ; python_version < '3'\n" chumpy opendatalab opencv-python \
        >"$folder/override.txt"
    pip_in "$env" compile --quiet --resolution lowest-direct \
        --extra export --extra predict --override "$folder/override.txt" \
        --output-file "$pinned" pyproject.toml

    # mmcv compiles its operators against the torch of its environment.
    wheels=$folder/wheels-$(pins torch)-$("$env/bin/python" -c \
        'import sys; print(sys.implementation.cache_tag)')
    if ! ls "$wheels"/mmcv-*.whl >/dev/null 2>&1; then
        pip_in "$env" install $(pins 'torch|numpy') \
            ninja pip psutil 'setuptools<60' wheel
        PATH=$env/bin:$PATH MMCV_WITH_OPS=1 "$env/bin/python" -m pip wheel \
            --no-cache-dir --no-deps --no-build-isolation --no-binary mmcv \
            --wheel-dir "$wheels" "$(pins mmcv)"
    fi
    pip_in "$env" install --requirements "$pinned" \
        --override "$folder/override.txt" \
        --find-links "$wheels" --only-binary mmcv \
        'opencv-python-headless>=4,<5' openmim pytest pytest-xdist
    pip_in "$env" install --no-deps --reinstall .
}

versions() {
    "$1/bin/python" - <<'EOF'
import platform
from importlib.metadata import version

names = ('torch', 'mmcv', 'mmengine', 'mmdet', 'mmpose', 'numpy',
         'opencv-python-headless')
print(', '.join([f'Python {platform.python_version()}']
                + [f'{name} {version(name)}' for name in names]))
EOF
}

rows=()
status=0
for name in "${environments[@]}"; do
    env=$folder/$name
    log=$folder/$name.log
    echo "$name: building, log in $log"
    # Not as a condition, in which bash would go on after an error.
    set +e
    (set -e; "build_$name" "$env") >"$log" 2>&1
    built=$?
    set -e
    if [ $built != 0 ]; then
        tail -n 20 "$log"
        rows+=("| $name | $(date -u +%F) | | could not be built |")
        status=1
        continue
    fi
    "$env/bin/lgm-pose" doctor || status=1
    echo "$name: testing"
    "$env/bin/pytest" "${tests[@]}" 2>&1 | tee -a "$log" || status=1
    result=$(tail -n 1 "$log" | tr -d =)
    rows+=("| $name | $(date -u +%F) | $(versions "$env") | ${result# } |")
done
printf '%s\n' "${rows[@]}"
exit $status
