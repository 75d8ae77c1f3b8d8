"""Write the lists for the installer: `python -m prodlock.inside.lock [OPTION]... LOCK OUT`, in a build step.

Markers are evaluated for the interpreter and the platform that run this program. The program writes:

- OUT/main.txt and OUT/dev.txt: what the runtime groups and extras need, and what the groups for development add:
  `name==version` and the hash of each file, in pip's format
  (https://pip.pypa.io/en/stable/reference/requirements-file-format/). A list begins with a comment for each
  distribution that has no wheel for this interpreter: install.py installs no such list.
- OUT/selection.json: the lists as data, with the sha256 of the lock, for the proof.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

if not __package__:
    # The host runs this file with an interpreter that does not have the package.
    sys.path.append(str(Path(__file__).parents[3]))

from prodlock.inside.lock import selection


def main(arguments: list[str]) -> None:
    """Write the lists and the selection."""
    parser = argparse.ArgumentParser(prog="python -m prodlock.inside.lock")
    for option in ("group", "extra", "dev-group"):
        parser.add_argument(f"--{option}", action="append", default=[], metavar="NAME")
    parser.add_argument("--package", default="", metavar="NAME")
    parser.add_argument("--dev-lock", type=Path, metavar="FILE")
    parser.add_argument("lock", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args(arguments)
    lock = given.lock
    further = given.dev_lock or selection.dev_lock(lock)
    groups = given.group or ["main"]
    wanted = selection.Wanted(groups, given.extra, given.dev_group or ["dev"], given.package, further)
    try:
        reader = selection.reader(lock.name)
        if given.package and lock.name != "uv.lock":
            sys.exit(
                f"`package` must name a member of a uv workspace (got {given.package!r} and {lock.name}). To fix it: "
                "leave it out, or set `lock` to a uv.lock."
            )
        selected = reader.select(lock, wanted)
        # One environment has both.
        everything = selection.chosen([*selected.main, *selected.everything])
    except (ValueError, TypeError, AttributeError, OSError) as error:
        sys.exit(f"{lock.name} can't be installed: {error}")
    except KeyError as error:
        sys.exit(f"{lock.name} can't be installed: it has no {error}. To fix it: lock again.")
    for name in selected.unused:
        print(
            f"The group {name} of {lock.name} is installed in no image. To fix it: name it in `groups` or `dev-groups` "
            "of [tool.prodlock], or make it optional.",
            file=sys.stderr,
        )
    names = {one.name for one in selected.main}
    lists = {"main": selected.main, "dev": [one for one in everything if one.name not in names]}
    tags = frozenset(selection.packaging("tags").sys_tags())
    given.out.mkdir(exist_ok=True)
    for name, listed in lists.items():
        text = "".join(f"{line}\n" for line in selection.lines(listed, tags))
        (given.out / f"{name}.txt").write_text(text, encoding="utf-8")
    document = {
        "schema": selection.SCHEMA,
        "lock": selection.digest(lock, further),
        "inputs": selected.inputs,
        "unused": list(selected.unused),
        "groups": {name: [selection.record(one) for one in listed] for name, listed in lists.items()},
    }
    (given.out / "selection.json").write_text(json.dumps(document), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
