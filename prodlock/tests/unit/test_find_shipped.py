"""Discovery of what ships, and of what only tests need."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from prodlock.scaffold import shipped
from prodlock.scaffold.tree import Tree
from prodlock.tests.unit.existing import APP, find_in, hashed

HERE = "from pathlib import Path\nimport os\n"


def git_in(root: Path) -> None:
    """Make a folder a repository."""
    subprocess.run(["git", "init", "-q", root], check=True)  # noqa: S607 - the git of the machine


def test_files_that_cannot_be_read_do_not_matter(tmp_path: Path) -> None:
    """A syntax error, bytes that are not UTF-8, loops of links, and folders that have no sources."""
    (tmp_path / "broken.py").write_text("def (:\n")
    (tmp_path / "deep.py").write_text("(" * 5000)
    (tmp_path / "latin.py").write_bytes(b"x = '\xe9'\n")
    (tmp_path / "docker-compose.yml").write_bytes(b"services:\n\xff: [\n")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self.py").symlink_to("self.py")
    (tmp_path / "outside.py").symlink_to("/etc/hosts")
    files = {"main.py": "import outside, self, broken, latin, deep\n" + APP, "tests/main.py": APP}
    files |= dict.fromkeys(("node_modules/x/main.py", ".x/main.py", "venv/lib/site-packages/x/main.py"), APP)
    found = find_in(tmp_path, files)
    assert found.all["application"] == "main:app"
    assert found.all["sources"] == ["broken.py", "deep.py", "latin.py", "main.py"]
    assert found.all["tests"] == ["tests"]


def test_a_module_of_a_newer_python_is_reported(tmp_path: Path) -> None:
    """Only its imports are found; a module that does not ship does not matter."""
    newer = (
        "from core import (\n    x,\n)\nimport more, os\nfrom . import\nclass A[T](): ...\ntype X = int\nmatch = (\n"
    )
    files = {"main.py": "import newer\n" + APP, "newer.py": newer, "core.py": "", "more.py": "", "other.py": "def (:\n"}
    found = find_in(tmp_path, files)
    assert found.keys["sources"] == ["core.py", "main.py", "more.py", "newer.py"]
    (note,) = [note for note in found.notes if "can't parse them: newer.py." in note]
    assert "other.py" not in note


def test_names_that_cannot_be_printed_are_left_out(tmp_path: Path) -> None:
    """A name of a file may have any bytes."""
    (tmp_path / "a\udce9.py").write_text(APP)
    assert find_in(tmp_path, {"main.py": APP}).keys["application"] == "main:app"


@pytest.mark.parametrize("prepare", [git_in, Path.exists], ids=["git", "no git"])
def test_a_virtual_environment_of_any_name_is_left_out(tmp_path: Path, prepare: Callable[[Path], object]) -> None:
    """It has a file pyvenv.cfg, in a repository that does not ignore it as well."""
    prepare(tmp_path)
    files = {"main.py": APP, "py/pyvenv.cfg": "", "py/lib/x/main.py": APP}
    assert find_in(tmp_path, files).keys["sources"] == ["main.py"]


@pytest.mark.parametrize("prepare", [git_in, Path.exists], ids=["git", "no git"])
def test_packages_with_the_names_of_output_ship(tmp_path: Path, prepare: Callable[[Path], object]) -> None:
    """`app/build/` and `core/env/` are packages; `build/` beside pyproject.toml is what setuptools writes."""
    prepare(tmp_path)
    files = {
        "app/main.py": "import app.build.x, core.env.y, dist.z\n" + APP,
        "app/build/x.py": "import os\nos.getenv('BUILT')\n",
        "core/env/y.py": "",
        "dist/__init__.py": "",
        "dist/z.py": "",
        "build/lib/app/main.py": APP,
        "lib/setup.py": "",
        "lib/build/lib/app/main.py": APP,
    }
    found = find_in(tmp_path, files)
    assert found.keys["sources"] == ["app", "core", "dist"]
    assert found.keys["environment"] == ["BUILT"]


def test_a_folder_that_another_repository_ignores_is_walked(tmp_path: Path) -> None:
    """Git lists no file there."""
    git_in(tmp_path)
    (tmp_path / ".gitignore").write_text("/inner\n")
    assert find_in(tmp_path / "inner", {"main.py": APP}).keys["application"] == "main:app"


def test_many_files_of_data_are_listed_once(tmp_path: Path) -> None:
    """Folders that are pruned are not walked; others are neither parsed nor read."""
    for number in range(2000):
        folder = tmp_path / ("node_modules" if number % 2 else "data") / str(number % 40)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.json").touch()
    (tmp_path / "large.py").write_text("x = 1\n" * 300_000)
    found = find_in(tmp_path, {"main.py": "import large\n" + APP})
    assert found.keys["sources"] == ["large.py", "main.py"]
    assert len(Tree(tmp_path).files) == 1004


def test_data_and_migrations_ship(tmp_path: Path) -> None:
    """Templates, what git ignores and a build makes, and what Alembic reads."""
    git_in(tmp_path)
    found = find_in(tmp_path, {
        ".gitignore": "frontend/dist\n",
        "main.py": APP + "Jinja2Templates(directory='templates')\nStaticFiles(directory='frontend/dist')\n",
        "templates/x.html": "",
        "alembic.ini": "[alembic]\nscript_location = %(here)s/alembic\n",
        "alembic/env.py": "from models import Base\n",
        "models.py": "",
        "requirements.txt": hashed("alembic"),
    })  # fmt: skip
    assert found.keys["sources"] == ["alembic", "alembic.ini", "main.py", "models.py", "templates"]
    assert found.keys["generated"] == ["frontend/dist"]
    assert found.keys["commands"] == {"migrate": "alembic upgrade head"}


@pytest.mark.parametrize(
    "code",
    [
        "StaticFiles(directory='assets')",
        "StaticFiles(directory=Path(__file__).parent.parent / 'assets')",
        "StaticFiles(directory=Path(__file__).resolve().parents[1].joinpath('assets'))",
        "FileSystemLoader(os.path.join(os.path.dirname(os.path.dirname(__file__)), 'assets'))",
        "FileSystemLoader(['assets'])",
        "BASE = Path(__file__).parent.parent\nJinja2Templates(str(BASE / 'assets'))",
        "from app.config import ROOT\nJinja2Templates(directory=f'{ROOT}/assets')",
        "from app import config\nStaticFiles(directory=config.ROOT / 'assets')",
        "from app.config import settings\nStaticFiles(directory=settings.assets)",
        "StaticFiles(directory=os.path.join(os.getcwd(), 'assets'))",
        "text = (Path(__file__).parent.parent / 'assets' / 'x.css').read_text()",
        "TemplateConfig(directory='assets', engine=x)",
        "create_static_files_router('/static', directories=['assets'])",
        "Quart(__name__, static_folder='../assets')",
    ],
)
def test_folders_of_data_are_found_in_each_usual_form(tmp_path: Path, code: str) -> None:
    """Literal paths, and paths from `__file__`, from names, settings and other modules."""
    config = (
        HERE
        + "ROOT = Path(__file__).parent.parent\nclass Settings:\n    assets = ROOT / 'assets'\nsettings = Settings()\n"
    )
    files = {"app/main.py": HERE + APP + code + "\nimport app.config\n", "app/config.py": config, "assets/x.css": ""}
    expected = ["app", "assets/x.css"] if "x.css" in code and "ROOT" not in code else ["app", "assets"]
    # The module of settings names the whole folder.
    found = find_in(tmp_path, files).keys["sources"]
    assert found in (expected, ["app", "assets"])


@pytest.mark.parametrize(
    ("options", "folders"),
    [
        ("", ["static", "templates"]),
        (", static_folder='a'", ["a", "templates"]),
        (", static_folder=None", ["templates"]),
    ],
)
def test_folders_of_quart_are_found(tmp_path: Path, options: str, folders: list[str]) -> None:
    """They are beside the module of the application."""
    code = f"from quart import Quart\napp = Quart(__name__{options})\n"
    files = {"main.py": code, "static/x": "", "templates/x": "", "a/x": "", "requirements.txt": hashed("hypercorn")}
    assert find_in(tmp_path, files).keys["sources"] == sorted(["main.py", *folders])


@pytest.mark.parametrize(
    "code",
    [
        "StaticFiles(directory='/etc')",
        "StaticFiles(directory='../other')",
        "StaticFiles(directory=Path(__file__).parent.parent)",
        "StaticFiles(directory=unknown / 'assets')",
        "open(Path(__file__).parent.parent / '.env')",
        "open(Path(__file__).parent.parent / 'missing')",
        "x = a / b\nb = b / b\nStaticFiles(directory=b)",
    ],
)
def test_paths_that_are_not_data_of_the_project_do_not_ship(tmp_path: Path, code: str) -> None:
    """Those outside of the project, its own folder, hidden and missing files, and what is not certain."""
    files = {"app/main.py": HERE + APP + code + "\n", "assets/x.css": "", ".env": ""}
    assert find_in(tmp_path, files).keys["sources"] == ["app"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("rates = json.load(open('data/rates.json'))", ["data/rates.json"]),
        ("rates = Path('data/rates.json').read_text()", ["data/rates.json"]),
        ("read_csv('./data/rates.csv')", ["data/rates.csv"]),
        ("class Settings:\n    rates: str = 'data/rates.json'", ["data/rates.json"]),
        ("logging.config.fileConfig('logging.ini')", ["logging.ini"]),
        ("rates = sorted(Path('data').glob('*.json'))", ["data"]),
        ("FOLDER = Path('data')\nrates = [one for one in FOLDER.iterdir()]", ["data"]),
        ("rates = os.scandir(path='data')", ["data"]),
        ("gettext.translation('messages', localedir='data')", ["data"]),
        ("rates = os.listdir('missing'), Path('.').glob('*'), Path('..').iterdir(), os.walk('app')", []),
        ("def rates(place):\n    return load(f'data/rates.{place}.yaml')", ["data"]),
        ("def rates(place):\n    return load(Path('data') / f'rates.{place}.yaml')", ["data"]),
        ("def rates(place):\n    return load(Path(__file__).parent.parent / f'data/{place}.json')", ["data"]),
        ("def rates(place):\n    return load('data/rates.' + place + '.yaml')", ["data"]),
        ("def rates(place):\n    return load('data/rates.{}.yaml'.format(place))", ["data"]),
        ("NAME = 'data'\ndef rates(place):\n    return load(f'{NAME}/{place}.json')", ["data"]),
    ],
)
def test_files_of_data_are_found_by_their_names(tmp_path: Path, code: str, expected: list[str]) -> None:
    """A file that a text names, and the folder of those between which a value decides."""
    names = ("data/rates.json", "data/rates.csv", "data/rates.eu.yaml", "logging.ini", "other/x.json")
    files = {"app/main.py": HERE + APP + code + "\n", **dict.fromkeys(names, "")}
    assert find_in(tmp_path, files).keys["sources"] == ["app", *expected]


@pytest.mark.parametrize(
    "code",
    [
        "x = 'data/missing.json', 'data', '../data/rates.json', '/data/rates.json', 'tests/rates.json', '.env.json'",
        "def x(place):\n    return f'{place}/rates.json', f'data/{place}', f'data/{place}.html', f'x.{place}.json'",
        "def x(place):\n    return 'See data/rates.json', f'{place}.json', place + '.json'",
        "open('written.json', 'w')",
    ],
)
def test_texts_that_are_not_paths_of_files_do_not_matter(tmp_path: Path, code: str) -> None:
    """Missing files, tests, hidden files, sentences, and patterns that no file matches."""
    git_in(tmp_path)
    names = ("data/rates.json", "x.eu.json", "tests/rates.json", ".env.json", "written.json")
    files = {".gitignore": "written.json", "app/main.py": HERE + APP + code + "\n", **dict.fromkeys(names, "")}
    found = find_in(tmp_path, files)
    assert (found.keys["sources"], found.all["generated"]) == (["app"], [])


def test_a_folder_that_git_ignores_is_generated_in_each_form(tmp_path: Path) -> None:
    """Neither the folder above it nor other files there ship."""
    git_in(tmp_path)
    code = "DIST = Path(__file__).parents[1] / 'frontend' / 'dist'\nStaticFiles(directory=DIST)\n"
    files = {".gitignore": "dist\n", "app/main.py": HERE + APP + code, "frontend/package.json": ""}
    found = find_in(tmp_path, files)
    assert (found.keys["sources"], found.keys["generated"]) == (["app"], ["frontend/dist"])


@pytest.mark.parametrize(
    ("files", "command", "sources"),
    [
        (
            {"alembic.ini": "[alembic]\nscript_location = app:migrations\n", "app/migrations/env.py": ""},
            "alembic upgrade head",
            ["alembic.ini", "app"],
        ),
        (
            {
                "app/alembic.ini": "[alembic]\nscript_location = %(here)s/versions\n",
                "app/__init__.py": "",
                "app/versions/env.py": "",
                "Procfile": "release: alembic -c app/alembic.ini upgrade head\n",
            },
            "alembic -c app/alembic.ini upgrade head",
            ["app"],
        ),
        (
            {
                "pyproject.toml": '[tool.alembic]\nscript_location = "%(here)s/migrations"\n',
                "migrations/env.py": "",
            },
            "alembic upgrade head",
            ["app", "migrations", "pyproject.toml"],
        ),
        (
            {
                "pyproject.toml": '[tool.alembic]\nscript_location = "migrations"\n',
                "alembic.ini": "[alembic]\n[loggers]\nkeys = root\n",
                "migrations/env.py": "",
            },
            "alembic upgrade head",
            ["alembic.ini", "app", "migrations", "pyproject.toml"],
        ),
        (
            {
                "pyproject.toml": '[tool.alembic]\nscript_location = "other"\n',
                "db/alembic.ini": "[alembic]\nscript_location = %(here)s/scripts\n",
                "db/scripts/env.py": "",
                "Procfile": "release: alembic --config=db/alembic.ini -c pyproject.toml upgrade head\n",
            },
            "alembic --config=db/alembic.ini -c pyproject.toml upgrade head",
            ["app", "db/alembic.ini", "db/scripts", "pyproject.toml"],
        ),
        (
            {
                "pyproject.toml": '[tool.aerich]\nlocation = "./migrations"\n',
                "migrations/models/1.py": "",
                "Procfile": "release: aerich upgrade\n",
            },
            "aerich upgrade",
            ["app", "migrations", "pyproject.toml"],
        ),
    ],
    ids=["package", "-c", "pyproject.toml", "both", "options", "aerich"],
)
def test_migrations_ship_with_what_their_command_reads(
    tmp_path: Path, files: dict[str, str], command: str, sources: list[str]
) -> None:
    """The configuration and the folder of the scripts, wherever they are."""
    found = find_in(tmp_path, {"app/main.py": APP, "requirements.txt": hashed("alembic", "aerich"), **files})
    assert found.keys["commands"] == {"migrate": command}
    assert found.keys["sources"] == sources


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"Procfile": "release: python manage.py migrate --noinput\n"}, "python manage.py migrate --noinput"),
        ({"Makefile": "migrate:\n\t./manage.py migrate\n"}, "python manage.py migrate"),
        ({"Procfile": "release: django-admin migrate\n"}, "django-admin migrate"),
        ({"Procfile": "release: python -m django migrate\n"}, "python -m django migrate"),
    ],
    ids=["Procfile", "script", "django-admin", "module"],
)
def test_migrations_of_django_run_before_the_service(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    """Images have no shell that could start the script itself, and ship manage.py where the command needs it."""
    application = {
        "shop/asgi.py": "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n",
        "manage.py": "import shop\nfrom django.core.management import execute_from_command_line\n",
        "requirements.txt": hashed("django"),
    }
    found = find_in(tmp_path, {**application, **files})
    assert found.keys["commands"] == {"migrate": expected}
    assert found.keys["sources"] == (["manage.py", "shop"] if "manage.py" in expected else ["shop"])
    assert not any("commands" in note for note in found.notes)


def test_a_migration_of_django_needs_its_distribution_and_its_script(tmp_path: Path) -> None:
    """Otherwise a note gives the reason."""
    files = {"main.py": APP, "Procfile": "release: python manage.py migrate\n"}
    notes = find_in(tmp_path, files).notes
    assert any("`commands` has no migrate, because its configuration or scripts are missing" in note for note in notes)
    notes = find_in(tmp_path, {"manage.py": "", **files}).notes
    assert any("`commands` has no migrate, because the lock lacks django" in note for note in notes)


@pytest.mark.parametrize(
    ("lock", "ini", "reason"),
    [
        (hashed(), "[alembic]\nscript_location = alembic\n", "the lock lacks alembic"),
        (hashed("alembic"), "[alembic]\nscript_location = missing\n", "its configuration or scripts are missing"),
        (hashed("alembic"), "[alembic]\n", "its configuration or scripts are missing"),
        (hashed("alembic"), "no section\n", "its configuration or scripts are missing"),
    ],
)
def test_a_migration_that_cannot_run_is_reported(tmp_path: Path, lock: str, ini: str, reason: str) -> None:
    """It is not dropped without a note."""
    files = {"main.py": APP, "requirements.txt": lock, "alembic.ini": ini, "alembic/env.py": ""}
    found = find_in(tmp_path, {**files, "Procfile": "release: alembic upgrade head\n"})
    assert "commands" not in found.keys
    assert any(reason in note for note in found.notes)


@pytest.mark.parametrize(
    ("location", "command"),
    [
        ("%(here)s/scripts", "alembic -c db/alembic.ini upgrade head"),
        ("db/scripts", "alembic -c db/alembic.ini upgrade head"),
        ("db:scripts", "alembic -c db/alembic.ini upgrade head"),
        ("scripts", ""),
    ],
)
def test_a_migration_is_found_in_a_folder(tmp_path: Path, location: str, command: str) -> None:
    """Its command names the configuration; what this names must be seen from the folder that commands run in."""
    ini = f"[alembic]\nscript_location = {location}\n"
    files = {"app/main.py": APP, "db/alembic.ini": ini, "db/scripts/env.py": "", "requirements.txt": hashed("alembic")}
    found = find_in(tmp_path, files)
    assert found.all["commands"] == ({"migrate": command} if command else {})
    if command:
        assert found.keys["sources"] == ["app", "db/alembic.ini", "db/scripts"]
    else:
        assert any("`script_location` of db/alembic.ini" in note for note in found.notes)


def test_a_migration_of_another_project_does_not_matter(tmp_path: Path) -> None:
    """A folder with a pyproject.toml is a project of its own."""
    files = {"app/main.py": APP, "b/alembic.ini": "[alembic]\nscript_location = x\n", "b/pyproject.toml": ""}
    found = find_in(tmp_path, {**files, "requirements.txt": hashed("alembic")})
    assert (found.all["commands"], found.notes) == ({}, [])


def test_a_link_ships_with_what_it_leads_to(tmp_path: Path) -> None:
    """A link alone leads nowhere in an image."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app/data.json").symlink_to("../shared/data.json")
    (tmp_path / "app/again.py").symlink_to("main.py")
    found = find_in(tmp_path, {"app/main.py": APP, "shared/data.json": "{}", "shared/other.json": "{}"})
    assert found.keys["sources"] == ["app", "shared/data.json"]


