"""The origin of each file."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

import pytest

from prodlock.image.records import File
from prodlock.origins import installers
from prodlock.origins.attribution import attribute
from prodlock.origins.environments import source_path
from prodlock.origins.findings import judge
from prodlock.origins.records import Bytecode, Copied, Kind, Member, Package, State, Subject
from prodlock.tests.unit.origins.subjects import (
    PYTHON,
    SITE,
    attributed,
    distribution,
    evidence,
    found,
    origins,
    requirement,
    sha256,
    subject,
)

SHOP, WHEEL = distribution(
    "shop", "1.0", {"shop/__init__.py": b"", "shop/a.py": b"a = 1\n"}, commands={"shop": "shop.a:main"}
)
SCRIPT = (
    b"#!/usr/local/bin/python3\nimport sys\nfrom shop.a import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
)
CLEAN = SHOP | {"/usr/local/bin/shop 755": SCRIPT}
BASE = {
    "/usr/local/bin/python3.13 755": b"\x7fELF python",
    "/etc/passwd": b"root",
    "/usr/local/lib/python3.13/os.py": b"os",
}


def test_a_distribution_from_its_wheel_is_explained() -> None:
    """Its modules, what the installer writes, and its command; nothing is found."""
    given = evidence(subject(BASE, CLEAN), [WHEEL])
    seen = origins(given)
    assert seen[f"{SITE}/shop/a.py"].kind is seen[f"{SITE}/shop/__init__.py"].kind is Kind.WHEEL
    assert seen[f"{SITE}/shop-1.0.dist-info/RECORD"].kind is seen["/usr/local/bin/shop"].kind is Kind.INSTALLER
    assert seen["/etc/passwd"].kind is Kind.BASE
    assert found(given, strict=True) == set()


def test_a_record_that_lists_another_file_is_not_explained() -> None:
    """Its rows must be files of the wheel, or files that the image has."""
    record = f"{SITE}/shop-1.0.dist-info/RECORD"
    changed = CLEAN | {record: CLEAN[record] + b"evil.py,sha256=abc,1\n"}
    given = evidence(subject(BASE, changed), [WHEEL])
    assert ("LS605", record) in found(given)


def test_changed_added_and_missing_files_of_a_distribution() -> None:
    """One finding each, with the path."""
    changed = {path: content for path, content in CLEAN.items() if not path.endswith("shop/__init__.py")}
    changed |= {f"{SITE}/shop/a.py": b"a = 2\n", f"{SITE}/shop/b.py": b"", f"{SITE}/c.pth": b"import evil\n"}
    assert found(evidence(subject(BASE, changed), [WHEEL])) == {
        ("LS605", f"{SITE}/shop/a.py"), ("LS606", f"{SITE}/shop/b.py"), ("LS606", f"{SITE}/c.pth"),
        ("LS607", f"{SITE}/shop/__init__.py"),
    }  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"# License\n"])
def test_a_missing_file_whose_content_another_one_has_is_found(content: bytes) -> None:
    """An empty `__init__.py` as well: another file of the distribution does not replace it."""
    shop, wheel = distribution("shop", "1.0", {f"shop/{name}.py": content for name in ("__init__", "a", "b")})
    shop.pop(f"{SITE}/shop/__init__.py")
    assert found(evidence(subject(BASE, shop), [wheel])) == {("LS607", f"{SITE}/shop/__init__.py")}


def test_a_header_is_at_one_of_its_places() -> None:
    """Installers put headers into different folders; one that is at none is missing."""
    shop, wheel = distribution("shop", "1.0", {"shop/a.py": b"a = 1\n"})
    names = ("a.h", "b.h")
    headers = {f"shop-1.0.data/headers/{name}": Member(sha256(b"int x;\n"), 7) for name in names}
    wheel = replace(wheel, members={**wheel.members, **headers})
    places = {name: f"/usr/local/include/site/python3.13/shop/{name}" for name in names}
    complete = shop | dict.fromkeys(places.values(), b"int x;\n")
    assert found(evidence(subject(BASE, complete), [wheel])) == set()
    complete.pop(places["b.h"])
    assert {code for code, _ in found(evidence(subject(BASE, complete), [wheel]))} == {"LS607"}


@pytest.mark.parametrize("folder", ["zope-proxy", "zope.proxy", "zope_proxy", "Zope.Proxy"])
def test_a_folder_of_headers_has_the_name_in_any_form(folder: str) -> None:
    """Normalized, of the metadata, or of the wheel; that of another distribution is not it."""
    zope, wheel = distribution("zope-proxy", "1.0", {"zope/proxy.py": b"a = 1\n"})
    headers = {"Zope.Proxy-1.0.data/headers/proxy.h": Member(sha256(b"int x;\n"), 7)}
    wheel = replace(wheel, members={**wheel.members, **headers})
    place = "/usr/local/include/site/python3.13"
    image = zope | {f"{place}/{folder}/proxy.h": b"int x;\n"}
    assert found(evidence(subject(BASE, image), [wheel]), strict=True) == set()
    other = zope | {f"{place}/other/proxy.h": b"int x;\n"}
    assert {code for code, _ in found(evidence(subject(BASE, other), [wheel]))} == {"LS607"}


def test_a_folder_in_a_package_is_not_the_data_of_its_wheel() -> None:
    """Its name may end with `.data`: that of a wheel is at the top."""
    modules = {"shop/a.py": b"a = 1\n", "shop/cities.data/x.txt": b"x\n"}
    shop, wheel = distribution("shop", "1.0", modules)
    assert found(evidence(subject(BASE, shop), [wheel]), strict=True) == set()
    shop.pop(f"{SITE}/shop/a.py")
    assert found(evidence(subject(BASE, shop), [wheel])) == {("LS607", f"{SITE}/shop/a.py")}


def test_distributions_that_the_lock_does_not_have() -> None:
    """Outside of it, for development, in another version, tools, and one without its wheel: a finding each."""
    files = dict(CLEAN)
    for name, version in (("other", "1"), ("pytest", "9"), ("idna", "3.7"), ("pip", "25"), ("built", "1")):
        files |= distribution(name, version, {f"{name}.py": name.encode()})[0]
    main = [requirement("idna", "3.20"), requirement("built", "1")]
    given = evidence(subject(BASE, files), [WHEEL], main=main, dev=[requirement("pytest", "9")])
    assert found(given) == {
        ("LS601", f"{SITE}/other-1.dist-info"), ("LS602", f"{SITE}/idna-3.7.dist-info"),
        ("LS603", f"{SITE}/pytest-9.dist-info"), ("LS611", f"{SITE}/pip-25.dist-info"),
        ("LS609", f"{SITE}/built-1.dist-info"),
    }  # fmt: skip


def test_a_wheel_for_another_platform_is_found() -> None:
    """A build stage of the machine's own platform installs it, where the image is for another one."""
    for machine, expected in (("x86_64", set()), ("aarch64", {("LS609", f"{SITE}/shop-1.0.dist-info")})):
        wheel = replace(WHEEL, file="shop-1.0-cp313-cp313-manylinux_2_17_x86_64.whl")
        python = PYTHON._replace(environment={"platform_machine": machine})
        assert found(replace(evidence(subject(BASE, CLEAN), [wheel]), python=python)) == expected
        # The environment of another interpreter has wheels for that one.
        other = {path.replace("3.13/", "3.12/"): content for path, content in CLEAN.items()}
        wheel = replace(wheel, file=wheel.file.replace("313", "312"))
        assert ("LS609" in str(found(replace(evidence(subject(BASE, other), [wheel]), python=python)))) is bool(
            expected
        )


