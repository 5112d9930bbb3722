"""The site: which pages there are, the navigation, and links that lead out of `docs/`. A hook of MkDocs; see `mkdocs.yml`."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # MkDocs loads this file by its path

from docs.generate import columns, commands, events, metrics, names, settings  # noqa: E402
from docs.generate.docstrings import cell, parse, table  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

DOCS = ROOT / "docs"
CONTAINERS = ROOT / "deploy" / "README.md"
GUIDES = ("data_scientist", "data_engineer", "ml_engineer", "stakeholder", "governance")
BOXES = (
    "cli",
    "session",
    "demo",
    "operations",
    "scaffold",
    "workspace",
    "pipelines",
    "deployment",
    "traffic",
    "serving",
    "feedback",
    "llm",
    "chains",
    "inference",
    "streaming",
    "monitoring",
    "scoring",
    "training",
    "registry",
    "features",
    "lakehouse",
    "tracking",
    "jobs",
    "access",
    "ci_hosts",
    "environments",
    "core",
    "testing",
    "security",
    "benchmarks",
)
LINK = re.compile(r"\[((?:`[^`]*`|[^\][]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"(?<!\[)`hr\.(\w+)([^`\n]*)`")
TITLE = re.compile(r"^# (.+)", re.MULTILINE)


def reference() -> dict[str, str]:
    """The generated pages: path below `docs/` → Markdown."""
    named = names.hr_names()
    public = tuple(each for each in named.values() if isinstance(each, type))
    pages = {f"reference/python/{name}.md": names.page(name, value, public=public) for name, value in named.items()}
    pages |= {
        "reference/index.md": _overview(),
        "reference/python/index.md": _list_of_names(named),
        "reference/python/protocols.md": _protocols(),
        "reference/session.md": _session(),
        "reference/settings.md": settings.page(),
        "reference/events.md": events.page(),
        "reference/metrics.md": metrics.page(),
        "reference/columns.md": columns.page(),
        **{f"reference/commands/{name}.md": text for name, text in commands.pages().items()},
    }
    return {path: _linked(text, PurePosixPath(path), named) for path, text in pages.items()}


def _overview() -> str:
    rows = [
        ("[Python](python/index.md)", "`import headrace as hr`: declarations, with every argument."),
        ("[Session](session.md)", "`hr.open(…)`: an environment in a notebook or a script."),
        ("[Commands](commands/index.md)", "`headrace …`: arguments, options and roles."),
        ("[Settings](settings.md)", "`headrace.toml` and environment variables."),
        ("[Events and audit entries](events.md)", "What channels get, and what the audit record holds."),
        ("[Metrics](metrics.md)", "What servers and streams expose to Prometheus."),
        ("[Stored tables and columns](columns.md)", "What Headrace writes into the lakehouse and the state database."),
    ]
    return f"# Reference\n\nThese pages are generated from the code.\n\n{table(('Page', 'Content'), rows)}"


def _by_box(named: dict[str, object]) -> dict[str, list[str]]:
    """Names by the package that they are from."""
    found: dict[str, list[str]] = {}
    for name in named:
        box = "training" if name in names.ALIASES else names.hr.HOMES[name].split(".")[1]
        found.setdefault(box, []).append(name)
    order = ("session", "lakehouse", "features", "training", "deployment", "serving", "inference", "monitoring", "jobs")
    return {box: found[box] for box in (*order, *sorted(found.keys() - {*order}))}


def _first_sentence(value: object) -> str:
    text = " ".join(parse(value).text.split("\n\n")[0].split())
    return re.split(r"(?<=[.:])\s(?=[A-Z`])", text)[0].removesuffix(":").removesuffix(".") + "."


def _list_of_names(named: dict[str, object]) -> str:
    blocks = ["# Python", "`import headrace as hr`. Nothing heavy is imported before its first use."]
    for box, several in _by_box(named).items():
        rows = [
            (f"[`hr.{name}`]({name}.md)", cell(names.ALIASES.get(name) or _first_sentence(named[name])))
            for name in several
        ]
        if box == "serving":
            rows.append(("[`hr.protocols`](protocols.md)", "The names that a serving protocol of your own needs."))
        blocks += [f"## {box}", f"See [{box}](../../{box}.md).", table(("Name", "Meaning"), rows)]
    return "\n\n".join(blocks)


def _protocols() -> str:
    parts = [names.page(name, each, level=2, prefix="hr.protocols.") for name, each in names.protocol_names().items()]
    return "\n\n".join(
        ["# hr.protocols", "What a serving protocol of your own needs; see [serving](../../serving.md).", *parts]
    )


def _session() -> str:
    parts = [
        names.page(name, each, level=2, prefix="", constructed=False) for name, each in names.session_names().items()
    ]
    text = "`hr.open(…)` returns a `Session`; its attributes return the other classes. See [session](../session.md)."
    return "\n\n".join(["# Session", text, *parts])


def _linked(text: str, path: PurePosixPath, named: dict[str, object]) -> str:
    """Each `hr.name` in prose as a link to its page."""
    up = "../" * (len(path.parts) - 2)

    def link(match: re.Match[str]) -> str:
        name = match[1]
        if name not in named or name == path.stem:
            return match[0]
        return f"[{match[0]}]({up}python/{name}.md)"

    return _outside_code(text, lambda part: NAME.sub(link, part))


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    """Changes a page outside of its blocks of code."""
    parts: list[str] = []
    end = 0
    for block in FENCE.finditer(text):
        parts += [change(text[end : block.start()]), block[0]]
        end = block.end()
    return "".join([*parts, change(text[end:])])


# ---------------------------------------------------------------------------------------------- hooks


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Sets the navigation to the pages that exist."""
    config.nav = navigation()
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages."""
    for path, text in {**reference(), **listed()}.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Leads links to folders to their first page; a link to a file outside of `docs/` becomes its text."""
    return _internal(markdown, (DOCS / page.file.src_uri).parent, page.file.src_uri)


