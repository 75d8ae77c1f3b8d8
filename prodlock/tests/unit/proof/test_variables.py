"""Each system hands the same variables on to the service."""

from __future__ import annotations

import re
from typing import Any

import pytest

from prodlock.proof.judges import variables
from prodlock.proof.judges.variables import Variables

COMPOSE = Variables("compose.yaml", {"APP_LEVEL": None, "APP_COLOUR": "red", "DATABASE_URL": None})
STACK = Variables("stack", {"APP_LEVEL": None, "APP_COLOUR": "red", "DATABASE_URL": None})
# Where APP_LEVEL may be added.
K8S = Variables("k8s", {"APP_COLOUR": "red", "DATABASE_URL": None}, has_settings=True)


def judged(compose: dict[str, Any], stack: dict[str, Any], k8s: dict[str, Any]) -> list[str]:
    """Return the findings after changes; a variable that is `...` is removed."""
    files = []
    for one, change in ((COMPOSE, compose), (STACK, stack), (K8S, k8s)):
        values = {name: value for name, value in {**one.values, **change}.items() if value is not ...}
        files.append(one._replace(values=values))
    return list(variables.differences(files[0], files[1:], {"DATABASE_URL"}))


@pytest.mark.parametrize(
    ("compose", "stack", "k8s"),
    [
        ({}, {}, {}),
        # What Compose leaves open, the others may set.
        ({}, {"APP_LEVEL": "debug"}, {"APP_LEVEL": "debug"}),
        # The networks of the systems differ, and are judged by what they mean.
        ({"FORWARDED_ALLOW_IPS": None}, {"FORWARDED_ALLOW_IPS": "10.1.0.0/16"}, {"FORWARDED_ALLOW_IPS": "10.0.0.0/8"}),
    ],
)
def test_the_same_variables_are_not_findings(
    compose: dict[str, Any], stack: dict[str, Any], k8s: dict[str, Any]
) -> None:
    """Kubernetes has a ConfigMap for those that no file sets."""
    assert judged(compose, stack, k8s) == []


@pytest.mark.parametrize(
    ("compose", "stack", "k8s", "sentence"),
    [
        ({}, {"APP_LEVEL": ...}, {}, "stack: APP_LEVEL must be handed on as with compose.yaml (got no such variable)"),
        ({}, {}, {"APP_COLOUR": ...}, "k8s: APP_COLOUR must be handed on as with compose.yaml"),
        ({}, {}, {"DATABASE_URL": ...}, "k8s: DATABASE_URL must be handed on as with compose.yaml"),
        ({"APP_LEVEL": ...}, {}, {}, "compose.yaml: APP_LEVEL must be handed on as with stack"),
        ({}, {"APP_COLOUR": "blue"}, {}, "stack: APP_COLOUR must be red, as with compose.yaml (got blue)."),
        ({}, {}, {"APP_COLOUR": ""}, "k8s: APP_COLOUR must be red, as with compose.yaml (got empty)."),
        ({}, {"APP_COLOUR": None}, {}, "stack: APP_COLOUR must be red, as with compose.yaml (got left open)."),
        ({}, {"APP_LEVEL": "info"}, {"APP_LEVEL": "debug"}, "k8s: APP_LEVEL must be info, as with stack (got debug)."),
        ({}, {"APP_LEVEL": "info"}, {}, "k8s: APP_LEVEL must be handed on as with stack (got no such variable). To fix "
         "it: add it with the value of stack, info."),
        ({"FORWARDED_ALLOW_IPS": None}, {}, {}, "stack: FORWARDED_ALLOW_IPS must be handed on"),
        ({}, {}, {"PYTHONPATH": "/x"}, "k8s: PYTHONPATH must not be set, because it decides which code runs"),
        ({}, {"LD_PRELOAD": None}, {}, "stack: LD_PRELOAD must not be set, because it decides which code runs"),
    ],
)  # fmt: skip
def test_another_variable_is_a_finding(
    compose: dict[str, Any], stack: dict[str, Any], k8s: dict[str, Any], sentence: str
) -> None:
    """One that a file lacks, or to which it gives another value."""
    (found,) = judged(compose, stack, k8s)
    assert found.startswith(sentence)


def test_no_message_has_a_password() -> None:
    """The difference is reported, and both values are masked."""
    found = judged({}, {"DATABASE_URL": "postgres://app:hunter2@db/app"}, {"DATABASE_URL": ...})
    found += judged({"API_TOKEN": "hunter2-3f9a"}, {"API_TOKEN": "swordfish-77"}, {"API_TOKEN": None})
    assert len(found) == 3
    assert not re.search("hunter2|swordfish", "".join(found))


@pytest.mark.parametrize("source", ["fieldRef", "resourceFieldRef"])
def test_a_variable_that_describes_a_pod_is_of_kubernetes_alone(source: str) -> None:
    """No other system can hand it on, and a command need not have it. Another source is the site's."""
    container = {"env": [{"name": "POD", "valueFrom": {source: {}}}]}
    given = variables.of_kubernetes("k8s", container, [])
    compose = Variables("compose.yaml", {})
    assert list(variables.differences(compose, [compose._replace(file="stack"), given], ())) == []
    assert list(variables.missing(given, variables.of_kubernetes("k8s, worker", {}, []))) == []
    # One that the others have as well is compared as before.
    assert list(variables.differences(compose._replace(values={"POD": None}), [given], ())) == []
    (found,) = variables.differences(compose._replace(values={"POD": "x"}), [given], ())
    assert found.startswith("k8s: POD must be x, as with compose.yaml (got left open)")
    container["env"][0]["valueFrom"] = {"secretKeyRef": {}}
    assert len(list(variables.differences(compose, [variables.of_kubernetes("k8s", container, [])], ()))) == 1