def test_data_with_a_name_that_cannot_ship_is_reported(tmp_path: Path) -> None:
    """A Dockerfile reads a space as the end of a name."""
    files = {"app/main.py": APP + "open('data files/x.csv')\n", "data files/x.csv": ""}
    assert any("data files/x.csv (app/main.py:3)" in note for note in find_in(tmp_path, files).notes)


def test_tests_inside_a_package_are_not_sources(tmp_path: Path) -> None:
    """The package's other parts are; a note explains that new ones must be added."""
    files = {
        "app/__init__.py": "",
        "app/main.py": "import app.api.x, app.testing\n" + APP,
        "app/api/x.py": "",
        "app/api/test_x.py": "",
        "app/data/x.json": "",
        "app/testing/__init__.py": "",
        "app/tests/test_main.py": "import pytest\n",
        "app/conftest.py": "",
    }
    found = find_in(tmp_path, files)
    assert found.keys["sources"] == ["app/__init__.py", "app/api/x.py", "app/data", "app/main.py", "app/testing"]
    assert found.keys["tests"] == ["app/api/test_x.py", "app/conftest.py", "app/tests"]
    assert "names the other files and folders of app: add new ones there" in found.notes[0]


@pytest.mark.parametrize("name", ["tests.py", "shop_tests.py"])
def test_a_module_of_tests_inside_a_package_is_not_a_source(tmp_path: Path, name: str) -> None:
    """Django begins each of its applications with a module `tests`."""
    files = {
        "app/__init__.py": "",
        "app/main.py": "import app.x\n" + APP,
        "app/x.py": "",
        f"app/{name}": "import pytest\n",
    }
    found = find_in(tmp_path, files)
    assert found.keys["sources"] == ["app/__init__.py", "app/main.py", "app/x.py"]
    assert found.keys["tests"] == [f"app/{name}"]


