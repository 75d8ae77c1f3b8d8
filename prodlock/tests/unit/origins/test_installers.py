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
        "/venv/include/site/python3.13/shop/x.h", "/venv/include/python/shop/x.h", "/venv/include/shop/x.h",
    }  # fmt: skip
    assert {"/vendor/shop/a.py", "/vendor/bin/run", "/vendor/include/shop/x.h"} <= {
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


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        (
            b"""VIRTUAL_ENV=''"$(dirname -- "$(dirname -- "$(realpath -- "$SCRIPT_PATH")")")"''""",
            b"VIRTUAL_ENV='/opt/v'",
        ),
        (
            b"""set -gx VIRTUAL_ENV ''(dirname -- (dirname -- (realpath -- (status -f))))''""",
            b"set -gx VIRTUAL_ENV '/opt/v'",
        ),
        (
            b"const virtual_env = (path self | path dirname | path dirname)",
            b"const virtual_env = '/opt/v'",
        ),
        (
            b'@for %%i in ("%~dp0..") do @set "VIRTUAL_ENV=%%~fi"',
            b'@for %%i in ("/opt/v") do @set "VIRTUAL_ENV=%%~fi"',
        ),
    ],
)
def test_scripts_of_an_environment_that_can_be_moved_are_the_same_as_others(line: bytes, plain: bytes) -> None:
    """As `uv venv --relocatable` writes them. The control: another command in its place changes the digest."""
    expected = installers.skeleton_digest(plain, "/opt/v")
    assert installers.skeleton_digest(line, "/opt/v") == expected
    assert installers.skeleton_digest(line.replace(b"dir", b"evil").replace(b"~dp0..", b"x"), "/opt/v") != expected


@pytest.mark.parametrize(
    "line",
    [
        b"VIRTUAL_ENV='/build/.venv'",
        b"        VIRTUAL_ENV=/build/.venv",
        b"setenv VIRTUAL_ENV '/build/.venv'",
        b"set _virtualenv_dir='/build/.venv'",
        b"set -gx VIRTUAL_ENV '/build/.venv'",
        b"    const virtual_env = '/build/.venv'",
        b"    let virtual_env = r#'/build/.venv'#",
        b"            self.embedded_virtual_env = self._fs_path('/build/.venv', required=True)",
        b'@for %%i in ("/build/.venv") do @set "VIRTUAL_ENV=%%~fi"',
    ],
)
def test_scripts_of_an_environment_that_was_moved_are_the_same_as_others(line: bytes) -> None:
    """Another stage has made it. The control: another path behind it, or a part of a word, changes the digest."""
    script = line + b"\nset _virtualenv_prompt = '.venv'\n"
    expected = installers.skeleton_digest(script.replace(b"/build/.venv", b"/opt/v").replace(b".venv", b"v"), "/opt/v")
    assert installers.skeleton_digest(script, "/opt/venv") == expected
    for code in (b"/build/.venvrehash\n", b"/build/.venv/bin/x\n", b"echo /build/other\n"):
        assert installers.skeleton_digest(script + code, "/opt/venv") != expected


def test_the_standard_librarys_activation_script_has_a_form() -> None:
    """It is its template with other values."""
    form = installers.activation_form(b"VIRTUAL_ENV=__VENV_DIR__\nPS1=__VENV_PROMPT__x\n")
    assert form.fullmatch(b"VIRTUAL_ENV=/app\nPS1='a'x\n")
    assert not form.fullmatch(b"VIRTUAL_ENV=/app\nevil\nPS1='a'x\n")


