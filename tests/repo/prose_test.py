"""The worst habits of docs/style.md do not come back.

The patterns find habits that a grep can know, and nothing that is good English:
rather miss one than report a sentence that is right.
"""

from __future__ import annotations

import ast
import inspect
import re

import pytest

FOLDERS = (
    ".",
    "bazel",
    "benchmarks",
    "docs",
    "estimators",
    "examples",
    "experiments",
    "monolith_tf",
    "ops",
    "serving",
    "tests",
)
SUFFIXES = {".md", ".py", ".cc", ".h", ".bzl", ".mk", ".sh", ".toml"}
NAMES = {"BUILD", "Makefile", "WORKSPACE"}
# These two show the habits.
EXEMPT = {"docs/style.md", "tests/repo/prose_test.py"}

# Between two words of a phrase: a space, or the end of a line of prose, of a
# comment or of a part of a string.
GAP = r"(?:[ \t]+|[ \t]?\"?[ \t]*\n[ \t]*(?:#|//|\*)?[ \t]*[rf]*\"?)"
# Something that is not the verb of a clause ("once a step ends").
ENDS = r"(?=[ \t]?[.,;:)\]|]|[`\"]|[ \t]*\n[ \t]*(?:#|//)?[ \t]*\n|\Z)"
NO_VERB = (
    rf"(?!{GAP}(?:[a-z]+s|[a-z]+ed|can|did|had|may|might|must|will|would)\b)"
)
NO_ARTICLE = r"(?<!\b[Tt]he )(?<!\b[Ee]ach )(?<!\b[Ee]very )(?<!\bwhich )"
COUNTED = (
    r"(?:batch|bucket|call|chunk|core|element|entry|example|feature|file|group|"
    r"id|line|lookup|partition|process|record|request|role|row|segment|server|"
    r"shard|slot|step|stripe|table|thread|update|weight|worker)\b"
)
UNITS = (
    r"(?:bits?|bytes|edges?|entry|entries|floats?|instructions|[KMG]iB|ms|nodes?|"
    r"ns|numbers?|ops?|rows?|seconds|tensors?|times|us|vectors?|words?)"
)


def phrase(words: str) -> str:
    """A pattern of whole words, over the ends of lines."""
    return r"\b" + words.replace(" ", GAP) + r"\b"


HABITS = {
    "write 'per'": "|".join(
        [
            # "bytes a row", but not "gives the row a table".
            rf"{NO_ARTICLE}\b{UNITS}{GAP}an?{GAP}{COUNTED}{NO_VERB}",
            # "one op a server fetches", but not "the one op a server runs".
            rf"{NO_ARTICLE}\b(?:[Oo]ne|[Tt]wo|\d+){GAP}{UNITS}{GAP}an?{GAP}{COUNTED}",
            # "one a shard", "once a step", but not "once a step ends".
            rf"{NO_ARTICLE}\b(?:[Oo]nce|[Oo]ne|[Tt]wice){GAP}an?{GAP}{COUNTED}{ENDS}",
            # "one call a server", but not "may call a server".
            rf"\b(?:an?|each|every|no|one|two|\d+){GAP}"
            rf"(?:calls?|files?|logs?|lookups?|requests?|updates?){GAP}"
            rf"an?{GAP}{COUNTED}{NO_VERB}",
        ]
    ),
    "write 'unchanged'": phrase("as ever"),
    "write 'is not a' or 'does not'": (
        rf"(?<![Tt]here )(?<![Tt]here\n){phrase('(?:is|are|was|were) none')}"
    ),
    "write 'any' or 'whatever'": phrase("no matter"),
    "write 'custom' or 'your own'": (
        phrase("of (?:your|one's) own")
        + rf"(?:{ENDS}|(?={GAP}(?:and|are|for|has|in|is|on|or|that|to|with)\b))"
    ),
    "write 'unbounded id vocabularies'": phrase("nobody counted"),
}

SECTION = re.compile(
    r"^(Args|Attributes|Call arguments|Input shape|Output shape|Raises|Returns|"
    r"Yields):$"
)
# Words that begin a description and keep their case: types, dtypes, names.
KEEPS_ITS_CASE = re.compile(
    r"(?:[a-z]*[^a-z\s,;:.)][^\s]*|bool|bytes|dict|float|int|list|str|tuple)\b"
    r"|\w+:|[^a-z]"
)
NAMED_ENTRY = re.compile(r"^    \*{0,2}[\w.`, *]+(?: \([^)]*\))?: (.*)$")


@pytest.fixture(scope="module")
def sources(tracked_files, repository_root):
    """Text by path of every file with prose."""
    names = {
        path.relative_to(repository_root).as_posix(): path
        for path in tracked_files
        if path.suffix in SUFFIXES or path.name in NAMES
    }
    return {
        name: path.read_text()
        for name, path in names.items()
        if name not in EXEMPT
    }


def within(sources, folder):
    """The sources of a folder; of ".", those of the root alone."""
    return {
        name: text
        for name, text in sources.items()
        if ("/" not in name if folder == "." else name.startswith(folder + "/"))
    }


