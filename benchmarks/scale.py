"""What a million photos and a thousand hours of video cost, stage by stage, and what one driver can write.

One thread, each stage alone, on photos of 640x480 (one face, five faces) and of 12 megapixels (one face): reading the
file, decoding it, finding faces, cutting them out, the network, rows. Then a batch of videos on all cores, and what the
process that drives a batch does with them, which is what saturates first: answers out of a pipe, rows to Parquet,
sources into and out of the manifest. docs/scale.md is written from the output.

usage: python benchmarks/scale.py [--repeats 40] [--video-s 10]
"""

import argparse
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import psutil
from numpy.typing import NDArray

from affectlens import Analyzer
from affectlens.apps.batch.item import Item
from affectlens.apps.batch.local import cores
from affectlens.apps.batch.manifest import Manifest
from affectlens.apps.batch.run import run
from affectlens.apps.batch.shards import Shards
from affectlens.apps.batch.work import End, Part, Settings
from affectlens.apps.cli.conditions import headline
from affectlens.apps.cli.scenes import one_face, tiled
from affectlens.core.columns import Row
from affectlens.runtime.batch_folder import NAME
from affectlens.runtime.media import decode_image, read_bytes, save_image
from affectlens.runtime.record import Recorder

DRIVEN = 20_000
VIDEO_FPS = 30


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Median of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def stages(analyzer: Analyzer, file: Path, repeats: int) -> dict[str, float]:
    """Milliseconds of each stage of a photo."""
    data = read_bytes(file)
    image = decode_image(data)
    found = analyzer.detector(image)
    cut = analyzer.recognizer.cut(image, found)
    (faces,) = analyzer.recognizer.read_cuts([cut])
    calls = {
        "read": lambda: read_bytes(file),
        "decode": lambda: decode_image(data),
        "detect": lambda: analyzer.detector(image),
        "cut": lambda: analyzer.recognizer.cut(image, found),
        "network": lambda: analyzer.recognizer.read_cuts([cut]),
        "rows": lambda: analyzer.recognizer.analysis("photo.jpg", image, faces).to_rows(),
    }
    return {name: 1000 * seconds(call, repeats) for name, call in calls.items()}


def video_rate(folder: Path, portrait: NDArray[np.uint8], video_s: int) -> float:
    """Frames a second of a batch of videos of so many seconds, a worker for each core: how much longer twice as many
    take, so that starting does not count.
    """
    frames = video_s * VIDEO_FPS
    took = []
    for count in (2 * cores(), 4 * cores()):
        films = folder / f"{count} films"
        films.mkdir()
        with Recorder(films / "0.mp4") as video:
            for number in range(frames):
                video.write(tiled(np.roll(portrait, number % 60, axis=1), 1), number / VIDEO_FPS)
        for number in range(1, count):
            shutil.copy(films / "0.mp4", films / f"{number}.mp4")
        start = time.perf_counter()
        run(str(films), folder / f"{count} answers", Settings(), None, 10_000)
        took.append(time.perf_counter() - start)
    return 2 * cores() * frames / (took[1] - took[0])


def unlike(rows: list[Row]) -> list[Row]:
    """Rows with other numbers, so that they do not compress better than those of real photos."""
    return [{key: random.random() if type(cell) is float else cell for key, cell in row.items()} for row in rows]


def driver(analyzer: Analyzer, folder: Path, rows: list[Row]) -> tuple[float, float, float, float]:
    """Sources a second that are entered, and that are written and committed; bytes of a row and of a source."""
    items = [Item(f"photos/{number:09d}.jpg", f"photos/{number:09d}.jpg") for number in range(DRIVEN)]
    sent = [Part(number, unlike(rows), True, End(True)).to_json() for number in range(1, DRIVEN + 1)]
    with Manifest(folder) as manifest:
        start = time.perf_counter()
        manifest.add(items)
        listed = time.perf_counter()
        shards = Shards(folder, manifest, analyzer.schema, 10_000)
        for (_, _), part in zip(manifest.waiting(), sent, strict=True):
            shards.add(Part.from_json(part))
        shards.close()
        ended = time.perf_counter()
    size = sum(file.stat().st_size for file in folder.glob("part-*.parquet"))
    source = (folder / NAME).stat().st_size / DRIVEN
    return DRIVEN / (listed - start), DRIVEN / (ended - listed), size / DRIVEN / len(rows), source


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--video-s", type=int, default=10, help="seconds of each video")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    analyzer = Analyzer()
    portrait = one_face(None, 1)[0]
    one = tiled(portrait, 1)
    photos = {
        "640x480, one face": one,
        "640x480, five faces": tiled(portrait, 5),
        "4000x3000, one face": cv2.resize(one, (4000, 3000), interpolation=cv2.INTER_CUBIC),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {}
        for place, (title, image) in enumerate(photos.items()):
            save_image(folder / f"{place}.jpg", image)
            repeats = max(asked.repeats * one.size // image.size, 3)
            found[title] = stages(analyzer, folder / f"{place}.jpg", repeats)
        memory = psutil.Process().memory_info().rss / 2**20
        names = list(found["640x480, one face"])
        print(headline("python benchmarks/scale.py"))
        print(f"{'ms a photo, one thread':24}{''.join(f'{name:>9}' for name in (*names, 'all'))}  core-hours a million")
        for title, times in found.items():
            total = sum(times.values())
            print(f"{title:24}{''.join(f'{value:9.2f}' for value in (*times.values(), total))}{total / 3.6:22.1f}")
        rate = video_rate(folder, portrait, asked.video_s)
        print(
            f"videos 640x480, one face: {rate:.0f} frames/s on {cores()} cores; "
            f"a thousand hours take {30000 / rate:.0f} hours"
        )
        rows = analyzer.analyze(folder / "0.jpg").to_rows()
        listed, written, size, source = driver(analyzer, folder / "out", rows)
        print(f"one driver: {listed:,.0f} sources/s entered, {written:,.0f}/s written")
        print(f"bytes: {size:.0f} a row, {source:.0f} a source in the manifest", end="")
        print(f", {', '.join(f'{file.stat().st_size:,}' for file in sorted(folder.glob('*.jpg')))} the photos")
        print(f"memory of this process after the photos: {memory:.0f} MB")
        seconds_each = sum(found["640x480, one face"].values()) / 1000
        print(f"it is busy with the answers of {written * seconds_each:,.0f} cores that read photos like the first")


if __name__ == "__main__":
    main()
