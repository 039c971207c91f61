"""The page in a real browser: Debian's Chromium, with a clip as its camera."""

import csv
import json
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict
from fractions import Fraction
from io import StringIO
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import av
import cv2
import numpy as np
import pytest

from affectlens import Analysis, Analyzer
from affectlens.apps.server.limits import Limits
from affectlens.apps.server.schemas import to_wire
from affectlens.core.csv_lines import csv_line
from affectlens.runtime.media import PORTRAIT
from affectlens.runtime.tables import read_series
from affectlens.runtime.writers import csv as csv_format

pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
expect.set_options(timeout=15_000)

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream",
)  # fmt: skip
FRAMES, FPS = 24, 12


@pytest.fixture(scope="module")
def camera(tmp_path_factory, portrait):
    """A clip for Chromium's fake camera: the portrait, swaying."""
    file = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    with av.open(str(file), "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=15, options={"q": "3"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuvj420p"
        for number in range(30):
            move = np.array([[1, 0, 64 + 12 * np.sin(number / 5)], [0, 1, 0]])
            image = cv2.warpAffine(portrait, move, (640, 480))
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(picture.reformat(format="yuvj420p")))
        container.mux(stream.encode(None))
    return file


@pytest.fixture(scope="module")
def browse(camera):
    """Starts Chromium with a clip as camera that is allowed or refused; the same one for the same wishes."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium on this machine; the page is not tested")
    with sync_api.sync_playwright() as playwright:
        started = {}

        def start(clip=camera, answer=""):
            if (clip, answer) not in started:
                fake = (f"--use-file-for-fake-video-capture={clip}", f"--use-fake-ui-for-media-stream{answer}")
                started[clip, answer] = playwright.chromium.launch(executable_path=path, args=[*FLAGS, *fake])
            return started[clip, answer]

        yield start
        for browser in started.values():
            browser.close()


@pytest.fixture
def visit(browse):
    """Opens the page in a context of its own; what the browser complains of, and other hosts, fail the test."""
    contexts, complaints, asked = [], [], []

    def open_page(url, browser=None, strict=True, **options):
        context = (browser or browse()).new_context(**{"permissions": ["camera"], "base_url": url} | options)
        contexts.append(context)
        context.set_default_timeout(15_000)
        page = context.new_page()
        page.on("request", lambda request: asked.append((url, request.url)))
        page.on("websocket", lambda opened: asked.append((url, opened.url)))
        if strict:
            page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        page.locator("body.ready").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    elsewhere = [
        to for url, to in asked if not to.startswith(("blob:", "data:")) and urlsplit(to).netloc != urlsplit(url).netloc
    ]
    assert elsewhere == []


@pytest.fixture(scope="module")
def clip(tmp_path_factory, portrait, make_video):
    """The portrait, swaying, with the number of the frame as a shade of gray at the bottom."""
    frames = []
    for number in range(FRAMES):
        frame = np.roll(portrait, 2 * number, axis=1)
        frame[-64:] = 8 + 10 * number
        frames.append(frame)
    return make_video(tmp_path_factory.mktemp("clips") / "a clip, swaying.mp4", frames, fps=FPS)


@pytest.fixture
def review(visit, url):
    """A page whose Review workspace is open, and what drops files into it."""

    def open_review(address=url, **options):
        page = visit(address, **options)
        page.get_by_role("tab", name="Review").click()
        return page

    return open_review


def drop(page, *files):
    page.locator("#review [type=file]").set_input_files(
        [str(file) if isinstance(file, Path) else file for file in files]
    )


def status(page, workspace, text, timeout=20_000):
    expect(page.locator(f"#{workspace} .status")).to_have_text(re.compile(text), timeout=timeout)


def described(page, selector, text, timeout=15_000):
    expect(page.locator(selector)).to_have_attribute("aria-label", re.compile(text), timeout=timeout)


def drawn(page, selector, colour, within=24):
    """Share of a canvas's pixels that have about this colour #rrggbb."""
    return page.locator(selector).evaluate(
        """(canvas, [colour, within]) => {
            const wanted = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            let count = 0;
            for (let at = 0; at < data.length; at += 4)
                count += data[at + 3] > 200 && wanted.every((part, i) => Math.abs(data[at + i] - part) <= within);
            return count / (data.length / 4);
        }""",
        [colour, within],
    )


