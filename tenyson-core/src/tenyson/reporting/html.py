"""A report as one HTML file that needs nothing else: no script, no network, no other file.

What models wrote is hostile text. Raw HTML in the markdown is shown as text, but for the few tags that the helpers write
themselves; links may only be http(s); a Content-Security-Policy forbids all else. Squares of colour (🟩🟨⬛⬜🟥🟦) become
boxes, since not every machine has a font with them.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tenyson.core.sanitize import without_controls

_OWN_TAGS = re.compile(r"<br>|<details><summary>[^<>&]*</summary>|</details>")
"""Tags that report helpers write; they hold no text of anybody else's."""
_SQUARES = {"🟩": "g", "🟨": "y", "⬛": "k", "⬜": "w", "🟥": "r", "🟦": "b"}
_SQUARE = re.compile("[" + "".join(_SQUARES) + "]")
_STYLE = """
:root { color-scheme: light dark; --text: #1c1e21; --dim: #667; --line: #d8dbe0; --back: #fff; --code: #f5f6f8; --head: #3355aa; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e6ea; --dim: #99a; --line: #3a3d44; --back: #16181c; --code: #202329; --head: #8fa8ee; } }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--text); background: var(--back); margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.25; margin: 2em 0 .6em; } h1 { margin-top: 0; } h2 { color: var(--head); border-bottom: 1px solid var(--line); padding-bottom: .2em; }
table { margin: 1em 0; border-collapse: collapse; display: block; overflow-x: auto; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .35em .8em; text-align: left; vertical-align: top; } th { color: var(--dim); font-weight: 600; }
td[style*=right], th[style*=right] { text-align: right; }
pre { background: var(--code); border-radius: 6px; padding: .8em 1em; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
code { font: .9em/1.45 ui-monospace, monospace; } :not(pre) > code { background: var(--code); border-radius: 4px; padding: .1em .3em; }
img { max-width: 100%; height: auto; background: #fff; border-radius: 6px; } details { margin: .6em 0; } summary { cursor: pointer; color: var(--head); }
i.sq { display: inline-block; width: 1em; height: 1em; border-radius: 3px; margin: 1px; vertical-align: -.15em; }
i.g { background: #4c9a52; } i.y { background: #cfae3c; } i.k { background: #4a4d52; } i.w { background: #d7dadf; } i.r { background: #c34a43; } i.b { background: #3f72c4; }
"""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def write_html(markdown: str, path: Path, title: str) -> Path:
    """Render markdown to `path`; images are taken from its folder and put into the file. Raises: OSError."""
    body = render(without_controls(markdown), path.parent)
    path.write_text(_PAGE.format(title=html.escape(title), style=_STYLE, body=body), encoding="utf-8")
    return path


def render(markdown: str, folder: Path) -> str:
    """The markdown's HTML, without a page around it. `folder` holds the SVG images that it names."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    tokens = parser.parse(markdown)
    _disarm(tokens, folder)
    rendered: str = parser.renderer.render(tokens, parser.options, {})
    return rendered


def _disarm(tokens: Sequence[Any], folder: Path) -> None:
    for token in tokens:
        if token.children:
            _disarm(token.children, folder)
        if token.type in ("html_block", "html_inline"):
            token.content = _own_tags_only(token.content)
        elif token.type == "text":
            # As HTML, so that squares may become boxes; all else of the text is escaped.
            token.type, token.content = "html_inline", _boxes(html.escape(token.content, quote=False))
        elif token.type == "image":
            _embed(token, folder)
        elif token.type == "link_open":
            address = str(token.attrGet("href") or "")
            if not re.match(r"https?://|#", address):
                token.attrSet("href", "#")
            token.attrSet("rel", "noopener noreferrer")


def _own_tags_only(text: str) -> str:
    parts, done = [], 0
    for tag in _OWN_TAGS.finditer(text):
        parts += [_boxes(html.escape(text[done : tag.start()], quote=False)), tag[0]]
        done = tag.end()
    return "".join([*parts, _boxes(html.escape(text[done:], quote=False))])


def _boxes(text: str) -> str:
    return _SQUARE.sub(lambda found: f'<i class="sq {_SQUARES[found[0]]}" title="{found[0]}"></i>', text)


def _embed(token: Any, folder: Path) -> None:
    """Put an SVG of the report's folder into the page, as an image: nothing in it can run. Any other image is left out."""
    source = str(token.attrGet("src") or "")
    file = folder / source
    if re.fullmatch(r"[A-Za-z0-9._-]+\.svg", source) and file.is_file():
        data = base64.b64encode(file.read_bytes()).decode()
        token.attrSet("src", f"data:image/svg+xml;base64,{data}")
    else:
        token.attrSet("src", "data:,")
