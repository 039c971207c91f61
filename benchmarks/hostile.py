"""Does any file that affectlens opens break more than itself?

Seeds of every kind of file are made, and mutated: whole contents of other kinds, places that are no files (pipes,
devices, links to themselves), and random changes, which depend on the opener and their number only. Each is opened in
a process with little memory and few file descriptors, which is killed if it takes too long. It may be read, or refused
with an AffectLensError, an OSError, an exit with one line, or a row with a reason; anything else fails the opener.

usage: python benchmarks/hostile.py [--count 10000] [--only OPENER] [--first NUMBER]
"""

import argparse
import contextlib
import csv
import io
import json
import os
import random
import resource
import runpy
import select
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from _mutations import PLACES, WHOLE, mutated, put, remove
from _photos import write_video

import affectlens

MEMORY_GB, TIME_S, START_S, DESCRIPTORS = 6, 20, 90, 256
WEIGHTS = Path(str(resources.files("affectlens"))) / "weights"
LABELS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
SMALL = ["model=deep_emotion", "epochs=1", "batch_size=8", "precision=32-true"]


@dataclass(frozen=True)
class Opener:
    """What makes seeds in a folder, and what opens `file`, one of those that match, in a copy of it."""

    seed: Callable[[Path], object]
    call: Callable[[Path, Path], str]
    files: str = "*"


# Seeds