def shown_frame(page):
    """Number of the frame that the video shows, by its shade of gray; polled until two looks agree."""
    look = """(video) => {
        const { videoWidth: width, videoHeight: height } = video;
        const canvas = Object.assign(document.createElement("canvas"), { width, height });
        const pen = canvas.getContext("2d", { willReadFrequently: true });
        pen.drawImage(video, 0, 0);
        return video.seeking ? null : pen.getImageData(20, height - 20, 1, 1).data[0];
    }"""
    last = None
    for _ in range(500):  # 20 s: a browser beside busy tests takes long to seek
        gray = page.locator("#review video").evaluate(look)
        if gray is not None and gray == last:
            return round((gray - 8) / 10)
        last = gray
        page.wait_for_timeout(40)
    raise AssertionError("the video does not come to rest")


def saved(page, button):
    with page.expect_download() as waiting:
        page.get_by_role("button", name=button).click()
    return waiting.value


# Live


def start(page, text="The camera is on"):
    page.get_by_role("button", name="Start camera").click()
    status(page, "live", text)


def test_live_reads_a_face_and_lets_the_camera_go(visit, url):
    page = visit(url)
    start(page)
    expect(page.locator("#live .answer strong")).to_have_text("happiness")
    described(page, "#live .overlay", r"Face 0: happiness 9\d %, valence \+0\.")
    described(page, "#live .circle", r"Valence \+0\.\d\d, arousal \+0\.\d\d; trail of \d\d+ points")
    described(page, "#live .recent", r"Face 0 for [2-9] s: happiness")
    for canvas in (".overlay", ".circle", ".recent"):
        assert drawn(page, f"#live {canvas}", "#f5b400") > 0.0005, canvas
    page.get_by_label("Name", exact=True).fill("Eileen")
    described(page, "#live .overlay", "Eileen: happiness")
    expect(page.locator("#live .figures")).to_have_text(re.compile(r"^\d+ pictures per second · \d+ ms$"))
    page.get_by_text("All faces as a table").first.click()
    expect(page.get_by_role("row", name=re.compile("Eileen happiness"))).to_be_visible()
    page.evaluate("window.camera = document.querySelector('#live video').srcObject.getVideoTracks()[0]")
    page.get_by_role("button", name="Stop camera").click()
    status(page, "live", "The camera is off")
    assert page.evaluate("window.camera.readyState") == "ended"


def test_leaving_the_workspace_lets_the_camera_go(visit, url):
    page = visit(url)
    start(page)
    page.evaluate("window.camera = document.querySelector('#live video').srcObject.getVideoTracks()[0]")
    page.get_by_role("tab", name="Review").click()
    assert page.evaluate("window.camera.readyState") == "ended"


COUNT = """() => {
    Object.assign(window, { sent: 0, most: 0, answered: 0 });
    const { send } = WebSocket.prototype;
    WebSocket.prototype.send = function (data) {
        if (!window.sent++) this.addEventListener("message", () => window.answered++);
        window.most = Math.max(window.most, window.sent - window.answered);
        send.call(this, data);
    };
}"""


def test_at_most_two_pictures_are_under_way_and_none_of_a_hidden_page(visit, url):
    page = visit(url)
    page.evaluate(COUNT)
    start(page)
    described(page, "#live .circle", r"trail of \d\d points")
    assert page.evaluate("sent") > 10
    assert 1 <= page.evaluate("most") <= 2
    page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    page.wait_for_timeout(200)
    before = page.evaluate("sent")
    page.wait_for_timeout(400)
    assert page.evaluate("sent") == before
    page.evaluate("delete document.hidden")
    page.wait_for_function("before => sent > before", arg=before)