@pytest.mark.parametrize("folder", ["/lib", "/usr/lib"])
def test_a_wheel_for_musl_fits_an_image_with_its_loader(folder: str) -> None:
    """Where /lib is a link into /usr, as in newer versions of Alpine, the loader is there."""
    python = PYTHON._replace(environment={"platform_machine": "x86_64"})
    for kind, expected in (("musllinux_1_2", set()), ("manylinux_2_17", {"LS609"})):
        wheel = replace(WHEEL, file=f"shop-1.0-cp313-cp313-{kind}_x86_64.whl")
        given = evidence(subject(BASE | {f"{folder}/ld-musl-x86_64.so.1 755": b"\x7fELF"}, CLEAN), [wheel])
        assert {code for code, _ in found(replace(given, python=python))} == expected


def test_a_distribution_stands_for_its_commands_of_another_layer() -> None:
    """An instruction of its own may copy them. A changed one, or one that it does not list, is a finding."""
    files, _ = distribution("other", "1", {"other.py": b"x = 1\n", "../../../bin/other": SCRIPT})
    script = files.pop(f"{SITE}/../../../bin/other")
    given = (("LS601", f"{SITE}/other-1.dist-info"),)
    assert found(evidence(subject(BASE, files, {"/usr/local/bin/other 755": script}))) == {*given}
    changed = {"/usr/local/bin/other 755": script + b"evil()\n", "/usr/local/bin/more 755": script}
    assert found(evidence(subject(BASE, files, changed))) == {
        *given, ("LS616", "/usr/local/bin/other"), ("LS616", "/usr/local/bin/more"),
    }  # fmt: skip


def test_a_copy_of_the_base_images_distribution_is_not_found() -> None:
    """A copy of the whole folder has it again. Another version is found, and a copy in another environment is."""
    pip, _ = distribution("pip", "25", {"pip.py": b"pip"})
    assert found(evidence(subject(BASE | pip, CLEAN | pip), [WHEEL])) == set()
    other, _ = distribution("pip", "26", {"pip.py": b"pip 26"})
    elsewhere, _ = distribution("pip", "25", {"pip.py": b"pip"}, site="/opt/v/lib/python3.13/site-packages")
    assert found(evidence(subject(BASE | pip, CLEAN | other | elsewhere), [WHEEL])) == {
        ("LS611", f"{SITE}/pip-26.dist-info"), ("LS611", "/opt/v/lib/python3.13/site-packages/pip-25.dist-info"),
    }  # fmt: skip


def test_a_locked_distribution_that_the_image_lacks() -> None:
    """Also where only its metadata is gone."""
    assert found(evidence(subject(BASE, {}), [WHEEL])) == {("LS604", "shop")}


def test_a_distribution_that_a_later_layer_deletes_still_ships() -> None:
    """And it is missing."""
    deleted = {f"{SITE}/.wh.shop": b"", f"{SITE}/.wh.shop-1.0.dist-info": b"", "/usr/local/bin/.wh.shop": b""}
    assert found(evidence(subject(BASE, CLEAN, deleted), [WHEEL])) == {
        ("LS604", "shop"), ("LS613", f"{SITE}/shop-1.0.dist-info"), ("LS613", "/usr/local/bin/shop"),
    }  # fmt: skip
    given = evidence(subject(BASE, CLEAN, deleted), [WHEEL])
    whys = {one.why for one in judge(given, attributed(given), strict=False) if one.what == "shop 1.0"}
    assert "layer 3 deletes it" in whys


def test_a_layer_that_hides_all_layers_below_is_heeded() -> None:
    """An opaque whiteout of the root folder."""
    image = {path: content for path, content in CLEAN.items() if path.startswith(SITE)}
    given = evidence(subject(BASE, image, {"/.wh..wh..opq": b""}), [WHEEL])
    assert {code for code, _ in found(given)} == {"LS604", "LS613"}


@pytest.mark.parametrize("whiteout", [f"{SITE}/shop/.wh..wh..opq", f"{SITE}/.wh.shop"])
def test_a_file_that_a_layer_deletes_and_has_again_is_not_deleted(whiteout: str) -> None:
    """As where a step installs a distribution again. Another one that it deletes is a finding."""
    again = {path: content for path, content in CLEAN.items() if path.startswith(f"{SITE}/shop/")}
    assert found(evidence(subject(BASE, CLEAN, {whiteout: b""}, again), [WHEEL])) == set()
    if whiteout.endswith("opq"):
        assert found(evidence(subject(BASE, CLEAN, {whiteout: b""} | again), [WHEEL])) == set()
    more = CLEAN | {f"{SITE}/shop/more.txt": b"x"}
    assert ("LS613", f"{SITE}/shop/more.txt") in found(evidence(subject(BASE, more, {whiteout: b""}, again), [WHEEL]))


