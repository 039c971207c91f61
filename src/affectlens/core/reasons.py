"""Codes of the column `reason`, and the flags that the column `quality` joins by "+" if it is not "ok"."""

from enum import StrEnum


class Reason(StrEnum):
    """Reason codes for sources without a face in the results; each docstring says what happened."""

    MISSING = "missing"
    """No such file or folder, a glob that matches nothing, or a URL, which is not downloaded."""
    NO_PERMISSION = "no_permission"
    """No permission to read the file or folder."""
    NOT_A_FILE = "not_a_file"
    """A socket, device or pipe, a folder where a file is needed, or a file system error."""
    EMPTY_FILE = "empty_file"
    """The file has no bytes."""
    NOT_AN_IMAGE = "not_an_image"
    """The file does not start like a JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF or HEIC file, whatever its name is."""
    UNSUPPORTED = "unsupported"
    """An unsupported variant of a known format (for example pixels of three floating-point channels), or HEIC without
    the extra `heif`."""
    TRUNCATED = "truncated"
    """The file ends too early, and less than nine tenths of the image can be decoded (otherwise it is analyzed and
    marked as incomplete); for a video, the frames before that point are analyzed."""
    DAMAGED = "damaged"
    """The file cannot be decoded."""
    TOO_MANY_PIXELS = "too_many_pixels"
    """The header states more pixels than `core.image_file.MAX_PIXELS`; nothing was decoded."""
    TOO_LARGE = "too_large"
    """The file has more bytes than `core.image_file.MAX_BYTES`; it was not opened."""
    FAILED = "failed"
    """The analysis of a readable image failed, for example because memory ran out or the model's answer was not finite.
    """
    NO_IMAGES = "no_images"
    """The folder contains neither images nor videos."""
    MISSING_EXTRA = "missing_extra"
    """The source needs an optional package that is not installed."""
    NOT_A_VIDEO = "not_a_video"
    """The file is named like a video, but is not in a supported format (MP4, MOV, MKV, WebM, AVI, MPEG, FLV, ASF, Ogg).
    """
    NO_VIDEO = "no_video"
    """The file has sound or other data, but no video."""
    NO_FRAMES = "no_frames"
    """The video has no frames."""
    NO_CAMERA = "no_camera"
    """There is no camera with this number, or access to it is denied."""
    STREAM_LOST = "stream_lost"
    """The camera or network stream stopped delivering pictures, or could not be reached."""
    TOO_SLOW = "too_slow"
    """Reading the source would take longer than the limit, or has taken longer (batches and the service), or the model
    did not answer within a minute; it was given up."""
    CRASHED = "crashed"
    """Batches and the service: the process that read the source died twice."""
    STOPPED = "stopped"
    """The service only: it was stopped before the end of the video."""
    NOT_WRITTEN = "not_written"
    """Batches only: the rows could not be written, for example because the disk is full; the source is read again when
    the batch continues."""
    NO_FACE = "no_face"
    """The image was read, but the detector found no face of at least the minimum size."""


class Flaw(StrEnum):
    """Flaws that make the answer for a face less reliable (benchmarks/quality.txt)."""

    SMALL = "small"
    """The longer side of its box is shorter than 24 pixels."""
    CUT_OFF = "cut_off"
    """More than 15 % of its box is outside the picture."""
    BLURRED = "blurred"
    """Its edges are weak for its contrast (sharpness below 0.2)."""
    DARK = "dark"
    """Its mean brightness is below 3 %: little but noise and compression artefacts is left."""
    OVEREXPOSED = "overexposed"
    """More than half of it is white."""
    FLAT = "flat"
    """Its contrast, the standard deviation of its brightness, is below 1.5 %."""
    TURNED = "turned"
    """It is turned more than 45 degrees to the side, or more than 40 up or down."""