def test_a_real_clip_as_camera(visit, browse, url, media, tmp_path):
    file = tmp_path / "camera.mjpeg"
    with av.open(str(media("single_face.mp4"))) as read, av.open(str(file), "w", format="mjpeg") as write:
        stream = write.add_stream("mjpeg", rate=25, options={"q": "3"})
        source = read.streams.video[0]
        stream.width, stream.height, stream.pix_fmt = source.width, source.height, "yuvj420p"
        for number, frame in enumerate(read.decode(source)):
            picture = frame.reformat(format="yuvj420p")
            picture.pts, picture.time_base = number, Fraction(1, 25)
            write.mux(stream.encode(picture))
        write.mux(stream.encode(None))
    page = visit(url, browse(file))
    start(page)
    described(page, "#live .overlay", r"Face \d+: \w+")
    described(page, "#live .recent", r"Face \d+ for [1-9]")


@pytest.mark.parametrize(
    ("failing", "text"),
    [
        ("NotAllowedError", "Camera access was denied"),
        ("NotFoundError", "No camera was found"),
        ("NotReadableError", "another program may be using it"),
    ],
)
def test_no_camera_is_said_in_a_line(visit, url, failing, text):
    page = visit(url)
    page.evaluate(
        "(name) => (navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', name)))", failing
    )
    start(page, text)
    expect(page.get_by_role("button", name="Start camera")).to_be_visible()


def test_a_refused_camera_is_said(visit, browse, url):
    page = visit(url, browse(answer="=deny"), permissions=[])
    start(page, "Camera access was denied")


def test_an_unplugged_camera_is_said(visit, url):
    page = visit(url)
    start(page)
    page.evaluate(
        "document.querySelector('#live video').srcObject.getVideoTracks()[0].dispatchEvent(new Event('ended'))"
    )
    status(page, "live", "The camera was disconnected")


