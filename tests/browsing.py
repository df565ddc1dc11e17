"""The site in a real browser: a local server with a strict policy, and what a page does when it is opened.

Playwright drives the Chromium that the machine has; it downloads none.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import re
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Page, Request, TimeoutError, async_playwright

T = TypeVar("T")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DESKTOP, PHONE = 1300, 360  # widths in pixels
THEME_WAITS = 5_000  # milliseconds, on a busy machine, for the theme to find the boxes that scroll
PATIENCE = 120_000  # milliseconds: a busy machine is no finding
AT_ONCE = 3  # pages open side by side: while one waits, another works
PREFIX = "/cosnorm/"  # on GitHub Pages a project has no host of its own but a folder of one

# What a server may forbid without breaking the book. Nothing comes from elsewhere, nothing is evaluated, no
# frame, no plug-in. Styles have to be allowed inside the page: MathJax and the theme's icons write their own
# style sheets, and notebooks color their tables. Scripts inside the page are the theme's (color mode, search
# and MathJax options); they are allowed one by one, by hash, as is the one handler, of the button "print".
POLICY = (
    "default-src 'none'; connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; "
    "img-src 'self' data:; style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-hashes' {hashes}"
)
HANDLER = "window.print()"
_INLINE_SCRIPT = re.compile(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)


def policy(page: str) -> str:
    """Content security policy of a page: ``POLICY`` with the hashes of the scripts that are written in it."""
    allowed = [HANDLER, *_INLINE_SCRIPT.findall(page)]
    digests = {base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in allowed}
    return POLICY.format(hashes=" ".join(f"'sha256-{digest}'" for digest in sorted(digests)))


@cache
def compress(content: bytes) -> bytes:
    """The same, as a server sends it."""
    return gzip.compress(content, compresslevel=6)


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder as GitHub Pages does: under ``PREFIX``, compressed, ``404.html`` for the missing."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with a file, or with the page that says there is none."""
        folder = Path(self.directory)
        asked = unquote(urlsplit(self.path).path)
        file = folder / asked.removeprefix(PREFIX)
        found = asked.startswith(PREFIX) and file.is_file()
        if asked == "/favicon.ico":  # what a browser asks a host for by itself where a page names no icon
            self.send_response(204)
            self.end_headers()
            return
        if not found:
            file = folder / "404.html"
        content = file.read_bytes() if file.is_file() else b"not found"
        kind = self.guess_type(file)
        self.send_response(200 if found else 404)
        if kind == "text/html":
            self.send_header("Content-Security-Policy", policy(content.decode()))
        if kind.startswith(("text/", "application/")) or kind == "image/svg+xml":
            content = compress(content)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "max-age=600")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine, on a free port, and give the address of its root."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: Handler(*args, directory=str(folder)))
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{PREFIX}"
    finally:
        server.shutdown()
        server.server_close()


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The machine's Chromium, without a window and without requests of its own."""
    quiet = [
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
    ]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *quiet])
        yield browser
        await browser.close()


# The elements a reader can operate, in the order of the document. Things that are hidden, or behind something
# inert, cannot be operated.
OPERABLE = """
() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")]
  .filter(e => e.tabIndex >= 0 && !e.disabled && e.type !== "hidden")
  .filter(e => e.checkVisibility({visibilityProperty: true}) && e.getClientRects().length)
  // Of a group of radio buttons, Tab reaches one; arrow keys reach the others.
  .filter(e => e.type !== "radio" || e.checked
    || (e === e.getRootNode().querySelector(`[type="radio"][name="${CSS.escape(e.name)}"]`)
      && !e.getRootNode().querySelector(`[type="radio"][name="${CSS.escape(e.name)}"]:checked`)))
"""
# Write down where the focus goes, and whether what has it looks different from before.
WATCH = """
() => {
  document.head.insertAdjacentHTML("beforeend",
    "<style>*, *::before, *::after { transition: none !important; animation: none !important }</style>");
  // What a link draws over the card around it, it draws after itself.
  const look = e => ["", "::before", "::after"].map(part => getComputedStyle(e, part))
    .flatMap(s => [s.content, s.outline, s.boxShadow, s.border, s.backgroundColor, s.textDecoration]).join();
  const operable = (OPERABLE)();
  const before = new Map(operable.map(e => [e, look(e)]));
  // Named now: on the way, scrolling marks links as those of the section in view.
  const names = new Map(operable.map((e, i) => [e, `${i}: ${e.outerHTML.slice(0, 120)}`]));
  const name = e => names.get(e) ?? `unexpected: ${e.outerHTML.slice(0, 120)}`;
  // The theme unfolds the list of a page's sections where the reader is: no stop before, a stop then.
  const folded = new Set([...document.querySelectorAll("a[href]")].filter(e => !e.checkVisibility()));
  window.walk = {wanted: operable.map(name), reached: [], invisible: [], unfolded: 0};
  document.addEventListener("focusin", ({target}) => {
    if (folded.has(target)) return window.walk.unfolded++;
    window.walk.reached.push(name(target));
    if (look(target) === before.get(target)) window.walk.invisible.push(name(target));
  });
  document.activeElement.blur();
  return operable.length;
}
""".replace("OPERABLE", OPERABLE.strip())

