"""What decoding by Pillow costs beside OpenCV: `python benchmarks/decoding.py`, a minute.

Each row decodes the same bytes in turns: `cv2.imdecode` and its colours turned to RGB, without looking at the size that
the header announces or at the end of the file, and `affectlens.read_image`, which looks at both. Milliseconds are
medians of --repeats, of processor time in one thread; "differ" is the largest difference of two pixels. Memory is how
much the peak of a fresh process grows while it decodes once. Of the last two lines the
first decodes the JPEG of 12 megapixels without its end marker, the second is the processor time of fresh processes that
import the analyzer, and of those that import Pillow's classes too.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from _headline import headline

from affectlens import read_image, sample_frames

SIZES = {"0.3 megapixels": (640, 480), "2": (1632, 1224), "12": (4000, 3000), "48": (8000, 6000)}
MEMORY = """
import sys
from decoding import by_opencv, by_pillow, peak_kib
data = open(sys.argv[1], "rb").read()
before = peak_kib()
{call}(data)
print((peak_kib() - before) // 1024)
"""


COLD = "import affectlens; affectlens.Analyzer"
PLUGINS = (
    "from PIL import BmpImagePlugin, GifImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin"
)
CLOCK = "; import time; print(1000 * time.process_time())"


def peak_kib():
    """The most memory that this process has had (Linux), without that of the one that started it."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])


def by_opencv(data):
    """(H, W, 3) RGB."""
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def by_pillow(data):
    """The same."""
    return read_image(data)


def in_turns(data, repeats, calls=(by_opencv, by_pillow)):
    """Median milliseconds of each."""
    taken = {call: [] for call in calls}
    for _ in range(repeats):
        for call, times in taken.items():
            start = time.thread_time()
            call(data)
            times.append(1000 * (time.thread_time() - start))
    return [float(np.median(times)) for times in taken.values()]


def peaks_mib(data):
    """Memory of each."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "photo").write_bytes(data)
        return [
            int(
                subprocess.run(
                    [sys.executable, "-c", MEMORY.format(call=call.__name__), Path(folder, "photo")],
                    cwd=Path(__file__).parent,
                    capture_output=True,
                    check=True,
                ).stdout
            )
            for call in (by_opencv, by_pillow)
        ]


def cold_start(repeats):
    """Median milliseconds of processor time of a fresh process without and with Pillow's classes."""
    taken = {COLD: [], f"{COLD}; {PLUGINS}": []}
    for _ in range(repeats):
        for code, times in taken.items():
            done = subprocess.run([sys.executable, "-c", code + CLOCK], capture_output=True, check=True)
            times.append(float(done.stdout))
    return [float(np.median(times)) for times in taken.values()]


def files(megapixels):
    """Name -> bytes of a file, of photos of at most so many megapixels."""
    scene = next(sample_frames(faces=5))[..., ::-1]
    for name, size in SIZES.items():
        if size[0] * size[1] > megapixels * 1e6:
            continue
        photo = cv2.resize(scene, size, interpolation=cv2.INTER_CUBIC)
        yield f"JPEG, {name}", cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
        if name in ("2", "12"):
            yield f"PNG, {name}", cv2.imencode(".png", photo)[1].tobytes()
            yield f"WebP, {name}", cv2.imencode(".webp", photo, [cv2.IMWRITE_WEBP_QUALITY, 90])[1].tobytes()
    gray = cv2.cvtColor(next(sample_frames()), cv2.COLOR_RGB2GRAY)
    face = cv2.resize(gray[:, 80:560], (48, 48), interpolation=cv2.INTER_AREA)
    yield "gray PNG, 48x48", cv2.imencode(".png", face)[1].tobytes()


def main(repeats, megapixels):
    """Print a table."""
    cv2.setNumThreads(1)
    print(headline("python benchmarks/decoding.py"))
    print("                          OpenCV       Pillow    ratio   differ     memory, OpenCV and Pillow")
    for name, data in files(megapixels):
        differ = np.abs(by_opencv(data).astype(np.int16) - by_pillow(data)).max()
        before, after = in_turns(data, repeats)
        opencv, pillow = peaks_mib(data)
        row = f"{name:22}{before:10.2f} ms{after:10.2f} ms{after / before:9.2f}{differ:9}"
        print(f"{row}{opencv:10} MiB{pillow:8} MiB")
        if name == "JPEG, 12":
            (endless,) = in_turns(data[:-2], repeats, (by_pillow,))
            print(f"{name}, without its end marker: {endless:.2f} ms")
    lazy, eager = cold_start(repeats)
    print(f"import of the analyzer: {lazy:.0f} ms, with Pillow's classes {eager:.0f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--megapixels", type=float, default=50, help="of the largest photo")
    main(**vars(parser.parse_args()))