def test_commands_of_a_local_packages_folder_are_beside_its_modules() -> None:
    """As PDM installs without an environment (PEP 582)."""
    folder = "/code/__pypackages__/3.13"
    shop, wheel = distribution("shop", "1.0", {"shop/a.py": b"a = 1\n"}, f"{folder}/lib", {"shop": "shop.a:main"})
    assert found(evidence(subject(BASE, shop | {f"{folder}/bin/shop 755": SCRIPT}), [wheel]), strict=True) == set()


def test_an_environment_with_free_threading_is_one() -> None:
    """Its folder has another name: commands are beside it, and another file in it is a finding."""
    site = "/app/.venv/lib/python3.14t/site-packages"
    shop, wheel = distribution("shop", "1.0", {"shop/a.py": b"a = 1\n"}, site, {"shop": "shop.a:main"})
    image = shop | {"/app/.venv/bin/shop 755": SCRIPT}
    assert found(evidence(subject(BASE, image), [wheel]), strict=True) == set()
    assert found(evidence(subject(BASE, {f"{site}/x.txt": b"x"}))) == {("LS606", f"{site}/x.txt")}


def test_two_versions_are_found() -> None:
    """In two environments."""
    other, _ = distribution("shop", "2.0", {"shop/a.py": b"a = 2\n"}, site="/opt/v/lib/python3.13/site-packages")
    codes = {code for code, _ in found(evidence(subject(BASE, CLEAN | other), [WHEEL]))}
    assert codes == {"LS602", "LS608"}


def test_the_repositorys_files_are_explained_at_any_path() -> None:
    """An empty one where the files beside it are; one in an environment is not."""
    repository = {"app/__init__.py": b"", "app/main.py": b"main", "docs/x.txt": b"x"}
    image = {
        "/code/app/__init__.py": b"",
        "/code/app/main.py": b"main",
        "/code/other/__init__.py": b"",
        f"{SITE}/x.py": b"main",
    }
    given = evidence(subject(BASE, image), repository=repository)
    seen = origins(given)
    assert seen["/code/app/main.py"].what == "app/main.py"
    assert seen["/code/app/__init__.py"].kind is Kind.REPOSITORY
    assert found(given) == {("LS606", f"{SITE}/x.py"), ("LS617", "/code/other/__init__.py")}


def test_an_installed_script_of_the_repository_may_have_another_first_line() -> None:
    """An installer names the environment's interpreter there. The control: another rest, a shell, and another name."""
    rest = b"import shop\n"
    script = b"#!/opt/venv/bin/python3\n" + rest
    # `repository.read` adds what follows the first line as a content of its own.
    image = {"/usr/local/bin/shopctl 755": script, "/usr/local/bin/python3.13 755": script}
    image |= {"/usr/local/bin/other 755": script + b"#\n", "/usr/local/bin/shell 755": b"#!/bin/sh\n" + rest}
    given = evidence(subject(BASE, image), repository={"scripts/shopctl": rest})
    assert origins(given)["/usr/local/bin/shopctl"].kind is Kind.REPOSITORY
    others = {f"/usr/local/bin/{name}" for name in ("python3.13", "other", "shell")}
    assert {path for _, path in found(given)} == others


def test_pips_command_for_the_version_of_python_is_explained() -> None:
    """Its entry points do not have it. The control: the same command of another version."""
    files, wheel = distribution("pip", "25.1", {"pip/a.py": b"a = 1\n"}, commands={"pip": "pip.a:main"})
    script = SCRIPT.replace(b"shop.a", b"pip.a")
    image = files | {f"/usr/local/bin/{name} 755": script for name in ("pip", "pip3.13", "pip3.12")}
    assert {path for _, path in found(evidence(subject(BASE, image), [wheel]))} == {"/usr/local/bin/pip3.12"}


def test_files_of_one_content_are_distinguished_by_their_paths() -> None:
    """A file that equals a test of the repository is not a test, and one of the project's package has its own name."""
    text = b"# License\n"
    repository = {
        "docs/x.json": b"{}",
        "tests/x.json": b"{}",
        "web/x.json": b"{}",
        "a/__init__.py": text,
        "a/b.py": text,
    }
    image = {"/code/web/x.json": b"{}", "/srv/x.json": b"{}", "/code/tests/x.json": b"{}"}
    seen = origins(evidence(subject(BASE, image), repository=repository))
    assert [seen[path].what for path in image] == ["web/x.json", "docs/x.json", "tests/x.json"]
    assert found(evidence(subject(BASE, image), repository=repository)) == {("LS612", "/code/tests/x.json")}
    own, _ = distribution("api", "0.1", {"a/__init__.py": text, "a/b.py": text})
    given = evidence(subject(BASE, own), repository=repository, own=frozenset({"api"}))
    assert found(given) == set()
    assert origins(given)[f"{SITE}/a/b.py"].what == "a/b.py"


def test_a_copy_of_a_wheels_file_is_explained_outside_of_environments() -> None:
    """As Django's collectstatic makes them, also with a digest in the name. In an environment it is a finding."""
    shop, wheel = distribution("shop", "1.0", {"shop/a.py": b"a = 1\n", "shop/static/x.js": b"let x\n"})
    copies = {"/code/static/x.js": b"let x\n", "/code/static/x.0a1b.js": b"let x\n"}
    given = evidence(subject(BASE, shop | copies), [wheel])
    assert {origins(given)[path] for path in copies} == {(Kind.WHEEL, "shop 1.0", True)}
    assert found(given) == set()
    changed = {"/code/static/x.js": b"let y\n", f"{SITE}/y.js": b"let x\n", "/code/other.py": b"a = 1\n"}
    assert found(evidence(subject(BASE, shop | changed), [wheel])) == {
        ("LS617", "/code/static/x.js"), ("LS606", f"{SITE}/y.js"), ("LS617", "/code/other.py"),
    }  # fmt: skip


def test_metadata_of_a_build_makes_no_environment_of_the_projects_sources() -> None:
    """As `pip install .` of setuptools leaves it in the working folder. That of another distribution does."""
    shop, wheel = distribution("shop", "1.0", {"shop/a.py": b"a = 1\n", "shop/static/x.css": b"a {}\n"})
    info = {"PKG-INFO": b"Metadata-Version: 2.1\nName: api\nVersion: 0.1\n", "SOURCES.txt": b"app/main.py\n"}
    files = {f"/code/api.egg-info/{name}": content for name, content in info.items()}
    files |= {"/code/static/x.css": b"a {}\n", "/code/locale/x.mo": b"mo", "/code/now": b"-> static"}
    image = subject(BASE, shop | files)
    assert found(evidence(image, [wheel], own=frozenset({"api"}))) == set()
    assert ("LS606", "/code/locale/x.mo") in found(evidence(image, [wheel]))
    evil = subject(BASE, shop | files | {"/code/evil.py": b"evil"})
    assert found(evidence(evil, [wheel], own=frozenset({"api"}))) == {("LS617", "/code/evil.py")}


