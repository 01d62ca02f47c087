"""The report as one HTML file, in a real Chromium: complete, silent on the network, and deaf to what models write."""

import http.server
import re
import threading

import pytest
from tests.fakes.browser import OWN, open_file

from tenyson.reporting.pipeline import write_report
from tenyson.telemetry.events import RolloutFinished


@pytest.fixture
def spy():
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def hostile(url):
    script = f"document.title='taken';fetch('{url}/fetched')"
    return [
        f"<script>{script}</script>",
        f"<img src='{url}/image.png' onerror=\"{script}\">",
        f'<svg onload="{script}"><image href="{url}/svg.png"/></svg>',
        f"```\n</code></pre><script>{script}</script>\n```",
        f"[a link](javascript:{script}) ![an image]({url}/markdown.png)",
        f"<details><summary>x</summary><iframe src='{url}/frame'></iframe></details>",
        f"\x1b]0;taken\x07\x1b[31mred</td></tr></table><style>@import url({url}/style.css)</style>",
        f"<meta http-equiv='refresh' content='0;url={url}/moved'><base href='{url}/'>",
    ]


@pytest.mark.slow
def test_hostile_completions_are_inert_and_nothing_is_asked_of_the_network(jobs, tmp_path, spy):
    """Scripts, handlers, frames, styles, links and escape sequences are shown as the text that they are."""
    url, asked = spy
    texts = hostile(url)
    events = [
        RolloutFinished(
            run_id="eval", phase="eval", training=False, step=0, sample_id=f"{n}|`{text[:30]}", group="g", prompt=text,
            completion=text, reward=float(n % 3), components={f"<b>{n}</b>": 1.0}, info={}, finish_reason=text[:20],
        )
        for n, text in enumerate(texts)
    ]  # fmt: skip
    stage = jobs.job("eval<script>", "eval", events, {}, samples=len(texts))
    template = tmp_path / "template.md"
    # Raw, too: as a careless helper of a plugin would put it.
    template.write_text("# {title}\n\n{samples}\n\n{findings}\n\n" + "\n\n".join(texts).replace("{", "{ "))
    path = write_report("<img src=x onerror=alert(1)>", [stage], tmp_path / "report", template=template)
    text = path.with_suffix(".html").read_text(encoding="utf-8")
    assert "\x1b" not in text
    opened = open_file(path.with_suffix(".html"), tmp_path)
    assert asked == []
    assert [request for request in opened.requests if not OWN.match(request)] == []
    assert "<title>taken" not in opened.dom
    body = opened.dom.partition("<body>")[2]
    assert not re.search(
        r"<(script|iframe|svg|style|meta|base|object|embed|form|link)\b", body, re.IGNORECASE
    )
    assert not re.search(r"<[^>]+\son\w+\s*=", body)
    assert not re.search(r"href=\"(?!https?://|#)", body)
    # Shown, not swallowed.
    assert body.count("&lt;script&gt;") >= 3
    assert "&lt;iframe" in body


@pytest.mark.slow
def test_plots_are_inside_and_squares_are_boxes(jobs, tmp_path):
    """Curves as images in the file, drawn; coloured squares as boxes of the page."""
    stages = [jobs.training("sft", "sft", loss=[3.0, 2.0, 1.0]), jobs.evaluation("after", 0.6)]
    template = tmp_path / "template.md"
    template.write_text("# {title}\n\n{curves}\n\n| a | b |\n| --- | --- |\n| 🟩🟨⬛<br>🟥 crane | x |\n")
    path = write_report("Plots", stages, tmp_path / "report", template=template)
    opened = open_file(path.with_suffix(".html"), tmp_path)
    assert opened.dom.count('<img src="data:image/svg+xml;base64,') == 1
    assert re.findall(r'<i class="sq (\w)"', opened.dom) == ["g", "y", "k", "r"]
    assert "<br>" in opened.dom
    assert opened.screenshot.stat().st_size > 5000
    # Alone in another folder it is the same page.
    alone = tmp_path / "elsewhere" / "page.html"
    alone.parent.mkdir()
    alone.write_bytes(path.with_suffix(".html").read_bytes())
    assert open_file(alone, tmp_path / "elsewhere").dom == opened.dom
