"""Reading one state file: what it says itself, every mistake in it, and where each field stands.

Pure, and a function of the file alone (and of the names of the modules there are): defaults, other files and
history come in with `resolve`. All mistakes of a file are reported, not only the first.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from controller.errors import InvalidFiles, Problem
from controller.spec.document import Document, Entries, Items, Node, Scalar, locate, read_document
from controller.spec.fields import OWN_ONLY, FieldRule, FileKind, Shape, fields_of, home_of
from controller.spec.forms import Form
from controller.spec.model import NAME_PATTERN, TENANT_PATTERN
from controller.spec.result import FileResult, Mark, Values
from controller.spec.scalars import Misread, is_null, nearest, read_scalar
from controller.spec.syntax import shown

MAX_PROBLEMS = 50
_WHOLE = {"defaults": FileKind.DEFAULTS, "policy": FileKind.POLICY}
"""Files that concern the state as a whole, by their names."""


def parse_file(path: str, data: bytes, *, modules: Collection[str]) -> FileResult:
    """Read one file below `state/`; `modules` are the names of the module library.

    Never raises for what a path or the bytes hold: mistakes are in the result's `problems`.
    """
    kind, stem, misplaced = classify(path)
    if misplaced is not None or kind is FileKind.OTHER:
        return FileResult(path, kind, stem, {}, (misplaced,) if misplaced else ())
    try:
        document = read_document(path, data)
    except InvalidFiles as error:
        return FileResult(path, kind, stem, {}, error.problems)
    reader = _Reader(document, kind, stem, modules)
    values = reader.read()
    problems = tuple(reader.problems[:MAX_PROBLEMS])
    if len(reader.problems) > MAX_PROBLEMS:
        problems += (Problem(path, 0, 0, f"there are more than these {MAX_PROBLEMS} mistakes"),)
    return FileResult(path, kind, stem, values, problems, reader.marks)


def classify(path: str) -> tuple[FileKind, str, Problem | None]:
    """What a path below `state/` is: its kind, the name it stands for, and what is wrong with the path itself.

    A file that was moved or misnamed still stands for its container or tenant, so that a slip with the path
    freezes them and never removes them.
    """
    found = re.fullmatch(r"state/((?:.+/)?)([^/]*)\.(?i:ya?ml)", path)
    if found is None or found[2].startswith("."):
        return FileKind.OTHER, "", None
    folder, stem = found[1].lower(), found[2].lower()
    if folder.startswith("tenants/"):
        kind, right, pattern = FileKind.TENANT, f"state/tenants/{stem}.yaml", TENANT_PATTERN
    elif not folder and stem in _WHOLE:
        return _WHOLE[stem], stem, _misplaced(path, f"state/{stem}.yaml")
    else:
        kind, right, pattern = FileKind.SPEC, f"state/{stem}.yaml", NAME_PATTERN
    if not re.fullmatch(pattern, stem):
        what = "a tenant's id" if kind is FileKind.TENANT else "a container's name"
        rule = "1 to 32 of a-z, 0-9 and `-`" if kind is FileKind.TENANT else "1 to 11 of a-z, 0-9 and `-`"
        begin = "" if kind is FileKind.TENANT else ", beginning with a letter, not ending in `-`"
        message = f"{shown(found[2])}, the name of this file, is not {what}"
        return FileKind.OTHER, "", Problem(_visible(path), 0, 0, message, rule + begin, "rename the file")
    return kind, stem, _misplaced(path, right)


def _misplaced(path: str, right: str) -> Problem | None:
    if path == right:
        return None
    safe = re.fullmatch(r"[A-Za-z0-9._/-]+", path) is not None
    hint = f"`git mv {path} {right}`, or move it out of `state/`" if safe else "move it there, or out of `state/`"
    return Problem(_visible(path), 0, 0, "this file has the wrong name or is in the wrong folder", right, hint)


def _visible(path: str) -> str:
    """A path for a message, without anything that a terminal might obey."""
    return path if path.isprintable() else path.encode("unicode_escape").decode()


def unknown_module(name: str, known: Collection[str]) -> tuple[str, str, str]:
    """Message, expectation and hint for a module that the library does not have."""
    near = nearest(name, known)
    expected = "" if near else f"one of {', '.join(sorted(known))}" if known else "a module; the library is empty"
    return f"there is no module {shown(name)}", expected, f"did you mean `{near}`?" if near else ""


class _Enough(Exception):
    pass


class _Reader:
    """Walks one document along the fields of its kind, collecting values, marks and problems."""

    def __init__(self, document: Document, kind: FileKind, stem: str, modules: Collection[str]) -> None:
        self.problems = list(document.problems)
        self.marks: dict[str, Mark] = {}
        self._document = document
        self._kind = kind
        self._stem = stem
        self._modules = frozenset(modules)

    def read(self) -> Values:
        """All values that could be read; whatever could not is in `problems`."""
        root = self._document.root
        if root is None and self._kind in _WHOLE.values():
            return {}
        try:
            values = self._section("", Scalar("", True, 1, 1) if root is None else root)
            self._check_whole(values)
        except _Enough:
            return {}
        return values

    def _section(self, section: str, node: Node) -> Values:
        """The fields of the whole file (`section` is empty) or of one section."""
        rules = fields_of(self._kind, section)
        if not isinstance(node, Entries):
            self._not_a_section(section, node)
            return {}
        values: Values = {}
        for key, value in node.pairs:
            rule = rules.get(key.text)
            if rule is None:
                self._unknown_key(section, key)
                continue
            path = f"{section}.{rule.name}" if section else rule.name
            self._mark(path, value)
            try:
                values[rule.name] = self._value(path, rule, value)
            except Misread as wrong:
                self._report(value, f"`{path}`: {wrong.message}", wrong.expected, wrong.hint)
        for rule in rules.values():
            if rule.required and not any(key.text == rule.name for key, _ in node.pairs):
                form = rule.form.expected if rule.form else ""
                self._report(node, f"`{rule.name}` is missing", f"`{rule.name}:` and {form}")
        return values

    def _not_a_section(self, section: str, node: Node) -> None:
        what = f"`{section}`" if section else "the file"
        keys = list(fields_of(self._kind, section))
        expected = f"a map with keys such as {', '.join(keys[:4])}"
        if isinstance(node, Scalar) and is_null(node):
            hint = f"indent its keys below `{section}:`, or leave it out" if section else ""
            self._report(node, f"{what} is empty", expected, hint)
            return
        words = re.match(r"([a-z_]+)[:= ]\s*(\S.*)", node.text) if isinstance(node, Scalar) else None
        hint = f"write {shown(f'{words[1]}: {words[2]}')}" if words and words[1] in keys else ""
        self._report(node, f"{what} is {_what(node)}", expected, hint)

    def _value(self, path: str, rule: FieldRule, node: Node) -> object:
        """The value of one field; raises `Misread` when all of it is wrong."""
        if isinstance(node, Scalar) and is_null(node) and rule.optional:
            return None
        if rule.shape is Shape.SECTION:
            return self._section(rule.name, node)
        assert rule.form is not None
        if rule.shape is Shape.MANY:
            return self._many(path, rule.form, node)
        if rule.shape is Shape.PAIRS:
            return self._pairs(path, rule, node)
        return self._one(rule.form, node, f"leave `{rule.name}` out for the default")

    def _one(self, form: Form, node: Node, empty: str) -> object:
        if not isinstance(node, Scalar):
            inner = node.nodes[0] if isinstance(node, Items) and len(node.nodes) == 1 else None
            hint = f"write {shown(inner.text)} without brackets or dash" if isinstance(inner, Scalar) else ""
            raise Misread(f"this is {_what(node)}, not one value", form.expected, hint)
        if is_null(node):
            raise Misread("the value is missing", form.expected, empty)
        return read_scalar(node, form)

    def _many(self, path: str, form: Form, node: Node) -> list[object]:
        if not isinstance(node, Items):
            raise _no_list(node, form)
        values: list[object] = []
        for index, item in enumerate(node.nodes):
            self._mark(f"{path}.{index}", item)
            try:
                value = self._one(form, item, "remove the item")
            except Misread as wrong:
                self._report(item, f"`{path}`: {wrong.message}", wrong.expected, wrong.hint)
                continue
            if clash := self._clash(path, value, values):
                self._report(item, *clash)
            values.append(value)
        return values

    def _clash(self, path: str, value: object, before: list[object]) -> tuple[str, str, str] | None:
        """Message, expectation and hint for an item that is right by itself but not in this list."""
        if value in before:
            return f"{shown(str(value))} is listed twice", "each once", "remove one of the two"
        if path == "modules" and value not in self._modules:
            return unknown_module(str(value), self._modules)
        file = str(value).rpartition("/")[2]
        if path == "secrets" and any(str(other).rpartition("/")[2] == file for other in before):
            return f"two secrets would be delivered as the same file `{file}`", "names that differ after the `/`", ""
        return None

    def _pairs(self, path: str, rule: FieldRule, node: Node) -> dict[str, object]:
        assert rule.form is not None
        assert rule.key_form is not None
        if not isinstance(node, Entries):
            if isinstance(node, Scalar) and is_null(node):
                raise Misread("the value is missing", "a map", "write {} for none, or leave it out")
            raise Misread(f"this is {_what(node)}, not a map", "lines of `NAME: value`, indented")
        values: dict[str, object] = {}
        for key, value in node.pairs:
            at: Node = key
            self._mark(f"{path}.{key.text}", value)
            try:
                rule.key_form.verify(key.text)
                at = value
                values[key.text] = self._one(rule.form, value, 'write "" for the empty text')
            except ValueError:
                self._report(at, f"{shown(key.text)} cannot be a name in `{path}`", rule.key_form.expected)
            except Misread as wrong:
                self._report(at, f"`{path}.{key.text}`: {wrong.message}", wrong.expected, wrong.hint)
        return values

    def _unknown_key(self, section: str, key: Scalar) -> None:
        """Say what a key that does not belong here should have been, or where it belongs."""
        known = fields_of(self._kind, section)
        full = f"{section}.{key.text}" if section else key.text
        where = f"in `{section}`" if section else f"in a {self._kind} file" if self._kind != "spec" else "in a spec"
        near, home = nearest(key.text, known), home_of(self._kind, key.text)
        expected, hint = f"one of {', '.join(known)}", ""
        if self._kind is FileKind.DEFAULTS and full in OWN_ONLY:
            self._report(key, f"`{full}` cannot have a default", expected, OWN_ONLY[full])
            return
        if self._kind is FileKind.TENANT and key.text == "id":
            hint = "leave it out: the id is the name of the file"
        elif not section and home:
            hint = f"`{key.text}` belongs below `{home}:`"
        elif section and key.text in fields_of(self._kind):
            hint = f"`{key.text}` belongs at the left margin, not below `{section}:`"
        elif ":" in key.text and key.text.split(":")[0] in known:
            hint = f"a space is missing: {shown(key.text.replace(':', ': ', 1))}"
        elif near:
            expected, hint = "", f"did you mean `{near}`?"
        self._report(key, f"there is no key {shown(key.text)} {where}", expected, hint)

    def _check_whole(self, values: Values) -> None:
        """What can only be seen with several fields of the file at hand."""
        if self._kind in (FileKind.TENANT, FileKind.POLICY):
            return
        name = values.get("name", self._stem)
        if name != self._stem:
            hint = f"write `name: {self._stem}` or leave it out; to rename, move the file and add `renamed_from`"
            self._report_at("name", f"the name `{name}` is not that of the file", f"`{self._stem}`", hint)
        if values.get("renamed_from") == self._stem:
            self._report_at("renamed_from", "a container cannot be renamed from its own name", "its former name")

    def _mark(self, path: str, node: Node) -> None:
        lines = self._document.lines
        text = lines[node.line - 1] if node.line <= len(lines) else ""
        self.marks[path] = Mark(node.line, node.column, text if len(text) <= 200 else "")

    def _report(self, at: Node | Mark, message: str, expected: str = "", hint: str = "") -> None:
        path, lines = self._document.path, self._document.lines
        self.problems.append(locate(path, lines, at.line, at.column, message, expected, hint))
        if len(self.problems) > MAX_PROBLEMS:
            raise _Enough

    def _report_at(self, mark: str, message: str, expected: str = "", hint: str = "") -> None:
        self._report(self.marks[mark], message, expected, hint)


def _what(node: Node) -> str:
    """A node in a word, for messages."""
    if isinstance(node, Items):
        return "a list"
    return "a map" if isinstance(node, Entries) else f"the text {shown(node.text)}"


def _no_list(node: Node, form: Form) -> Misread:
    """Why a node is not a list, and the list that was probably meant."""
    expected = f"a list, each item {form.expected}"
    if isinstance(node, Entries):
        keys = ", ".join(key.text for key, _ in node.pairs)
        hint = f"write [{keys}]" if len(keys) <= 60 and keys.isprintable() else ""
        return Misread("this is a map, not a list", expected, hint)
    if isinstance(node, Items) or is_null(node):
        return Misread("the value is missing", expected, "write [] for none, or leave it out")
    words = [word for word in re.split(r"[\s,]+", node.text) if word]
    items = node.text if " " in form.pattern else ", ".join(words)
    hint = f"write [{items}]" if len(items) <= 60 and items.isprintable() else "put `- ` before each item"
    return Misread(f"{shown(node.text)} is a text, not a list", expected, hint)