@pytest.mark.parametrize(
    ("value", "expected"), [("http://$(NODE):4317", None), ("$$(X)", "$(X)"), ("$X", "$X"), ("$$$(X)", None)]
)
def test_kubernetes_expands_references_to_other_variables(value: str, expected: str | None) -> None:
    """Then the site sets the value. A dollar sign that is doubled begins no reference."""
    container = {"env": [{"name": "A", "value": value}]}
    assert variables.of_kubernetes("k8s", container, []).values == {"A": expected}


def test_a_deployment_without_a_config_map_must_name_each_variable() -> None:
    """And one without a Secret each of `environment`."""
    bare = Variables("k8s", {"APP_COLOUR": "red"})
    assert len(list(variables.differences(COMPOSE, [bare], {"DATABASE_URL"}))) == 2
    assert list(variables.differences(COMPOSE, [bare._replace(has_secrets=True)], {"DATABASE_URL"})) == []


def test_values_that_compose_interpolates_are_the_sites() -> None:
    """A dollar sign that is doubled is none. An environment may be a list."""
    given = {"A": "1", "B": None, "C": "${C:-2}", "D": "a$$b", "E": "$e", "F": True, "G": "$$$G"}
    expected = {"A": "1", "B": None, "C": None, "D": "a$b", "E": None, "F": "true", "G": None}
    assert variables.of_compose("x", {"environment": given}).values == expected
    listed = [f"{name}={str(value).lower()}" if value else name for name, value in given.items() if name != "G"]
    del expected["G"]
    assert variables.of_compose("x", {"environment": listed}).values == expected
    assert variables.of_compose("x", {}).values == {}


def test_a_stack_is_read_before_and_after_interpolation() -> None:
    """Only the text shows which values are the site's."""
    resolved = {"environment": {"A": "1", "B": "from here", "C": "2", "D": "of a file"}}
    written = {"environment": {"A": 1, "B": None, "C": "${C:-2}"}}
    assert variables.of_stack("x", resolved, written).values == {"A": "1", "B": None, "C": None, "D": "of a file"}


def test_variables_of_kubernetes_have_several_sources() -> None:
    """ConfigMaps as a whole and by key, Secrets, and values."""
    objects = [{"kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"A": "1", "B": "2"}}]
    container = {
        "envFrom": [{"configMapRef": {"name": "settings"}}, {"prefix": "X_", "configMapRef": {"name": "settings"}}],
        "env": [
            {"name": "B", "value": "3"}, {"name": "C", "valueFrom": {"secretKeyRef": {"name": "s", "key": "C"}}},
            {"name": "D", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "A"}}}, {"name": "E"},
        ],
    }  # fmt: skip
    found = variables.of_kubernetes("x", container, objects)
    assert found.values == {"A": "1", "B": "3", "X_A": "1", "X_B": "2", "C": None, "D": "1", "E": ""}
    assert (found.has_settings, found.has_secrets) == (True, False)
    assert variables.of_kubernetes("x", {"envFrom": [{"secretRef": {"name": "s"}}]}, objects).has_secrets


def test_names_of_a_secret_are_read_and_no_value() -> None:
    """Of one that the files have, such as kustomize's secretGenerator makes."""
    secret = {"kind": "Secret", "metadata": {"name": "s"}, "data": {"A": "aHVudGVyMg=="}, "stringData": {"PATH": "/x"}}
    container = {"envFrom": [{"secretRef": {"name": "s"}}, {"prefix": "X_", "secretRef": {"name": "s"}}]}
    found = variables.of_kubernetes("k8s", container, [secret])
    assert found.values == dict.fromkeys(("A", "PATH", "X_A", "X_PATH"))
    (sentence,) = variables.differences(Variables("x", dict.fromkeys(("A", "X_A", "X_PATH"))), [found], ())
    assert sentence.startswith("k8s: PATH must not be set, because it decides which code runs")
    assert variables.of_kubernetes("k8s", container, []).values == {}


@pytest.mark.parametrize(("given", "count"), [("10", 0), ("10.0", 0), ("20", 1), ("x", 1), (None, 0)])
def test_another_grace_period_is_a_finding(given: str | None, count: int) -> None:
    """The service would drain for longer than the orchestrator waits."""
    files = [Variables("k8s", {"APP_STOP_GRACE_SECONDS": given}), Variables("stack", {})]
    assert len(list(variables.wrong_grace(files, 10.0))) == count


def test_a_command_lacks_what_the_service_has() -> None:
    """It may have more, other than what decides which code runs."""
    worker = Variables("stack, worker", {**STACK.values, "MORE": "1"})
    assert list(variables.missing(STACK, worker)) == []
    (sentence,) = variables.missing(STACK, worker._replace(values={**STACK.values, "PYTHONPATH": "/x"}))
    assert sentence.startswith("stack, worker: PYTHONPATH must not be set")
    other = worker._replace(values={"APP_LEVEL": "debug", "APP_COLOUR": "red"})
    sentences = list(variables.missing(STACK, other))
    assert [one.partition(" ")[0] for one in sentences] == ["stack,"] * 2
    assert "APP_LEVEL must be left open, as with stack (got debug)." in sentences[0]
    assert "DATABASE_URL must be handed on" in sentences[1]