@contextmanager
def process(port):
    """`affectlens serve` as a process, to be killed."""
    command = [sys.executable, "-m", "affectlens", "serve", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        running.stdout.readline()
        for _ in range(100):
            try:
                urlopen(f"http://127.0.0.1:{port}/healthz").close()
                break
            except OSError:
                time.sleep(0.05)
        try:
            yield running
        finally:
            running.kill()


def test_a_service_that_is_gone_is_said_once_and_found_again(visit):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with process(port):
        page = visit(f"http://127.0.0.1:{port}", strict=False)
        start(page)
        expect(page.locator("#live .answer strong")).to_have_text("happiness")
        page.evaluate(
            """() => {
                window.said = [];
                const line = document.querySelector("#live .status");
                new MutationObserver(() => said.push(line.textContent)).observe(line, { childList: true });
            }"""
        )
    status(page, "live", "The service is unreachable or busy. Trying again")
    page.wait_for_timeout(1200)
    with process(port):
        status(page, "live", "Reconnected")
        expect(page.locator("#live .answer strong")).to_have_text("happiness")
    assert [line[:12] for line in page.evaluate("said")][:2] == ["The service ", "Reconnected;"]


# Review


def test_a_photo(review, analyzer, tmp_path):
    page = review()
    drop(page, PORTRAIT)
    status(page, "review", "portrait.jpg: 1 person")
    expect(page.locator("#review .answer strong")).to_have_text("happiness")
    described(page, "#review .overlay", "Face 0: happiness 9")
    expect(page.locator("#review .timeline")).to_be_hidden()
    page.get_by_label("Name of face 0").fill("Eileen, E.")
    page.get_by_role("button", name="Show heat map").click()
    expect(page.locator("#review figcaption")).to_have_text("Eileen, E.: happiness, by evidence")
    dark_blue = "#2a2048"  # of what shows nothing, over a face that has no blue
    assert drawn(page, "#review .shades", dark_blue, 60) > drawn(page, "#review .crop", dark_blue, 60) + 0.05
    written = saved(page, "Download CSV")
    assert written.suggested_filename == "portrait.csv"
    ours = Path(written.path()).read_text()
    with csv_format.build(tmp_path / "theirs.csv", analyzer.schema) as write:
        write(analyzer.analyze(PORTRAIT))
    named = (tmp_path / "theirs.csv").read_text().replace(str(PORTRAIT), "portrait.jpg").splitlines()
    assert ours.splitlines() == [f"{named[0]},name", f'{named[1]},"Eileen, E."']


def test_a_photo_named_like_a_formula(review):
    page = review()
    drop(page, {"name": "=1+1.jpg", "mimeType": "image/jpeg", "buffer": PORTRAIT.read_bytes()})
    status(page, "review", "=1\\+1.jpg: 1 person")
    (row,) = csv.DictReader(StringIO(Path(saved(page, "Download CSV").path()).read_text()))
    assert row["source"] == "'=1+1.jpg"


def test_a_measure_from_outside_stands_beside_the_bars_and_in_the_table(review, serve, made_up_measure):
    analyzer = Analyzer()
    page = review(serve(engine=analyzer))
    drop(page, PORTRAIT)
    status(page, "review", "portrait.jpg: 1 person")
    (row,) = analyzer.analyze(PORTRAIT).to_rows()
    shown = page.locator("#review .measures div")
    expect(shown).to_have_count(6)
    expect(shown.nth(0)).to_have_text(f"yaw{row['yaw_deg']:.1f}°")
    expect(shown.nth(3)).to_have_text(f"gloss{row['gloss']:.2f}")
    (line,) = csv.DictReader(StringIO(Path(saved(page, "Download CSV").path()).read_text()))
    assert {name: line[name] for name in made_up_measure} == {
        "gloss": str(row["gloss"]), "glossy": str(row["glossy"]).lower(), "gloss_frames": "",
    }  # fmt: skip


def test_cursor_picture_bars_and_timeline_move_together(review, clip):
    page = review()
    drop(page, clip)
    status(page, "review", f"swaying.mp4: 1 person, in {FRAMES} of {FRAMES} frames")
    slider = page.get_by_role("slider", name="Frame")
    slider.focus()
    for keys, frame in (
        ([*["ArrowRight"] * 5, "ArrowLeft"], 4),
        (["Shift+ArrowRight"], 16),
        (["End"], FRAMES - 1),
        (["Home"], 0),
    ):
        for key in keys:
            page.keyboard.press(key)
        time_s = f"{frame / FPS:.2f} s"
        assert slider.input_value() == str(frame)
        assert slider.get_attribute("aria-valuetext") == f"{time_s}, frame {frame + 1} of {FRAMES}"
        assert shown_frame(page) == frame
        described(page, "#review .overlay", f"^At {time_s}: Face 0: happiness")
        described(page, "#review .timeline", rf"cursor at {time_s}\. Face 0 from 0\.00 s to .*now: happiness")
    box = page.locator("#review .timeline").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 40)
    middle = int(slider.input_value())
    assert 10 <= middle <= 13
    assert shown_frame(page) == middle
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.get_by_role("button", name="Play")).to_be_visible()  # at its end
    assert int(slider.input_value()) == FRAMES - 1
    valence = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--valence').trim()")
    for name, colour, left in (("happiness", "#f5b400", 0.1), ("valence", valence, 0.001)):  # a label's strip stays
        assert drawn(page, "#review .timeline", colour) > left
        page.get_by_role("checkbox", name=name).uncheck()
        assert drawn(page, "#review .timeline", colour) < left
    page.get_by_role("checkbox", name="Expand face 0").uncheck()
    assert page.locator("#review .timeline").bounding_box()["height"] < box["height"] - 40