def test_leftovers_are_found() -> None:
    """Caches, the repository's data, secrets, tests, tools, deleted files."""
    image = {
        "/root/.cache/pip/x": b"x", "/var/lib/apt/lists/y": b"y", "/code/.git/HEAD": b"h", "/code/.env": b"A=1",
        "/code/tests/test_a.py": b"test", "/usr/local/bin/uv 755": b"\x7fELF uv", "/data/z": b"z",
        "/usr/local/bin/qa 755": b"-> /code/tests/run.sh", "/code/run.sh 755": b"#!/bin/sh\n",
    }  # fmt: skip
    given = evidence(subject(BASE, image, {"/data/.wh.z": b""}), repository={"tests/test_a.py": b"test"})
    assert found(given) == {
        ("LS610", "/root/.cache/pip/x"), ("LS610", "/var/lib/apt/lists/y"), ("LS612", "/code/.git/HEAD"),
        ("LS612", "/code/.env"), ("LS612", "/code/tests/test_a.py"), ("LS611", "/usr/local/bin/uv"),
        ("LS613", "/data/z"), ("LS616", "/usr/local/bin/qa"), ("LS617", "/code/run.sh"),
    }  # fmt: skip


def test_a_downloaded_wheel_and_a_cached_copy_of_its_files_are_leftovers() -> None:
    """They are explained, and not needed."""
    archive = b"PK\x03\x04 wheel"
    locked = requirement("other", "1")._replace(files=(("other-1-py3-none-any.whl", f"sha256:{sha256(archive)}"),))
    image = CLEAN | {"/code/other-1-py3-none-any.whl": archive, "/opt/uv-cache/x/a.py": b"a = 1\n"}
    given = evidence(subject(BASE, image), [WHEEL], dev=[locked])
    assert origins(given)["/code/other-1-py3-none-any.whl"].kind is Kind.WHEEL
    assert found(given) == {("LS610", "/code/other-1-py3-none-any.whl"), ("LS610", "/opt/uv-cache/x/a.py")}


def test_data_beside_distributions_and_sources_is_not_reported() -> None:
    """Images for AWS Lambda have all of them in one folder; code there is a finding, and so is what a package has."""
    shop, wheel = distribution("shop", "1.0", {"shop/__init__.py": b"", "shop/a.py": b"a = 1\n"}, site="/var/task")
    data = {"/var/task/built.txt": b"now", "/var/task/logs/x.log": b"-> /tmp/x.log", "/var/task/empty": b""}
    code = {"/var/task/helper.py": b"x", "/var/task/shop/more.txt": b"y"}
    added = {("LS606", "/var/task/helper.py"), ("LS606", "/var/task/shop/more.txt")}
    own = {"/var/task/main.py": b"main"}
    assert found(evidence(subject(BASE, shop | data | code | own), [wheel], repository={"main.py": b"main"})) == added
    vendored = found(evidence(subject(BASE, shop | data | code), [wheel]))
    assert vendored == added | {
        ("LS606", path) for path in ("/var/task/built.txt", "/var/task/logs/x.log", "/var/task/empty")
    }


def test_models_in_a_cache_are_not_reported() -> None:
    """Programs need them, and download them to a folder of the user's cache; a token beside them is a secret."""
    files = {
        "/root/.cache/huggingface/hub/models--x/blobs/a1": b"1",
        "/root/.cache/torch/hub/checkpoints/x.pth.tar": b"2",
    }
    assert found(evidence(subject(BASE, files))) == set()
    others = {"/root/.cache/huggingface/token": b"x", "/root/.cache/huggingface/xet/y": b"y"}
    assert {code for code, _ in found(evidence(subject(BASE, others)))} == {"LS610"}


@pytest.mark.parametrize("folder", ["/root/.cache/uv/archive-v0/aB-c_1", "/opt/uv/archive-v0/aB-c_1"])
def test_a_distribution_in_a_cache_is_a_leftover_and_not_installed(folder: str) -> None:
    """Its commands are not missing there; the distribution itself is, where nothing else has it."""
    cached = {path.replace(SITE, folder): content for path, content in SHOP.items() if not path.endswith("INSTALLER")}
    top = folder.rpartition("/archive-v0")[0]
    assert found(evidence(subject(BASE, CLEAN | cached), [WHEEL])) == {("LS610", top)}
    assert found(evidence(subject(BASE, cached), [WHEEL])) == {("LS610", top), ("LS604", "shop")}


def test_a_command_that_two_distributions_declare_is_the_one_of_either() -> None:
    """As `fastapi` of fastapi and fastapi-cli 0.0.7: the installer decides which one it writes last."""
    other, wheel = distribution("shop-cli", "1.0", {"cli.py": b"a = 2\n"}, commands={"shop": "cli:main"})
    for script in (SCRIPT, SCRIPT.replace(b"shop.a", b"cli")):
        image = CLEAN | other | {"/usr/local/bin/shop 755": script}
        assert found(evidence(subject(BASE, image), [WHEEL, wheel]), strict=True) == set()
    image["/usr/local/bin/shop 755"] = SCRIPT.replace(b"shop.a", b"evil")
    assert found(evidence(subject(BASE, image), [WHEEL, wheel])) == {("LS616", "/usr/local/bin/shop")}


def test_an_environment_in_the_cache_of_poetry_is_none_of_its_leftovers() -> None:
    """It is where Poetry makes environments by default; what else is there is a leftover."""
    folder = "/root/.cache/pypoetry/virtualenvs/shop-aB1-py3.13"
    site = f"{folder}/lib/python3.13/site-packages"
    shop, wheel = distribution("shop", "1.0", {"shop/a.py": b"a = 1\n"}, site, {"shop": "shop.a:main"})
    shop |= {f"{folder}/pyvenv.cfg": b"home = /usr/local/bin\n", f"{folder}/bin/shop 755": SCRIPT}
    assert found(evidence(subject(BASE, shop), [wheel]), strict=True) == set()
    shop |= {f"{site}/x.py": b"x", "/root/.cache/pypoetry/cache/x": b"x"}
    assert found(evidence(subject(BASE, shop), [wheel])) == {
        ("LS606", f"{site}/x.py"), ("LS610", "/root/.cache/pypoetry/cache/x"),
    }  # fmt: skip


