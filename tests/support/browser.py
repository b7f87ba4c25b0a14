"""Debian's chromium without a window, driven by its chromedriver in the W3C WebDriver protocol."""

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request

COMMANDS = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
FLAGS = (
    *("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync"),
    *("disable-background-networking", "disable-component-update", "hide-scrollbars"),
)
KEYS = {"Tab": "\ue004", "Left": "\ue012", "Up": "\ue013", "Right": "\ue014", "Down": "\ue015", "Space": " "}


class Browser:
    """A session of the driver; commands are paths below it."""

    def __init__(self, session: str):
        self.session = session

    def send(self, path: str, body: dict | None = None):
        """Send a command, with a body as POST; return the value of the answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.session}/{path}".rstrip("/"), data)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None

    def open(self, path, width: int = 1280, height: int = 900, dark: bool = False):
        """Open a file in a window of this size, in a colour scheme; return when it has been drawn."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[scheme])
        self.send("url", {"url": path.resolve().as_uri()})
        self.frame()

    def devtools(self, command: str, **parameters):
        """Send a command of the DevTools protocol."""
        return self.send("goog/cdp/execute", {"cmd": command, "params": parameters})

    def run(self, script: str, *arguments):
        """Return what a script returns that is the body of a function of these arguments."""
        return self.send("execute/sync", {"script": script, "args": list(arguments)})

    def frame(self) -> None:
        """Wait until two frames have been drawn."""
        wait = "requestAnimationFrame(() => requestAnimationFrame(() => arguments[0]()))"
        self.send("execute/async", {"script": wait, "args": []})

    def press(self, *keys: str, times: int = 1) -> None:
        """Press keys of the keyboard one after another, and wait for the page."""
        strokes = [KEYS.get(key, key) for key in keys] * times
        actions = [{"type": kind, "value": key} for key in strokes for kind in ("keyDown", "keyUp")]
        self.send("actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})
        self.frame()

    def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Press the mouse at a place of the window and move it to another."""
        moves = [{"type": "pointerMove", "duration": 0, "x": int(x), "y": int(y)} for x, y in (start, end)]
        press, release = ({"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp"))
        actions = [moves[0], press, moves[1], release]
        self.send("actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": actions}]})
        self.frame()

    def messages(self, kind: str = "browser") -> list[str]:
        """Return the lines of a log since the last call: of the console, or `performance`, of the network."""
        return [entry["message"] for entry in self.send("se/log", {"type": kind})]

    def screenshot(self) -> bytes:
        """Return a PNG file of the window."""
        return base64.b64decode(self.send("screenshot"))


@contextlib.contextmanager
def browser():
    """Start driver and browser, with an empty profile; yield a Browser."""
    with tempfile.TemporaryDirectory() as profile:
        command = [COMMANDS["chromedriver"], "--port=0"]
        driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            line = next(line for line in driver.stdout if "started successfully on port" in line)
            address = f"http://127.0.0.1:{line.rstrip().rstrip('.').rpartition(' ')[2]}/session"
            options = {
                "binary": COMMANDS["chromium"],
                "args": [*(f"--{flag}" for flag in FLAGS), f"--user-data-dir={profile}"],
            }
            logs = {"browser": "ALL", "performance": "ALL"}
            wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": logs}
            session = Browser(address).send("", {"capabilities": {"alwaysMatch": wanted}})
            yield Browser(f"{address}/{session['sessionId']}")
            request = urllib.request.Request(f"{address}/{session['sessionId']}", method="DELETE")
            urllib.request.urlopen(request, timeout=120).close()
        finally:
            driver.terminate()
            driver.wait()
