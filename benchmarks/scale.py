"""What a million photos and a thousand hours of video cost, stage by stage, and what one driver of a batch can do.

One thread, each stage alone, on photos of 640x480 (one face, five faces) and of 12 megapixels (one face): reading the
file, decoding it, finding faces, cutting them out and reading them, rows. Then batches on all cores: of videos, by how
much longer twice as many take; and of photos of 128x128, by how much processor time twice as many cost the
process that drives the batch, which is what saturates first: it lists the sources, hands them out, takes the answers,
writes rows to Parquet and enters all of it in the manifest. docs/scale.md is written from the output.

usage: python benchmarks/scale.py [--repeats 40] [--video-s 10] [--photos 4000]
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import psutil
from _headline import headline
from _photos import write_video
from _watched import resident_mb, watch

from affectlens import Analyzer, read_image, sample_frames

VIDEO_FPS = 30
CORES = os.cpu_count() or 1


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """Median of a call, after one that does not count."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def stages(analyzer: Analyzer, file: Path, repeats: int) -> dict[str, float]:
    """Milliseconds of each stage of a photo."""
    data = file.read_bytes()
    image = read_image(data)
    found = analyzer.detector(image)
    reader = Analyzer(detector=lambda _: found)
    analysis = reader.analyze(image)
    calls = {
        "read": file.read_bytes,
        "decode": lambda: read_image(data),
        "detect": lambda: analyzer.detector(image),
        "faces": lambda: reader.analyze(image),
        "rows": analysis.to_rows,
    }
    return {name: milliseconds(call, repeats) for name, call in calls.items()}


def video_rate(folder: Path, video_s: int) -> float:
    """Frames a second of a batch of videos of so many seconds, a worker for each core."""
    frames, counts = video_s * VIDEO_FPS, (2 * CORES, 4 * CORES)
    film = write_video(folder / "film.mp4", frames, VIDEO_FPS)
    took = []
    for count in counts:
        films = folder / f"{count} films"
        films.mkdir()
        for number in range(count):
            os.link(film, films / f"{number}.mp4")
        took.append(watch("batch", films, "--out", folder / f"{count} answers").seconds)
    return (counts[1] - counts[0]) * frames / (took[1] - took[0])


def write_faces(folder: Path, count: int) -> None:
    """Photos of 128x128 with one face, each with other noise, so that no two rows are alike."""
    folder.mkdir()
    face = cv2.resize(next(sample_frames())[:270, 185:455], (128, 128), interpolation=cv2.INTER_AREA)[..., ::-1]
    for number in range(count):
        noise = np.random.default_rng(number).normal(0, 8, face.shape)
        cv2.imwrite(str(folder / f"{number:06d}.jpg"), (face + noise).clip(0, 255).astype(np.uint8))


def driver(folder: Path, photos: int) -> tuple[float, float, float]:
    """Sources for each of its processor seconds; bytes of a row and of a source in the manifest."""
    used = []
    for count in (photos, 2 * photos):
        faces, out = folder / f"{count} faces", folder / f"{count} rows"
        write_faces(faces, count)
        used.append(watch("batch", faces, "--out", out).cpu_s)
    size = sum(file.stat().st_size for file in out.glob("part-*.parquet"))
    return photos / (used[1] - used[0]), size / count, (out / "manifest.sqlite").stat().st_size / count


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--video-s", type=int, default=10, help="seconds of each video")
    parser.add_argument("--photos", type=int, default=4000, help="of 128x128, in the shorter batch")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    analyzer = Analyzer()
    one, five = (next(sample_frames(faces=faces)) for faces in (1, 5))
    photos = {
        "640x480, one face": one,
        "640x480, five faces": five,
        "4000x3000, one face": cv2.resize(one, (4000, 3000), interpolation=cv2.INTER_CUBIC),
    }
    print(headline("python benchmarks/scale.py"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found, sizes = {}, []
        for place, (title, image) in enumerate(photos.items()):
            file = folder / f"{place}.jpg"
            cv2.imwrite(str(file), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
            sizes.append(file.stat().st_size)
            found[title] = stages(analyzer, file, max(asked.repeats * one.size // image.size, 3))
        memory = resident_mb(psutil.Process())
        names = list(found["640x480, one face"])
        print(f"{'ms a photo, one thread':24}{''.join(f'{name:>9}' for name in (*names, 'all'))}  core-hours a million")
        for title, times in found.items():
            total = sum(times.values())
            print(f"{title:24}{''.join(f'{value:9.2f}' for value in (*times.values(), total))}{total / 3.6:22.1f}")
        print(f"bytes of the photos: {', '.join(f'{size:,}' for size in sizes)}")
        print(f"memory of this process after them: {memory:.0f} MB", flush=True)
        rate = video_rate(folder, asked.video_s)
        hours = 1000 * VIDEO_FPS / rate
        print(
            f"videos 640x480, one face: {rate:.0f} frames/s on {CORES} cores; a thousand hours take {hours:.0f} hours"
        )
        sources, row, source = driver(folder, asked.photos)
        print(f"one driver: {sources:,.0f} sources for each second of its processor time")
        print(f"bytes: {row:.0f} a row, {source:.0f} a source in the manifest")
        seconds_each = sum(found["640x480, one face"].values()) / 1000
        print(f"it keeps {sources * seconds_each:,.0f} cores busy that read photos like the first")


if __name__ == "__main__":
    main()