def test_names_annotations_and_downloads_come_back(review, clip, tmp_path):
    page = review()
    drop(page, clip)
    status(page, "review", "1 person")
    page.get_by_label("Name of face 0").fill("Ada")
    page.get_by_role("slider", name="Frame").focus()
    for key in (*["ArrowRight"] * 6, "[", *["ArrowRight"] * 6, "]", "a"):
        page.keyboard.press(key)
    page.get_by_label("Who").select_option("Ada")
    page.get_by_label("Text").fill("waves, [left]")
    page.keyboard.press("Enter")
    expect(page.locator("#review .spans li")).to_have_text(re.compile(r"0\.50 – 1\.00 s.*Ada: waves, \[left\]"))
    described(page, "#review .timeline", r"Annotation from 0\.50 s to 1\.00 s: waves")
    page.get_by_label("Text").fill("second")
    page.keyboard.press("Enter")
    page.get_by_role("button", name=re.compile("^Delete .* second")).click()
    page.get_by_role("button", name=re.compile("^Edit .* waves")).click()
    page.get_by_label("Text").fill("dropped")
    page.keyboard.press("Escape")
    expect(page.get_by_label("Text")).to_have_value("")
    page.get_by_role("button", name=re.compile("^Edit .* waves")).click()
    page.get_by_label("Text").fill("waves, left")
    page.get_by_role("button", name="Save").click()
    table = tmp_path / "faces.csv"
    saved(page, "Download CSV").save_as(table)
    (series,) = read_series(table)
    assert (series.source, series.track, len(series.times_s)) == (clip.name, 0, FRAMES)
    rows = list(csv.DictReader(StringIO(table.read_text())))
    assert list(rows[0])[-1] == "name"
    assert {row["name"] for row in rows} == {"Ada"}
    assert {row["uncertain"] for row in rows} == {"false"}
    kept = tmp_path / "clip.annotations.json"
    notes = saved(page, "Download annotations")
    assert notes.suggested_filename == "a clip, swaying.annotations.json"
    notes.save_as(kept)
    span = {"start_s": 0.5, "end_s": 1.0, "track": 0, "text": "waves, left"}
    assert json.loads(kept.read_text()) == {"source": clip.name, "people": {"0": "Ada"}, "spans": [span]}
    drop(page, clip)
    status(page, "review", "1 person")
    expect(page.locator("#review .spans li")).to_have_count(0)
    for together in ([kept, clip], [kept]):
        drop(page, *together)
        expect(page.locator("#review .spans li")).to_have_text(re.compile("Ada: waves, left"))
        expect(page.get_by_label("Name of face 0")).to_have_value("Ada")
        page.get_by_label("Name of face 0").fill("Bea")
        page.get_by_role("button", name=re.compile("^Delete .* waves")).click()
        expect(page.locator("#review .spans li")).to_have_count(0)
        page.once("dialog", lambda dialog: dialog.accept())


def test_annotations_lead_back_to_the_frame_they_were_made_at(review, portrait, make_video, tmp_path):
    page = review()
    drop(page, make_video(tmp_path / "fast.mp4", [np.roll(portrait, i, axis=1) for i in range(12)], fps=30))
    status(page, "review", "in 12 of 12 frames")
    slider = page.get_by_role("slider", name="Frame")
    for frame in (1, 4, 7, 10):
        slider.fill(str(frame))
        page.get_by_role("button", name="Start here").click()
        page.get_by_label("Text").fill("here")
        page.keyboard.press("Enter")
        slider.fill("0")
        page.locator("#review .spans li button.link").last.click()
        assert slider.input_value() == str(frame)


def test_annotations_of_another_clip_are_taken_over_only_if_wanted(review, clip, tmp_path):
    notes = tmp_path / "other.json"
    notes.write_text(json.dumps({"source": "other.mp4", "people": {"0": "=Mallory"}, "spans": []}))
    page = review()
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept() if asked[1:] else dialog.dismiss()))
    drop(page, notes, PORTRAIT)
    status(page, "review", "portrait.jpg: 1 person")
    expect(page.get_by_label("Name of face 0")).to_have_value("")
    drop(page, notes)
    status(page, "review", "Loaded 0 annotations and 1 names from other.mp4")
    assert [message.partition(".")[0] for message in asked] == ["These annotations belong to other"] * 2
    (row,) = csv.DictReader(StringIO(Path(saved(page, "Download CSV").path()).read_text()))
    assert row["name"] == "'=Mallory"


WRITTEN_BY_OTHERS = (
    *("=1+1.jpg", "@SUM(1).jpg", "-1+2.jpg", "+3.jpg", "\t=1.jpg", "'=1.jpg", "''+1", "＝1", "'plain'", " =1"),
    *("a\rb.jpg", "a\nb.jpg", "a;=1;.jpg", "a\tb", 'say "hi", please', "in/=1.jpg", "plain.jpg"),
)


