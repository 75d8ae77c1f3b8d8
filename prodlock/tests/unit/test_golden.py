"""What production may hold, computed from its sources: wheels are unpacked by the specification."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest

from prodlock.inside import golden

INFO = "shop_kit-1.0.dist-info"
MEMBERS = {
    "shop/__init__.py": b"",
    "shop_kit-1.0.data/purelib/pure.py": b"p = 1",
    "shop_kit-1.0.data/platlib/plat.so": b"so",
    "shop_kit-1.0.data/scripts/run.py": b"#!python -u\nprint(1)\n",
    "shop_kit-1.0.data/scripts/plain.sh": b"#!/bin/sh\n",
    "shop_kit-1.0.data/data/share/man/shop.1": b"man",
    "shop_kit-1.0.data/headers/shop.h": b"int x;",
    f"{INFO}/WHEEL": b"Wheel-Version: 1.0\n",
    f"{INFO}/entry_points.txt": b"[console_scripts]\nshop = shop.cli:App.run [extra]\n[other]\nx = y:z\n",
}


def wheel(folder: Path, members: dict[str, bytes], info: str = INFO) -> Path:
    """Write a wheel whose RECORD lists its members."""
    record = "".join(f"{name},sha256=old,{len(content)}\n" for name, content in members.items())
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in (members | {f"{info}/RECORD": f"{record}{info}/RECORD,,\n".encode()}).items():
            archive.writestr(name, content)
    path = folder / "shop_kit-1.0-py3-none-any.whl"
    path.write_bytes(written.getvalue())
    return path


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """An environment and its site-packages."""
    return tmp_path / "venv", tmp_path / "venv/lib/python3.13/site-packages"


def test_each_member_of_a_wheel_is_installed_in_its_place(tmp_path: Path, places: tuple[Path, Path]) -> None:
    """Members of the wheel's .data folder go to the folders of their schemes."""
    environment, site_packages = places
    brought = set(golden.unpack(wheel(tmp_path, MEMBERS), environment, site_packages))
    assert {str(path.relative_to(environment)) for path in brought} == {
        "lib/python3.13/site-packages/shop/__init__.py",
        "lib/python3.13/site-packages/pure.py",
        "lib/python3.13/site-packages/plat.so",
        "bin/run.py",
        "bin/plain.sh",
        "bin/shop",
        "share/man/shop.1",
        "include/site/python3.13/shop-kit/shop.h",
        *(f"lib/python3.13/site-packages/{INFO}/{name}" for name in ("WHEEL", "entry_points.txt", "RECORD")),
        *(f"lib/python3.13/site-packages/{INFO}/{name}" for name in ("INSTALLER", "REQUESTED")),
    }


def test_scripts_start_with_the_environments_python(tmp_path: Path, places: tuple[Path, Path]) -> None:
    """A shebang of `#!python` is a placeholder; the script of an entry point is generated."""
    environment, site_packages = places
    list(golden.unpack(wheel(tmp_path, MEMBERS), environment, site_packages))
    assert (environment / "bin/run.py").read_text() == f"#!{environment}/bin/python\nprint(1)\n"
    assert (environment / "bin/plain.sh").read_text() == "#!/bin/sh\n"
    script = (environment / "bin/shop").read_text()
    assert script.startswith(f"#!{environment}/bin/python\n")
    assert "from shop.cli import App\n" in script
    assert script.endswith("    sys.exit(App.run())\n")
    assert (environment / "bin/shop").stat().st_mode & 0o777 == 0o755


def test_a_locked_pip_has_a_command_for_the_version_of_python(tmp_path: Path, places: tuple[Path, Path]) -> None:
    """Installers add it to those that its wheel declares. No other distribution gets one."""
    environment, site_packages = places
    for name in ("pip", "pip-tools"):
        info = f"{name.replace('-', '_')}-1.0.dist-info"
        members = {f"{info}/WHEEL": b"", f"{info}/entry_points.txt": f"[console_scripts]\n{name} = x:y\n".encode()}
        assert environment / "bin" / name in set(golden.unpack(wheel(tmp_path, members, info), *places))
    commands = sorted(path.name for path in (environment / "bin").iterdir())
    assert commands == ["pip", "pip-tools", "pip3.13"]
    assert (environment / "bin/pip3.13").read_bytes() == (environment / "bin/pip").read_bytes()
    assert "bin/pip3.13,sha256=" in (site_packages / "pip-1.0.dist-info/RECORD").read_text()