def test_what_a_locked_distribution_vendors_is_a_part_of_it() -> None:
    """It is not a distribution outside the lock, nor a second version, nor the locked one of its name."""
    part = distribution("idna", "1", {"idna.py": b"idna"}, site="tools/_vendor")[0]
    tools, wheel = distribution("tools", "1", {"tools/__init__.py": b"tools"} | part)
    idna, other = distribution("idna", "2", {"idna.py": b"idna 2"})
    assert found(evidence(subject(BASE, tools), [wheel])) == set()
    assert found(evidence(subject(BASE, tools | idna), [wheel, other])) == set()
    assert found(evidence(subject(BASE, tools), [wheel, other])) == {("LS604", "idna")}
    # A record alone, which may list more than the wheel has, hides nothing.
    _, without = distribution("tools", "1", {"tools/__init__.py": b"tools"})
    metadata = f"{SITE}/tools/_vendor/idna-1.dist-info"
    assert ("LS601", metadata) in found(evidence(subject(BASE, tools), [without]))


def test_the_empty_locks_that_uv_leaves_are_explained() -> None:
    """One with content, or of another name, is a leftover."""
    left = {"/tmp/uv-0a1b.lock": b"", "/tmp/uv-setuptools-0a1b.lock": b""}
    other = {"/tmp/uv-0a1c.lock": b"x", "/tmp/uv-x.txt": b""}
    seen = origins(evidence(subject(BASE, left | other)))
    assert {path for path, origin in seen.items() if origin.kind is Kind.INSTALLER} == {*left}


@pytest.mark.parametrize(("site", "folder"), [("/vendor", "/vendor"), ("/v/lib/python3.13/site-packages", "/v")])
def test_the_empty_lock_of_uv_in_a_target_or_a_prefix_is_explained(site: str, folder: str) -> None:
    """One with content, or in a folder without distributions, is not."""
    shop, wheel = distribution("shop", "1.0", {"shop/a.py": b"a = 1\n"}, site=site)
    assert found(evidence(subject(BASE, shop | {f"{folder}/.lock": b""}), [wheel]), strict=True) == set()
    other = {f"{folder}/.lock": b"x", "/data/.lock": b""}
    assert {path for _, path in found(evidence(subject(BASE, shop | other), [wheel]), strict=True)} == {*other}


def test_a_record_may_have_the_digest_that_a_command_had_when_it_was_installed() -> None:
    """Of pipx and in moved environments, its first line is another one. It is judged by its own content."""
    record = f"{SITE}/shop-1.0.dist-info/RECORD"
    rows = b"../../../bin/shop,sha256=abc,1\n"
    given = evidence(subject(BASE, CLEAN | {record: CLEAN[record] + rows}), [WHEEL])
    assert found(given, strict=True) == set()
    evil = evidence(subject(BASE, CLEAN | {record: CLEAN[record] + rows, "/usr/local/bin/shop 755": b"evil"}), [WHEEL])
    assert ("LS616", "/usr/local/bin/shop") in found(evil)


def test_wheels_of_one_folder_are_one_finding() -> None:
    """A step that copies all wheels from a build stage is one cause."""
    wheels = {f"/wheels/{name}-1-py3-none-any.whl": b"PK\x03\x04 " + name.encode() for name in ("a", "b")}
    locked = [
        requirement(name, "1")._replace(files=((path.rpartition("/")[2], f"sha256:{sha256(content)}"),))
        for name, (path, content) in zip(("a", "b"), wheels.items(), strict=True)
    ]
    assert found(evidence(subject(BASE, CLEAN | wheels), [WHEEL], dev=locked)) == {("LS610", "/wheels")}


def test_rights_that_the_base_image_does_not_give_are_found() -> None:
    """A program that runs with its owner's rights, also a copy of one, and a library for every program."""
    copied = {"/usr/local/bin/python3.13 4755": BASE["/usr/local/bin/python3.13 755"], "/etc/ld.so.preload": b"/x.so"}
    assert found(evidence(subject(BASE, copied))) == {
        ("LS616", "/usr/local/bin/python3.13"), ("LS617", "/etc/ld.so.preload"),
    }  # fmt: skip


def test_a_command_of_the_image_that_is_for_development_is_found() -> None:
    """Also in a health check; an address, or the folder of another file, may have its name."""
    image = subject(BASE, CLEAN)
    for command, expected in (
        (["python", "-m", "pytest"], True),
        (["sh", "-c", "exec /opt/v/bin/pytest -q"], True),
        (["python", "/opt/v/lib/pytest/__main__.py"], True),
        (["curl", "--fail", "http://localhost/api/pytest"], False),
        (["python", "/app/pytest/main.py"], False),
    ):
        config = {"Healthcheck": {"Test": ["CMD", *command]}, "Cmd": ["shop"]}
        image = replace(image, image=replace(image.image, config=config))
        given = evidence(image, [WHEEL], dev=[requirement("pytest", "9")])
        assert found(given) == ({("LS110", "configuration")} if expected else set())


def test_other_files_are_findings_with_strict_alone() -> None:
    """Data that nothing accounts for."""
    given = evidence(subject(BASE, {"/data/x": b"x"}))
    assert found(given) == set()
    assert found(given, strict=True) == {("LS618", "/data/x")}


def test_bytecode_counts_with_its_source() -> None:
    """Bytecode that differs is a finding; that of an added module belongs to the module's."""
    path, added = f"{SITE}/shop/__pycache__/a.cpython-313.pyc", f"{SITE}/__pycache__/evil.cpython-313.pyc"
    image = subject(BASE, CLEAN | {path: b"code", f"{SITE}/evil.py": b"evil", added: b"code"})
    given = evidence(image, [WHEEL])
    source = next(file for file in image.image.files if file.path.endswith("shop/a.py"))
    evil = next(file for file in image.image.files if file.path.endswith("evil.py"))

    def compared(state: State) -> dict[tuple[int, str], Bytecode]:
        return {(1, path): Bytecode(state, source), (1, added): Bytecode(State.EQUAL, evil)}

    assert origins(given, compared(State.EQUAL))[path].what == "shop 1.0"
    assert not origins(given, compared(State.UNVERIFIED))[path].proven
    assert found(given, compared(State.EQUAL)) == {("LS606", f"{SITE}/evil.py")}
    for state in (State.STALE, State.DIFFERENT, State.WITHOUT_SOURCE):
        assert ("LS614", path) in found(given, compared(state))


