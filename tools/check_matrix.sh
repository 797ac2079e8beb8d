#!/usr/bin/env bash
# Build environments from nothing, install the plugin from this checkout and
# run its tests there; docs/compatibility.md has the results.
#
#   tools/check_matrix.sh [-d FOLDER] [ENVIRONMENT...] [-- PYTEST_ARGUMENT...]
#
# ENVIRONMENT is one of
#   oldest    the lower bounds of pyproject.toml, on Python 3.8, compiled
#   compiled  mmcv with its operators and xtcocotools, on Python 3.11
#   3.9       what Python 3.9 gets from wheels
#   3.10, 3.11, 3.12, 3.13   requirements/dev.txt, as `make env` installs it
#   wheels    builds nothing: each platform has wheels for requirements/*.txt
# and all of them without any. Environments, logs and wheels of mmcv, which a
# second run takes instead of compiling for many minutes, go to FOLDER, a
# temporary one by default. UV_FIND_LINKS names a folder with more wheels.
# pytest runs in two processes; `-- -n 0` makes it one, `-- -m "not e2e"` takes
# the fast tests. The exit status is 0 if all environments pass. For each, the
# last lines have a row for the table.
#
# Needed before: what `make env` needs and the Python of each environment, for
# `oldest` and `compiled` with its headers, and a C++ compiler.
# OLDEST_PYTHON=python3.9 takes another for `oldest`.
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
    oldest | compiled | 3.9 | 3.1[0-3] | wheels) environments+=("$1") ;;
    --) shift; tests+=("$@"); break ;;
    *) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
    esac
    shift
done
[ ${#environments[@]} -gt 0 ] ||
    environments=(wheels oldest compiled 3.9 3.10 3.11 3.12 3.13)
folder=${folder:-$(mktemp -d -t check_matrix.XXXXXX)}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
echo "in $folder"

uv=$(command -v uv) || { make .venv-uv/bin/uv && uv=$PWD/.venv-uv/bin/uv; }

# pyproject.toml's uv settings are those of the reference environment.
pip_in() {
    local env=$1 command=$2
    shift 2
    "$uv" pip "$command" --no-config --python "$env/bin/python" "$@"
}

# build_compiled_on ENV PYTHON COMPILE_ARGUMENT...
build_compiled_on() {
    local env=$1 python=$2 wheels pinned=$1.txt override=$1.override.txt
    shift 2
    "$uv" venv --no-config --clear --python "$python" "$env"
    # As in pyproject.toml: chumpy does not build and nothing imports it,
    # opendatalab pins old versions of the rest, and OpenCV is the headless one.
    printf "%s ; python_version < '3'\n" chumpy opendatalab opencv-python \
        >"$override"
    pip_in "$env" compile --quiet --override "$override" "$@" \
        --extra mmpose --extra export \
        --output-file "$pinned" pyproject.toml

    # mmcv compiles its operators against the torch of its environment.
    pins() { grep -E "^($1)==" "$pinned"; }
    wheels=$folder/wheels-$(pins torch)-$("$env/bin/python" -c \
        'import sys; print(sys.implementation.cache_tag)')
    mkdir -p "$wheels"
    if ! ls "$wheels" ${UV_FIND_LINKS:-} 2>/dev/null | grep -q \
        "^mmcv-$(pins mmcv | sed 's/.*==//')-.*$("$env/bin/python" -c \
        'import sys; print("cp%d%d" % sys.version_info[:2])')"; then
        pip_in "$env" install $(pins 'torch|numpy') \
            ninja pip psutil 'setuptools<60' wheel
        PATH=$env/bin:$PATH MMCV_WITH_OPS=1 "$env/bin/python" -m pip wheel \
            --no-cache-dir --no-deps --no-build-isolation --no-binary mmcv \
            --wheel-dir "$wheels" "$(pins mmcv)"
    fi
    pip_in "$env" install --requirements "$pinned" --override "$override" \
        --find-links "$wheels" \
        ${UV_FIND_LINKS:+--find-links "$UV_FIND_LINKS"} --only-binary mmcv \
        'opencv-python-headless>=4,<5' openmim 'setuptools<81' \
        pytest pytest-timeout pytest-xdist
    pip_in "$env" install --no-deps --reinstall .
}

# Existing deployments look like this one. Not with the extra predict, whose
# trackers need numpy 2.
build_compiled() {
    printf '%s\n' torch==2.9.1 torchvision==0.24.1 mmcv==2.1.0 mmdet==3.3.0 \
        mmengine==0.10.7 mmpose==1.3.2 'numpy<2' 'setuptools<81' >"$1.constraints.txt"
    build_compiled_on "$1" 3.11 --constraints "$1.constraints.txt"
}

build_oldest() {
    build_compiled_on "$1" "${OLDEST_PYTHON:-3.8}" --extra predict \
        --resolution lowest-direct
}

# As `make env` does; 3.9 has a resolution of its own.
build_wheels_on() {
    local env=$1 python=$2 requirements=requirements/dev.txt
    if [ "$python" = 3.9 ]; then
        requirements=$env.txt
        "$uv" pip compile --quiet --python-version 3.9 --only-binary :all: \
            --extra mmpose --extra export --extra predict --group wheels \
            --group dev --output-file "$requirements" pyproject.toml
    fi
    "$uv" venv --clear --python "$python" "$env"
    "$uv" pip sync --python "$env/bin/python" --only-binary :all: \
        "$requirements"
    "$uv" pip install --python "$env/bin/python" --no-deps --reinstall .
}

# Whether each package of requirements/*.txt has a wheel on each platform.
check_wheels() {
    local platform python file status=0
    for platform in x86_64-manylinux_2_28 aarch64-manylinux_2_35 \
        aarch64-apple-darwin x86_64-pc-windows-msvc; do
        for python in 3.10 3.11 3.12 3.13; do
            for file in requirements/*.txt; do
                # The site is built with 3.11 and newer.
                [ "$file $python" != "requirements/docs.txt 3.10" ] || continue
                MACOSX_DEPLOYMENT_TARGET=14.0 "$uv" pip compile --quiet \
                    --no-config --no-deps --only-binary :all: \
                    --python-platform "$platform" --python-version "$python" \
                    "$file" >/dev/null || status=1
            done
        done
    done
    return $status
}

versions() {
    "$1/bin/python" - <<'EOF'
import platform
from importlib.metadata import distributions

versions = {d.metadata['Name'].lower(): d.version for d in distributions()}
names = ('torch', 'mmcv', 'mmcv-lite', 'mmengine', 'mmdet', 'mmpose', 'numpy',
         'opencv-python-headless')
print(', '.join([f'Python {platform.python_version()}'] + [
    f'{name} {versions[name]}' for name in names if name in versions]))
EOF
}

rows=()
status=0
for name in "${environments[@]}"; do
    env=$folder/$name
    log=$folder/$name.log
    if [ "$name" = wheels ]; then
        result=passed
        check_wheels || { result=failed; status=1; }
        rows+=("| $name | $(date -u +%F) | | $result |")
        continue
    fi
    echo "$name: building, log in $log"
    # Not as a condition, in which bash would go on after an error.
    set +e
    (
        set -e
        case $name in
        3.*) build_wheels_on "$env" "$name" ;;
        *) "build_$name" "$env" ;;
        esac
    ) >"$log" 2>&1
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