@pytest.mark.parametrize(
    "line",
    [
        b"#!/usr/bin/env -S sh -c id #/python",
        b"#!/usr/bin/perl -esystem('id');#/python",
        b"#!/app/.venv/bin/python -cimport os;os.system('id')",
        b"#!\n/app/python",
        b"#!/bin/sh\n'''exec' sh -c id python \"$0\" \"$@\"\n' '''",
        b"#!/bin/sh\n'''exec' \"/$(id)/python\" \"$0\" \"$@\"\n' '''",
        b"#!/bin/sh\n'''exec' /app/evilpython \"$0\" \"$@\"\n' '''",
        b"#!/bin/sh\n'''exec' /app/python -c id \"$0\" \"$@\"\n' '''",
    ],
)
def test_a_first_line_that_runs_more_than_the_interpreter_is_refused(line: bytes) -> None:
    """Of a script for an entry point, and of a wheel's script."""
    rest = UV.partition(b"\n")[2]
    assert installers.body(b"#!/app/.venv/bin/python -sE\n" + rest) == rest
    assert installers.body(line + b"\n" + rest) is None
    assert not installers.starts(line + b"\n" + rest, "shop.cli:main")


@pytest.mark.parametrize(
    "line",
    [
        b"'''exec' '/a b/bin/python' \"$0\" \"$@\"",
        b"'''exec' /app/.venv/bin/python3.13 -E \"$0\" \"$@\"",
        b'\'\'\'exec\' "$(dirname -- "$(realpath -- "$0")")"/\'python\' "$0" "$@"',
    ],
)
def test_a_shell_that_starts_the_interpreter_is_recognized(line: bytes) -> None:
    """In the forms of distlib and of uv, also for environments that can be moved."""
    assert installers.starts(b"#!/bin/sh\n" + line + b"\n' '''\n" + UV.partition(b"\n")[2], "shop.cli:main")


def test_an_encoding_in_a_line_that_python_does_not_heed_hides_no_code() -> None:
    """Python heeds the first two lines of a script."""
    script = (
        b"#!/app/.venv/bin/python\n\n# coding: unicode_escape\nimport sys\nfrom shop.cli import main\n"
        b'if (__name__ == "__main__" "\\u0022 \\u0023" or __import__("os").system("id")): # \\u000a):\n'
        b"    sys.exit(main())\n"
    )
    assert not installers.starts(script, "shop.cli:main")


@pytest.mark.parametrize("code", [b"x;id", b"$(id)", b"x sh /app/run", b"`id`", b"x\nid"])
def test_a_prompt_or_path_that_a_shell_runs_is_part_of_an_activation_script(code: bytes) -> None:
    """The form accepts what is quoted, and the digest leaves out what no shell takes for code."""
    form = installers.activation_form(b'VIRTUAL_ENV=__VENV_DIR__\nPS1="("__VENV_PROMPT__") "\n')
    assert form.fullmatch(b"VIRTUAL_ENV='/my app'\nPS1=\"(\"'my app'\") \"\n")
    assert not form.fullmatch(b"VIRTUAL_ENV=" + code + b'\nPS1="("x") "\n')
    assert not form.fullmatch(b'VIRTUAL_ENV=/app\nPS1="("' + code + b'") "\n')
    plain, forged = b"VIRTUAL_ENV_PROMPT=shop\n", b"VIRTUAL_ENV_PROMPT=" + code + b"\n"
    digest = installers.skeleton_digest(plain, "/app", ["shop"])
    assert installers.skeleton_digest(b"VIRTUAL_ENV_PROMPT=other\n", "/app", ["other"]) == digest
    assert installers.skeleton_digest(forged, "/app", [code.decode()]) != digest
    assert installers.skeleton_digest(plain + code, code.decode()) != installers.skeleton_digest(plain, "/app")


def test_an_activation_script_sets_no_other_variable() -> None:
    """activate_this.py sets the prompt by its name."""
    script = b'os.environ["VIRTUAL_ENV_PROMPT"] = "shop"\n'
    other = script.replace(b"VIRTUAL_ENV_PROMPT", b"LD_PRELOAD").replace(b"shop", b"/app/prompt.so")
    assert installers.skeleton_digest(script, "/a") != installers.skeleton_digest(other, "/a")
