#!/usr/bin/env python3
"""The page of `djr view` in a headless Chromium, used as a person uses it.

    cargo build && tests/browser/view.py                      # makes its own rows
    tests/browser/view.py --look ANALYSIS --shot docs/view.png

Moves a slider by keys, reads the count, writes the recipe by a click, runs it, and compares. Fails
on a message in the console, on a request to anywhere but the page, on markup out of a caption.
Needs Python alone; the browser is spoken to over a pipe.
"""

import argparse
import base64
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

EVIL = "<script>document.title='owned'</script><img src=http://canary.invalid/x onerror=alert(1)>"
RECIPE = """\
dataset_path: rows.jsonl
export_path: out.jsonl
process:
  - text_length_filter: {min_len: 5, max_len: 230}
  - words_num_filter: {max_num: 80}
  - image_shape_filter: {min_width: 30}
"""


class Browser:
    """Chromium, told what to do by its protocol for debuggers."""

    def __init__(self, name, home):
        to_browser, self.to = os.pipe()
        self.out, from_browser = os.pipe()

        def wire():
            # The browser reads from 3 and writes to 4.
            read, write = os.dup(to_browser), os.dup(from_browser)
            os.dup2(read, 3)
            os.dup2(write, 4)

        options = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync --remote-debugging-pipe --window-size=1280,1000"
        self.process = subprocess.Popen(
            [name, *options.split(), f"--user-data-dir={home}", "about:blank"],
            close_fds=False, preexec_fn=wire, start_new_session=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": str(home.parent)},
        )
        os.close(to_browser)
        os.close(from_browser)
        self.rest = b""
        self.number = 0
        self.session = None
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def receive(self):
        while b"\0" not in self.rest:
            block = os.read(self.out, 1 << 16)
            if not block:
                raise RuntimeError("the browser went away")
            self.rest += block
        line, self.rest = self.rest.split(b"\0", 1)
        message = json.loads(line)
        if "method" in message:
            self.events.append(message)
        return message

    def value(self, script):
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, script, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.value(script)
            if found:
                return found
            time.sleep(0.05)
        raise RuntimeError(f"never true: {script}")

    def key(self, name, times=1):
        for _ in range(times):
            for kind in ["rawKeyDown", "keyUp"]:
                code = {"ArrowLeft": 37, "ArrowRight": 39, "End": 35, "Home": 36}[name]
                self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code)

    def click(self, selector):
        box = self.value(f"(() => {{ const e = document.querySelector({selector!r}); e.scrollIntoView({{block: 'nearest'}}); const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()")
        for kind in ["mousePressed", "mouseReleased"]:
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def close(self):
        """Ends the browser and its helper processes, which outlive it for a moment and write meanwhile."""
        self.process.terminate()
        self.process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def make_rows(home):
    words = ["a", "kite", "the red boat", "harbour", "of", "quiet morning", "no"]
    state = 7
    lines = []
    for width, height in [(20, 20), (64, 48), (120, 90)]:
        pixels = bytes((x * 255 // width, y * 255 // height, 120)[c] for y in range(height) for x in range(width) for c in range(3))
        (home / f"{width}.ppm").write_bytes(b"P6 %d %d 255\n" % (width, height) + pixels)
    for number in range(500):
        picked = []
        state = (state * 1103515245 + 12345) % (1 << 31)
        for at in range(1 + (state >> 16) % 30):
            state = (state * 1103515245 + 12345) % (1 << 31)
            picked.append(words[(state >> 16) % len(words)])
        text = EVIL if number == 250 else " ".join(picked)
        image = [20, 64, 120][(state >> 8) % 3]
        lines.append(json.dumps({"id": f"row-{number}", "text": text, "images": [f"{image}.ppm"]}))
    (home / "rows.jsonl").write_text("\n".join(lines) + "\n")
    (home / "r.yaml").write_text(RECIPE)


def check(fact, what):
    if not fact:
        raise AssertionError(what)


def use(browser, address, home, djr):
    shown = "document.getElementById('left').textContent"
    count = lambda: int(browser.value(shown).replace(",", ""))
    title = browser.value("document.title")
    knob = "document.querySelector('input[type=range][data-knob=\"text_length_filter.max_len\"]')"
    browser.value(f"{knob}.focus()")
    before = count()
    # To the end of the texts, then so far that the hostile caption is next to the bound.
    browser.key("End")
    browser.key("ArrowLeft", 90)
    browser.wait(f"{shown} !== {json.dumps(f'{before:,}')}")
    bound = float(browser.value(f"{knob}.value"))
    number = "document.querySelector('input[type=number][data-knob=\"text_length_filter.max_len\"]')"
    browser.value(f"{number}.focus(); {number}.value = {len(EVIL)}; {number}.dispatchEvent(new Event('change')); {number}.blur()")
    near = "document.querySelector('.near').textContent"
    browser.wait(f"{near}.includes({json.dumps(EVIL)})")
    check(browser.value("document.querySelectorAll('.near img').length") > 0, "no thumbnails next to the bound")
    browser.value(f"{knob}.focus()")
    browser.key("ArrowLeft", 3)
    end = float(browser.value(f"{knob}.value"))
    check(end < len(EVIL) < bound + 400, f"the slider stands at {end}")
    time.sleep(0.5)
    left = count()
    check(0 < left < 500, f"{left} rows are left")
    texts = [len(json.loads(line)["text"]) for line in (home / "rows.jsonl").read_text().splitlines()]
    check(sum(length > end for length in texts) > 0, "nothing lies beyond the bound")

    browser.click("#write")
    said = browser.wait("(t => t.startsWith('Written') && t)(document.getElementById('said').textContent)")
    check("view-1.yaml" in said, said)
    done = subprocess.run([djr, "run", "view-1.yaml"], cwd=home, capture_output=True, text=True)
    check(done.returncode == 0, done.stderr)
    rows = (home / "view-1/out.jsonl").read_text().splitlines()
    check(len(rows) == left, f"the page says {left} rows, the recipe leaves {len(rows)}")
    print(f"max_len {end:g}: the page says {left} rows, the recipe it wrote leaves {len(rows)}")

    browser.click("nav button[data-tab=rows]")
    browser.value("(w => { w.selectedIndex = 2; w.dispatchEvent(new Event('change')); })(document.getElementById('which'))")
    dropped = 500 - sum(length <= end and length >= 5 for length in texts)
    browser.wait(f"document.getElementById('where').textContent.endsWith('of {dropped}')")
    browser.click("nav button[data-tab=clusters]")
    browser.wait("document.getElementById('cwhere').textContent !== ''")
    browser.click("nav button[data-tab=bounds]")
    browser.click("#reset")
    browser.wait(f"{shown} === {json.dumps(f'{before:,}')}")

    check(browser.value("document.title") == title, "a caption changed the title")
    check(browser.value("document.querySelectorAll('script').length") == 1, "there is another script")
    check(browser.value("document.querySelectorAll('[onerror], img[src^=http]').length") == 0, "markup came out of a caption")


def quiet(browser, address):
    """What the browser noticed: no complaint, no request elsewhere."""
    urls = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    elsewhere = [url for url in urls if not url.startswith((address, "data:", "blob:", "about:"))]
    check(len(urls) > 3 and not elsewhere, f"requests elsewhere: {elsewhere}")
    noise = [e for e in browser.events if e["method"] in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")]
    check(not noise, f"the console says {noise}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--djr", default=str(pathlib.Path(__file__).parents[2] / "target/debug/djr"))
    parser.add_argument("--browser", default="chromium")
    parser.add_argument("--look", help="an analysis or a run to be shown instead")
    parser.add_argument("--shot", help="where a picture of the page goes")
    args = parser.parse_args()
    # A helper of the browser may still be writing its last file while the directory goes.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        home = pathlib.Path(scratch)
        if not args.look:
            make_rows(home)
            subprocess.run([args.djr, "analyze", "--recipe", "r.yaml", "-o", "look"], cwd=home, check=True, capture_output=True)
        look = pathlib.Path(args.look).absolute() if args.look else "look"
        served = subprocess.Popen([args.djr, "view", look], cwd=home, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        browser = None
        try:
            address = served.stdout.readline().strip()
            browser = Browser(args.browser, home / "browser")
            # What is looked for is found where it is.
            browser.call("Page.navigate", url="data:text/html,<script>console.error('canary')</script><img src=http://canary.invalid/x>")
            browser.wait("document.readyState === 'complete'")
            try:
                quiet(browser, address)
                raise RuntimeError("a canary was not noticed")
            except AssertionError:
                browser.events.clear()
            browser.call("Page.navigate", url=address)
            browser.wait("document.querySelector('.step') && document.getElementById('left').dataset.ms")
            if args.look:
                browser.value("(k => { k.focus(); })(document.querySelector('input[type=range]'))")
                browser.key("ArrowRight", 2)
                time.sleep(2)
            else:
                use(browser, address, home, args.djr)
                quiet(browser, address)
            if args.shot:
                shot = browser.call("Page.captureScreenshot", format="png")
                pathlib.Path(args.shot).write_bytes(base64.b64decode(shot["data"]))
        finally:
            if browser:
                browser.close()
            served.send_signal(signal.SIGINT)
            code = served.wait(timeout=30)
    check(code == 0, f"djr view ended with {code}")
    print("all is well")


if __name__ == "__main__":
    sys.exit(main())
