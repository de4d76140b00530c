#!/bin/sh
# Runs inside an image that is being built: install the wheels that build.py collected in /wheels.  Nothing is downloaded here.
set -eu
kind=$1
root=/opt/psdbatch

python3 -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v == (3, 11) else f"the base has Python {v}, not 3.11")'
python3 -m venv "$root"
"$root/bin/python" -m pip install --quiet --no-index --no-deps --no-cache-dir --no-compile /wheels/*.whl
"$root/bin/python" -m pip check

# A worker needs neither the tests of its libraries nor TensorFlow's C++ headers: a third of the files.
find "$root/lib" -type d \( -name tests -o -name testdata \) -not -path '*/psdbatch/*' -prune -exec rm -rf {} +
rm -rf "$root"/lib/python3.11/site-packages/tensorflow/include

# Nobody can write compiled modules into a finished image; without them every start of a worker would compile all again.
"$root/bin/python" -m compileall -q -j 0 "$root/lib" >/dev/null || true  # templates that are no Python are among the files

cp /build/check.py /build/gpu_code.py /build/constraints.txt "$root/"
cp "/build/$kind.txt" "$root/image.txt"

# Apptainer and Singularity read the labels of the image from a file that each names in its own variable.
labels=${APPTAINER_LABELS:-${SINGULARITY_LABELS:-/dev/null}}
for package in psdbatch tensorflow tensorflow-cpu numpy dask distributed zarr; do
  version=$("$root/bin/python" -c 'import sys, importlib.metadata as m; print(m.version(sys.argv[1]))' "$package" 2>/dev/null) || continue
  echo "$package $version" >>"$labels"
done
rm -rf /wheels /build /var/cache/apt /var/lib/apt/lists