def noise() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(48, 48, 3) uint8."""
    return np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)


def photos(folder: Path) -> None:
    """One picture in several formats, coded by OpenCV."""
    picture = noise()
    for name, options in {
        "a.jpg": [],
        "progressive.jpg": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
        "restart.jpg": [cv2.IMWRITE_JPEG_RST_INTERVAL, 2],
        "a.png": [],
        "a.webp": [],
        "a.tif": [],
        "a.bmp": [],
    }.items():
        assert cv2.imwrite(str(folder / name), picture, options)


def archive(folder: Path) -> None:
    """Photos in plain and packed tar files."""
    data = cv2.imencode(".jpg", noise())[1].tobytes()
    for name, mode in {"a.tar": "w", "a.tar.gz": "w:gz", "a.tar.xz": "w:xz"}.items():
        with tarfile.open(folder / name, mode, format=tarfile.PAX_FORMAT) as made:
            for member, headers in (("a.jpg", {}), ("é.jpg", {"size": str(len(data))}), ("c.txt", {})):
                entry = tarfile.TarInfo(member)
                entry.size, entry.pax_headers = len(data), headers
                made.addfile(entry, io.BytesIO(data))


def cells(folder: Path) -> None:
    """Pictures, and paths, in Parquet."""
    import pyarrow as pa
    from pyarrow import parquet

    data = cv2.imencode(".jpg", noise())[1].tobytes()
    parquet.write_table(pa.table({"image": [data, None, data]}), folder / "a.parquet")
    parquet.write_table(pa.table({"path": ["a.jpg", None, "*.png"]}), folder / "paths.parquet")


def faces(folder: Path) -> None:
    """A table of faces, as CSV and as Parquet, with groups."""
    import pyarrow as pa
    from pyarrow import parquet

    rng = np.random.default_rng(0)
    rows = []
    for number in range(24):
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 256, (48, 48), dtype=np.uint8))
        rows.append([f"{number}.png", LABELS[number % 8], ("train", "valid", "test")[number // 8], 0.1, -0.2, 30, "f"])
    columns = ["path", "expression", "split", "valence", "arousal", "age_years", "group_sex"]
    with (folder / "data.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([columns, *rows])
    images = [(folder / row[0]).read_bytes() for row in rows]
    table = pa.table({"image": images, "expression": [row[1] for row in rows], "split": [row[2] for row in rows]})
    (folder / "shards").mkdir()
    parquet.write_table(table, folder / "shards" / "a.parquet")


def labels(folder: Path) -> None:
    """The label tables of two data sets."""
    (folder / "fer2013").mkdir()
    pixels = " ".join(str(number % 256) for number in range(48 * 48))
    lines = [f"{number % 7},{pixels},Training" for number in range(3)]
    (folder / "fer2013" / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *lines]))
    (folder / "rafdb" / "EmoLabel").mkdir(parents=True)
    (folder / "rafdb" / "Image" / "aligned").mkdir(parents=True)
    (folder / "rafdb" / "EmoLabel" / "list_patition_label.txt").write_text("train_00001.jpg 5\ntest_0001.jpg 3\n")


def rows(folder: Path) -> None:
    """What `affectlens analyze` writes of a video."""
    write_video(folder / "a.mp4", 4)
    for suffix in (".csv", ".jsonl", ".parquet"):
        command("analyze", folder / "a.mp4", "--out", folder / f"rows{suffix}")
    (folder / "a.mp4").unlink()


def recipes(folder: Path) -> None:
    """A recipe as YAML."""
    (folder / "a.yaml").write_text(command("recipes", "show", "default", "--yaml"))


def batch(folder: Path) -> None:
    """A batch of photos."""
    (folder / "photos").mkdir()
    photos(folder / "photos")
    command("batch", folder / "photos", "--out", folder / "out", "--detector", "whole", "--workers", "0")


def run(folder: Path) -> None:
    """A run after its only epoch."""
    (folder / "data").mkdir()
    faces(folder / "data")
    affectlens.train("default", f"table:{folder / 'data' / 'data.csv'}", folder / "run", settings=SMALL)


# Openers


@cache
def analyzer() -> affectlens.Analyzer:
    """One that takes a whole picture for a face."""
    return affectlens.Analyzer(detector="whole")


def command(*arguments: object) -> str:
    """What a command writes; raises AffectLensError with its one line where it fails as it should."""
    said, errors, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["affectlens", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
            runpy.run_module("affectlens", run_name="__main__")
    except SystemExit as end:
        lines = [line for line in errors.getvalue().splitlines() if line.startswith("error: ")]
        if end.code and (end.code not in (1, 2) or len(lines) != 1 or "should not happen" in lines[0]):
            raise RuntimeError(f"exit {end.code}: {errors.getvalue()[-500:]}") from None
        if end.code:
            raise affectlens.AffectLensError(lines[0]) from None
    finally:
        sys.argv = before
    return said.getvalue()


def media(folder: Path, file: Path) -> str:
    """A photo or a video: the reason in its last row."""
    del folder
    found = [analysis for one in affectlens.analyses_of(analyzer(), file) for analysis in one]
    return str(found[-1].reason or "read")


def listed(folder: Path, file: Path) -> str:
    """A batch of what is in a file."""
    try:
        command("batch", file, "--out", folder / "out", "--detector", "whole", "--workers", "0")
    except affectlens.AffectLensError as error:
        if "no source could be read" not in str(error):
            raise
        return "rows with reasons"
    return "read"


def resumed(folder: Path, file: Path) -> str:
    """A batch that goes on, and its summary."""
    del file
    out = folder / "out"
    command("batch", folder / "photos", "--out", out, "--detector", "whole", "--workers", "0", "--resume")
    affectlens.summarise(out)
    return "read"


def data_set(folder: Path, file: Path) -> str:
    """All faces of a data set."""
    name = file.relative_to(folder).parts[0]
    where = f"{name}:{folder / name}" if name in ("fer2013", "rafdb") else f"table:{file}"
    affectlens.load_data(where, "train")
    return "read"


def table(folder: Path, file: Path) -> str:
    """Rows that were analyzed before."""
    del folder
    affectlens.read_table(file)
    return "read"


def model(folder: Path, file: Path) -> str:
    """An exported model, and one answer of it."""
    del folder
    affectlens.Analyzer(file, detector="whole").analyze(WEIGHTS / "portrait.jpg")
    return "read"


def recipe(folder: Path, file: Path) -> str:
    """A recipe."""
    del folder
    command("recipes", "show", file)
    return "read"


def run_folder(folder: Path, file: Path) -> str:
    """A run that is evaluated; to go on, it would have to be exported, which takes more memory than there is."""
    del file
    affectlens.evaluate(folder / "run", f"table:{folder / 'data' / 'data.csv'}")
    return "read"


OPENERS = {
    "photo": Opener(photos, media),
    "video": Opener(lambda folder: write_video(folder / "a.mp4", 8), media),
    "tar": Opener(archive, listed),
    "parquet": Opener(cells, listed),
    "list": Opener(lambda folder: (folder / "a.txt").write_text("a.jpg\n*.png\n[ab].jpg\n~/x.jpg\n"), listed),
    "faces": Opener(faces, data_set, "**/*[av].[cp]*"),
    "labels": Opener(labels, data_set, "**/*"),
    "rows": Opener(rows, table),
    "model": Opener(lambda folder: shutil.copy(WEIGHTS / "default.onnx", folder / "a.onnx"), model),
    "recipe": Opener(recipes, recipe),
    "manifest": Opener(batch, resumed, "out/*"),
    "run": Opener(run, run_folder, "run/**/*[ntx]"),
}


# One process per opener, and the one that watches it


def child(name: str, first: int, count: int, folder: Path) -> None:
    """Open the inputs from `first` on; a line of JSON for each."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # onnxruntime and others write there
    opener, seeds, work = OPENERS[name], folder / "seeds", folder / "work"
    if not seeds.exists():
        (folder / "making").mkdir(exist_ok=True)
        opener.seed(folder / "making")
        (folder / "making").rename(seeds)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_GB << 30, MEMORY_GB << 30))
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    files = [file.relative_to(seeds) for file in sorted(seeds.glob(opener.files)) if file.is_file()]
    contents = [(seeds / file).read_bytes() for file in files]
    for number in range(first, count):
        remove(work)
        shutil.copytree(seeds, work)
        victim, how = make(name, number, files, contents, work)
        begun, outcome, failed = time.monotonic(), "", ""
        try:
            outcome = opener.call(work, work / victim)
        except (affectlens.AffectLensError, OSError) as error:
            outcome = type(error).__name__
            if len(str(error).splitlines()) > 1 or "weights_only" in str(error) or "pickled" in str(error):
                failed = f"says {str(error)[:300]!r}"
        except Exception as error:
            failed = f"{type(error).__name__}: {str(error)[:300]}"
        took_s = time.monotonic() - begun
        line = {"input": f"{number} ({victim}, {how})", "outcome": outcome, "failed": failed, "s": took_s}
        out.write(json.dumps(line | {"mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10}) + "\n")


def make(name: str, number: int, files: list[Path], contents: list[bytes], work: Path) -> tuple[Path, str]:
    """Put an input into its place: the first are whole contents and places, the others mutations."""
    whole = [*WHOLE, *PLACES]
    rng = random.Random(f"{name} {number}")
    if number < len(whole):
        victim = files[number % len(files)]
        put(work / victim, whole[number])
        return victim, whole[number]
    place = rng.randrange(len(files))
    (work / files[place]).write_bytes(mutated(contents[place], rng, rng.choice(contents)))
    return files[place], "mutated"


def watch(name: str, first: int, count: int, folder: Path) -> list[dict[str, Any]]:
    """What became of all inputs; a process that hangs is killed, one that dies is replaced."""
    found: list[dict[str, Any]] = []
    while first < count:
        arguments = ["--child", name, "--first", str(first), "--count", str(count), "--folder", str(folder)]
        process = subprocess.Popen(
            [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder
        )
        assert process.stdout is not None
        patience_s, ended = START_S, "died"
        while True:
            ready, _, _ = select.select([process.stdout], [], [], patience_s)
            line = process.stdout.readline() if ready else b""
            if not line:
                ended = ended if ready else f"no end after {patience_s} s"
                break
            found.append(json.loads(line))
            first, patience_s = first + 1, TIME_S
        process.kill()
        code = process.wait()
        if first < count:
            found.append({"input": str(first), "outcome": "", "failed": f"{ended} ({code})", "s": 0.0, "mb": 0})
            first += 1
    return found


def main() -> int:
    """A line for each opener; 1 if one failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--only", choices=OPENERS)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--child", choices=OPENERS)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.child:
        warnings.simplefilter("ignore")
        child(options.child, options.first, options.count, options.folder)
        return 0
    names = [options.only] if options.only else list(OPENERS)
    each = -(-options.count // len(names))
    print(f"{each} inputs each, within {MEMORY_GB} GB, {TIME_S} s and {DESCRIPTORS} file descriptors")
    failures = 0
    for name in names:
        with tempfile.TemporaryDirectory(prefix="affectlens-") as folder:
            found = watch(name, options.first, options.first + each, Path(folder))
        failed = [one for one in found if one["failed"]]
        failures += len(failed)
        counts = Counter(one["outcome"] for one in found if not one["failed"])
        told = ", ".join(f"{outcome} {count}" for outcome, count in counts.most_common())
        slowest, most = max(one["s"] for one in found), max(one["mb"] for one in found)
        print(f"{'FAILED' if failed else 'ok':6} {name:9} {told}; up to {slowest:.1f} s, {most:.0f} MB", flush=True)
        for one in failed[:10]:
            print(f"       {one['input']}: {one['failed']}", flush=True)
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