def test_the_record_lists_what_was_installed(tmp_path: Path, places: tuple[Path, Path]) -> None:
    """RECORD has the wheel's own rows, and those of files that the installer changed or added."""
    environment, site_packages = places
    list(golden.unpack(wheel(tmp_path, MEMBERS), environment, site_packages))
    lines = (site_packages / INFO / "RECORD").read_text().splitlines()
    assert lines == sorted(lines)
    assert f"{INFO}/RECORD,," in lines
    # The wheel's own row; the file itself is covered by the wheel's sha256 in the lock.
    assert "shop/__init__.py,sha256=old,0" in lines
    assert not any("run.py,sha256=old" in line for line in lines)
    assert any(line.startswith("../../../bin/shop,") for line in lines)


def test_a_record_keeps_its_permissions(tmp_path: Path, places: tuple[Path, Path]) -> None:
    """Some wheels have an executable RECORD, which installers leave executable."""
    path = wheel(tmp_path, MEMBERS)
    with zipfile.ZipFile(path) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for info, content in members:
            info.external_attr = 0o100755 << 16
            archive.writestr(info, content)
    list(golden.unpack(path, *places))
    assert (places[1] / INFO / "RECORD").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", ["../x", "shop/../../../../../x", "/etc/x", "shop_kit-1.0.data/data/../../x"])
def test_a_wheel_with_a_path_outside_the_environment_is_refused(
    tmp_path: Path, places: tuple[Path, Path], name: str
) -> None:
    """Installers refuse such a wheel as well."""
    with pytest.raises(ValueError, match="would leave the environment"):
        list(golden.unpack(wheel(tmp_path, MEMBERS | {name: b""}), *places))


def test_the_selection_names_the_wheels_of_main(tmp_path: Path) -> None:
    """The sha256 identifies a wheel; wheels of other groups are left out."""
    selection = tmp_path / "selection.json"
    main = {"name": "shop", "version": "1", "sha256": ["12", "56"]}
    dev = {"name": "pytest", "version": "1", "sha256": ["34"]}
    selection.write_text(json.dumps({"groups": {"main": [main], "dev": [dev]}}), encoding="utf-8")
    assert golden.locked(selection) == {"12": "shop 1", "56": "shop 1"}


@pytest.mark.parametrize(
    ("digest", "error"),
    [("", "must serve wheels with the sha256 in the lock .got shop_kit-1.0"), ("x", "must have a wheel of other 1")],
)
def test_the_wheels_are_those_of_main(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digest: str, error: str) -> None:
    """A wheel that is not locked is an error, and so is a missing one."""
    given = hashlib.sha256(wheel(tmp_path, MEMBERS).read_bytes()).hexdigest()
    main = [{"name": "other", "version": "1", "sha256": ["x"]}]
    if digest:
        main.append({"name": "shop-kit", "version": "1.0", "sha256": [given]})
    (tmp_path / "selection.json").write_text(json.dumps({"groups": {"main": main}}), encoding="utf-8")
    monkeypatch.setattr(golden, "SELECTION", tmp_path / "selection.json")
    monkeypatch.setattr(golden, "WHEELS", tmp_path)
    monkeypatch.setattr(golden, "VENV", tmp_path / "venv")
    with pytest.raises(SystemExit, match=error):
        golden.install()


def test_every_file_folder_and_link_has_a_row(tmp_path: Path) -> None:
    """A row has permissions, and content or target; skipped files have none, and a skipped folder has only its own."""
    (tmp_path / "a").mkdir(mode=0o755)
    (tmp_path / "a/file").write_bytes(b"x")
    (tmp_path / "a/link").symlink_to("/nowhere")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/1").touch()
    (tmp_path / "mounted").touch()
    found = {
        row[0]: (*row[1:5], *row[6:])
        for row in golden.rows(tmp_path, str.upper, required=True, skipped={"/proc", "/mounted"})
    }
    assert found.keys() == {"/a", "/a/file", "/a/link", "/proc"}
    assert found["/a/file"] == ("file", 0o644, hashlib.sha256(b"x").hexdigest(), 1, "/A/FILE", True)
    assert found["/a/link"] == ("link", 0o777, "/nowhere", 0, "/A/LINK", True)


def test_every_path_has_a_source() -> None:
    """Bytecode has the source of its module; for files that the build writes, the build is the source."""
    source = golden.sources({"/opt/venv/lib/x/shop.py": "shop 1"})
    assert source("/opt/venv/lib/x/shop.py") == "shop 1"
    assert source("/opt/venv/lib/x/__pycache__/shop.cpython-313.pyc") == "bytecode of shop 1"
    assert source("/usr/local/lib/python3.13/__pycache__/os.cpython-313.pyc") == "bytecode of the standard library"
    assert source("/opt/venv/pyvenv.cfg") == "Python's venv"
    assert source("/etc/passwd") == "the build"
    assert source("/usr/lib/x.so") == "the base image"
