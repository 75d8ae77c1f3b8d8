"""What installers write beside a wheel's files."""

from __future__ import annotations

import pytest

from prodlock.origins import installers
from prodlock.origins.records import Member, Wheel
from prodlock.tests.unit.origins.subjects import PYTHON, sha256

PIP = b"""#!/usr/local/bin/python3.13
# -*- coding: utf-8 -*-
import re
import sys
from shop.cli import main
if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])
    sys.exit(main())
"""
NEW_PIP = b"""#!/app/.venv/bin/python
import sys
from shop.cli import main
if __name__ == '__main__':
    sys.argv[0] = sys.argv[0].removesuffix('.exe')
    sys.exit(main())
"""
UV = b"""#!/app/.venv/bin/python3
# -*- coding: utf-8 -*-
import sys
from shop.cli import main
if __name__ == "__main__":
    if sys.argv[0].endswith("-script.pyw"):
        sys.argv[0] = sys.argv[0][:-11]
    elif sys.argv[0].endswith(".exe"):
        sys.argv[0] = sys.argv[0][:-4]
    sys.exit(main())
"""
LONG = (
    b"#!/bin/sh\n'''exec' \"/a/very/long/path with spaces/bin/python3\" \"$0\" \"$@\"\n' '''\n" + UV.partition(b"\n")[2]
)


@pytest.mark.parametrize("script", [PIP, NEW_PIP, UV, LONG], ids=["pip", "newer pip", "uv", "long path"])
def test_scripts_of_installers_are_recognized(script: bytes) -> None:
    """By the entry point that the wheel declares."""
    assert installers.starts(script, "shop.cli:main")
    assert installers.starts(script, "shop.cli:main [extra]")


@pytest.mark.parametrize(
    "script",
    [
        UV.replace(b"shop.cli", b"evil.cli"),
        UV.replace(b"import sys\n", b"import sys\nimport evil\n"),
        UV + b"import evil\n",
        UV.partition(b"\n")[2],
        UV.replace(b"#!/app/.venv/bin/python3", b"#!/bin/sh"),
        UV.replace(b"sys.exit(main())", b"sys.exit(main(1))"),
        UV.replace(b"import sys\n", b"# coding: utf-7\nimport sys\n+AAo-import evil\n", 1),
        UV.replace(b"#!/app/.venv/bin/python3", b"#!/usr/bin/env -S sh -c 'evil' /python"),
        UV.replace(b"#!/app/.venv/bin/python3", b"#!/usr/bin/python3 -c evil"),
        LONG.replace(b"exec' ", b"exec' sh -c 'evil' "),
        LONG.replace(b"/a/very", b"$(evil)/very"),
        b"#!/usr/bin/python3\n(\n",
        b"#!/usr/bin/python3\n\xff\xfe\n",
    ],
)
def test_other_scripts_are_not_recognized(script: bytes) -> None:
    """More, other or broken code."""
    assert not installers.starts(script, "shop.cli:main")


def test_members_of_a_wheel_have_their_places() -> None:
    """Modules, scripts, data and headers."""
    names = [
        "shop/a.py",
        "shop-1.data/scripts/run",
        "shop-1.data/data/share/x",
        "shop-1.data/headers/x.h",
        "shop-1.data/purelib/b.py",
    ]
    wheel = Wheel(
        "shop", "1", "shop-1-py3-none-any.whl", "", {name: Member(sha256(name.encode()), 1) for name in names}
    )
    site = "/venv/lib/python3.13/site-packages"
    found = {path for path, _, _ in installers.places(wheel, site, PYTHON)}
    assert found == {
        f"{site}/shop/a.py", f"{site}/b.py", "/venv/bin/run", "/venv/share/x", "/venv/include/python3.13/shop/x.h",
        "/venv/include/site/python3.13/shop/x.h", "/venv/include/python/shop/x.h",
    }  # fmt: skip
    assert {"/vendor/shop/a.py", "/vendor/bin/run"} <= {
        path for path, _, _ in installers.places(wheel, "/vendor", PYTHON)
    }


def test_the_first_line_of_a_wheels_script_may_differ() -> None:
    """Installers write the interpreter there; the rest decides."""
    text = b"import shop\n"
    member = Member(sha256(b"#!python\n" + text), 21, sha256(text))
    assert installers.is_script_of(b"#!/venv/bin/python\n" + text, member)
    assert not installers.is_script_of(b"#!/venv/bin/python\n" + text + b"#", member)
    assert not installers.is_script_of(text, member)


def test_files_of_an_environment_are_the_same_for_every_path_and_prompt() -> None:
    """The control: another line changes the digest."""
    script = b"VIRTUAL_ENV='/app/.venv'\nVIRTUAL_ENV_PROMPT='shop'\nexport VIRTUAL_ENV\n"
    other = script.replace(b"/app/.venv", b"/opt/v").replace(b"shop", b"x")
    assert installers.skeleton_digest(script, "/app/.venv") == installers.skeleton_digest(other, "/opt/v")
    assert installers.skeleton_digest(script + b"evil\n", "/app/.venv") != installers.skeleton_digest(
        script, "/app/.venv"
    )


def test_the_standard_librarys_activation_script_has_a_form() -> None:
    """It is its template with other values."""
    form = installers.activation_form(b"VIRTUAL_ENV=__VENV_DIR__\nPS1=__VENV_PROMPT__x\n")
    assert form.fullmatch(b"VIRTUAL_ENV=/app\nPS1='a'x\n")
    assert not form.fullmatch(b"VIRTUAL_ENV=/app\nevil\nPS1='a'x\n")
