# Install lists of locked distributions: `sh /install OPTION... LIST...`, in a build step. The options are uv's.
# Wheels only: building a source distribution would run code that no hash in the lock covers. From whichever index has
# the locked version: the hashes prove that it is the right one.
set -eu
for word; do
    shift
    case $word in
    /*)
        # prodlock/inside/requirements.py begins a list with a comment where it can't be installed.
        refused=$(sed -n 's/^# //p' "$word")
        if [ -n "$refused" ]; then
            echo "$refused" >&2
            exit 1
        fi
        set -- "$@" -r "$word"
        ;;
    *) set -- "$@" "$word" ;;
    esac
done
export UV_INDEX_STRATEGY=unsafe-best-match UV_LINK_MODE=copy
sh /online /uv pip install --only-binary :all: --no-deps --python /opt/venv --require-hashes "$@"
rm /opt/venv/.lock
