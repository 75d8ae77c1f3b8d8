"""The application that `module:attribute` names."""

from __future__ import annotations

import functools
import sys
import types
from typing import Any, cast

import pytest

from prodlock.server import application
from prodlock.server.asgi import Application, Receive, Scope, Send


async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
    """An application."""


class Callable:
    """An application that is an object."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""


def create() -> Application:
    """Return the application."""
    return asgi


def create_with_settings(settings: object = None, *, debug: bool = False) -> Application:
    """Return the application, with arguments that have defaults."""
    assert (settings, debug) == (None, False)
    return asgi


def with_defaults(_a: None = None, _b: None = None, _c: None = None) -> Application:
    """Return the application; an application would have no defaults."""
    return asgi


def needs_one(_settings: object) -> Application:
    """Return the application, given an argument that the server does not have."""
    return asgi


async def create_later() -> Application:
    """Return the application from a coroutine, which is not supported."""
    return asgi


def wsgi(environ: object, start_response: object) -> list[bytes]:
    """Another interface."""
    return [repr((environ, start_response)).encode()]


class Asgi2:
    """The interface before ASGI 3."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope


class Middleware:
    """An application whose instances have a `__call__` of their own, as Sentry's middleware."""

    __slots__ = ("__call__",)

    def __init__(self) -> None:
        self.__call__ = asgi


def wrapped(function: Any) -> Any:  # noqa: ANN401
    """Return what a decorator without `functools.wraps` makes of a function."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        return function(*args, **kwargs)

    return wrapper


@pytest.fixture(autouse=True)
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module that holds all of these."""
    made = types.ModuleType("made_up")
    made.__dict__.update(
        asgi=asgi, instance=Callable(), Class=Callable, create=create, create_with_settings=create_with_settings,
        create_later=create_later, wsgi=wsgi, Asgi2=Asgi2, nothing=None, text="app",
        partial=functools.partial(create_with_settings, None), cached=functools.cache(create),
        bound=types.SimpleNamespace(app=asgi), returns_none=lambda: None,
        with_defaults=with_defaults, needs_one=needs_one, middleware=Middleware(), wrapped_asgi=wrapped(asgi),
        wrapped_create=wrapped(create),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "made_up", made)
    return made


@pytest.mark.parametrize("name", ["asgi", "instance", "bound.app", "middleware", "wrapped_asgi"])
def test_an_application_is_used_unchanged(module: types.ModuleType, name: str) -> None:
    """A function, an object, an attribute of an attribute, and objects whose parameters are not known."""
    assert application.load(f"made_up:{name}") == functools.reduce(getattr, name.split("."), cast("Any", module))


@pytest.mark.parametrize("option", [{}, {"is_factory": True}])
@pytest.mark.parametrize(
    "name", ["create", "create_with_settings", "partial", "cached", "with_defaults", "wrapped_create"]
)
def test_a_function_without_required_arguments_is_a_factory(name: str, option: dict[str, bool]) -> None:
    """With the option and without."""
    assert application.load(f"made_up:{name}", **option) is asgi


def test_a_class_of_applications_is_a_factory() -> None:
    """It is called without arguments."""
    assert isinstance(application.load("made_up:Class"), Callable)


@pytest.mark.parametrize("name", ["wsgi", "Asgi2", "nothing", "text", "create_later", "returns_none", "needs_one"])
def test_any_other_attribute_is_refused(name: str) -> None:
    """The message names it, and what it must be."""
    with pytest.raises(application.NoApplication, match=rf"made_up:{name} must be an ASGI 3 application.*To fix it: "):
        application.load(f"made_up:{name}")


@pytest.mark.parametrize(("name", "got"), [("text", "an object of type str"), ("asgi", "asgi")])
def test_a_factory_must_be_callable(name: str, got: str) -> None:
    """--factory of an attribute that cannot be called, or of the application itself."""
    with pytest.raises(
        application.NoApplication,
        match=rf"The factory made_up:{name} must be callable without arguments \(got {got}\)\. .*leave out --factory",
    ):
        application.load(f"made_up:{name}", is_factory=True)


def test_a_coroutine_function_is_not_a_factory() -> None:
    """With the option, its coroutine is refused: without a warning that it was never awaited."""
    with pytest.raises(application.NoApplication, match=r"must be an ASGI 3 .*\(got an object of type coroutine\)"):
        application.load("made_up:create_later", is_factory=True)


@pytest.mark.parametrize("reference", ["made_up", "made_up:", ":asgi", "", "made_up:asgi()", "made up:asgi", "..a:b"])
def test_a_reference_of_another_form_is_refused(reference: str) -> None:
    """The message shows the form."""
    with pytest.raises(
        application.NoApplication, match=r"must be MODULE:ATTRIBUTE .* To fix it: write it as in app\.main"
    ):
        application.load(reference)


@pytest.mark.parametrize("name", ["no_such_module_here", "no_such_module_here.main", "json.no_such_module_here"])
def test_a_module_that_does_not_exist_is_reported(name: str) -> None:
    """Neither does a package above it."""
    with pytest.raises(application.NoApplication, match=rf"{name} must be a module that can be imported"):
        application.load(f"{name}:app")


def test_a_missing_attribute_is_reported() -> None:
    """With the name."""
    with pytest.raises(application.NoApplication, match=r"got no 'missing' in made_up"):
        application.load("made_up:missing")


def test_an_exception_of_the_applications_own_code_passes(
    module: types.ModuleType, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that it lacks is its own error, and so is an exception of its factory."""
    with open(f"{tmp_path}/imports_nothing.py", "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write("import no_such_module_here\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="no_such_module_here"):
        application.load("imports_nothing:app")

    def fails() -> None:
        raise LookupError("the configuration is missing")

    module.__dict__["fails"] = fails
    with pytest.raises(LookupError, match="the configuration is missing"):
        application.load("made_up:fails")