def _internal(markdown: str, folder: Path, page: str) -> str:
    """The links of a page that was written in a folder, as the site has them.

    Args:
        markdown: the text.
        folder: of the file, from which its links start.
        page: the path of the page in the site.
    """
    here = PurePosixPath(page).parent

    def link(match: re.Match[str]) -> str:
        text, target = match.groups()
        path, mark, anchor = target.partition("#")
        if "://" in target or not path:
            return match[0]
        there = Path(os.path.normpath(folder / path))
        if there == CONTAINERS:
            return f"[{text}]({os.path.relpath('containers.md', here)}{mark}{anchor})"
        if there.exists() and not there.is_relative_to(DOCS):
            return text
        if there.is_dir():
            there /= "index.md"
        return f"[{text}]({os.path.relpath(there, DOCS / here)}{mark}{anchor})"

    return _outside_code(markdown, lambda part: LINK.sub(link, part))


def listed() -> dict[str, str]:
    """Pages of what is in the repository, but not a page of `docs/`: the list of decisions, and the page of `deploy/`."""
    rows = [(f"[{path.stem[:4]}]({path.name})", cell(_title(path))) for path in _decisions()]
    head = "# Decisions\n\nArchitecture decision records: context, choice, what was measured, consequence."
    deploy = _internal(CONTAINERS.read_text(encoding="utf-8"), CONTAINERS.parent, "containers.md")
    return {"adr/index.md": f"{head}\n\n{table(('Number', 'Decision'), rows)}", "containers.md": deploy}


def _decisions() -> list[Path]:
    return sorted((DOCS / "adr").glob("[0-9]*.md"))


def _title(path: Path) -> str:
    found = TITLE.search(path.read_text(encoding="utf-8"))
    return re.sub(r"^(ADR )?\d+[.:]? ", "", found[1]) if found else path.stem


def navigation() -> list[object]:
    """The navigation, without pages that do not exist; pages that nobody placed are at the end of the architecture."""
    there = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    guides = [f"guides/{name}.md" for name in GUIDES]
    guides += sorted(path for path in there if path.startswith("guides/") and path not in guides)
    boxes = [f"{name}.md" for name in BOXES]
    placed = {"index.md", "tutorial.md", "concepts.md", *guides, *boxes}
    others = sorted(path for path in there - placed if "/" not in path)
    sections: list[tuple[str, object]] = [
        ("Home", "index.md"),
        ("Tutorial", "tutorial.md"),
        ("Concepts", "concepts.md"),
        ("Guides", [path for path in guides if path in there]),
        ("Reference", _reference_navigation()),
        ("Architecture", [*(path for path in boxes if path in there), "containers.md", *others]),
        (
            "Decisions",
            ["adr/index.md", *({f"{path.stem[:4]} {_title(path)}": f"adr/{path.name}"} for path in _decisions())],
        ),
    ]
    return [{title: pages} for title, pages in sections if pages and (isinstance(pages, list) or pages in there)]


def _reference_navigation() -> list[object]:
    named = names.hr_names()
    python: list[object] = ["reference/python/index.md"]
    for box, several in _by_box(named).items():
        pages: list[object] = [{f"hr.{name}": f"reference/python/{name}.md"} for name in several]
        if box == "serving":
            pages.append({"hr.protocols": "reference/python/protocols.md"})
        python.append({box: pages})
    listed_commands = [{name: f"reference/commands/{name}.md"} for name in commands.COMMANDS]
    return [
        "reference/index.md",
        {"Python": python},
        {"Session": "reference/session.md"},
        {"Commands": ["reference/commands/index.md", *listed_commands]},
        {"Settings": "reference/settings.md"},
        {"Events": "reference/events.md"},
        {"Metrics": "reference/metrics.md"},
        {"Stored columns": "reference/columns.md"},
    ]
