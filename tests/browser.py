"""A real browser in which pages are opened and measured; the fixture ``browser`` of conftest.py hands one out."""

import base64
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe"),
    "--hide-scrollbars",
)

MEASURE = """(() => {
  const all = selector => [...document.querySelectorAll(selector)];
  const outside = (inner, outer) => inner.left < outer.left - 1.5 || inner.right > outer.right + 1.5;
  const box = element => element.getBoundingClientRect();
  const shown = elements => elements.filter(e => box(e).height > 0);
  return {
    width: innerWidth,
    page: document.documentElement.scrollWidth,
    wide: all("body *").filter(e => !e.closest(".scroll, pre, svg") && box(e).right > innerWidth + 0.5)
      .map(e => e.outerHTML.slice(0, 90)),
    cut: all(".chart svg").filter(svg => shown([...svg.querySelectorAll("text")]).some(e => outside(box(e), box(svg))))
      .map(svg => svg.getAttribute("aria-labelledby")),
    text: Math.min(...shown(all(".chart svg text")).map(e => box(e).height)),
    broken: [...document.images].filter(image => !image.complete || !image.naturalWidth).length,
    ink: getComputedStyle(document.body).color,
    paper: getComputedStyle(document.body).backgroundColor,
  };
})()"""


class Browser:
    """A headless Chromium that talks to nobody, spoken to through a pipe in its own protocol."""

    def __init__(self, profile: Path) -> None:
        ours, theirs = os.pipe(), os.pipe()
        # Chromium reads from descriptor 3 and writes to 4.
        script = (
            f"exec {shlex.join([str(CHROMIUM), *OPTIONS, f'--user-data-dir={profile}'])} 3<&{ours[0]} 4>&{theirs[1]}"
        )
        self.process = subprocess.Popen(
            ["bash", "-c", script], pass_fds=(ours[0], theirs[1]), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        os.close(ours[0])
        os.close(theirs[1])
        self.sending, self.receiving = os.fdopen(ours[1], "wb", 0), os.fdopen(theirs[0], "rb")
        self.count, self.session, self.events = 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict:
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        self.sending.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.count:
                assert "error" not in answer, answer
                return answer["result"]

    def read(self) -> dict:
        text = bytearray()
        while (byte := self.receiving.read(1)) != b"\0":
            assert byte, "the browser has gone"
            text += byte
        message = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message

    def open(self, page: Path, width: int, scheme: str) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.read()

    def evaluate(self, expression: str) -> dict:
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"]["value"]

    def picture(self) -> bytes:
        height = self.evaluate("document.documentElement.scrollHeight")
        width = self.evaluate("innerWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        return base64.b64decode(self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)["data"])

    def complaints(self) -> list[dict]:
        loud = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Network.loadingFailed"}
        return [event for event in self.events if event["method"] in loud]

    def asked(self) -> list[str]:
        requests = [event for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [request["params"]["request"]["url"] for request in requests]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.sending.close()
        self.receiving.close()


def assert_reads_well(browser: Browser, page: Path, width: int, scheme: str) -> None:
    """Nothing is cut off or too wide, asked of a network or complained of, and all pictures are there."""
    browser.open(page, width, scheme)
    measured = browser.evaluate(MEASURE)
    pictures = os.environ.get("ADACORE_TEST_PICTURES")
    if pictures:
        Path(pictures, f"{page.stem}-{width}-{scheme}.png").write_bytes(browser.picture())
    assert browser.complaints() == []
    assert all(url.startswith(("file:", "data:")) for url in browser.asked())
    assert measured["width"] == width
    assert measured["page"] <= width
    assert measured["wide"] == []
    assert measured["cut"] == []
    assert measured["broken"] == 0
    assert measured["text"] >= 9  # pixels
    ink, paper = (sum(map(int, re.findall(r"\d+", measured[name])[:3])) for name in ("ink", "paper"))
    assert (ink < paper) == (scheme == "light")
