"""The language of documentation, docstrings, comments, messages and names: plain, standard English."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
CODE = sorted(
    path
    for folder in ("app", "bench", "deploy", "prodlock", "tests")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".cfg", ".in", ".py", ".sh", ".yml", ".yaml"} or path.name == "Dockerfile"
)
CODE += [ROOT / name for name in ("tasks.py", "Dockerfile", "docker-compose.yml", "pyproject.toml")]
# This module contains every word that it looks for.
CODE.remove(Path(__file__))

# Words to avoid, as patterns, and what to write instead.
WORDS = {
    r"mend(?:s|ed|ing)?": "fix, repair",
    r"whoever|somebody|someone|nobody|everybody": "a user, a client, no process, all",
    r"say(?:s|ing)?|said|tell(?:s|ing)?|told": "print, report, return, state; for example",
    r"knows?|knew": "list, support, detect, have",
    r"things?": "the noun itself",
    r"(?<!there )(?:is|are|was|were) no (?!longer|more|less)\w+": "is not a valid X, is not a X",
    r"(?:by|of) (?:it|them)sel(?:f|ves)|at home|of one mind|anew|as (?:it is|they are)": "a standard expression",
    r"(?:be|is|are|stays?) quiet": "print nothing",
}
PATTERN = re.compile(rf"\b(?:{'|'.join(WORDS)})\b", re.IGNORECASE)
# A message of pip, which a test repeats.
QUOTED = "someone may have tampered with them"


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Give the prose of a file by line: of Python its comments, strings and defined names, of other files all."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    defines = False
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            # `tell` is a method of Python's files.
            if defines and token.string != "tell":
                yield token.start[0], token.string.replace("_", " ")
            defines = token.string in {"class", "def"}
        elif token.type in {tokenize.COMMENT, tokenize.STRING} or tokenize.tok_name[token.type] == "FSTRING_MIDDLE":
            # Until Python 3.12 a formatted string is one token, with the code in its braces.
            string = re.sub(r"\{[^{}]*\}", "{}", token.string) if re.match("[rR]?[fF]", token.string) else token.string
            yield from enumerate(string.splitlines(), token.start[0])


def avoided(path: Path) -> list[str]:
    """Return the words to avoid that a file uses, with their lines."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {found[0]!r} in {line.strip()!r}"
        for number, line in prose(path)
        for found in PATTERN.finditer(line.replace(QUOTED, ""))
    ]


def test_words_to_avoid_are_found() -> None:
    """Each pattern matches a sentence; standard English matches none."""
    wrong = (
        "Mend it.", "whoever asks", "the file says so", "uv is told", "it knows", "a thing", "It is no port.",
        "starts by itself", "it is quiet", "built anew", "left as it is", "nobody listens",
    )  # fmt: skip
    assert all(map(PATTERN.search, wrong))
    right = (
        "There is no port; it is no longer unknown. Its recommendation is something that the user asks: fix the rest."
    )
    assert not PATTERN.search(right)


def test_prose_is_found_in_every_part_of_a_module(tmp_path: Path) -> None:
    """Comments, strings, names of functions and classes; not the code between them."""
    module = tmp_path / "module.py"
    module.write_text('def nobody_asks(x):\n    """One."""\n    return say(x, f"two {x} three")  # four\n', "utf-8")
    found = " ".join(text for _, text in prose(module))
    assert all(word in found for word in ("nobody asks", "One.", "two", "three", "# four"))
    assert "say" not in found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_documentation_uses_standard_english(path: Path) -> None:
    """No page uses a word to avoid."""
    assert avoided(path) == []


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_uses_standard_english(path: Path) -> None:
    """No docstring, comment, message or name uses a word to avoid."""
    assert avoided(path) == []
