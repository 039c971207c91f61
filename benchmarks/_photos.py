"""Photos and videos on disk for batches."""

from pathlib import Path

import cv2

from affectlens import sample_frames

DIFFERENT = 60


def write_photos(folder: Path, count: int, size: tuple[int, int] = (640, 480)) -> Path:
    """A new folder of JPEG files of (width, height) pixels with one face: a few frames over and over."""
    folder.mkdir()
    coded = []
    for frame in sample_frames(min(count, DIFFERENT)):
        picture = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        coded.append(cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())
    for number in range(count):
        (folder / f"{number:06d}.jpg").write_bytes(coded[number % len(coded)])
    return folder


def write_video(file: Path, frames: int, fps: int = 30, clip: Path | None = None) -> Path:
    """A video of 640x480 with one face."""
    video = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), fps, (640, 480))
    for frame in sample_frames(frames, clip=clip):
        video.write(frame[..., ::-1])
    video.release()
    return file
