# Compile to bytecode, the same every time: `sh bytecode.sh stdlib|venv`, `sh bytecode.sh tree FOLDER`, in a build step.
# In fixed portions: what a process has compiled before shows in the bytecode
# (https://github.com/python/cpython/issues/129724).
set -eu
compile="python -m compileall --invalidation-mode unchecked-hash"

portions() {
    find "$1" -mindepth 1 -maxdepth 1 | sort | xargs -n "$2" -P "$(nproc)" $compile "$3" ${4:+-x "$4"}
}

case $1 in
stdlib)
    # The official image has none. Without it every start compiles the standard library anew.
    portions "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" 40 -q \
        '/(config-.*|ensurepip|idlelib|lib2to3|pydoc_data|site-packages|test|tests|tkinter|turtledemo)/'
    ;;
venv)
    # What is no valid Python, a wheel's templates say, stays uncompiled.
    portions "$(echo /opt/venv/lib/*/site-packages)" 20 -qq || true
    ;;
tree)
    # A folder that will be the root: tracebacks name the files as they will be.
    $compile -q -s "$2" -p / "$2"
    ;;
esac