# What a page looks like in the window it has. A table, a program and a formula may be wider than the page
# where they scroll in a box of their own.
LOOK = """
async () => {
  await window.MathJax?.startup?.promise;
  await document.fonts.ready;
  const root = document.documentElement;
  return {
    formulas: document.querySelectorAll("mjx-container").length,
    unset: document.querySelectorAll(".math:not(:has(mjx-container))").length,
    broken: [...document.querySelectorAll("mjx-merror")].map(e => e.textContent),
    excess: root.scrollWidth - root.clientWidth,
    wide: [...document.querySelectorAll("article *")]
      .filter(e => e.getBoundingClientRect().right > root.clientWidth + 1)
      .filter(e => !e.closest("pre, table, .math, mjx-container"))
      .map(e => e.outerHTML.slice(0, 120)),
  };
}
"""

# Bytes as they come over the wire, each file once. A file in the cache counts as it did the first time.
WEIGHT = """
() => {
  const loaded = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
  return Object.values(Object.fromEntries(loaded.map(one => [one.name, one.encodedBodySize])))
    .reduce((sum, size) => sum + size, 0);
}
"""

# What axe need not see again and again: the class of a word in a program or a signature gives its color, and
# axe takes longest over contrast.
PRUNE = """
() => {
  const seen = new Set();
  for (const word of document.querySelectorAll("pre span, dt.sig span, dt.sig em")) {
    const kind = `${word.className} on ${word.closest("pre, dt").parentElement.parentElement.className}`;
    if (seen.has(kind)) word.replaceWith(...word.childNodes);
    seen.add(kind);
  }
}
"""
# MathJax hides from screen readers what is seen of a formula and gives them MathML.
EXAMINED = {"exclude": [["mjx-container"]]}
# The theme lets Tab stop at boxes that scroll, and looks for them a while after the window got another size.
BOXES_OPERABLE = """
() => [...document.querySelectorAll(
    "pre, .cell_output > .output, .jp-RenderedHTMLCommon, .pst-scrollable-table-container")]
  .every(e => e.tabIndex === (e.scrollWidth > e.clientWidth || e.scrollHeight > e.clientHeight ? 0 : -1))
"""
# A change of style starts transitions only when it is drawn: two frames later all of them run.
SETTLED = """
async () => {
  const frame = () => new Promise(requestAnimationFrame);
  do {
    await frame();
    await frame();
    await Promise.allSettled(document.getAnimations().map(one => one.finished));
  } while (document.getAnimations().some(one => one.playState === "running"));
}
"""


@dataclass
class Visit:
    """What opening a page showed. Each list is empty on a good page."""

    errors: list[str] = field(default_factory=list)  # console errors, uncaught exceptions, policy violations
    failed: list[str] = field(default_factory=list)  # requests without a good answer
    outside: list[str] = field(default_factory=list)  # requests to anyone but the book's own server
    weight: int = 0  # bytes transferred
    axe: dict[str, list[str]] = field(default_factory=dict)  # view -> findings, "impact rule: element"
    formulas: int = 0
    unset: int = 0  # formulas that were not typeset
    broken: list[str] = field(default_factory=list)  # formulas set with an error
    excess: int = 0  # pixels by which a phone's page is wider than the phone
    wide: list[str] = field(default_factory=list)  # elements that stick out there
    wanted: list[str] = field(default_factory=list)  # operable elements, in order
    reached: list[str] = field(default_factory=list)  # elements that Tab stops at, in order
    invisible: list[str] = field(default_factory=list)  # elements that look the same with and without focus
    skipped_to: str = ""  # where Tab goes after the skip link was followed

    def serious(self, view: str) -> list[str]:
        """Findings of axe in a view that keep a reader from reading."""
        return [one for one in self.axe[view] if one.startswith(("serious", "critical"))]


def listen(page: Page, base: str) -> Visit:
    """Note from now on what goes wrong on a page that is served from ``base``."""
    visit = Visit()

    def asked(request: Request) -> None:
        if not request.url.startswith((base, "data:", "blob:")):
            visit.outside.append(request.url)

    page.on("console", lambda message: visit.errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: visit.errors.append(str(error)))
    page.on("request", asked)
    page.on("requestfailed", lambda request: visit.failed.append(request.url))
    page.on(
        "response",
        lambda answer: visit.failed.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None,
    )
    return visit


