"""Hooks of mkdocs.yml: pages outside docs/ become part of the site, and links between all of them are kept."""

import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "systemd/README.md": "service.md",
    "models/NOTICE.md": "models-notice.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
"""Path in the project to page of the site."""
_SOURCES = {page: path for path, page in PAGES.items()}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)]*)?\)")


def on_config(config: Any) -> Any:
    """Put pages that nobody has placed yet at the end of the navigation."""
    placed = str(config.nav)
    left = [page.name for page in sorted((ROOT / "docs").glob("*.md")) if f"'{page.name}'" not in placed]
    config.nav += [{"More": left}] if left else []
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that lie outside docs/."""
    for path, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links at pages of the site; what is no part of it, such as a program, stays as its text."""
    here = PurePosixPath(_SOURCES.get(page.file.src_uri, f"docs/{page.file.src_uri}")).parent
    parts = re.split(r"(?ms)(^```.*?^```)", markdown)  # no links in code
    return "".join(
        part if part.startswith("```") else _LINK.sub(lambda link: _turned(link, here), part) for part in parts
    )


def _turned(link: "re.Match[str]", here: PurePosixPath) -> str:
    mark, text, target, anchor = link.groups()
    file = (ROOT / here / target).resolve()
    path = file.relative_to(ROOT).as_posix()
    if text == target.rpartition("/")[2] and file.suffix == ".md":  # a reader of the site knows pages by their titles
        text = file.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
    if path in PAGES:
        return f"{mark}[{text}]({PAGES[path]}{anchor or ''})"
    if path.startswith("docs/") and not path.startswith("docs/schema"):
        return f"{mark}[{text}]({path.removeprefix('docs/')}{anchor or ''})"
    return text