def test_tests_inside_a_package_of_many_files_are_reported(tmp_path: Path) -> None:
    """A package with too many parts is named as a whole; the note names what a check will report."""
    files = {f"app/m{number}.py": "" for number in range(50)}
    found = find_in(tmp_path, {**files, "app/main.py": APP, "app/tests/test_main.py": ""})
    assert found.keys["sources"] == ["app"]
    assert "`check-prod-has-no-pytest` reports" in found.notes[0]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"tests/test_x.py": "", "conftest.py": ""}, ["conftest.py", "tests"]),
        ({"test_main.py": "", "main_test.py": ""}, ["main_test.py", "test_main.py"]),
        ({"test/x.py": "", "pytest.ini": "[pytest]\n"}, ["pytest.ini", "test"]),
        ({".pytest.ini": "[pytest]\n"}, [".pytest.ini"]),
        ({"tox.ini": "[pytest]\ntestpaths = specs\n", "specs/x.py": ""}, ["specs", "tox.ini"]),
        ({"tox.ini": "[tox]\n", "setup.cfg": "[tool:pytest]\naddopts = -q\n"}, ["setup.cfg"]),
        ({"setup.cfg": "[metadata]\n", "tox.ini": "%broken"}, []),
        (
            {"pyproject.toml": '[tool.pytest.ini_options]\ntestpaths = ["checks", "x*"]\n', "checks/x.py": ""},
            ["checks"],
        ),
        ({"pyproject.toml": "[tool.pytest.ini_options]\n", "setup.cfg": "[tool:pytest]\n"}, []),
        ({"pyproject.toml": '[tool.pytest]\ntestpaths = ["checks"]\n', "checks/x.py": ""}, ["checks"]),
        (
            {"pytest.toml": '[pytest]\ntestpaths = ["checks"]\n', "checks/x.py": "", "pytest.ini": ""},
            ["checks", "pytest.toml"],
        ),
        ({".pytest.toml": "", "tox.ini": "[pytest]\n"}, [".pytest.toml"]),
    ],
)
def test_tests_are_found_with_the_configuration_of_pytest(
    tmp_path: Path, files: dict[str, str], expected: list[str]
) -> None:
    """The usual names, the file that pytest reads first, and the folders that it names."""
    assert find_in(tmp_path, {"main.py": APP, **files}).all["tests"] == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"backend/pyproject.toml": "[tool.pytest.ini_options]\n"}, ["backend/pyproject.toml", "backend/tests"]),
        ({"backend/pyproject.toml": "[project]\n"}, ["backend/tests"]),
        ({"backend/pyproject.toml": "", "pytest.ini": ""}, ["backend/tests", "pytest.ini"]),
        (
            {
                "pyproject.toml": '[tool.uv.workspace]\nmembers = ["backend"]\n',
                "backend/pyproject.toml": "[tool.pytest.ini_options]\n",
            },
            ["backend/tests"],
        ),
    ],
    ids=["section", "no section", "root", "member"],
)
def test_the_configuration_of_pytest_in_a_subfolder_is_the_one_that_pytest_reads(
    tmp_path: Path, files: dict[str, str], expected: list[str]
) -> None:
    """Started in the folder of the commands: its own, or one above it. Those that a build has are not listed."""
    application = {"backend/app/main.py": "import app.x\n" + APP, "backend/app/x.py": "", "backend/tests/test_x.py": ""}
    assert find_in(tmp_path, {**application, **files}).all["tests"] == expected


