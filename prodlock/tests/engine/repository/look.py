"""Open a page in Chromium and print what happens, as JSON: runs in the browser's container.

The page is on standard input. It is opened in each width and colour scheme, with all its details unfolded.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

WIDTHS, SCHEMES = (1280, 390), ("light", "dark")
PAGE = Path("/tmp/page.html")
# What does not fit: the page, a table that scrolls, a drawing's part. And what is there.
FACTS = """(() => {
  document.querySelectorAll("details").forEach(one => { one.open = true; });
  const shown = one => one.getClientRects().length > 0;
  const color = (one, name) => getComputedStyle(one)[name];
  const figures = [...document.querySelectorAll("figure > svg")].filter(shown);
  const outside = figures.flatMap(figure => {
    const frame = figure.getBoundingClientRect();
    return [...figure.querySelectorAll("rect, svg")].filter(one => {
      const box = one.getBoundingClientRect();
      return box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1;
    });
  });
  return {
    overflow: document.documentElement.scrollWidth - innerWidth,
    scrolled: [...document.querySelectorAll(".scroll")].filter(one => one.scrollWidth > one.clientWidth).length,
    figures: figures.length,
    labels: figures.flatMap(figure => [...figure.querySelectorAll("text")].map(one => one.textContent)),
    outside: outside.length,
    scripts: document.scripts.length,
    paper: color(document.body, "backgroundColor"),
    ink: color(document.body, "color"),
    text: document.body.innerText,
  };
})()"""


class Browser:
    """Chromium, controlled by the DevTools protocol through two pipes."""

    def __init__(self) -> None:
        (reading, self.commands), (self.answers, writing) = os.pipe(), os.pipe()
        # Chromium reads from 3 and writes to 4.
        high = [fcntl.fcntl(one, fcntl.F_DUPFD, 10) for one in (reading, self.commands, self.answers, writing)]
        reading, self.commands, self.answers, writing = high
        os.dup2(reading, 3)
        os.dup2(writing, 4)
        options = ["--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        self.process = subprocess.Popen(
            ["chromium-headless-shell", *options],  # noqa: S607
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.numbers = itertools.count(1)
        self.received = b""
        self.events: list[dict[str, Any]] = []
        self.session: dict[str, str] = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def next(self) -> dict[str, Any]:
        """Return the next message."""
        while b"\0" not in self.received:
            more = os.read(self.answers, 1 << 16)
            if not more:
                sys.exit("Chromium has ended")
            self.received += more
        message, _, self.received = self.received.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def call(self, method: str, **params: Any) -> dict[str, Any]:  # noqa: ANN401
        """Call a method and return its result."""
        number = next(self.numbers)
        command = {"id": number, "method": method, "params": params} | self.session
        os.write(self.commands, json.dumps(command).encode() + b"\0")
        while (message := self.next()).get("id") != number:
            self.events.append(message)
        result: dict[str, Any] = message["result"]
        return result

    def look(self, width: int, scheme: str) -> dict[str, Any]:
        """Open the page, and return facts, requests and errors."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.call("Page.navigate", url=PAGE.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self.next())
        facts: dict[str, Any] = self.call("Runtime.evaluate", expression=FACTS, returnByValue=True)["result"]["value"]
        facts["requests"] = [
            event["params"]["request"]["url"] for event in self.events if event["method"] == "Network.requestWillBeSent"
        ]
        facts["errors"] = [
            event["params"]
            for event in self.events
            if event["method"] in {"Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"}
        ]
        return facts | {"width": width, "scheme": scheme}


if __name__ == "__main__":
    PAGE.write_bytes(sys.stdin.buffer.read())
    chromium = Browser()
    print(json.dumps([chromium.look(width, scheme) for width in WIDTHS for scheme in SCHEMES]))
    chromium.process.kill()
