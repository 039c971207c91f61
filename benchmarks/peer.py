"""affectlens beside an installable peer (`fer` from PyPI), as ratios of one run.

The peer gets an environment of its own (TensorFlow takes some minutes and 1.5 GB; only its default detector, OpenCV's
cascade, so without the torch that its MTCNN wants). Each figure is the median of rounds in which both take turns on the
same 640x480 frame with the bundled portrait: "face", where both are told where the face is, with one thread, and
"pipeline", where they find it, with all cores. With a data set also the accuracy on its validation faces over the seven
labels that both know; both were trained on the pictures of FER2013, the peer with the labels from before FER+.

usage: python benchmarks/peer.py [--environment DIR] [--data ferplus:FOLDER]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from _faces import labelled, probabilities
from _headline import headline

from affectlens import Analyzer, sample_frames

PEER = "fer==25.10.3"
NEEDED = ["tensorflow-cpu", "opencv-python-headless<5", "pandas", "requests", "tqdm", "Pillow", "matplotlib"]
NEEDED += ["moviepy<2", "setuptools<81"]
ROUNDS, CALLS = 7, 20


class Peer:
    """The peer in its process."""

    def __init__(self, python: Path, given: dict[str, Any], folder: Path) -> None:
        folder.mkdir()
        np.savez(folder / "given.npz", **given)
        command = [str(python), str(Path(__file__).with_name("peer_worker.py")), str(folder / "given.npz")]
        self._said = folder / "stderr.txt"
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True
            )
        self.facts = self._line()

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def ask(self, line: str) -> Any:
        """The answer to a line."""
        assert self._process.stdin
        if self._process.poll() is None:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        return self._line()

    def _line(self) -> Any:
        assert self._process.stdout
        if not (line := self._process.stdout.readline()):
            sys.exit(f"the peer ended: {self._said.read_text(errors='replace').splitlines()[-1:]}")
        return json.loads(line)


def environment(folder: Path) -> Path:
    """The Python of an environment that has the peer."""
    python = folder / "bin" / "python"
    if not (folder / "ready").is_file():
        print(f"installing {PEER} into {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *NEEDED], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", PEER], check=True)
        (folder / "ready").touch()
    return python


def median_ms(call: Callable[[], object], calls: int = CALLS) -> float:
    """Of `calls` calls after one that is not timed."""
    call()
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))


def accuracy(peer: Peer, faces: list[Any], truth: list[str]) -> dict[str, float]:
    """Of both, and the mean over the labels, in the labels that both know."""
    known = sorted(set(truth))
    found = probabilities(Analyzer(detector="whole", measures=()).analyze_many(faces), known)
    ours = [known[best] for best in found.argmax(axis=1)]
    rows = {}
    for name, said in (("affectlens", ours), ("fer", peer.ask("answers"))):
        right = np.array(said) == np.array(truth)
        rows[f"{name} accuracy"] = float(right.mean())
        rows[f"{name} macro recall"] = float(np.mean([right[np.array(truth) == label].mean() for label in known]))
    return rows


def known_by_both(data: str) -> tuple[list[Any], list[str]]:
    """Validation faces of a label that both know, and their labels."""
    faces, targets, labels = labelled(data)
    rows = [row for row, target in enumerate(targets) if labels[target] != "contempt"]
    return [faces[row] for row in rows], [labels[targets[row]] for row in rows]


def main() -> None:
    """Print times, ratios and, with data, accuracies."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "affectlens" / "peer"
    parser.add_argument("--environment", type=Path, default=cache)
    parser.add_argument("--data", help="ferplus:FOLDER")
    asked = parser.parse_args()
    python = environment(asked.environment)
    (frame,) = sample_frames()
    pipeline = Analyzer(threads=0)
    found = pipeline.detector(frame)
    face = Analyzer(detector=lambda _: found)
    ours = {"face": lambda: face.analyze(frame), "pipeline": lambda: pipeline.analyze(frame)}
    faces, truth = known_by_both(asked.data) if asked.data else ([], [])
    given = {
        "frame_bgr": cv2.cvtColor(frame, cv2.COLOR_RGB2BGR),
        "box_xyxy": found.boxes_xyxy[0],
        "faces": np.array(faces),
    }
    times: dict[str, dict[str, list[float]]] = {
        what: {title: [] for title in (f"affectlens {what}", f"fer {what}")} for what in ours
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        peers = {
            what: stack.enter_context(Peer(python, given | {"threads": threads}, folder / what))
            for what, threads in (("face", 1), ("pipeline", os.cpu_count()))
        }
        for _ in range(ROUNDS):
            for what, peer in peers.items():
                times[what][f"affectlens {what}"].append(median_ms(ours[what]))
                times[what][f"fer {what}"].append(peer.ask(f"{what} {CALLS}"))
        print(headline("python benchmarks/peer.py --data ferplus:FOLDER"))
        print(f"{PEER}, TensorFlow {peers['face'].facts['tensorflow']}")
        for what, taken in times.items():
            first = np.median(taken[f"affectlens {what}"])
            for title, values in taken.items():
                print(f"{title:20}{np.median(values):8.2f} ms,{np.median(values) / first:6.2f} times affectlens's")
        if faces:
            print(f"{len(faces)} validation faces, 7 labels")
            for title, value in accuracy(peers["face"], faces, truth).items():
                print(f"{title:26} {value:.4f}")


if __name__ == "__main__":
    main()
