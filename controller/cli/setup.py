"""`voxnix init` and `voxnix new`: from nothing to a first container. They write files, and nothing on the host."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.cli import text
from controller.cli.session import Session, pass_session
from controller.errors import BadInput

if TYPE_CHECKING:
    from controller.spec.fields import FieldRule

POLICY = b"identity: required\n"
FIRST = "dev"
"""The container that a new state repo has as its example."""


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--tenant", metavar="ID", help="The first tenant, an admin; your user name if not given.")
@click.option("--name", "person", metavar="TEXT", help="What people call them.")
@click.option("--example", is_flag=True, help="The whole example: two tenants, three containers.")
@pass_session
def init(session: Session, directory: Path, tenant: str | None, person: str | None, example: bool) -> None:
    """A new bare state repo in DIR, with hooks, defaults, a first tenant and one container as an example."""
    from controller.cli.editor import schema_files, with_schema
    from controller.cli.hooks import passed_on
    from controller.gate.hooks import install
    from controller.git import StateRepo, caller
    from controller.settings import share

    folder = share("state")
    files = {f"state/{path.relative_to(folder)}": path.read_bytes() for path in sorted(folder.rglob("*.yaml"))}
    tenant = _tenant_id(tenant)
    if not example:
        files = _first(files, tenant, person or _person(tenant), session)
    files["state/policy.yaml"] = POLICY
    files = {path: with_schema(path, data.decode()).encode() for path, data in files.items()}
    files |= schema_files(session.library.modules)
    repo = StateRepo.init(directory, files, caller(), "Start with an example")
    install(repo.path, passed_on(session))
    steps = _next_steps(repo.path, session.options.get("host"), example=example)
    told = {"path": str(repo.path), "commit": repo.head(), "files": sorted(files), "next": [line for _, line in steps]}
    lines = [f"A new state repo is in {text.heading(str(repo.path))}:", *(f"  {path}" for path in sorted(files)), ""]
    for number, (about, line) in enumerate(steps, 1):
        lines += [f"{number}. {about}", f"     {text.command(line)}"]
    session.answer(told, lines)


@click.command()
@click.argument("name")
@click.option("--owner", metavar="TENANT", help="Whose it is; the only tenant if there is one.")
@click.option("--modules", metavar="A,B,…", default="", help="What is in it.")
@click.option("--output", "-o", metavar="PATH", default="-", help="Where to write it; - is the terminal.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@pass_session
def new(session: Session, name: str, owner: str | None, modules: str, output: str, force: bool) -> None:
    """A commented spec for a container called NAME, to be put into state/NAME.yaml."""
    from controller.spec.fields import FileKind
    from controller.spec.model import NAME_PATTERN, Name
    from controller.spec.parse import classify

    if not re.fullmatch(NAME_PATTERN, name):
        form = Name.__metadata__[0]  # type: ignore[attr-defined]
        raise BadInput(f"{text.clean(name)!r} cannot be the name of a container", hint=f"it is {form.expected}")
    if classify(f"state/{name}.yaml")[0] is not FileKind.SPEC:
        raise BadInput(f"state/{name}.yaml is not for a container", hint="choose another name")
    chosen = [word for word in re.split(r"[\s,]+", modules) if word]
    known = session.library.modules
    for word in chosen:
        if known and word not in known:
            raise BadInput(f"there is no module {text.clean(word)}", hint=text.suggestion(word, known))
    content = spec_text(name, owner or _only_tenant(session), chosen, list(known))
    if output == "-":
        session.answer({"path": f"state/{name}.yaml", "content": content}, [content.rstrip("\n")])
        return
    path = Path(output)
    path = path / f"{name}.yaml" if path.is_dir() else path
    if path.exists() and not force:
        raise BadInput(f"{path} is there already", hint="--force writes over it")
    path.write_text(content)
    session.answer({"path": str(path), "content": content}, [f"Wrote {path}. Edit it, commit it, push it."])


def spec_text(name: str, owner: str, modules: Sequence[str], known: Sequence[str]) -> str:
    """A spec that says whose it is and what is in it, with every other field as a comment beside its default."""
    from controller.cli.editor import with_schema
    from controller.spec.fields import FileKind, Shape, fields_of
    from controller.spec.render import render

    lines = [f"# One container, called as its file is: state/{name}.yaml", ""]
    for rule in fields_of(FileKind.SPEC).values():
        if rule.name == "name":
            continue
        lines.append(f"# {rule.description}")
        if rule.name == "modules" and known:
            lines += _wrapped("# There are: ", ", ".join(sorted(known)))
        if rule.name in ("owner", "modules"):
            lines += [render({rule.name: owner if rule.name == "owner" else modules}).rstrip("\n")]
        elif rule.shape is Shape.SECTION:
            inner = fields_of(FileKind.SPEC, rule.name).values()
            lines += [f"# {rule.name}:", *(f"#   {_shown(one)}" for one in inner)]
        else:
            lines.append(f"# {_shown(rule)}")
        lines.append("")
    return with_schema(f"state/{name}.yaml", "\n".join(lines[:-1]) + "\n")


EXAMPLES = {
    "hostname": "hostname: my-box",
    "start": 'start: "0 8 * * 1-5"',
    "stop": 'stop: "0 20 * * *"',
    "expires": "expires: 2030-12-24T18:00:00+01:00",
    "host": "host: my-appliance",
    "renamed_from": "renamed_from: old-name",
    "env": "env: {EDITOR: vi}",
    "secrets": "secrets: [token]",
    "tags": "tags: [tag:dev]",
    "description": "description: What it is for",
}
"""What to show for fields whose default says nothing."""


def _shown(rule: FieldRule) -> str:
    """A field with its default, or an example, as a file would have it."""
    from controller.spec.forms import Kind, size_text

    if rule.name in EXAMPLES:
        return EXAMPLES[rule.name]
    default = rule.default
    if rule.form is not None and rule.form.kind is Kind.SIZE:
        return f"{rule.name}: {size_text(default)}"
    if isinstance(default, bool):
        return f"{rule.name}: {str(default).lower()}"
    return f"{rule.name}: {default:g}" if isinstance(default, float) else f"{rule.name}: {default}"


def _wrapped(head: str, words: str, width: int = 96) -> list[str]:
    """A comment of several lines."""
    lines, line = [], head
    for word in words.split(" "):
        if len(line) + len(word) > width:
            lines.append(line.rstrip())
            line = "#   "
        line += word + " "
    return [*lines, line.rstrip()]


def _first(files: dict[str, bytes], tenant: str, person: str, session: Session) -> dict[str, bytes]:
    """Defaults, one tenant, one container."""
    from controller.spec.fields import FileKind
    from controller.spec.render import render

    known = list(session.library.modules)
    modules = [name for name in ("git", "workspace") if name in known]
    kept = {path: data for path, data in files.items() if path == "state/defaults.yaml"}
    return kept | {
        f"state/tenants/{tenant}.yaml": render({"name": person, "role": "admin"}, FileKind.TENANT).encode(),
        f"state/{FIRST}.yaml": spec_text(FIRST, tenant, modules, known).encode(),
    }


def _tenant_id(given: str | None) -> str:
    """A tenant id: as given, or made of the caller's user name."""
    from controller.spec.model import TENANT_PATTERN, TenantId

    if given is not None and not re.fullmatch(TENANT_PATTERN, given):
        form = TenantId.__metadata__[0]  # type: ignore[attr-defined]
        raise BadInput(f"{text.clean(given)!r} cannot be a tenant", hint=f"it is {form.expected}")
    user = os.environ.get("SUDO_USER") or getpass.getuser()
    made = re.sub(r"[^a-z0-9-]+", "-", user.lower()).strip("-")[:32]
    return given or (made if re.fullmatch(TENANT_PATTERN, made) else "admin")