def test_tests_outside_of_the_folder_of_the_commands_are_reported(tmp_path: Path) -> None:
    """Pytest, started there, does not collect them."""
    files = {
        "src/app/main.py": "import app.x\n" + APP,
        "src/app/x.py": "",
        "src/alembic.ini": "",
        "tests/test_x.py": "",
    }
    assert "`inv test -- ../tests`" in " ".join(find_in(tmp_path, files).notes)


def test_sources_without_tests_stay_whole() -> None:
    """Only a folder with tests is replaced by its parts."""

    class Files(Tree):
        """Files of no folder."""

        def __init__(self) -> None:
            self.files = ["a/b/x.py", "a/b/y.py", "a/tests/z.py", "c/x.py"]

    assert shipped.without(Files(), ["a", "c"], ["a/tests"]) == ["a/b", "c"]


def test_given_sources_may_have_any_form_of_a_path(tmp_path: Path) -> None:
    """`./main.py` and `app/` have the application as well."""
    assert find_in(tmp_path, {"main.py": APP}, {"sources": ["./main.py"]}).all["application"] == "main:app"
    (tmp_path / "main.py").unlink()
    assert find_in(tmp_path, {"app/main.py": APP}, {"sources": ["app/"]}).all["application"] == "app.main:app"


def test_the_packages_of_the_application_ship_with_what_they_import(tmp_path: Path) -> None:
    """Python runs `shop/__init__.py` when it imports `shop.main`."""
    files = {"shop/__init__.py": "import os, conf\nos.environ['A']\n", "shop/main.py": APP, "conf.py": ""}
    found = find_in(tmp_path, files)
    assert (found.all["sources"], found.all["environment"]) == (["conf.py", "shop"], ["A"])
