"""The catalogue of rules, and its page in the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from prodlock.proof import report, rules
from prodlock.proof.rules import Rule


def test_each_code_belongs_to_one_rule() -> None:
    """Codes are unique, and of one form."""
    codes = [rule.code for rule in rules.RULES]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"LS[1-7]\d\d", code) for code in codes)


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.code)
def test_each_rule_is_explained(rule: Rule) -> None:
    """Meaning, cause and remedy are sentences; the title is not."""
    assert not rule.title.endswith(".")
    for text in (rule.meaning, rule.cause, rule.remedy):
        assert text[0].isupper() or text.startswith("`")
        assert text.endswith(".")


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.code)
def test_each_rule_is_used(rule: Rule) -> None:
    """Some judge refers to it by its name."""
    (name,) = (name for name, value in vars(rules).items() if value is rule)
    users = [
        path
        for folder in ("proof", "origins")
        for path in Path("prodlock", folder).rglob("*.py")
        if re.search(rf"\brules\.{name}\b", path.read_text("utf-8"))
    ]
    assert users


def test_the_page_lists_the_rules() -> None:
    """`python -m prodlock.proof.report > docs/reference/rules.md` writes it."""
    (page,) = Path("docs").rglob("rules.md")
    assert page.read_text(encoding="utf-8") == report.rules_page() + "\n"