def _person(tenant: str) -> str:
    from controller.git import caller

    name = caller().name
    return name if name.isprintable() and 0 < len(name) <= 200 else tenant


def _only_tenant(session: Session) -> str:
    """The tenant of a state repo that has one only; else the caller's own id."""
    if session.settings.state:
        try:
            tree = session.repo.tree(session.head, "state/tenants")
        except BadInput:
            tree = {}
        tenants = [path.rpartition("/")[2].removesuffix(".yaml") for path in tree]
        if len(tenants) == 1:
            return tenants[0]
    return _tenant_id(None)


def _next_steps(path: Path, host: str | None, *, example: bool) -> list[tuple[str, str]]:
    """What to do next: what it is for, and the command."""
    voxnix = f"voxnix --state {path}" + (f" --host {host}" if host else "")
    clone = path.with_name(path.name.removesuffix(".git") + "-work")
    edit = "web" if example else FIRST
    return [
        ("Get a work tree to edit in", f"git clone {path} {clone}"),
        ("Look at the example, make it yours, push it", f"cd {clone} && $EDITOR state/{edit}.yaml && git push"),
        ("See what would be done", f"{voxnix} plan"),
        ("Do it once, or keep at it", f"{voxnix} apply    # or: run"),
        ("See what there is", f"{voxnix} status"),
    ]