def test_names_and_labels_are_written_as_by_the_command_line(visit, url, make_face, tmp_path):
    labels = ("=cmd|' /C calc'!A0", "a;b", "-1")
    face = make_face(dict(zip(labels, (0.7, 0.2, 0.1), strict=True)), valence=-0.5, arousal=-1e-5)
    analyses = [Analysis(name, "-m", labels, (face,)) for name in WRITTEN_BY_OTHERS]
    theirs = []
    for analysis in analyses:
        with csv_format.build(tmp_path / "theirs.csv", analysis.schema) as write:
            write(analysis)
        header, row = (tmp_path / "theirs.csv").read_bytes().decode().split("\n", 1)
        theirs.append(f"{header},name\n{row[:-1]},{csv_line([analysis.source])}")
    write_all = """async ([columns, results]) => {
        const { toCsv } = await import("/tables.js");
        return results.map(([name, result]) => toCsv(name, [result], { columns }, new Map([[0, name]])));
    }"""
    results = [[analysis.source, to_wire(analysis, (64, 48)).model_dump(mode="json")] for analysis in analyses]
    columns = [asdict(column) for column in analyses[0].schema.columns]
    assert visit(url).evaluate(write_all, [columns, results]) == theirs


def test_who_types_a_name_while_people_appear_goes_on_typing(review, portrait, make_video, tmp_path):
    wide = np.full((512, 1024, 3), 90, dtype=np.uint8)
    wide[:, :512] = portrait
    both = np.hstack([portrait, portrait[:, ::-1]])
    page = review()
    drop(page, make_video(tmp_path / "two.mp4", [wide] * 150 + [both] * 30))
    name = page.get_by_label("Name of face 0")
    name.press_sequentially("Ad")
    page.get_by_label("Name of face 1").wait_for()
    page.keyboard.type("a")
    expect(name).to_have_value("Ada")
    expect(name).to_be_focused()
    status(page, "review", "2 people")


def test_a_clip_that_replaces_another_does_not_wait_for_it(review, clip, portrait, make_video, tmp_path):
    long = make_video(tmp_path / "long.mp4", [np.roll(portrait, i, axis=1) for i in range(1200)])
    page = review(strict=False)
    drop(page, long)
    page.locator("#review .people li").wait_for()
    began_s = time.monotonic()
    drop(page, clip)
    status(page, "review", f"swaying.mp4: 1 person, in {FRAMES} of {FRAMES} frames")
    assert time.monotonic() - began_s < 15


def test_cancelling_does_not_wait_for_a_busy_service(review):
    page = review(strict=False)
    busy = {"status": 503, "headers": {"retry-after": "60"}, "json": {"reason": "busy", "detail": "another video"}}
    page.route("**/v1/analyze**", lambda route: route.fulfill(**busy))
    drop(page, PORTRAIT)
    status(page, "review", "the service is busy")
    page.wait_for_timeout(2500)  # in the middle of a longer pause
    page.get_by_role("button", name="Cancel").click()
    status(page, "review", "portrait.jpg: cancelled", timeout=5000)
    expect(page.get_by_role("button", name="Open photo or clip")).to_be_focused()


def test_playing_ends_where_nothing_is_analyzed(review, portrait, make_video, tmp_path):
    page = review(strict=False)
    drop(page, make_video(tmp_path / "long.mp4", [np.roll(portrait, i, axis=1) for i in range(600)], fps=25))
    page.locator("#review .people li").wait_for()
    page.get_by_role("button", name="Cancel").click()
    status(page, "review", "cancelled")
    page.get_by_role("slider", name="Frame").focus()
    page.keyboard.press("End")
    page.keyboard.press(" ")
    status(page, "review", "The clip is not analyzed after ")
    expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_one_of_several_faces_is_chosen(review, analyzer, portrait, tmp_path):
    file = tmp_path / "both.png"
    cv2.imwrite(str(file), np.hstack([portrait, portrait[:, ::-1]])[..., ::-1])
    x1, y1, x2, y2 = analyzer.analyze(file).faces[0].box_xyxy.tolist()
    page = review()
    drop(page, file)
    status(page, "review", "2 people")
    for number, name in enumerate(("Ada", "Bea")):
        page.get_by_label(f"Name of face {number}").fill(name)
    page.get_by_role("radio", name="Bea").check()
    page.get_by_role("button", name="Show heat map").click()
    expect(page.locator("#review figcaption")).to_contain_text("Bea: ")
    expect(page.locator("#review tbody tr")).to_have_count(2)
    canvas = page.locator("#review .overlay").bounding_box()
    scale = min(canvas["width"] / 1024, canvas["height"] / 512)
    left, top = (canvas["width"] - 1024 * scale) / 2, (canvas["height"] - 512 * scale) / 2
    page.mouse.click(canvas["x"] + left + (x1 + x2) / 2 * scale, canvas["y"] + top + (y1 + y2) / 2 * scale)
    expect(page.get_by_role("radio", name="Ada")).to_be_checked()