def test_an_editable_installation_of_the_project_itself_is_explained() -> None:
    """Where its .pth file adds a folder of the repository's files; that of another distribution is a finding."""
    own, _ = distribution("shop-api", "0.1", {"_shop.pth": b"/code\n"})
    own[f"{SITE}/shop-api-0.1.dist-info/direct_url.json"] = b'{"url": "file:///code", "dir_info": {"editable": true}}'
    image = subject(BASE, own | {"/code/app/main.py": b"main"})
    repository = {"app/main.py": b"main"}
    assert found(evidence(image, repository=repository, own=frozenset({"shop-api"}))) == set()
    assert found(evidence(image, repository=repository)) == {("LS615", f"{SITE}/shop-api-0.1.dist-info")}
    evil = own | {f"{SITE}/_shop.pth": b"/code\nimport evil\n", "/code/app/main.py": b"main"}
    given = evidence(subject(BASE, evil), repository=repository, own=frozenset({"shop-api"}))
    assert ("LS606", f"{SITE}/_shop.pth") in found(given)


def test_a_finder_of_setuptools_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that no version writes, that leads to another folder, or of another distribution is a finding."""
    form = "import sys\nMAPPING = {}\nNAMESPACES: dict[str, list[str]] = {}\nPATH_PLACEHOLDER = '{}' + '.x'\n"
    plain = form.format("{}", "{}", "").encode()
    monkeypatch.setattr("prodlock.origins.installers.SKELETONS", {sha256(plain)})
    name, repository = "__editable___api_0_1_finder", {"app/main.py": b"main"}
    own, _ = distribution("api", "0.1", {"__editable__.api-0.1.pth": f"import {name}; {name}.install()\n".encode()})
    place, pth = f"{SITE}/{name}.py", f"{SITE}/__editable__.api-0.1.pth"

    def findings(text: str, names: str = "api", files: Mapping[str, bytes] = MappingProxyType({})) -> set[str]:
        layer = own | {place: text.encode(), "/code/app/main.py": b"main"} | dict(files)
        given = evidence(subject(BASE, layer), repository=repository, own=frozenset({names}))
        return {path for _, path in found(given)} & {place, pth}

    text = form.format({"app": "/code/app"}, {"app.x": ["/code/app"]}, "__editable__.api-0.1.finder")
    assert findings(text) == set()
    # The finding about that distribution stands for the other file, which its record has.
    assert findings(text, "other") == {place}
    literals = ("{[]: 1}", "{" + "-" * 20_000 + "1: 1}", "{1: " + "1+" * 5000 + "1}")
    unreadable = (text.replace("{'app': '/code/app'}", literal) for literal in literals)
    for other in (
        text + "import evil\n",
        text.replace("/code/app", "/evil"),
        text.replace("'/code", "1 or '/code"),
        *unreadable,
    ):
        assert findings(other) == {place, pth}
    assert findings(text, files={pth: f"import evil; import {name}; {name}.install()\n".encode()}) == {pth}


def test_the_finders_of_setuptools_have_a_form() -> None:
    """What differs between projects is left out of the digest."""
    written = b"MAPPING = {'a': '/app/a'}\nNAMESPACES = {'a.b': ['/app/a/b']}\nPATH_PLACEHOLDER = 'x' + '.y'\n"
    assert installers.editable_folders(written) == []
    assert (
        installers.finder_of(b"import __editable___a_finder; __editable___a_finder.install()")
        == "__editable___a_finder"
    )
    assert installers.finder_of(b"import __editable___a_finder; __editable___b_finder.install()") == ""


def test_files_of_debian_packages_are_recorded_and_not_proven() -> None:
    """By the records in the image itself."""
    path = "/usr/lib/x86_64-linux-gnu/libpq.so.5"
    given = evidence(subject(BASE, {path: b"\x7fELF"}), debian={(1, path): Package("libpq5", "17")})
    assert origins(given)[path] == (Kind.DEBIAN, "libpq5 17", False)
    assert found(given) == set()


def test_distributions_of_debian_packages_are_judged_for_debians_interpreter() -> None:
    """Packages such as supervisor bring other versions of locked names, for an interpreter of their own."""
    place = "/usr/lib/python3/dist-packages"
    files = distribution("shop", "0.9", {"shop/a.py": b"a"}, place)[0]
    files |= distribution("pytest", "8", {"pytest.py": b"p"}, f"{place}/setuptools/_vendor")[0]
    dev = [requirement("pytest", "9")]
    records = {(1, path): Package("python3-x", "1") for path in files}
    given = evidence(subject(BASE, CLEAN | files), [WHEEL], dev=dev, debian=records)
    assert found(given) == set()
    # In place of the locked one it is a finding, and so is a package for development.
    assert found(evidence(subject(BASE, files), [WHEEL], dev=dev, debian=records)) == {("LS604", "shop")}
    runner = distribution("pytest", "8", {"pytest.py": b"p"}, place)[0]
    records = {(1, path): Package("python3-pytest", "1") for path in runner}
    given = evidence(subject(BASE, CLEAN | runner), [WHEEL], dev=dev, debian=records)
    assert found(given) == {("LS603", f"{place}/pytest-8.dist-info")}
    python = PYTHON._replace(library="/usr/lib/python3.13")
    records = {(1, path): Package("python3-x", "1") for path in files}
    given = replace(evidence(subject(BASE, CLEAN | files), [WHEEL], dev=dev, debian=records), python=python)
    assert {code for code, _ in found(given)} == {"LS602", "LS608"}


def test_debians_records_account_for_nothing_in_the_folders_of_installers() -> None:
    """A step that writes a module there can write the records as well; dist-packages is Debian's own."""
    added, own = f"{SITE}/evil.py", "/usr/lib/python3/dist-packages/yaml.py"
    records = {(1, path): Package("x", "1") for path in (added, own, "/usr/local/bin/x")}
    given = evidence(
        subject(BASE, {added: b"evil", own: b"yaml", "/usr/local/bin/x 755": b"#!/bin/sh"}), debian=records
    )
    assert origins(given)[own].kind is Kind.DEBIAN
    assert found(given) == {("LS606", added), ("LS616", "/usr/local/bin/x")}