async def resize(page: Page, width: int, height: int) -> None:
    """Give the window another size, and the theme the time to make boxes that scroll now operable."""
    await page.set_viewport_size({"width": width, "height": height})
    with suppress(TimeoutError):  # what axe then finds is a finding
        await page.wait_for_function(BOXES_OPERABLE, timeout=THEME_WAITS)


async def examine(page: Page, **options: Any) -> list[str]:
    """Findings of axe-core on a page as it is now, once colors have stopped changing."""
    await page.evaluate(SETTLED)
    options = {"resultTypes": ["violations"], "preload": False, **options}
    violations = (await Axe().run(page, EXAMINED, options)).response["violations"]
    return [
        f"{rule['impact']} {rule['id']}: {' '.join(map(str, node['target']))} {node['html'][:150]} "
        + " ".join(check["message"] for check in [*node["any"], *node["all"], *node["none"]])
        for rule in violations
        for node in rule["nodes"]
    ]


async def walk(page: Page, visit: Visit) -> None:
    """Go through a page with the Tab key, once."""
    pressed, stops = 0, await page.evaluate(WATCH)
    while pressed < stops:
        for _ in range(stops - pressed):
            await page.keyboard.press("Tab")
        pressed, stops = stops, await page.evaluate("walk.wanted.length + walk.unfolded")
    seen = await page.evaluate("window.walk")
    visit.wanted, visit.reached, visit.invisible = seen["wanted"], seen["reached"], seen["invisible"]
    skip = page.locator(".skip-link a")
    if await skip.count():
        await skip.focus()
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        visit.skipped_to = await page.evaluate("document.activeElement.closest('main, article')?.id ?? ''")


async def load(context: BrowserContext, address: str, base: str) -> tuple[Page, Visit]:
    """Open a page on a desk, by day, and wait until its formulas are set."""
    page = await context.new_page()
    found = listen(page, base)
    await page.goto(address, wait_until="load")
    for name, value in (await page.evaluate(LOOK)).items():
        setattr(found, name, value)
    found.weight = await page.evaluate(WEIGHT)
    return page, found


async def glance(context: BrowserContext, address: str, base: str) -> Visit:
    """Open a page and note what it asks for and complains of."""
    page, found = await load(context, address, base)
    await page.close()
    return found


async def visit(context: BrowserContext, address: str, base: str) -> Visit:
    """Look at a page on a desk by day and by night and on a phone, and use its keyboard."""
    page, found = await load(context, address, base)
    await page.evaluate(PRUNE)
    found.axe["light"] = await examine(page)
    await page.emulate_media(color_scheme="dark")
    found.axe["dark"] = await examine(page, runOnly=["color-contrast"])
    await walk(page, found)
    # Last, for made wide again, Chromium now and then lays a page out too wide at first.
    await resize(page, PHONE, 800)
    narrow = await page.evaluate(LOOK)
    found.excess, found.wide = narrow["excess"], narrow["wide"]
    found.axe["phone"] = await examine(page, rules={"color-contrast": {"enabled": False}})
    await page.close()
    return found


async def search(context: BrowserContext, address: str, base: str, words: str) -> tuple[list[str], Visit]:
    """Search for words with the keyboard, and give the titles that were found."""
    page, found = await load(context, address, base)
    await page.keyboard.press("Control+k")
    await page.keyboard.type(words)
    await page.keyboard.press("Enter")
    await page.locator("#search-results li").first.wait_for()
    await page.wait_for_load_state("networkidle")
    titles = await page.locator("#search-results li > a").all_inner_texts()
    await page.close()
    return titles, found


def each(
    addresses: Iterable[str], base: str, look: Callable[[BrowserContext, str, str], Coroutine[Any, Any, T]]
) -> dict[str, T]:
    """Open pages, some at a time, and look at each. The keys are the addresses below ``base``."""
    wanted = list(addresses)

    async def all_of_them() -> list[T]:
        free = asyncio.Semaphore(AT_ONCE)
        async with chromium() as browser:
            # One context, so that what all pages share comes from the cache, as it does for a reader.
            context = await browser.new_context(
                viewport={"width": DESKTOP, "height": 900}, color_scheme="light", reduced_motion="reduce"
            )
            context.set_default_timeout(PATIENCE)

            async def one(address: str) -> T:
                async with free:
                    return await look(context, base + address, base)

            return await asyncio.gather(*map(one, wanted))

    return dict(zip(wanted, asyncio.run(all_of_them()), strict=True))


def table(seen: dict[str, Visit]) -> str:
    """One line a page: weight, findings of axe, errors, requests to others."""
    lines = [f"{'page':45} {'KB':>5} axe phone/light/dark  errors  third-party"]
    for name, one in seen.items():
        counts = "/".join(str(len(one.axe[view])) for view in ("phone", "light", "dark"))
        lines.append(
            f"{name:45} {one.weight / 1000:5.0f} {counts:>20} {len(one.errors):7} {len(one.outside):12}"
        )
    return "\n".join(lines)