def test_while_the_service_is_busy_it_waits(review):
    page = review(strict=False)
    busy = {"status": 503, "headers": {"retry-after": "1"}, "json": {"reason": "busy", "detail": "another video"}}
    page.route("**/v1/analyze**", lambda route: route.fulfill(**busy), times=1)
    drop(page, PORTRAIT)
    status(page, "review", "the service is busy")
    status(page, "review", "portrait.jpg: 1 person")


def test_changes_are_not_lost_unasked(review, clip):
    page = review()
    drop(page, PORTRAIT)
    status(page, "review", "1 person")
    page.get_by_label("Name of face 0").fill("Ada")
    asked = []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    drop(page, clip)
    expect(page.get_by_label("Name of face 0")).to_have_value("Ada")
    assert "portrait.jpg have not been downloaded" in asked[0]
    page.once("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.close(run_before_unload=True)
    page.wait_for_event("close")
    assert asked[1] == "beforeunload"


def test_what_cannot_be_read_is_one_line_and_the_next_drop_works(review, clip, tmp_path):
    page = review(strict=False)
    for name, data, text in (
        ("party.mp4", b"no video" * 100, "party.mp4: .+"),
        ("half.jpg", PORTRAIT.read_bytes()[:20_000], "half.jpg: .+"),
        ("notes.json", b"{]", "notes.json is not a file of annotations"),
    ):
        drop(page, {"name": name, "mimeType": "", "buffer": data})
        status(page, "review", text)
        assert "\n" not in page.locator("#review .status").text_content()
        expect(page.locator("#review .drop")).to_be_visible()
    drop(page, clip)
    status(page, "review", "1 person")
    drop(page, PORTRAIT)
    status(page, "review", "portrait.jpg: 1 person")
    expect(page.locator("#review .people li")).to_have_count(1)


def test_a_clip_cut_short_keeps_what_there_is(review, tmp_path, portrait, make_video):
    whole = make_video(tmp_path / "whole.mkv", [np.roll(portrait, 2 * i, axis=1) for i in range(60)], codec="mpeg4")
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    page = review(strict=False)
    drop(page, cut)
    status(page, "review", r"cut.mkv: .+; 1 person, in \d\d of \d\d frames before that")
    expect(page.locator("#review .hint")).to_contain_text("cannot display cut.mkv")
    rows = list(csv.DictReader(StringIO(Path(saved(page, "Download CSV").path()).read_text())))
    assert rows[-1]["reason"] == "truncated"
    assert len(rows) > 20
    page.get_by_role("slider", name="Frame").focus()
    page.keyboard.press("End")
    described(page, "#review .overlay", "happiness")


def test_an_analysis_can_be_cancelled(review, tmp_path, portrait, make_video):
    long = make_video(tmp_path / "long.mp4", [np.roll(portrait, i, axis=1) for i in range(500)])
    page = review()
    drop(page, long)
    page.locator("#review .people li").wait_for()
    expect(page.get_by_role("progressbar", name="Analysis")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    status(page, "review", r"long.mp4: cancelled; 1 person, in \d+ of \d+ frames before that")
    drop(page, PORTRAIT)
    status(page, "review", "portrait.jpg: 1 person")


def test_too_large_a_file_is_not_even_sent(review, serve, clip):
    page = review(serve(Limits(video_bytes=10_000)))
    drop(page, clip)
    status(page, "review", "is larger than the limit of 0 MB")


def test_labels_without_coordinates(review, serve, write_model, tmp_path):
    from affectlens import Analyzer

    page = review(serve(engine=Analyzer(write_model(tmp_path / "tiny.onnx"))))
    drop(page, PORTRAIT)
    expect(page.locator("#review .answer strong")).to_have_text(re.compile("calm|excited"))
    described(page, "#review .circle", "No valence and arousal")


# Everyone


def test_by_keyboard_alone(visit, url, clip):
    page = visit(url)
    page.on("filechooser", lambda chooser: chooser.set_files(clip))
    page.wait_for_timeout(200)
    page.keyboard.press("Tab")
    expect(page.get_by_role("tab", name="Live")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Review")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Open photo or clip")).to_be_focused()
    page.keyboard.press("Enter")
    status(page, "review", "1 person")
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        element = page.evaluate("(e => e.getAttribute('aria-label') || e.textContent.trim())(document.activeElement)")
        reached.append(element)
        visible = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert visible != "none", element
        if element == "Keyboard":
            break
    for wanted in (
        "Download CSV",
        "Play",
        "Frame",
        "Name of face 0",
        "Show heat map",
        "Start here",
        "Text",
        "Keyboard",
    ):
        assert wanted in reached, reached
    page.get_by_role("slider", name="Frame").focus()
    page.keyboard.press("h")
    expect(page.locator("#review figcaption")).to_contain_text("happiness, by evidence")


NAMED = {
    "button", "textbox", "checkbox", "combobox", "slider", "tab", "radio", "spinbutton", "progressbar", "image",
    "tablist", "tabpanel", "table", "complementary", "DisclosureTriangle",
}  # fmt: skip


def test_everything_has_a_name(review, visit, url, clip):
    for page in (visit(url), review()):
        if page.get_by_role("tab", name="Review").get_attribute("aria-selected") == "true":
            drop(page, clip)
            status(page, "review", "1 person")
        tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
        found = [
            (node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node.get("ignored")
        ]
        roles = {role for role, _ in found}
        assert {"tablist", "tab", "tabpanel", "main", "banner", "contentinfo", "image", "complementary"} <= roles
        assert [one for one in found if one[0] in NAMED and not one[1]] == []


CONTRAST = """() => {
    const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = (parts) => parts.slice(0, 3).map((p) => p / 255)
        .map((p) => (p <= 0.04045 ? p / 12.92 : ((p + 0.055) / 1.055) ** 2.4))
        .reduce((sum, p, i) => sum + p * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (e) => {
        for (; e; e = e.parentElement) {
            const colour = rgb(getComputedStyle(e).backgroundColor);
            if (colour.length < 4 || colour[3] > 0) return colour;
        }
    };
    return [...document.querySelectorAll("body *")]
        .filter((e) => e.checkVisibility() && !e.closest(":disabled, .stage"))
        .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
        .map((e) => {
            const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
            return [(a + 0.05) / (b + 0.05), e.textContent.trim().slice(0, 40)];
        })
        .filter(([ratio]) => ratio < 4.5);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_and_fits_at_any_width(review, clip, scheme):
    page = review(color_scheme=scheme, reduced_motion="reduce")
    drop(page, clip)
    status(page, "review", "1 person")
    page.get_by_text("Keyboard", exact=True).click()
    page.get_by_role("button", name="Show heat map").click()
    page.locator("#review figcaption").wait_for()
    assert page.evaluate("getComputedStyle(document.querySelector('#review .fill')).transitionDuration") == "0s"
    for tab in ("Review", "Live"):
        page.get_by_role("tab", name=tab).click()
        assert page.evaluate(CONTRAST) == []
        for width in (380, 700, 1024, 1600):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (tab, width)


def test_the_page_says_where_pictures_go_and_what_the_law_says(visit, url):
    footer = visit(url).get_by_role("contentinfo")
    expect(footer).to_contain_text(f"Pictures are sent only to {urlsplit(url).netloc} (this computer)")
    expect(footer).to_contain_text("it is prohibited to infer the emotions of people at work and in schools")