def packed(name: str, mode: Literal["w:", "w:gz", "w:xz", "w:bz2"]) -> bytes:
    """Return a tar with an empty file."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        archive.addfile(tarfile.TarInfo(name))
    return file.getvalue()


@pytest.mark.parametrize("mode", ["w:", "w:gz", "w:xz", "w:bz2"])
def test_archives_are_code_where_they_have_code(mode: Literal["w:", "w:gz", "w:xz", "w:bz2"]) -> None:
    """Other archives are data."""
    assert found(evidence(subject(BASE, {"/data/x": packed("pytest/main.py", mode)}))) == {("LS617", "/data/x")}
    assert found(evidence(subject(BASE, {"/data/x": packed("a.txt", mode)}))) == set()


def test_added_accounts_are_recognized() -> None:
    """One without rights of root, beside all accounts of the base image."""
    base = {"/etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n"}
    app = b"app:x:10001:10001::/home/app:/bin/sh\n"
    for content, proven in (
        (base["/etc/passwd"] + app, True), (app, False), (base["/etc/passwd"] + app.replace(b"10001", b"0"), False),
    ):  # fmt: skip
        given = evidence(subject(base, {"/etc/passwd": content, "/etc/passwd-": content}))
        assert [origins(given)[path].proven for path in ("/etc/passwd", "/etc/passwd-")] == [proven, proven]


def test_a_copy_of_the_base_images_file_is_explained_outside_of_environments() -> None:
    """As a virtual environment has the interpreter."""
    copied = {"/venv/bin/python 755": b"\x7fELF python", f"{SITE}/os.py": b"os"}
    given = evidence(subject(BASE, copied))
    assert origins(given)["/venv/bin/python"].kind is Kind.BASE
    assert found(given) == {("LS606", f"{SITE}/os.py")}


def test_a_file_of_the_subject_has_its_content() -> None:
    """The control of the helpers."""
    image = subject({"/a": b"x"})
    assert image.content(File("/a", 0)) == b"x"


def copying(base: Mapping[str, bytes], *layers: Mapping[str, bytes]) -> Subject:
    """Return an image that was built from nothing, with copies of another one's files."""
    other, image = subject(base, base_layers=0), subject(*layers, base_layers=0)
    return replace(image, copied=Copied(other.image.files, ("sha256:base",), other.content))


def test_copies_of_a_base_image_are_explained_without_its_layers() -> None:
    """The same content at the same path, a distribution, and accounts that are added."""
    pip, _ = distribution("pip", "25", {"pip.py": b"pip"})
    base = (
        BASE
        | pip
        | {"/etc/passwd": b"root:x:0:0::/:/bin/sh\n", "/bin/sh 755": b"-> bash", "/bin/bash 755": b"\x7fELF b"}
    )
    copies = dict(base) | {"/etc/passwd": b"root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n"}
    given = evidence(copying(base, copies, CLEAN), [WHEEL])
    seen = origins(given)
    assert {seen[path].kind for path in ("/usr/local/bin/python3.13", "/bin/sh", f"{SITE}/pip.py")} == {Kind.BASE}
    assert (seen["/etc/passwd"].kind, seen["/etc/passwd"].proven) == (Kind.DEBIAN, True)
    assert found(given, strict=True) == set()
    # Without the base image, each of them is found.
    alone = evidence(subject(copies, CLEAN, base_layers=0), [WHEEL])
    assert {("LS611", f"{SITE}/pip-25.dist-info"), ("LS616", "/bin/bash")} <= found(alone)


def test_changed_copies_of_a_base_image_are_found() -> None:
    """Another content, another link, the rights of its owner, and what the base image does not have."""
    base = BASE | {"/bin/sh 755": b"-> dash", "/bin/dash 755": b"\x7fELF d", "/bin/su 755": b"\x7fELF su"}
    changed = BASE | {
        "/usr/local/bin/python3.13 755": b"\x7fELF other",
        "/bin/sh 755": b"-> evil",
        "/bin/su 4755": b"\x7fELF su",
        "/usr/local/lib/python3.13/json.py": b"import os",
    }
    assert found(evidence(copying(base, changed, CLEAN), [WHEEL])) == {
        ("LS616", "/usr/local/bin/python3.13"), ("LS616", "/bin/sh"), ("LS616", "/bin/su"),
        ("LS617", "/usr/local/lib/python3.13/json.py"),
    }  # fmt: skip


def test_devices_of_a_base_image_are_its_own_with_the_same_numbers() -> None:
    """Another device at the same path is found, and so is an attribute, whose value is not compared."""

    def image(*layers: Mapping[str, str]) -> Subject:
        files = tuple(File(path, n, extra=extra) for n, layer in enumerate(layers) for path, extra in layer.items())
        made = subject(*({} for _ in layers), base_layers=0)
        return replace(made, image=replace(made.image, files=files))

    nodes = {"/dev/null": "a character device 1:3", "/pipe": "a named pipe", "/a": "SCHILY.xattr.user.x"}
    base, disk = image(nodes), image(nodes | {"/dev/null": "a block device 8:0"})
    for one, paths in ((image(nodes), {"/a"}), (disk, {"/a", "/dev/null"})):
        copied = replace(one, copied=Copied(base.image.files, ("sha256:base",), base.content))
        assert found(evidence(copied)) == {("LS212", path) for path in paths}