def habits(text):
    """Line and description of each habit in a text."""
    return [
        (text.count("\n", 0, found.start()) + 1, advice, found[0])
        for advice, pattern in HABITS.items()
        for found in re.finditer(pattern, text)
    ]


def docstrings(text):
    """Line and text of each docstring of a Python source."""
    for node in ast.walk(ast.parse(text)):
        kinds = ast.Module | ast.ClassDef | ast.FunctionDef
        if not isinstance(node, kinds | ast.AsyncFunctionDef) or not node.body:
            continue
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(
            first.value, ast.Constant
        ):
            if isinstance(first.value.value, str):
                yield first.lineno, inspect.cleandoc(first.value.value)


def begins_with_a_question(docstring):
    return re.match(r"(?:What|Whether|How)\b", docstring) is not None


def layout_errors(docstring):
    """Offset in lines and description of each error of the sections."""
    lines = docstring.splitlines()
    section = None
    begins = False
    for offset, line in enumerate(lines):
        if line.strip() == "":
            continue
        indent = len(line) - len(line.lstrip())
        if indent == 0:
            found = SECTION.match(line)
            section = found[1] if found else None
            begins = True
            continue
        if section is None:
            continue
        if begins and indent != 4:
            yield offset, f"{section}: is indented by {indent}, not by 4"
        if indent == 4:
            entry = NAMED_ENTRY.match(line)
            has_names = section in ("Args", "Attributes", "Raises")
            if has_names or section == "Call arguments":
                description = entry[1] if entry else ""
            else:
                description = line.strip() if begins else ""
            if description and not KEEPS_ITS_CASE.match(description):
                yield offset, f"{section}: begins in lower case: {description}"
        begins = False


def report(found):
    return "\n".join(f"{name}:{line}: {text}" for name, line, text in found)


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_sentence_has_a_habit_that_the_style_names(sources, folder):
    found = [
        (name, line, f"{advice}: {' '.join(what.split())}")
        for name, text in within(sources, folder).items()
        for line, advice, what in habits(text)
    ]
    assert not found, report(found)


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_docstring_begins_with_what_whether_or_how(sources, folder):
    found = [
        (name, line, docstring.partition("\n")[0])
        for name, text in within(sources, folder).items()
        if name.endswith((".py", ".bzl"))
        for line, docstring in docstrings(text)
        if begins_with_a_question(docstring)
    ]
    assert not found, report(found)


@pytest.mark.parametrize("folder", FOLDERS)
def test_sections_of_docstrings_have_one_layout(sources, folder):
    found = [
        (name, line + offset, error)
        for name, text in within(sources, folder).items()
        if name.endswith(".py")
        for line, docstring in docstrings(text)
        for offset, error in layout_errors(docstring)
    ]
    assert not found, report(found)


@pytest.mark.parametrize(
    "text",
    [
        "One op a server fetches the rows.",
        "It takes 8 bytes a row.",
        "# takes 8 bytes\n    # a row, and\n",
        '"one lookup a "\n    "table."',
        "The shards, one a server.",
        "It runs once a step.",
        "a log a process, free ports",
        "They work as ever.",
        "They work as\n    ever.",
        "A time that is none.",
        "// These\n// are none of them.",
        "It is found no matter where.",
        "A loop of your own.",
        "Custom ops of yours, or of your own in a file.",
        "Ids that nobody counted.",
    ],
)
def test_the_habits_are_found(text):
    assert habits(text)


@pytest.mark.parametrize(
    "text",
    [
        "They may call a server again.",
        "It ends once a step has ended.",
        "Once a row exists, it is updated.",
        "the bytes a row takes",
        "the one a server owns",
        "The default, if there is none.",
        "x is None",
        "Give each table a server.",
        "One op per server.",
        "It gives the row a table.",
        "A table of its own.",
        "A saver of your own `Scaffold`.",
        "for one of a table's rows",
    ],
)
def test_good_english_is_no_habit(text):
    assert not habits(text)


@pytest.mark.parametrize(
    ("docstring", "errors"),
    [
        ("Adds.\n\nArgs:\n    x: Number.\n    y: int64 `[n]`.", 0),
        ("Adds.\n\nArgs:\n    **kwargs: Of the layer:\n        x: y.", 0),
        ("Adds.\n\nReturns:\n    float32 `[n]`.", 0),
        ("Adds.\n\nReturns:\n    The sum,\n    or none.", 0),
        ("Adds.\n\nExample:\n>>> 1 + 1\n2", 0),
        ("Adds.\n\nArgs:\n  x: Number.", 1),
        ("Adds.\n\nArgs:\n    x: the number.", 1),
        ("Adds.\n\nReturns:\n    the sum.", 1),
        ("Adds.\n\nRaises:\n    ValueError: a bad number.", 1),
    ],
)
def test_the_layout_of_a_docstring_is_checked(docstring, errors):
    assert len(list(layout_errors(docstring))) == errors


@pytest.mark.parametrize("word", ["What", "Whether", "How"])
def test_a_question_is_not_a_docstring(word):
    assert begins_with_a_question(f"{word} a table is.")
    assert not begins_with_a_question(f"{word}ever a table is.")
