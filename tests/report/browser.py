# SPDX-License-Identifier: MIT
"""A headless Chromium, by chromedriver's HTTP interface: as much of WebDriver as the tests need."""
import base64
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request


def missing():
    """What is needed and not there, or None."""
    if not shutil.which("chromedriver"):
        return "there is no chromedriver (Debian package: chromium-driver)"
    if not (shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")):
        return "there is no Chromium (Debian package: chromium)"
    return None


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Browser:
    def __init__(self, width=1440, height=1000, dark=False):
        self.folder = tempfile.mkdtemp(prefix="hmm-browser-")
        self.port = free_port()
        self.driver = subprocess.Popen(
            ["chromedriver", f"--port={self.port}", "--log-level=SEVERE"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        self.session = None
        binary = next(b for b in ("chromium", "chromium-browser", "google-chrome") if shutil.which(b))
        arguments = ["--headless=new", "--disable-dev-shm-usage", "--hide-scrollbars",
                     f"--window-size={width},{height}", f"--user-data-dir={self.folder}",
                     "--force-device-scale-factor=1", "--host-resolver-rules=MAP * ~NOTFOUND"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")
        if dark:
            arguments.append("--blink-settings=preferredColorScheme=0")
        capabilities = {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments, "binary": shutil.which(binary)},
            "goog:loggingPrefs": {"browser": "ALL"}}}
        try:
            self.session = self.ask("POST", "/session", {"capabilities": capabilities}, 60)["sessionId"]
        except Exception:
            self.close()
            raise

    def ask(self, method, path, body=None, patience=60):
        url = f"http://127.0.0.1:{self.port}" + (f"/session/{self.session}" if self.session else "") + path
        data = None if body is None else json.dumps(body).encode()
        end = time.monotonic() + patience
        while True:
            try:
                request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
                with urllib.request.urlopen(request, timeout=patience) as answer:
                    return json.load(answer)["value"]
            except urllib.error.HTTPError as error:
                raise RuntimeError(error.read().decode(errors="replace")[:600]) from None
            except (urllib.error.URLError, ConnectionError):
                if self.session or time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def open(self, path):
        self.ask("POST", "/url", {"url": "file://" + os.path.abspath(path)})

    def run(self, script, *arguments):
        """What a function body returns."""
        return self.ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait_for(self, script, seconds=30):
        end = time.monotonic() + seconds
        while not self.run(script):
            if time.monotonic() > end:
                raise RuntimeError("did not come true: " + script)
            time.sleep(0.02)

    def later(self, script):
        """What a function body gives to done(...)."""
        return self.ask("POST", "/execute/async", {"script": "const done = arguments[0];" + script, "args": []})

    def press(self, *keys):
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})
        self.settle()

    def move(self, x, y, *more):
        """The pointer, to points of the window one after the other."""
        points = [(x, y), *more]
        self.pointer([{"type": "pointerMove", "duration": 0, "x": int(a), "y": int(b)} for a, b in points])

    def drag(self, start, end):
        self.pointer([{"type": "pointerMove", "duration": 0, "x": int(start[0]), "y": int(start[1])},
                      {"type": "pointerDown", "button": 0},
                      {"type": "pointerMove", "duration": 60, "x": int(end[0]), "y": int(end[1])},
                      {"type": "pointerUp", "button": 0}])

    def click(self, x, y):
        self.drag((x, y), (x, y))

    def pointer(self, actions):
        self.ask("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse",
                                                   "parameters": {"pointerType": "mouse"}, "actions": actions}]})
        self.settle()

    def settle(self):
        """Until what has changed is drawn."""
        self.later("requestAnimationFrame(() => requestAnimationFrame(() => done(true)));")

    def box(self, selector):
        """Of an element, scrolled into sight: x, y, width, height in the window."""
        return self.run("const e = document.querySelector(arguments[0]);"
                        "e.scrollIntoView({block: 'center', behavior: 'instant'});"
                        "const r = e.getBoundingClientRect(); return [r.x, r.y, r.width, r.height];", selector)

    def complaints(self):
        """What the console says, since the last time it was asked."""
        return [entry["message"] for entry in self.ask("POST", "/se/log", {"type": "browser"})]

    def command(self, name, **parameters):
        """One of the browser's own protocol."""
        return self.ask("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def picture(self, path, whole=True):
        shot = self.command("Page.captureScreenshot", captureBeyondViewport=whole, **(
            {"clip": dict(x=0, y=0, scale=1, **self.run(
                "return {width: document.documentElement.clientWidth,"
                "height: document.documentElement.scrollHeight};"))} if whole else {}))
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))

    def close(self):
        try:
            if self.session:
                self.ask("DELETE", "")
        finally:
            self.driver.terminate()
            try:
                self.driver.wait(10)
            except subprocess.TimeoutExpired:
                self.driver.kill()
            shutil.rmtree(self.folder, ignore_errors=True)
