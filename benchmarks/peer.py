"""affectlens beside an installable peer (`fer` from PyPI) and a bare call of onnxruntime, as ratios of one run.

The peer gets an environment of its own (TensorFlow takes some minutes and 1.5 GB; only its default detector, OpenCV's
cascade, so without the torch that its MTCNN wants). Each figure is the median of rounds in which all take turns on the
same 640x480 frame with the bundled portrait: the network on one face with one thread, the pipeline with all cores. With
a data set also the accuracy on its validation faces over the seven labels that both know; both were trained on the
pictures of FER2013, the peer with the labels from before FER+.

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
from numpy.typing import NDArray

from affectlens import Analyzer
from affectlens.apps.cli.conditions import headline
from affectlens.apps.cli.scenes import letterbox
from affectlens.core.preprocessing import to_input
from affectlens.core.session import model_file, open_session, read_answers, read_spec
from affectlens.data import source
from affectlens.runtime.media import PORTRAIT, read_image

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
    analyzer = Analyzer(detector="whole", threads=0)
    known = [analyzer.spec.labels.index(label) for label in sorted(set(truth))]
    logits = np.concatenate([analyzer.recognizer.answers(faces[i : i + 256]).logits for i in range(0, len(faces), 256)])
    ours = [analyzer.spec.labels[known[best]] for best in logits[:, known].argmax(axis=1)]
    rows = {}
    for name, said in (("affectlens", ours), ("fer", peer.ask("answers"))):
        right = np.array(said) == np.array(truth)
        rows[f"{name} accuracy"] = float(right.mean())
        rows[f"{name} macro recall"] = float(np.mean([right[np.array(truth) == label].mean() for label in set(truth)]))
    return rows


def calls(frame: NDArray[np.uint8]) -> dict[str, tuple[str, Callable[[], object]]]:
    """Title -> "network" or "pipeline", and what is timed of affectlens and onnxruntime."""
    analyzer = Analyzer(threads=0)
    session = open_session(model_file("bundled"))
    tensor = to_input([frame[:480, :480]], read_spec(session, "bundled").input)
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name
    return {
        "bare onnxruntime": ("network", lambda: session.run([output], {name: tensor})),
        "affectlens network": ("network", lambda: read_answers(session, tensor)),
        "affectlens pipeline": ("pipeline", lambda: analyzer.analyze(frame)),
    }


def labelled(data: str) -> tuple[list[Any], list[str]]:
    """Validation faces of a label that both know, and their labels."""
    table = source.parse(data).load("valid")
    rows = [row for row in np.flatnonzero(table.labelled) if table.labels[table.targets[row]] != "contempt"]
    return [table.images[row] for row in rows], [table.labels[table.targets[row]] for row in rows]


def main() -> None:
    """Print times, ratios and, with data, accuracies."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "affectlens" / "peer"
    parser.add_argument("--environment", type=Path, default=cache)
    parser.add_argument("--data", help="ferplus:FOLDER")
    asked = parser.parse_args()
    python = environment(asked.environment)
    frame = letterbox(read_image(PORTRAIT))
    faces, truth = labelled(asked.data) if asked.data else ([], [])
    given = {"frame_bgr": cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), "faces": np.array(faces)}
    ours = calls(frame)
    times: dict[str, dict[str, list[float]]] = {"network": {}, "pipeline": {}}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        peers = {
            what: stack.enter_context(Peer(python, given | {"threads": threads}, folder / what))
            for what, threads in (("network", 1), ("pipeline", os.cpu_count()))
        }
        for _ in range(ROUNDS):
            for what, peer in peers.items():
                for title, (kind, call) in ours.items():
                    if kind == what:
                        times[what].setdefault(title, []).append(median_ms(call))
                times[what].setdefault(f"fer {what}", []).append(peer.ask(f"{what} {CALLS}"))
        print(headline("python benchmarks/peer.py --data ferplus:FOLDER"))
        print(f"{PEER}, TensorFlow {peers['network'].facts['tensorflow']}")
        for what, taken in times.items():
            first = np.median(taken[f"affectlens {what}"])
            for title, values in taken.items():
                print(f"{title:20}{np.median(values):8.2f} ms,{np.median(values) / first:6.2f} times affectlens's")
        if faces:
            print(f"{len(faces)} validation faces, 7 labels")
            for title, value in accuracy(peers["network"], faces, truth).items():
                print(f"{title:26} {value:.4f}")


if __name__ == "__main__":
    main()