def test_bytecode_in_a_folder_of_its_own_is_not_reported() -> None:
    """The image's PYTHONPYCACHEPREFIX names the folder; paths of sources in it may lead through links."""
    cache = "/var/cache/pyc"
    path = f"{cache}/srv/current/main.cpython-313.pyc"
    files = {"/srv/v1/main.py": b"x = 1\n", "/srv/current": b"-> v1", path: b"code", f"{cache}/other.pyc": b"code"}
    plain = subject(BASE, files)
    given: dict[str, list[str]] = {}

    def findings(image: Subject) -> set[tuple[str, str]]:
        def compare(files: Sequence[File], sources: Mapping[str, Sequence[File]]) -> Mapping[tuple[int, str], Bytecode]:
            given.update({name: [file.path for file in found] for name, found in sources.items()})
            source = source_path(path, image.bytecode_folder)
            return {(file.layer, file.path): Bytecode(State.EQUAL, sources[source][0]) for file in files[:1]}

        case = evidence(image, repository={"main.py": b"x = 1\n"})
        return {(one.rule.code, one.path) for one in judge(case, attribute(case, compare), strict=False)}

    image = replace(plain, image=replace(plain.image, config={"Env": ["A=b", f"PYTHONPYCACHEPREFIX={cache}/"]}))
    assert findings(image) == {("LS610", f"{cache}/other.pyc")}
    assert given == {"/srv/current/main.py": ["/srv/v1/main.py"]}
    for value in ("", "/", "relative", "//x"):
        other = replace(plain, image=replace(plain.image, config={"Env": [f"PYTHONPYCACHEPREFIX={value}"]}))
        assert not other.bytecode_folder


def findings_of(*layers: Mapping[str, bytes], repository: Mapping[str, bytes] | None = None) -> list[tuple[str, ...]]:
    """Return code, path and reason of each finding about an image with these layers above the base image."""
    given = evidence(subject(BASE, *layers), [WHEEL], repository=repository)
    return sorted((one.rule.code, one.path, one.why) for one in judge(given, attributed(given), strict=False))


def test_a_copy_of_a_file_that_has_the_name_cache_is_not_in_a_cache() -> None:
    """As collectstatic makes it. A copy in a folder of a cache is."""
    shop, wheel = distribution("shop", "1.0", {"shop/static/shop/cache.js": b"a\n", "shop/cache/b.txt": b"b\n"})
    copies = {"/app/static/shop/cache.js": b"a\n", "/app/copy/cache/b.txt": b"b\n"}
    assert found(evidence(subject(BASE, shop | copies), [wheel])) == set()
    cached = {"/opt/my-cache/shop/static/shop/cache.js": b"a\n"}
    assert found(evidence(subject(BASE, shop | cached), [wheel])) == {("LS610", *cached)}


def test_the_files_of_a_cache_without_a_folder_of_their_own_are_one_finding() -> None:
    """Such as a generator of documentation writes into `.cache`; that of another program is another."""
    files = {f"/app/docs/.cache/{number}": b"x" for number in range(5)} | {"/app/docs/.cache/pip/x": b"x"}
    given = evidence(subject(BASE, CLEAN | files), [WHEEL])
    assert found(given) == {("LS610", "/app/docs/.cache"), ("LS610", "/app/docs/.cache/pip/x")}


def test_the_tests_below_a_folder_of_tests_are_one_finding() -> None:
    """At any place; tests beside sources have a finding for each folder."""
    repository = {
        "shop/tests/a.py": b"a", "shop/tests/forms/b.py": b"b", "shop/tests/forms/test/c.json": b"c",
        "shop/test_d.py": b"d", "shop/tests/e.py": b"e",
    }  # fmt: skip
    image = {f"/app/{path}": content for path, content in repository.items()} | {"/app/e.py": b"e"}
    assert findings_of(CLEAN | image, repository=repository) == [
        ("LS612", "/app/e.py", "the repository's shop/tests"),
        ("LS612", "/app/shop/test_d.py", "the repository's shop"),
        ("LS612", "/app/shop/tests", "the repository's shop/tests"),
    ]


def test_a_link_that_a_later_layer_replaces_has_its_own_target() -> None:
    """Only the later one leads to what nothing accounts for."""
    first, later = {"/usr/local/bin/run": b"-> python3.13"}, {"/usr/local/bin/run": b"-> /data/x"}
    assert findings_of(CLEAN | first) == []
    given = evidence(subject(BASE, CLEAN | first, later), [WHEEL])
    assert [(one.path, one.layer) for one in judge(given, attributed(given), strict=False)] == [(*later, 2)]


def test_the_finding_about_a_replaced_command_names_its_distribution() -> None:
    """It is not called undeclared."""
    changed = CLEAN | {"/usr/local/bin/shop 755": b"#!/bin/sh\n", "/usr/local/bin/other 755": b"#!/bin/sh\n"}
    assert findings_of(changed) == [
        ("LS616", "/usr/local/bin/other", "no distribution declares it"),
        ("LS616", "/usr/local/bin/shop", "shop 1.0 declares it, and no installer writes this content"),
    ]


def test_the_finding_about_missing_files_names_the_layer_that_deletes_them() -> None:
    """The layer of the distribution is not the cause."""
    deleted = {f"{SITE}/shop/.wh.a.py": b""}
    why = "the wheel has it, and the image does not: a.py; deleted by layer 3"
    assert ("LS607", f"{SITE}/shop/a.py", why) in findings_of(CLEAN, deleted)


def test_a_single_file_of_metadata_in_a_later_layer_is_a_changed_file() -> None:
    """The distribution has the rest of its metadata from the layer below: its tags, and what it lists."""
    path = f"{SITE}/shop-1.0.dist-info/METADATA"
    given = evidence(subject(BASE, CLEAN, {path: CLEAN[path] + b"Requires-Dist: evil\n"}), [WHEEL])
    assert {(one.tags, one.installer, len(one.record)) for one in given.installed} == {
        (frozenset({"py3-none-any"}), "pip", len(CLEAN) - 1)
    }
    assert found(given) == {("LS605", path)}


def test_the_finding_about_an_edited_module_of_the_project_names_the_repository() -> None:
    """It is installed, and the commit has other content; a module that its record does not list is any other one."""
    own, _ = distribution("api", "0.1", {"api/a.py": b"a = 2\n", "api/b.py": b"b = 1\n"})
    image = own | {f"{SITE}/c.py": b"c = 1\n"}
    given = evidence(
        subject(BASE, image), repository={"api/a.py": b"a = 1\n", "api/b.py": b"b = 1\n"}, own=frozenset({"api"})
    )
    assert sorted((one.path, one.why) for one in judge(given, attributed(given), strict=False)) == [
        (
            f"{SITE}/api/a.py",
            "the project's own distribution lists it, and the repository has no file with this content",
        ),
        (f"{SITE}/c.py", "no locked wheel and no installer has it"),
    ]
